//! Pulse arrival time: from the R wave to the upstroke of the pulse at the finger.
//! In: QRS beats of `rpeaks`, pulses of `pulse_peaks`, raw PPG. Out: ms, median of the last pulses.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::motion_level::moving;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Graded, Kind, Missing, Readings, Span};
use crate::window::steepest::Steepest;
use crate::window::{grade, median_in_place};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Least time from R wave to upstroke (ms).
    pub least_ms: f64,
    /// Greatest time from R wave to upstroke (ms).
    pub most_ms: f64,
    /// Below this quality there is no time (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { least_ms: 100.0, most_ms: 500.0, quality_floor: 0.5 }
    }
}

const LEAST: Bound = Bound { name: "least_ms", min: 20.0, max: 300.0, unit: "ms" };
const MOST: Bound = Bound { name: "most_ms", min: 300.0, max: 900.0, unit: "ms" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Pulses whose median is told, and the time they must lie in.
const PULSES: usize = 16;
const WINDOW: Span = Span::seconds_const(20);
/// Fewest of them.
const FEWEST: usize = 6;
/// R waves and rises are kept this long: a pulse settles two seconds late.
const KEPT_S: f64 = 4.0;
/// The upstroke lies this long before the systolic peak.
const BEFORE: Span = Span::from_micros(400_000);
/// Most R waves kept.
const WAVES: usize = 24;

/// One pulse with its R wave; `ms` is `None` where no R wave fits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Arrival {
    time: EventTime,
    ms: Option<f32>,
    confidence: f32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    channel: Option<ChannelId>,
    rises: Option<Steepest>,
    waves: VecDeque<(EventTime, f32)>,
    arrivals: VecDeque<Arrival>,
}

impl State {
    fn take(&mut self, epoch: &Epoch<'_>, out: &Readings, params: &Params) {
        let first = epoch.runs.iter().find(|r| r.channel.row().kind == Kind::Ppg).map(|r| r.channel);
        self.channel = self.channel.or(first);
        let Some(channel) = self.channel else { return };
        for run in epoch.runs_of(channel).filter(|r| r.rate.get() > 0.0) {
            if run.reset || self.rises.as_ref().is_none_or(|r| !r.fits(run.rate.get())) {
                self.rises = Some(Steepest::new(run.rate.get(), KEPT_S));
            }
            self.rises.iter_mut().for_each(|r| r.take(run));
        }
        for b in out.beats.iter().filter(|b| b.kind == BeatKind::Qrs) {
            if self.waves.back().is_none_or(|last| b.time > last.0) {
                self.waves.push_back((b.time, b.confidence));
            }
        }
        while self.waves.len() > WAVES {
            self.waves.pop_front();
        }
        let doubted = moving(out);
        for b in out.beats.iter().filter(|b| b.kind == BeatKind::Pulse && b.channel == channel) {
            let rise =
                self.rises.as_ref().and_then(|r| r.within(b.time - BEFORE, b.time)).filter(|r| r.slope > 0.0);
            if doubted || self.arrivals.back().is_some_and(|last| b.time <= last.time) {
                continue;
            }
            let waves = self.waves.iter().rev();
            let found = rise.and_then(|rise| {
                let mut after = waves.map(|w| ((rise.time - w.0).seconds() * 1e3, w.1));
                after.find(|(ms, _)| *ms >= params.least_ms).filter(|(ms, _)| *ms <= params.most_ms)
            });
            let confidence = found.map_or(0.0, |f| f.1.min(b.confidence));
            let ms = found.map(|f| f.0 as f32);
            self.arrivals.push_back(Arrival { time: b.time, ms, confidence });
        }
        let oldest = epoch.end() - WINDOW;
        while self.arrivals.len() > PULSES || self.arrivals.front().is_some_and(|a| a.time <= oldest) {
            self.arrivals.pop_front();
        }
    }

    fn answer(&self, params: &Params) -> Graded {
        if self.arrivals.len() < FEWEST {
            return Graded::missing(Missing::TooFew);
        }
        let (mut times, mut off, mut count) = ([0.0_f32; PULSES], [0.0_f32; PULSES], 0);
        let mut confidence = 0.0;
        for a in &self.arrivals {
            if let Some(ms) = a.ms {
                times[count] = ms;
                count += 1;
                confidence += a.confidence;
            }
        }
        let middle = match median_in_place(&mut times[..count]) {
            Some(middle) if count >= FEWEST => middle,
            _ => return Graded::missing(Missing::Implausible),
        };
        for (to, ms) in off.iter_mut().zip(&times[..count]) {
            *to = (*ms - middle).abs();
        }
        let spread = median_in_place(&mut off[..count]).unwrap_or(f32::MAX);
        let share = count as f32 / self.arrivals.len() as f32;
        let quality = grade(spread, 12.0, 50.0) * (1.0 - grade(share, 0.4, 0.9)) * confidence / count as f32;
        Graded::of(f64::from(middle), quality, params.quality_floor)
    }
}

struct PulseArrival {
    params: Params,
    state: State,
}

impl Operator for PulseArrival {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.state.take(epoch, out, &self.params);
        let Some(channel) = self.state.channel else { return };
        let answer = if epoch.runs_of(channel).next().is_none() {
            Graded::missing(Missing::NoData)
        } else {
            self.state.answer(&self.params)
        };
        out.push(answer.reading("pulse_arrival_time", Some(channel), epoch.end(), WINDOW));
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
    name: "pulse_arrival",
    summary: "Time from the R wave to the upstroke of the pulse at the finger",
    description: "The upstroke is the steepest rise of the raw wave within 0.4 s before a systolic peak; its R wave \
        is the last one at least 100 ms before it, and none if that one is more than 500 ms away. The median of the \
        last sixteen pulses within 20 s, at least six. The quality falls with the spread of the times, with the \
        share of pulses without an R wave and with the confidence of both. Pulses that settle while the body moves \
        are left out. It holds the pre-ejection period and whatever the monitor delays one wave against the other \
        (up to some hundred ms, constant for a monitor): only its changes mean anything, and it is no blood \
        pressure. Many bedside monitors delay the pulse wave so far that it comes more than 500 ms after the R wave: \
        on eight of nine development recordings nothing is told.",
    reads: &[Kind::Ppg],
    writes: &[Output {
        name: "pulse_arrival_time",
        unit: "ms",
        summary: "Time from the R wave to the steepest rise of the pulse, median of the last pulses",
        feeds: "",
    }],
    needs: &["rpeaks", "pulse_peaks"],
    latency: Span::seconds_const(2),
    by_default: false,
    sources: &[
        "Mukkamala R et al. Toward ubiquitous blood pressure monitoring via pulse transit time: theory and practice. \
         IEEE Trans Biomed Eng 2015;62:1879-1901. doi:10.1109/TBME.2015.2441951",
    ],
    bounds: &[LEAST, MOST, QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        LEAST.check(params.least_ms)?;
        MOST.check(params.most_ms)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(PulseArrival { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Beat, Hertz, Run, Values};

    /// The time after 30 s of pulses whose upstroke is steepest `ms` after the R wave, give or take `jitter_ms`.
    fn last(ms: f64, jitter_ms: f64, rate: f64) -> Result<f64, Missing> {
        let channel = ChannelId::of("ppg");
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (values, mut out) = (Values::default(), Readings::default());
        let (period, jitter) = (0.85, |k: i64| jitter_ms * ((k * 7919 % 101) as f64 / 50.0 - 1.0));
        let upstroke = |k: i64| 0.3 + k as f64 * period + (ms + jitter(k)) / 1e3;
        for s in 0..30 {
            let start = EventTime::from_seconds(s);
            // A logistic step is steepest in its middle; it falls back before the next.
            let wave = |t: f64| -> f32 {
                let k = ((t - upstroke(0)) / period).round() as i64;
                let u = t - upstroke(k.max(0));
                let rise = 1.0 / (1.0 + libm::exp(-u / 0.02));
                (rise * if u > 0.12 { libm::exp(-(u - 0.12) * 5.0) } else { 1.0 }) as f32
            };
            let raw: Vec<f32> = (0..rate as usize).map(|i| wave(s as f64 + i as f64 / rate)).collect();
            let run =
                Run { channel, rate: Hertz(rate), start, reset: s == 0, raw: &raw, clean: &raw, bridged: 0 };
            out.clear();
            let mut add = |kind, at: f64, told: f64| {
                if told as i64 == s {
                    let time = EventTime::from_micros((at * 1e6) as i64);
                    out.beats.push(Beat { kind, channel, time, amplitude: 1.0, confidence: 0.95 });
                }
            };
            for k in 0..40 {
                let wave = 0.3 + k as f64 * period;
                add(BeatKind::Qrs, wave, wave);
                // Told a second late, as the detector does.
                add(BeatKind::Pulse, upstroke(k) + 0.12, upstroke(k) + 1.12);
            }
            operator.apply(&Epoch { start, runs: &[run], values: &values }, &mut out);
        }
        out.find("pulse_arrival_time").unwrap().value
    }

    #[test]
    fn arrival_is_found_and_what_no_artery_does_is_absent() {
        for rate in [64.0, 125.0, 250.0] {
            for ms in [180.0, 250.0, 380.0] {
                let found = last(ms, 0.0, rate).unwrap();
                assert!((found - ms).abs() < 9.0, "{rate}: {found} for {ms}");
            }
        }
        assert_eq!(last(600.0, 0.0, 125.0), Err(Missing::Implausible));
        assert_eq!(last(300.0, 150.0, 125.0), Err(Missing::LowQuality));
    }
}
