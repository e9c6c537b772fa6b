//! Pulse rate variability: how much the intervals between pulses differ over a minute.
//! In: pulses of `pulse_peaks`, whether the body moves. Out: RMSSD and SDNN of the intervals in ms.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::motion_level::moving;
use crate::ecg::heart_rate::rmssd;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Graded, Kind, Missing, Readings, Span};
use crate::window::median_in_place;

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Least mean confidence of the pulses (0 to 1).
    pub confidence_min: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { confidence_min: 0.6 }
    }
}

const CONFIDENCE_MIN: Bound = Bound { name: "confidence_min", min: 0.0, max: 1.0, unit: "" };

/// Window, the least of it that must be filled, and the most pulses of it.
const WINDOW: Span = Span::seconds_const(60);
const FILLED: Span = Span::seconds_const(30);
const PULSES: usize = 241;
/// Fewest intervals.
const INTERVALS_MIN: usize = 20;
/// An interval this far from the median begins or ends with an early, missed or false pulse.
const FAR: f64 = 0.25;
/// A pulse below this confidence is none here.
const PULSE_MIN: f32 = 0.4;
/// A pause breaks the series.
const PAUSE_MS: f64 = 3_000.0;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pulse {
    time: EventTime,
    confidence: f32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    channel: Option<ChannelId>,
    since: EventTime,
    pulses: VecDeque<Pulse>,
}

/// Standard deviation of intervals in ms about their mean, without those further than a quarter from their median;
/// `None` if fewer than twenty are left, or fewer than four fifths of all.
///
/// ```
/// use auscult_operators::ppg::pulse_variability::sdnn;
/// let mut intervals: Vec<f64> = (0..60).map(|i| if i % 2 == 0 { 790.0 } else { 810.0 }).collect();
/// assert!((sdnn(&intervals).unwrap() - 10.0).abs() < 0.2);
/// intervals[7] = 1600.0;
/// assert!((sdnn(&intervals).unwrap() - 10.0).abs() < 0.2);
/// assert_eq!(sdnn(&intervals[..9]), None);
/// ```
pub fn sdnn(intervals_ms: &[f64]) -> Option<f64> {
    let mut sorted = [0.0_f32; PULSES];
    let n = intervals_ms.len().min(PULSES);
    for (to, from) in sorted.iter_mut().zip(intervals_ms) {
        *to = *from as f32;
    }
    let middle = f64::from(median_in_place(&mut sorted[..n])?);
    let near = || intervals_ms.iter().filter(|x| (**x - middle).abs() <= FAR * middle);
    let count = near().count();
    if count < INTERVALS_MIN || 5 * count < 4 * intervals_ms.len() {
        return None;
    }
    let mean = near().sum::<f64>() / count as f64;
    let squares: f64 = near().map(|x| (x - mean) * (x - mean)).sum();
    Some((squares / (count - 1) as f64).sqrt())
}

impl State {
    fn take(&mut self, epoch: &Epoch<'_>, out: &Readings) {
        let first = epoch.runs.iter().find(|r| r.channel.row().kind == Kind::Ppg).map(|r| r.channel);
        let Some(channel) = self.channel.or(first) else { return };
        // The last gap of the second counts.
        if let Some(run) = epoch.runs_of(channel).filter(|r| r.reset || self.channel.is_none()).last() {
            *self = Self { channel: Some(channel), since: run.start, pulses: VecDeque::new() };
        }
        let doubted = moving(out);
        for b in out.beats.iter().filter(|b| b.kind == BeatKind::Pulse && b.channel == channel) {
            if b.time >= self.since && self.pulses.back().is_none_or(|last| b.time > last.time) {
                let confidence = if doubted { 0.0 } else { b.confidence };
                self.pulses.push_back(Pulse { time: b.time, confidence });
            }
        }
        let oldest = epoch.end() - WINDOW;
        while self.pulses.len() > PULSES || self.pulses.front().is_some_and(|p| p.time <= oldest) {
            self.pulses.pop_front();
        }
    }

    /// Intervals between two believed pulses in ms, oldest first, and the mean confidence of all pulses.
    fn intervals(&self, to: &mut [f64; PULSES]) -> (usize, f32) {
        let mut count = 0;
        for (a, b) in self.pulses.iter().zip(self.pulses.iter().skip(1)) {
            let ms = (b.time - a.time).seconds() * 1e3;
            if a.confidence >= PULSE_MIN && b.confidence >= PULSE_MIN && ms <= PAUSE_MS && count < PULSES {
                to[count] = ms;
                count += 1;
            }
        }
        let sum: f32 = self.pulses.iter().map(|p| p.confidence).sum();
        (count, sum / self.pulses.len().max(1) as f32)
    }
}

struct PulseVariability {
    params: Params,
    state: State,
}

impl Operator for PulseVariability {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.state.take(epoch, out);
        let Some(channel) = self.state.channel else { return };
        let end = epoch.end();
        let mut intervals = [0.0; PULSES];
        let (count, confidence) = self.state.intervals(&mut intervals);
        let intervals = &intervals[..count];
        let hindrance = if epoch.runs_of(channel).next().is_none() {
            Some(Missing::NoData)
        } else if end - self.state.since < FILLED {
            Some(Missing::Learning)
        } else if count < INTERVALS_MIN {
            Some(Missing::TooFew)
        } else {
            None
        };
        for (name, of) in [("pulse_rmssd", rmssd as fn(&[f64]) -> Option<f64>), ("pulse_sdnn", sdnn)] {
            let answer = match hindrance {
                Some(why) => Graded::missing(why),
                None => of(intervals).map_or(Graded::missing(Missing::TooFew), |v| {
                    Graded::of(v, confidence, self.params.confidence_min)
                }),
            };
            out.push(answer.reading(name, Some(channel), end, WINDOW));
        }
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
    name: "pulse_variability",
    summary: "RMSSD and SDNN of the intervals between pulses over a minute",
    description: "RMSSD as heart_rate makes it of RR intervals; SDNN without intervals further than a quarter from \
        their median. Only intervals between two pulses of at least 0.4 confidence count; pulses that settle while \
        the body moves count as worthless. Pulse intervals are RR intervals plus the change of the pulse's travel \
        time: they vary more than the heart does, above all under deep breathing and at low pressure. Systolic peaks \
        are blunt: at 125 Hz expect some 5 to 10 ms of RMSSD from the detector alone.",
    reads: &[Kind::Ppg],
    writes: &[
        Output {
            name: "pulse_rmssd",
            unit: "ms",
            summary: "Root mean square of the differences of the last minute's pulse intervals",
            feeds: "",
        },
        Output {
            name: "pulse_sdnn",
            unit: "ms",
            summary: "Standard deviation of the last minute's pulse intervals",
            feeds: "",
        },
    ],
    needs: &["pulse_peaks"],
    latency: Span::seconds_const(2),
    by_default: false,
    sources: &[
        "Task Force of ESC and NASPE. Circulation 1996;93:1043-1065. doi:10.1161/01.CIR.93.5.1043 (RMSSD, SDNN)",
        "Schäfer A, Vagedes J. How accurate is pulse rate variability as an estimate of heart rate variability? Int \
         J Cardiol 2013;166:15-29. doi:10.1016/j.ijcard.2012.03.119",
    ],
    bounds: &[CONFIDENCE_MIN],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        CONFIDENCE_MIN.check(params.confidence_min)?;
        Ok(Box::new(PulseVariability { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Beat, Hertz, Reading, Run, Values};

    /// RMSSD and SDNN after 70 s of pulses whose intervals alternate by `swing_ms`.
    fn last(swing_ms: f64, confidence: f32, shaken: bool) -> [Result<f64, Missing>; 2] {
        let channel = ChannelId::of("ppg");
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (values, mut out) = (Values::default(), Readings::default());
        let (mut t, mut k) = (0.2, 0);
        for s in 0..70 {
            let start = EventTime::from_seconds(s);
            out.clear();
            let (time, window) = (start + Span::EPOCH, Span::EPOCH);
            let value = Ok(f64::from(u8::from(shaken)));
            out.push(Reading { name: "moving", channel: None, time, window, value, quality: 1.0 });
            while t < s as f64 + 1.0 {
                let time = EventTime::from_micros((t * 1e6) as i64);
                out.beats.push(Beat { kind: BeatKind::Pulse, channel, time, amplitude: 1.0, confidence });
                k += 1;
                t += 0.8 + if k % 2 == 0 { 0.5e-3 } else { -0.5e-3 } * swing_ms;
            }
            let raw = [0.0; 2];
            let run =
                Run { channel, rate: Hertz(2.0), start, reset: s == 0, raw: &raw, clean: &raw, bridged: 0 };
            operator.apply(&Epoch { start, runs: &[run], values: &values }, &mut out);
        }
        ["pulse_rmssd", "pulse_sdnn"].map(|n| out.find(n).unwrap().value)
    }

    #[test]
    fn variability_is_that_of_the_intervals() {
        let [rmssd, sdnn] = last(40.0, 0.9, false).map(Result::unwrap);
        assert!((rmssd - 40.0).abs() < 0.1 && (sdnn - 20.0).abs() < 0.4, "{rmssd} {sdnn}");
        assert_eq!(last(40.0, 0.5, false), [Err(Missing::LowQuality); 2]);
        assert_eq!(last(40.0, 0.9, true), [Err(Missing::TooFew); 2]);
    }
}
