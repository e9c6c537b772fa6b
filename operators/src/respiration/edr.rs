//! Respiration rate from the ECG alone: breathing turns the heart's axis and moves its rate.
//! In: QRS complexes with their heights. Out: `resp_rate_ecg` in /min over the last three quarters of a minute,
//! every few seconds, or the reason why there is none.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::breath_count::breaths_per_minute;
use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{Beat, BeatKind, ChannelId, Epoch, EventTime, Kind, Missing, Reading, Readings, Span};
use crate::window::{grade, median_in_place, tame};

/// Parameters of `edr`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Length of the window (s).
    pub window_s: f64,
    /// Time between two readings, counted from midnight of 1 January 1970 (s).
    pub hop_s: f64,
    /// Below this quality no rate is given (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { window_s: 45.0, hop_s: 4.0, quality_floor: 0.5 }
    }
}

const WINDOW: Bound = Bound { name: "window_s", min: 30.0, max: 60.0, unit: "s" };
const HOP: Bound = Bound { name: "hop_s", min: 1.0, max: 30.0, unit: "s" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Rate of the even series made from beats (Hz).
const SERIES_HZ: f64 = 4.0;
/// Most values of a series: 60 s, with room.
const SERIES: usize = 248;
/// Most beats kept: 62 s at 240 a minute.
const BEATS: usize = 250;
/// Beats wait for so long to be told (s): the window ends there.
const SETTLED_S: f64 = 1.0;
/// Least share of the window that beats must span.
const SPANNED: f64 = 0.85;
/// Longest interval between beats (s).
const RR_MOST_S: f64 = 2.5;
/// A beat whose interval or height differs by more from the median of the five around it is ectopic or false.
const ODD_RR: f32 = 0.2;
const ODD_HEIGHT: f32 = 0.4;
/// Rates closer together than this agree (/min).
const AGREE: f64 = 2.5;
/// A rate above so large a share of the heart's is an echo of the beats: two samples a wave are too few.
const NYQUIST: f64 = 0.45;
/// How far one series alone, and two that agree, are believed.
const BELIEF: [f32; 2] = [0.65, 1.0];

/// A beat: when, how high, how long after the one before (s; 0 if that is not known).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    time: EventTime,
    height: f32,
    rr_s: f32,
    confidence: f32,
}

/// What `edr` knows of a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    channel: Option<ChannelId>,
    beats: VecDeque<Seen>,
    /// Whether there ever was a beat.
    ever: bool,
}

struct Edr {
    params: Params,
    state: State,
}

impl State {
    /// Heights are those of one lead: where another takes over, all begins anew.
    fn add(&mut self, b: &Beat) {
        if self.channel != Some(b.channel) {
            (self.channel, self.ever) = (Some(b.channel), true);
            self.beats.clear();
        }
        let before = self.beats.back().map(|l| l.time);
        if before.is_some_and(|t| t >= b.time) {
            return;
        }
        let rr_s = before.map_or(0.0, |t| (b.time - t).seconds() as f32);
        if self.beats.len() == BEATS {
            self.beats.pop_front();
        }
        let height = tame(b.amplitude, -50.0, 50.0);
        self.beats.push_back(Seen { time: b.time, height, rr_s, confidence: b.confidence });
    }

    /// Median of a measure over the five beats around one.
    fn around(&self, i: usize, of: impl Fn(&Seen) -> f32) -> f32 {
        let mut five = [0.0; 5];
        let (from, to) = (i.saturating_sub(2), (i + 3).min(self.beats.len()));
        let n = to - from;
        five.iter_mut().zip(self.beats.range(from..to)).for_each(|(slot, b)| *slot = of(b));
        median_in_place(&mut five[..n]).unwrap_or(0.0)
    }

    /// Whether height and interval of a beat are those of its neighbours.
    fn usual(&self, i: usize) -> bool {
        let b = &self.beats[i];
        let (rr, height) = (self.around(i, |b| b.rr_s), self.around(i, |b| b.height));
        b.rr_s > 0.0
            && (b.rr_s - rr).abs() <= ODD_RR * rr
            && (b.height - height).abs() <= ODD_HEIGHT * height.abs()
    }

    /// Heights and intervals of usual beats on an even grid from `from` to `to`; how many values, and which share of
    /// the beats they come from.
    fn series(&self, from: EventTime, to: EventTime, out: &mut [[f32; SERIES]; 2]) -> Option<(usize, f32)> {
        let (mut count, mut taken, mut seen) = (0, 0, 0);
        let (mut first, mut last): (Option<EventTime>, Option<(EventTime, [f32; 2])>) = (None, None);
        let step = Span::from_seconds(1.0 / SERIES_HZ);
        let mut grid = from;
        for i in 0..self.beats.len() {
            let b = &self.beats[i];
            if b.time < from || b.time > to {
                continue;
            }
            seen += 1;
            if !self.usual(i) {
                continue;
            }
            taken += 1;
            let now = [b.height, b.rr_s];
            if let Some((then, old)) = last {
                if (b.time - then).seconds() > 2.0 * RR_MOST_S {
                    return None;
                }
                let span = (b.time - then).micros().max(1) as f32;
                while grid <= b.time && count < SERIES {
                    let part = ((grid - then).micros() as f32 / span).clamp(0.0, 1.0);
                    for (line, (x, old)) in out.iter_mut().zip(now.iter().zip(old)) {
                        line[count] = old + (x - old) * part;
                    }
                    count += 1;
                    grid = grid + step;
                }
            } else {
                (first, grid) = (Some(b.time), b.time);
            }
            last = Some((b.time, now));
        }
        let spanned = (last?.0 - first?).seconds();
        (spanned >= SPANNED * (to - from).seconds()).then(|| (count, taken as f32 / seen.max(1) as f32))
    }

    fn rate(&self, end: EventTime, params: &Params) -> Result<(f64, f32), Missing> {
        let (to, floor) = (end - Span::from_seconds(SETTLED_S), params.quality_floor as f32);
        let from = to - Span::from_seconds(params.window_s);
        let recent = self.beats.iter().filter(|b| b.time >= from).count();
        if recent < 2 {
            return Err(if self.ever { Missing::TooFew } else { Missing::NoData });
        }
        if self.beats.front().is_some_and(|b| b.time > from + Span::from_seconds(0.1 * params.window_s)) {
            return Err(Missing::Learning);
        }
        let mut series = [[0.0; SERIES]; 2];
        let (count, normal) = self.series(from, to, &mut series).ok_or(Missing::TooFew)?;
        let confidence =
            self.beats.iter().map(|b| b.confidence).sum::<f32>() / self.beats.len().max(1) as f32;
        let beats_per_min = recent as f64 * 60.0 / params.window_s;
        let found = [0, 1].map(|k| {
            let line = &series[k][..count];
            // What is below the resolution of the samples is no breathing.
            let flat = line.iter().fold(0.0f32, |m, x| m.max((x - line[0]).abs())) < [0.01, 0.008][k];
            let heard = if flat { None } else { breaths_per_minute(line, SERIES_HZ) };
            heard.filter(|(rate, _)| *rate <= NYQUIST * beats_per_min)
        });
        let (rate, quality) = match found {
            [Some(a), Some(b)] if (a.0 - b.0).abs() <= AGREE => {
                let weight = f64::from(a.1 + b.1).max(1e-9);
                ((a.0 * f64::from(a.1) + b.0 * f64::from(b.1)) / weight, BELIEF[1] * a.1.max(b.1))
            }
            // Of two that disagree the better one is believed as far as it is better.
            [Some(a), Some(b)] => {
                let (one, other) = if a.1 >= b.1 { (a, b) } else { (b, a) };
                (one.0, BELIEF[0] * (one.1 - 0.5 * other.1).max(0.0))
            }
            [Some(one), None] | [None, Some(one)] => (one.0, BELIEF[0] * one.1),
            [None, None] => return Err(Missing::LowQuality),
        };
        let quality = quality * grade(1.0 - normal, 0.1, 0.5) * grade(1.0 - confidence, 0.1, 0.5);
        if quality < floor { Err(Missing::LowQuality) } else { Ok((rate, quality.clamp(0.0, 1.0))) }
    }
}

impl Operator for Edr {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        out.beats.iter().filter(|b| b.kind == BeatKind::Qrs).for_each(|b| self.state.add(b));
        let end = epoch.end();
        let window = Span::from_seconds(self.params.window_s);
        let since = end - window - Span::seconds_const(4);
        while self.state.beats.front().is_some_and(|b| b.time < since) {
            self.state.beats.pop_front();
        }
        let hop_us = (self.params.hop_s as i64).max(1) * US_PER_S;
        if end.micros().rem_euclid(hop_us) != 0 {
            return;
        }
        let said = self.state.rate(end, &self.params);
        out.push(Reading {
            name: "resp_rate_ecg",
            channel: self.state.channel,
            time: end,
            window,
            value: said.map(|s| s.0),
            quality: said.map_or(0.0, |s| s.1),
        });
    }

    fn far(&self, _next: EventTime, to: &mut Far) {
        let (older, newer) = self.state.beats.as_slices();
        to.add(older);
        to.add(newer);
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = load_state(SPEC.name, bytes)?;
        if state.beats.len() > BEATS {
            return Err(StateError { operator: SPEC.name, reason: "too many beats".into() });
        }
        self.state = state;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "edr",
    summary: "Respiration rate from the ECG: height and spacing of its QRS complexes",
    description: "Heights of R waves (breathing turns the heart's axis and changes the chest's resistance) \
        and RR intervals (sinus arrhythmia) of the last 45 s become two even series of 4 Hz, ectopic beats \
        left out. Breaths are counted in each as resp_rate_wave does. Where both agree within 2.5 /min the \
        mean weighted by quality is given; one alone, or the better of two, is believed less. Rates above \
        45 % of the heart rate cannot be seen: a beat is a sample. Fast breathing of a slow heart therefore \
        folds down to a slower rate, and such a rate looks right: take it as a witness beside impedance and \
        pulse, never alone. Absent in atrial fibrillation and pacing unless the height of R moves clearly. \
        Linear interpolation in place of a spline.",
    reads: &[Kind::Ecg],
    writes: &[Output {
        name: "resp_rate_ecg",
        unit: "/min",
        summary: "Respiration rate as the ECG shows it",
        feeds: "",
    }],
    needs: &["rpeaks"],
    latency: Span::seconds_const(3),
    by_default: false,
    sources: &[
        "Moody GB et al. Comput Cardiol 1985;12:113-116 (respiration from heights of R waves)",
        "Charlton PH et al. Physiol Meas 2016;37:610-626. doi:10.1088/0967-3334/37/4/610 (series, fusion, quality)",
        "Schäfer A, Kratky KW. Ann Biomed Eng 2008;36:476-485. doi:10.1007/s10439-007-9428-1 (counting)",
    ],
    bounds: &[WINDOW, HOP, QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        WINDOW.check(params.window_s)?;
        HOP.check(params.hop_s)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(Edr { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop and tells its figures")]
mod tests {
    use super::*;
    use crate::signal::Values;

    /// What is said at the end of 90 s of beats; height and interval (s) by time of the beat.
    fn last(height: impl Fn(f64) -> f32, rr_s: impl Fn(f64) -> f64) -> (Result<f64, Missing>, f32, usize) {
        let channel = ChannelId::named("ecg_ii").unwrap();
        let mut op = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (mut time, mut said) = (0.3, (Err(Missing::NoData), 0.0));
        for s in 0..92 {
            let mut out = Readings::default();
            while time < f64::from(s) + 0.5 {
                let (kind, amplitude) = (BeatKind::Qrs, height(time));
                let at = EventTime::from_micros((time * 1e6) as i64);
                out.beats.push(Beat { kind, channel, time: at, amplitude, confidence: 0.98 });
                time += rr_s(time);
            }
            let start = EventTime::from_seconds(i64::from(s));
            op.apply(&Epoch { start, runs: &[], values: &Values::default() }, &mut out);
            if let Some(r) = out.find("resp_rate_ecg") {
                said = (r.value, r.quality);
            }
        }
        let mut bytes = vec![];
        op.save(&mut bytes);
        (said.0, said.1, bytes.len())
    }

    fn wave(t: f64, per_min: f64) -> f64 {
        libm::sin(2.0 * std::f64::consts::PI * per_min / 60.0 * t)
    }

    #[test]
    fn breathing_shows_in_heights_and_intervals() {
        for per_min in [8.0, 12.0, 18.0, 25.0] {
            let height = |t: f64| 1.0 + 0.1 * wave(t, per_min) as f32;
            let rr = |t: f64| 0.8 + 0.04 * wave(t + 0.7, per_min);
            for (said, quality, bytes) in [last(height, rr), last(height, |_| 0.8), last(|_| 1.0, rr)] {
                assert!((said.unwrap() - per_min).abs() < 1.0, "{said:?} for {per_min}");
                assert!(quality > 0.4 && bytes < 4000, "{quality} {bytes}");
            }
            assert!(last(height, rr).1 > last(height, |_| 0.8).1);
        }
        eprintln!("edr: {} bytes of state at 75 beats a minute", last(|_| 1.0, |_| 0.8).2);
    }

    #[test]
    fn ectopic_beats_are_left_out() {
        let height = |t: f64| if (t / 6.0).fract() < 0.13 { 2.0 } else { 1.0 + 0.1 * wave(t, 15.0) as f32 };
        let said = last(height, |_| 0.8);
        assert!((said.0.unwrap() - 15.0).abs() < 1.0, "{said:?}");
    }

    #[test]
    fn where_nothing_moves_or_all_is_irregular_nothing_is_claimed() {
        assert!(last(|_| 1.0, |_| 0.8).0.is_err());
        // Chance looks like breathing now and then, and is then hardly believed.
        let said: Vec<_> = (0..30)
            .map(|seed| {
                let odd = |t: f64| (libm::sin((t + f64::from(seed)) * 7.13) * 1e4).fract();
                last(|t| 1.0 + 0.05 * odd(t) as f32, |t| 0.75 + 0.2 * odd(t + 3.0))
            })
            .collect();
        let claimed: Vec<f32> = said.iter().filter(|s| s.0.is_ok()).map(|s| s.1).collect();
        assert!(claimed.len() <= 3 && claimed.iter().all(|q| *q < 0.75), "{claimed:?}");
        // A breath every second beat and faster cannot be seen.
        let fast = last(|t| 1.0 + 0.1 * wave(t, 40.0) as f32, |_| 0.8);
        assert!(fast.0.is_err() || fast.0.unwrap() < 40.0, "{fast:?}");
    }
}
