//! Shock index and pulse pressure: what heart rate and arterial pressure tell together.
//! In: `heart_rate`, else the pulses of the line; `abp_sys` and `abp_dia` (mmHg). Out: heart rate over systolic
//! pressure, and systolic less diastolic pressure.

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Graded, Missing, Reading, Readings, Span};
use crate::window::median_in_place;

/// Parameters: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {}

/// Intervals whose median is the rate of the line, and the time they must end in.
const INTERVALS: usize = 8;
const WINDOW: Span = Span::seconds_const(10);

/// The last pulses of the arterial line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    channel: Option<ChannelId>,
    pulses: Vec<EventTime>,
}

impl State {
    fn take(&mut self, epoch: &Epoch<'_>, out: &Readings) {
        let speaks = out.find("abp_sys").and_then(|r| r.channel);
        if speaks != self.channel || speaks.is_some_and(|c| epoch.runs_of(c).any(|r| r.reset)) {
            self.channel = speaks;
            self.pulses.clear();
        }
        let own = |b: &&crate::signal::Beat| b.kind == BeatKind::Pulse && Some(b.channel) == self.channel;
        for b in out.beats.iter().filter(own).filter(|b| b.confidence >= 0.5) {
            if self.pulses.last().is_none_or(|last| b.time > *last) {
                if self.pulses.len() > INTERVALS {
                    self.pulses.remove(0);
                }
                self.pulses.push(b.time);
            }
        }
    }

    /// Pulses per minute by the median of the last intervals.
    fn rate(&self, now: EventTime) -> Option<f64> {
        let mut spans = [0.0_f32; INTERVALS];
        let mut count = 0;
        for pair in self.pulses.windows(2).rev().take(INTERVALS).filter(|p| p[1] > now - WINDOW) {
            spans[count] = (pair[1] - pair[0]).seconds() as f32;
            count += 1;
        }
        let median = median_in_place(&mut spans[..count]).filter(|_| count >= 3)?;
        (median > 0.0).then(|| 60.0 / f64::from(median))
    }
}

struct ShockIndex {
    state: State,
}

/// The difference or ratio of two readings, as good as the poorer one.
fn both(a: Option<&Reading>, b: Option<&Reading>, f: impl Fn(f64, f64) -> f64) -> Graded {
    match (a, b) {
        (Some(a), Some(b)) => match (a.value, b.value) {
            (Ok(x), Ok(y)) => Graded::of(f(x, y), a.quality.min(b.quality), 0.0),
            (Err(why), _) | (_, Err(why)) => Graded::missing(why),
        },
        _ => Graded::missing(Missing::NoData),
    }
}

impl Operator for ShockIndex {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.state.take(epoch, out);
        let end = epoch.end();
        let (sys, dia) = (out.find("abp_sys"), out.find("abp_dia"));
        let Some(channel) = sys.map(|r| r.channel) else { return };
        let pressure = both(sys, dia, |s, d| s - d);
        let own = self.state.rate(end).map(|value| {
            let (name, value, quality) = ("heart_rate", Ok(value), 0.8);
            Reading { name, channel, time: end, window: WINDOW, value, quality }
        });
        let heart = out.find("heart_rate").filter(|r| r.value.is_ok()).or(own.as_ref());
        let heart = heart.or(out.find("heart_rate"));
        let index = both(heart, sys, |rate, sys| if sys > 0.0 { rate / sys } else { f64::NAN });
        out.push(index.reading("shock_index", channel, end, WINDOW));
        out.push(pressure.reading("pulse_pressure", channel, end, WINDOW));
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
    name: "shock_index",
    summary: "Heart rate over systolic arterial pressure, and the pulse pressure",
    description: "The heart rate is that of the ECG, else the median of the last eight intervals between good pulses \
        of the arterial line; the pressures are the medians of the last beats. The quality is that of the poorer of \
        the two. Beats too weak to raise a pulse are in the rate of the ECG but not in that of the line. From about \
        0.9 the index is raised; it says little under beta blockade or pacing.",
    reads: &[],
    writes: &[
        Output {
            name: "shock_index",
            unit: "/min/mm[Hg]",
            summary: "Heart rate over systolic arterial pressure",
            feeds: "",
        },
        Output {
            name: "pulse_pressure",
            unit: "mm[Hg]",
            summary: "Systolic less diastolic arterial pressure, by the medians of the last beats",
            feeds: "",
        },
    ],
    needs: &["abp_beats"],
    latency: Span::seconds_const(4),
    by_default: false,
    sources: &[
        "Allgöwer M, Burri C. Schockindex. Dtsch Med Wochenschr 1967;92:1947-1950. doi:10.1055/s-0028-1106070",
        "Rady MY et al. A comparison of the shock index and conventional vital signs to identify acute, critical \
         illness in the emergency department. Ann Emerg Med 1994;24:685-690. doi:10.1016/S0196-0644(94)70279-9",
    ],
    bounds: &[],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let _: Params = params(value)?;
        Ok(Box::new(ShockIndex { state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Beat, Values};

    /// Index and pulse pressure after 20 s with pulses of the line at 120 /min.
    fn last(heart: Option<Result<f64, Missing>>, sys: Result<f64, Missing>) -> [Result<f64, Missing>; 2] {
        let channel = ChannelId::named("abp");
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (values, mut out) = (Values::default(), Readings::default());
        for s in 0..20 {
            let start = EventTime::from_seconds(s);
            out.clear();
            let (time, window, quality) = (start + Span::EPOCH, WINDOW, 0.9);
            for (name, value) in [("heart_rate", heart), ("abp_sys", Some(sys)), ("abp_dia", Some(Ok(40.0)))]
            {
                let reading = value.map(|value| Reading { name, channel, time, window, value, quality });
                reading.into_iter().for_each(|r| out.push(r));
            }
            for half in [0, 500_000] {
                let time = EventTime::from_micros(start.micros() + half);
                let (kind, channel) = (BeatKind::Pulse, channel.unwrap());
                out.beats.push(Beat { kind, channel, time, amplitude: 40.0, confidence: 0.9 });
            }
            operator.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
        }
        ["shock_index", "pulse_pressure"].map(|n| out.find(n).unwrap().value)
    }

    #[test]
    fn the_ecg_counts_first_and_the_line_stands_in() {
        assert_eq!(last(Some(Ok(100.0)), Ok(80.0)), [Ok(1.25), Ok(40.0)]);
        for heart in [None, Some(Err(Missing::LowQuality))] {
            let [index, _] = last(heart, Ok(80.0));
            assert!((index.unwrap() - 1.5).abs() < 1e-6, "{index:?}");
        }
        let absent = last(Some(Ok(100.0)), Err(Missing::LowQuality));
        assert_eq!(absent, [Err(Missing::LowQuality); 2]);
    }
}
