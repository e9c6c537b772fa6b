//! Perfusion index: the pulsing part of the light over the steady one, where the sensor sends both.
//! In: raw PPG as absolute light, pulses of `pulse_peaks`. Out: per cent.

use serde::{Deserialize, Serialize};

use super::motion_level::moving;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{BeatKind, ChannelId, Epoch, Graded, Kind, Missing, Readings, Span};
use crate::window::{Ring, grade, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Whether the sensor sends absolute light: its steady part kept, one gain for both parts, zero without light.
    pub steady_part_sent: bool,
    /// Below this quality there is no index (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { steady_part_sent: false, quality_floor: 0.5 }
    }
}

const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Seconds whose median counts.
const SECONDS: usize = 10;
/// What a finger can show (%).
const PLAUSIBLE: (f64, f64) = (0.02, 25.0);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    channel: Option<ChannelId>,
    /// Highest less lowest of each pair of seconds, and the mean.
    pulsing: Ring,
    steady: Ring,
    before: Option<(f32, f32)>,
    pulses: f32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            channel: None,
            pulsing: Ring::new(SECONDS),
            steady: Ring::new(SECONDS),
            before: None,
            pulses: 0.0,
        }
    }
}

struct PerfusionIndex {
    params: Params,
    state: State,
}

impl PerfusionIndex {
    fn take(&mut self, epoch: &Epoch<'_>, out: &Readings, channel: ChannelId) {
        let state = &mut self.state;
        let (mut low, mut high, mut sum, mut count) = (f32::MAX, f32::MIN, 0.0_f64, 0_u32);
        for run in epoch.runs_of(channel) {
            if run.reset {
                *state = State { channel: Some(channel), ..State::default() };
                (low, high, sum, count) = (f32::MAX, f32::MIN, 0.0, 0);
            }
            for x in run.raw {
                let x = tame(*x, -1e9, 1e9);
                (low, high, sum) = (low.min(x), high.max(x), sum + f64::from(x));
                count += 1;
            }
        }
        let pulses = out.beats.iter().filter(|b| b.kind == BeatKind::Pulse && b.channel == channel);
        let good: f32 = pulses.map(|b| b.confidence).sum();
        state.pulses += 0.15 * (good.min(1.0) - state.pulses);
        if count == 0 || moving(out) {
            state.before = None;
            return;
        }
        // Two seconds hold a whole pulse from 30 a minute on.
        if let Some((l, h)) = state.before {
            state.pulsing.push(high.max(h) - low.min(l));
            state.steady.push((sum / f64::from(count)) as f32);
        }
        state.before = Some((low, high));
    }

    fn answer(&self) -> Graded {
        let state = &self.state;
        if !self.params.steady_part_sent {
            return Graded::missing(Missing::NoData);
        }
        if !state.pulsing.is_full() {
            return Graded::missing(Missing::Learning);
        }
        let median = |ring: &Ring| ring.median::<SECONDS>().unwrap_or(0.0);
        let (pulsing, steady) = (median(&state.pulsing), median(&state.steady));
        let index = 100.0 * f64::from(pulsing) / f64::from(steady);
        if steady <= 0.0 || index < PLAUSIBLE.0 || index > PLAUSIBLE.1 {
            return Graded::missing(Missing::Implausible);
        }
        Graded::of(index, 1.0 - grade(state.pulses, 0.1, 0.5), self.params.quality_floor)
    }
}

impl Operator for PerfusionIndex {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let first = epoch.runs.iter().find(|r| r.channel.row().kind == Kind::Ppg).map(|r| r.channel);
        let Some(channel) = self.state.channel.or(first) else { return };
        self.state.channel = Some(channel);
        self.take(epoch, out, channel);
        let silent = epoch.runs_of(channel).next().is_none();
        let answer = if silent { Graded::missing(Missing::NoData) } else { self.answer() };
        let window = Span::seconds_const(SECONDS as i64 + 1);
        out.push(answer.reading("perfusion_index", Some(channel), epoch.end(), window));
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.state = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "perfusion_index",
    summary: "Pulsing over steady part of the light at the finger, where the sensor sends both",
    description: "Highest less lowest light of two seconds over the mean light, each as the median of ten seconds. \
        Bedside monitors send the wave with its steady part removed and its gain adjusted, some around a middle that \
        looks like light: the ratio of such a wave is a number without meaning that can look right. So it is said \
        only where steady_part_sent says that the sensor sends absolute light; otherwise it is absent for want of \
        data, and the monitor's own index is the one to use. A wave around or below zero, and an index no finger \
        shows (below 0.02 % or above 25 %), are implausible. Seconds with movement are left out.",
    reads: &[Kind::Ppg],
    writes: &[Output {
        name: "perfusion_index",
        unit: "%",
        summary: "Pulsing over steady part of the light",
        feeds: "perfusion_index",
    }],
    needs: &["pulse_peaks"],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Lima AP, Beelen P, Bakker J. Use of a peripheral perfusion index derived from the pulse oximetry signal as \
         a noninvasive indicator of perfusion. Crit Care Med 2002;30:1210-1213. \
         doi:10.1097/00003246-200206000-00006",
    ],
    bounds: &[QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(PerfusionIndex { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Beat, EventTime, Hertz, Run, Values};

    fn last(sent: bool, steady: f32, height: f32) -> Result<f64, Missing> {
        let channel = ChannelId::of("ppg");
        let mut operator = (SPEC.build)(&serde_json::json!({ "steady_part_sent": sent })).unwrap();
        let (values, mut out) = (Values::default(), Readings::default());
        for s in 0..30 {
            let start = EventTime::from_seconds(s);
            let turn = |i: i32| libm::sinf(i as f32 / 50.0 * std::f32::consts::TAU);
            let raw: Vec<f32> = (0..50).map(|i| steady + 0.5 * height * turn(i)).collect();
            let run =
                Run { channel, rate: Hertz(50.0), start, reset: s == 0, raw: &raw, clean: &raw, bridged: 0 };
            out.clear();
            let kind = BeatKind::Pulse;
            out.beats.push(Beat { kind, channel, time: start, amplitude: height, confidence: 0.9 });
            operator.apply(&Epoch { start, runs: &[run], values: &values }, &mut out);
        }
        out.find("perfusion_index").unwrap().value
    }

    #[test]
    fn the_ratio_is_said_only_of_absolute_light() {
        assert!((last(true, 50_000.0, 1_000.0).unwrap() - 2.0).abs() < 0.02);
        assert_eq!(last(false, 50_000.0, 1_000.0), Err(Missing::NoData));
        assert_eq!(last(true, 0.0, 1.0), Err(Missing::Implausible));
        assert_eq!(last(true, 0.5, 0.4), Err(Missing::Implausible));
    }
}
