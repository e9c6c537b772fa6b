//! Movement: how much, in which position, whether somebody may have fallen, and whether the sensor is worn at all.
//! In: acceleration along three axes, in g, with gravity. Out: `m[g]`, codes.

pub mod activity;
pub mod fall_suspicion;
pub mod non_wear;
pub mod posture;

use crate::operator::Spec;
use crate::signal::{ChannelId, Epoch, Hertz, Readings};
use crate::window::tame;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[&activity::SPEC, &posture::SPEC, &fall_suspicion::SPEC, &non_wear::SPEC];

/// The three axes.
pub const AXES: [ChannelId; 3] = [ChannelId::of("acc_x"), ChannelId::of("acc_y"), ChannelId::of("acc_z")];

/// Beyond this there is no reading of a sensor (g).
const MOST_G: f32 = 32.0;

/// One second of all three axes, sample by sample together.
#[derive(Clone, Copy, Debug)]
pub struct Moved<'a> {
    /// Rate of all of them.
    pub rate: Hertz,
    /// Whether what was before must be forgotten.
    pub reset: bool,
    axes: [&'a [f32]; 3],
}

/// What an epoch holds of movement.
#[derive(Clone, Copy, Debug)]
pub enum Second<'a> {
    /// No axis at all.
    Absent,
    /// Axes that are missing, cut, bridged over more than a quarter, or not sampled together.
    Broken,
    /// All of it.
    Whole(Moved<'a>),
}

/// The axes of one epoch.
pub fn second<'a>(epoch: &Epoch<'a>) -> Second<'a> {
    let one = |channel| {
        let mut runs = epoch.runs_of(channel);
        (runs.next(), runs.next().is_none())
    };
    let all = AXES.map(one);
    if all.iter().all(|(run, _)| run.is_none()) {
        return Second::Absent;
    }
    let [(Some(x), true), (Some(y), true), (Some(z), true)] = all else { return Second::Broken };
    let alike = |r: &crate::signal::Run<'_>| {
        let apart = (r.start - x.start).seconds().abs() * x.rate.get();
        r.rate == x.rate && r.raw.len() == x.raw.len() && apart < 0.5
    };
    let whole = |r: &crate::signal::Run<'_>| {
        let n = r.raw.len();
        n > 0 && (n as f64 - r.rate.get()).abs() < 1.5 && 4 * r.bridged <= n
    };
    if !alike(y) || !alike(z) || ![x, y, z].into_iter().all(whole) {
        return Second::Broken;
    }
    Second::Whole(Moved { rate: x.rate, reset: x.reset || y.reset || z.reset, axes: [x.raw, y.raw, z.raw] })
}

impl<'a> Moved<'a> {
    /// Samples, each as three accelerations in g.
    pub fn samples(&self) -> impl Iterator<Item = [f32; 3]> + Clone + use<'a> {
        let [x, y, z] = self.axes;
        let tamed = |v: &f32| tame(*v, -MOST_G, MOST_G);
        x.iter().zip(y).zip(z).map(move |((x, y), z)| [tamed(x), tamed(y), tamed(z)])
    }

    /// Length of each acceleration in g.
    pub fn lengths(&self) -> impl Iterator<Item = f32> + Clone + use<'a> {
        self.samples().map(|[x, y, z]| (x * x + y * y + z * z).sqrt())
    }
}

/// The lowest `signal_quality` of the axes this second, 0 where nobody judged one.
pub fn quality(out: &Readings) -> f32 {
    let of = |channel| out.find_on("signal_quality", channel).and_then(|r| r.value.ok()).unwrap_or(0.0);
    AXES.into_iter().map(of).fold(1.0, f64::min).clamp(0.0, 1.0) as f32
}

#[cfg(test)]
pub(crate) mod bench {
    //! Seconds of movement for the tests of this family.
    use super::AXES;
    use crate::operator::Operator;
    use crate::signal::{Epoch, EventTime, Hertz, Reading, Readings, Run, Span, Values};

    /// Applies one second of accelerations (g) at `rate`, judged to be of this quality; what is said.
    pub fn second(
        op: &mut dyn Operator,
        s: i64,
        rate: i64,
        quality: f64,
        wave: impl Fn(f64) -> [f32; 3],
    ) -> Readings {
        let start = EventTime::from_seconds(s);
        let time = |i: i64| s as f64 + i as f64 / rate as f64;
        let axes: [Vec<f32>; 3] = std::array::from_fn(|k| (0..rate).map(|i| wave(time(i))[k]).collect());
        let run = |k: usize| {
            let (raw, reset, rate) = (&axes[k][..], s == 0, Hertz(rate as f64));
            Run { channel: AXES[k], rate, start, reset, raw, clean: raw, bridged: 0 }
        };
        let mut out = Readings::default();
        for channel in AXES {
            let (name, window, value) = ("signal_quality", Span::EPOCH, Ok(quality));
            let time = start + Span::EPOCH;
            out.push(Reading { name, channel: Some(channel), time, window, value, quality: 1.0 });
        }
        op.apply(&Epoch { start, runs: &[run(0), run(1), run(2)], values: &Values::default() }, &mut out);
        out
    }
}
