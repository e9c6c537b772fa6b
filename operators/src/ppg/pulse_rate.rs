//! Pulse rate: how fast the last pulses followed each other.
//! In: pulses of the PPG with their confidence, the signal quality of the channel. Out: `pulse_rate` in /min, or
//! the reason why there is none.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::motion_level::moving;
use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Kind, Missing, Reading, Readings, Span};
use crate::window::median_in_place;

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Pulses older than this do not count (s).
    pub span_s: f64,
    /// Below this quality there is no rate (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { span_s: 10.0, quality_floor: 0.5 }
    }
}

const SPAN: Bound = Bound { name: "span_s", min: 4.0, max: 30.0, unit: "s" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Most pulses kept: 30 s at 250 /min.
const PULSES: usize = 126;
/// Fewest intervals that make a rate.
const LEAST: usize = 3;

/// A pulse that counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pulse {
    time: EventTime,
    confidence: f32,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    channel: Option<ChannelId>,
    since: EventTime,
    quality: f32,
    pulses: VecDeque<Pulse>,
}

/// Rate per minute of intervals in seconds, and the share of them that agree with the median. Intervals beyond
/// half and 1.4 times the median count as doubled or missed pulses; the rest is averaged, which in an irregular
/// rhythm comes nearer to what a monitor counts than their median.
///
/// ```
/// use auscult_operators::ppg::pulse_rate::rate_of;
/// assert_eq!(rate_of(&mut [1.0, 1.0, 2.0, 1.0]), Some((60.0, 0.75)));
/// assert_eq!(rate_of(&mut []), None);
/// ```
pub fn rate_of(intervals_s: &mut [f32]) -> Option<(f64, f32)> {
    let median = median_in_place(intervals_s).filter(|&m| m > 0.0)?;
    let fits = |s: f32| s >= 0.5 * median && s <= 1.4 * median;
    // Summed in order of size: the caller's order must not show in the last bit.
    intervals_s.sort_unstable_by(f32::total_cmp);
    let kept = intervals_s.iter().copied().filter(|&s| fits(s));
    let (sum, count) = kept.fold((0.0, 0_u32), |(sum, n), s| (sum + f64::from(s), n + 1));
    (count > 0).then(|| (60.0 * f64::from(count) / sum, count as f32 / intervals_s.len() as f32))
}

impl State {
    /// The rate as of `now` and its quality.
    fn rate(&self, now: EventTime, params: &Params) -> Result<(f64, f32), (Missing, f32)> {
        let oldest = now - Span::from_seconds(params.span_s);
        let mut intervals = [0.0_f32; PULSES];
        let mut confidences = [0.0_f32; PULSES];
        let mut count = 0;
        let mut last: Option<EventTime> = None;
        for pulse in self.pulses.iter().filter(|p| p.time > oldest) {
            if let Some(before) = last {
                intervals[count] = (pulse.time - before).seconds() as f32;
                confidences[count] = pulse.confidence;
                count += 1;
            }
            last = Some(pulse.time);
        }
        if count < LEAST {
            let settled = now - self.since >= Span::from_seconds(params.span_s);
            return Err((if settled { Missing::TooFew } else { Missing::Learning }, 0.0));
        }
        let Some((rate, share)) = rate_of(&mut intervals[..count]) else {
            return Err((Missing::TooFew, 0.0));
        };
        let confidence = median_in_place(&mut confidences[..count]).unwrap_or(0.0);
        let quality = (self.quality * confidence * share).clamp(0.0, 1.0);
        if f64::from(quality) < params.quality_floor {
            return Err((Missing::LowQuality, quality));
        }
        Ok((rate, quality))
    }
}

/// The operator.
struct PulseRate {
    params: Params,
    state: State,
}

impl Operator for PulseRate {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let state = &mut self.state;
        let first = epoch.runs.iter().find(|r| r.channel.row().kind == Kind::Ppg).map(|r| r.channel);
        let Some(channel) = state.channel.or(first) else { return };
        let mut present = false;
        for run in epoch.runs_of(channel) {
            present = true;
            if run.reset || state.channel.is_none() {
                *state = State { channel: Some(channel), since: run.start, ..State::default() };
            }
        }
        let doubted = moving(out);
        for beat in out.beats.iter().filter(|b| b.kind == BeatKind::Pulse && b.channel == channel) {
            if state.pulses.len() == PULSES {
                state.pulses.pop_front();
            }
            let newer = state.pulses.back().is_none_or(|last| beat.time > last.time);
            if newer && beat.time >= state.since {
                let confidence = if doubted { 0.0 } else { beat.confidence };
                state.pulses.push_back(Pulse { time: beat.time, confidence });
            }
        }
        // Those before the window are read no more, but for the last one: what is not newer is no new pulse.
        let oldest = epoch.end() - Span::from_seconds(self.params.span_s);
        while state.pulses.len() > 1 && state.pulses.front().is_some_and(|p| p.time <= oldest) {
            state.pulses.pop_front();
        }
        let heard = out.find_on("signal_quality", channel).map(|r| r.value.unwrap_or(0.0) as f32);
        // Without the quality operator before this one, only the shape of the pulses speaks.
        let quality = heard.unwrap_or(if present { 1.0 } else { 0.0 });
        state.quality += (quality - state.quality) * 0.3;
        let answer =
            if present { state.rate(epoch.end(), &self.params) } else { Err((Missing::NoData, 0.0)) };
        let (value, quality) = match answer {
            Ok((rate, quality)) => (Ok(rate), quality),
            Err((why, quality)) => (Err(why), quality),
        };
        let window = Span::from_seconds(self.params.span_s);
        let reading =
            Reading { name: "pulse_rate", channel: Some(channel), time: epoch.end(), window, value, quality };
        out.push(reading);
    }

    fn far(&self, _next: EventTime, to: &mut Far) {
        let (older, newer) = self.state.pulses.as_slices();
        to.add(older);
        to.add(newer);
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
    name: "pulse_rate",
    summary: "Pulse rate from the last pulses of the photoplethysmogram",
    description: "Mean of the intervals of the last 10 s that lie between half and 1.4 times their median, from at \
        least 3; beats too weak to reach the finger are not in it, so that it lies below the heart rate when there \
        are many. Its quality is the signal quality, smoothed over some seconds, times the median confidence of the \
        pulses, times the share of intervals that agree; below the floor there is no rate. Without PPG ever seen \
        there is no reading at all. Pulses that settle while the body moves (motion_level) count as worthless.",
    reads: &[Kind::Ppg],
    writes: &[Output {
        name: "pulse_rate",
        unit: "/min",
        summary: "Pulses per minute over the last 10 s",
        feeds: "pulse_rate",
    }],
    needs: &["pulse_peaks"],
    latency: Span::seconds_const(2),
    by_default: true,
    sources: &["ISO 80601-2-61:2017, 201.12.1.104: pulse rate of pulse oximeters"],
    bounds: &[SPAN, QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        SPAN.check(params.span_s)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(PulseRate { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signal::{Beat, Hertz, Run, Values};

    /// The last reading after pulses at the given times, in an epoch that ends at `end_s`.
    fn last(times_s: &[f64], end_s: i64, confidence: f32, present: bool) -> (Result<f64, Missing>, f32) {
        last_after(None, times_s, end_s, confidence, present)
    }

    /// The same, with a gap before second `reset_s`.
    fn last_after(
        reset_s: Option<i64>,
        times_s: &[f64],
        end_s: i64,
        confidence: f32,
        present: bool,
    ) -> (Result<f64, Missing>, f32) {
        let channel = ChannelId::named("ppg").unwrap();
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let values = Values::default();
        let mut out = Readings::default();
        for s in 0..end_s {
            let start = EventTime::from_seconds(s);
            let run = Run {
                channel,
                rate: Hertz(2.0),
                start,
                reset: s == 0 || reset_s == Some(s),
                raw: &[0.0; 2],
                clean: &[0.0; 2],
                bridged: 0,
            };
            out.clear();
            let here = times_s.iter().filter(|t| t.floor() as i64 == s);
            out.beats.extend(here.map(|&t| Beat {
                kind: BeatKind::Pulse,
                channel,
                time: EventTime::from_micros((t * 1e6) as i64),
                amplitude: 1.0,
                confidence,
            }));
            let runs = [run];
            let shown = if present || s + 1 < end_s { 1 } else { 0 };
            operator.apply(&Epoch { start, runs: &runs[..shown], values: &values }, &mut out);
        }
        let reading = out.find("pulse_rate").unwrap();
        (reading.value, reading.quality)
    }

    #[test]
    fn rates_and_reasons() {
        let each = |step: f64, count: usize| (0..count).map(|i| 0.5 + i as f64 * step).collect::<Vec<_>>();
        let (rate, quality) = last(&each(0.5, 40), 20, 1.0, true);
        assert!((rate.unwrap() - 120.0).abs() < 1e-4 && quality > 0.99);
        let mut missed = each(0.8, 30);
        missed.remove(20);
        assert!((last(&missed, 20, 1.0, true).0.unwrap() - 75.0).abs() < 0.01);
        assert_eq!(last(&each(0.5, 40), 20, 0.2, true).0, Err(Missing::LowQuality));
        assert_eq!(last(&each(0.5, 40), 20, 1.0, false).0, Err(Missing::NoData));
        assert_eq!(last(&each(0.5, 5), 20, 1.0, true).0, Err(Missing::TooFew));
        assert_eq!(last(&each(0.5, 40), 1, 1.0, true).0, Err(Missing::Learning));
        assert_eq!(last_after(Some(19), &each(0.5, 40), 20, 1.0, true).0, Err(Missing::Learning));
    }
}
