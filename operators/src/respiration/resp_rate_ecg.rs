//! Respiration rate from the ECG: breathing turns the heart's axis and sways its rhythm.
//! In: QRS beats of `rpeaks` (height in mV, times). Out: breaths per minute.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::breath_series::fused_rate;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Graded, Missing, Readings, Span};
use crate::window::{grade, median_in_place, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Length of the window (s).
    pub window_s: f64,
    /// Time between two readings, counted from midnight of 1 January 1970 (s).
    pub hop_s: f64,
    /// Below this quality there is no rate (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { window_s: 32.0, hop_s: 4.0, quality_floor: 0.4 }
    }
}

const WINDOW: Bound = Bound { name: "window_s", min: 16.0, max: 60.0, unit: "s" };
const HOP: Bound = Bound { name: "hop_s", min: 1.0, max: 30.0, unit: "s" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Most beats kept: a minute at 240 a minute.
const BEATS: usize = 256;
/// An interval further than this from the median belongs to an ectopic or missed beat.
const ECTOPIC: f32 = 0.2;
/// Longer without a beat breaks the series.
const PAUSE: Span = Span::seconds_const(4);
/// Beats to a breath below which breathing is not sampled.
const BEATS_PER_BREATH: f64 = 2.2;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    time: EventTime,
    height: f32,
    confidence: f32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// The lead whose heights these are.
    channel: Option<ChannelId>,
    beats: VecDeque<Seen>,
}

impl State {
    fn take(&mut self, epoch: &Epoch<'_>, out: &Readings, params: &Params) {
        for b in out.beats.iter().filter(|b| b.kind == BeatKind::Qrs) {
            let last = self.beats.back().map(|l| l.time);
            if self.channel != Some(b.channel) || last.is_some_and(|l| b.time - l > PAUSE) {
                // Heights of two leads make no series.
                self.channel = Some(b.channel);
                self.beats.clear();
            }
            if self.beats.back().is_none_or(|l| b.time > l.time) {
                let height = tame(b.amplitude, -50.0, 50.0);
                self.beats.push_back(Seen { time: b.time, height, confidence: b.confidence });
            }
        }
        let oldest = epoch.end() - Span::from_seconds(params.window_s + 2.0);
        while self.beats.len() > BEATS || self.beats.front().is_some_and(|b| b.time < oldest) {
            self.beats.pop_front();
        }
    }

    /// Median interval (s) and the share of intervals near it.
    fn rhythm(&self) -> (f32, f32) {
        let mut spans = [0.0_f32; BEATS];
        let n = self.beats.len().saturating_sub(1);
        for (span, (a, b)) in spans.iter_mut().zip(self.beats.iter().zip(self.beats.iter().skip(1))) {
            *span = (b.time - a.time).seconds() as f32;
        }
        let middle = median_in_place(&mut spans[..n]).unwrap_or(0.0);
        let near = spans[..n].iter().filter(|s| (**s - middle).abs() <= ECTOPIC * middle).count();
        (middle, near as f32 / n.max(1) as f32)
    }

    /// Height and interval of each beat; at ectopic and missed beats the interval is the usual one and the height
    /// that of the beat before.
    fn series(&self, usual_s: f32) -> impl Iterator<Item = (EventTime, [f32; 2])> + '_ {
        let mut height = None;
        self.beats.iter().zip(self.beats.iter().skip(1)).map(move |(a, b)| {
            let span = (b.time - a.time).seconds() as f32;
            let near = (span - usual_s).abs() <= ECTOPIC * usual_s;
            let height = *height.insert(if near { b.height } else { height.unwrap_or(a.height) });
            (b.time, [height, if near { span } else { usual_s }])
        })
    }

    fn answer(&self, now: EventTime, params: &Params) -> Graded {
        let window = Span::from_seconds(params.window_s);
        let Some((first, last)) = self.beats.front().zip(self.beats.back()) else {
            return Graded::missing(Missing::NoData);
        };
        if now - last.time > PAUSE {
            return Graded::missing(Missing::TooFew);
        }
        if now - first.time < window {
            return Graded::missing(Missing::Learning);
        }
        let (usual_s, regular) = self.rhythm();
        let sure = self.beats.iter().map(|b| b.confidence).sum::<f32>() / self.beats.len() as f32;
        let Some((rate, quality)) = fused_rate(self.series(usual_s), now, window) else {
            return Graded::missing(Missing::LowQuality);
        };
        if 60.0 / rate < BEATS_PER_BREATH * f64::from(usual_s) {
            return Graded::missing(Missing::LowQuality);
        }
        let trust = (1.0 - grade(regular, 0.6, 0.95)) * (1.0 - grade(sure, 0.4, 0.8));
        Graded::of(rate, quality * trust, params.quality_floor)
    }
}

struct RespRateEcg {
    params: Params,
    state: State,
}

impl Operator for RespRateEcg {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.state.take(epoch, out, &self.params);
        let hop = (self.params.hop_s.round() as i64).max(1);
        let due = epoch.end().micros().div_euclid(US_PER_S).rem_euclid(hop) == 0;
        if due && self.state.channel.is_some() {
            let answer = self.state.answer(epoch.end(), &self.params);
            let (channel, window) = (self.state.channel, Span::from_seconds(self.params.window_s));
            out.push(answer.reading("resp_rate_ecg", channel, epoch.end(), window));
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
    name: "resp_rate_ecg",
    summary: "Respiration rate from the height and the rhythm of QRS complexes",
    description: "The heights of the R waves and the intervals between them, each on a grid of 4 Hz over 32 s, \
        counted as resp_rate_wave counts; where both agree within 3 /min they are averaged by quality, one alone is \
        believed less. At ectopic or missed beats the usual interval and the height before stand in, and the quality \
        falls with their share: none in atrial fibrillation. Rates above 1 breath per 2.2 beats are not sampled and \
        not told. Sinus arrhythmia fades with age and drugs, the heights do not. Tells nothing of apnoea: the heart \
        has rhythms of its own (4 to 9 /min) that pass for slow breathing.",
    reads: &[],
    writes: &[Output {
        name: "resp_rate_ecg",
        unit: "/min",
        summary: "Breaths per minute from height and rhythm of QRS complexes",
        feeds: "",
    }],
    needs: &["rpeaks"],
    latency: Span::seconds_const(4),
    by_default: false,
    sources: &[
        "Moody GB et al. Derivation of respiratory signals from multi-lead ECGs. Comput Cardiol 1985;12:113-116",
        "Charlton PH et al. Breathing rate estimation from the electrocardiogram and photoplethysmogram: a review. \
         IEEE Rev Biomed Eng 2018;11:2-20. doi:10.1109/RBME.2017.2763681",
    ],
    bounds: &[WINDOW, HOP, QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        WINDOW.check(params.window_s)?;
        HOP.check(params.hop_s)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(RespRateEcg { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Beat, Values};

    /// The last answer after a minute of beats that breathe at 15 /min by height, by rhythm, with jitter.
    fn last(height: f64, sway: f64, jitter: f64) -> Result<f64, Missing> {
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (values, mut out) = (Values::default(), Readings::default());
        let (mut t, mut k, mut said) = (0.2, 0_i64, Err(Missing::NoData));
        for s in 0..60 {
            let start = EventTime::from_seconds(s);
            out.clear();
            while t < s as f64 + 1.0 {
                let breath = libm::sin(t * 0.25 * std::f64::consts::TAU);
                let time = EventTime::from_micros((t * 1e6) as i64);
                let (kind, channel) = (BeatKind::Qrs, ChannelId::of("ecg_ii"));
                let amplitude = (1.0 + height * breath) as f32;
                out.beats.push(Beat { kind, channel, time, amplitude, confidence: 0.95 });
                k += 1;
                let noise = (k * 7919 % 101) as f64 / 50.0 - 1.0;
                t += 0.75 + sway * breath + jitter * noise;
            }
            operator.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
            said = out.find("resp_rate_ecg").map_or(said, |r| r.value);
        }
        said
    }

    #[test]
    fn either_modulation_is_enough_and_fibrillation_is_absent() {
        for (height, sway) in [(0.1, 0.0), (0.0, 0.03), (0.08, 0.03)] {
            let rate = last(height, sway, 0.0);
            assert!(rate.is_ok_and(|r| (r - 15.0).abs() < 0.5), "{height} {sway}: {rate:?}");
        }
        assert_eq!(last(0.1, 0.0, 0.4), Err(Missing::LowQuality));
    }
}
