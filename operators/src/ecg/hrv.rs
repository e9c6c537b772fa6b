//! Variability of the heart's rhythm over five minutes: in time, in slow and fast rhythms, and by entropy.
//! In: QRS beats written earlier, and where the ECG has gaps. Out: every half minute intervals and their spread in ms,
//! power in ms squared, shares in % and 1, entropy in 1.

pub mod bands;
pub mod series;

use std::cell::RefCell;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::bands::{Bands, Rhythm};
use self::series::{Series, mark_normal};
use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{Beat, BeatKind, ChannelId, Epoch, EventTime, Kind, Missing, Reading, Readings, Span};

/// Parameters of `hrv`. The window of five minutes is that of the Task Force, and fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Time between two readings, counted from midnight of 1 January 1970 (s).
    pub hop_s: f64,
    /// Least confidence of the two beats of an interval that counts (0 to 1).
    pub confidence_min: f64,
    /// Least time in the window that normal intervals must cover (s).
    pub covered_min_s: f64,
    /// Greatest share of intervals left out as ectopic or unsure (1).
    pub left_out_max: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { hop_s: 30.0, confidence_min: 0.6, covered_min_s: 240.0, left_out_max: 0.2 }
    }
}

const HOP: Bound = Bound { name: "hop_s", min: 5.0, max: 300.0, unit: "s" };
const CONFIDENCE_MIN: Bound = Bound { name: "confidence_min", min: 0.0, max: 1.0, unit: "" };
const COVERED_MIN: Bound = Bound { name: "covered_min_s", min: 120.0, max: 295.0, unit: "s" };
const LEFT_OUT_MAX: Bound = Bound { name: "left_out_max", min: 0.0, max: 0.5, unit: "" };

/// Length of the window.
const WINDOW: Span = Span::seconds_const(300);
/// A longer time between two beats is a pause or a hole, not an interval.
const PAUSE: Span = Span::seconds_const(4);
/// With a longer hole in the normal intervals there is no spectrum: the spline would make up what lies in it.
const HOLE_S: f64 = 5.0;
/// Without a beat for so long the window speaks of the past.
const STALE: Span = Span::seconds_const(10);
/// Most beats kept: the window at 300 a minute, and one.
const BEATS_MAX: usize = 1501;

/// A beat in the window. Its class would be judged where it is taken in, once beats have one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// Time since the beat before it in the window, in microseconds.
    since_us: u32,
    /// Whether that is an interval: same lead, no gap, no pause.
    interval: bool,
    /// In 255ths.
    confidence: u8,
}

/// What `hrv` knows of a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// Whether there ever was an ECG.
    ever: bool,
    /// Time of the oldest beat kept.
    first: EventTime,
    /// Time and lead of the newest beat kept.
    last: Option<(EventTime, ChannelId)>,
    /// First and last start of the lead after a gap since that beat.
    gaps: Option<(EventTime, EventTime)>,
    /// When the first beat of an unbroken watch came: before five minutes the window is being filled.
    since: EventTime,
    beats: VecDeque<Kept>,
}

/// The intervals of one window, for use again and again.
#[derive(Default)]
struct Workspace {
    all: Vec<f64>,
    normal: Vec<bool>,
    ends_s: Vec<f64>,
    ms: Vec<f64>,
    follows: Vec<bool>,
    rhythm: Option<Rhythm>,
}

thread_local! {
    // No state, and the same for every patient.
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// What is said of a window beside the series itself.
struct Window {
    /// Why there is nothing, if so.
    hindrance: Option<Missing>,
    left_out: Result<f64, Missing>,
    quality: f32,
}

struct Hrv {
    params: Params,
    state: State,
}

impl State {
    /// Notes where the lead of the last beat begins anew.
    fn follow(&mut self, epoch: &Epoch<'_>) {
        self.ever |= epoch.runs.iter().any(|r| r.channel.row().kind == Kind::Ecg && !r.raw.is_empty());
        let Some((last, lead)) = self.last else { return };
        for run in epoch.runs_of(lead).filter(|r| r.reset && r.start > last) {
            self.gaps = Some(self.gaps.map_or((run.start, run.start), |(first, _)| (first, run.start)));
        }
    }

    fn add(&mut self, beat: &Beat) {
        let step = self.last.map(|(time, lead)| (beat.time - time, lead));
        match step {
            Some((step, _)) if step <= Span::ZERO => return,
            Some((step, lead)) if step < WINDOW && !self.beats.is_empty() => {
                let gap = self.gaps.is_some_and(|(first, _)| first <= beat.time);
                let interval = lead == beat.channel && !gap && step <= PAUSE;
                let since_us = u32::try_from(step.micros()).unwrap_or(u32::MAX);
                self.push(Kept { since_us, interval, confidence: in_255ths(beat.confidence) });
            }
            _ => {
                self.beats.clear();
                (self.first, self.since) = (beat.time, beat.time);
                self.push(Kept { since_us: 0, interval: false, confidence: in_255ths(beat.confidence) });
            }
        }
        self.last = Some((beat.time, beat.channel));
        self.gaps = self.gaps.filter(|(_, last)| *last > beat.time).map(|(_, last)| (last, last));
    }

    fn push(&mut self, beat: Kept) {
        if self.beats.len() == BEATS_MAX {
            self.pop();
        }
        self.beats.push_back(beat);
    }

    fn pop(&mut self) {
        self.beats.pop_front();
        if let Some(next) = self.beats.front_mut() {
            self.first = self.first + Span::from_micros(i64::from(next.since_us));
            (next.since_us, next.interval) = (0, false);
        }
    }

    fn forget(&mut self, before: EventTime) {
        while !self.beats.is_empty() && self.first < before {
            self.pop();
        }
    }
}

fn in_255ths(confidence: f32) -> u8 {
    (confidence.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}

impl Hrv {
    fn due(&self, end: EventTime) -> bool {
        let hop = (self.params.hop_s.round() as i64).max(1);
        end.micros().div_euclid(US_PER_S).rem_euclid(hop) == 0
    }

    /// Lays out the normal intervals of the window.
    fn lay_out(&self, end: EventTime, space: &mut Workspace) -> Window {
        let s = &self.state;
        let Workspace { all, normal, ends_s, ms, follows, .. } = space;
        [&mut *all, &mut *ends_s, &mut *ms].into_iter().for_each(Vec::clear);
        [&mut *normal, &mut *follows].into_iter().for_each(Vec::clear);
        let length = |b: &Kept| f64::from(b.since_us) / 1e3;
        all.extend(s.beats.iter().filter(|b| b.interval).map(length));
        normal.resize(all.len(), false);
        mark_normal(all, normal);
        let mut marks = normal.iter();
        let (mut at_s, mut before, mut joined) = (0.0, 0.0, false);
        let mut confidences = 0.0;
        for b in &s.beats {
            at_s += f64::from(b.since_us) / 1e6;
            let now = f64::from(b.confidence) / 255.0;
            let sure = now.min(before);
            let good = b.interval && marks.next() == Some(&true) && sure >= self.params.confidence_min;
            if good {
                ends_s.push(at_s);
                ms.push(length(b));
                follows.push(joined);
                confidences += sure;
            }
            (before, joined) = (now, good);
        }
        let covered: f64 = ms.iter().sum::<f64>() / 1e3;
        let left_out = if all.is_empty() { 1.0 } else { 1.0 - ms.len() as f64 / all.len() as f64 };
        let young = end - s.since < WINDOW;
        let hindrance = match s.last {
            _ if !s.ever => Some(Missing::NoData),
            None => Some(Missing::TooFew),
            Some((last, _)) if end - last > STALE => Some(Missing::Stale),
            Some(_) if left_out > self.params.left_out_max && all.len() > 30 => Some(Missing::LowQuality),
            Some(_) if covered < self.params.covered_min_s && young => Some(Missing::Learning),
            Some(_) if covered < self.params.covered_min_s => Some(Missing::TooFew),
            Some(_) => None,
        };
        let share = (covered / WINDOW.seconds()).min(1.0);
        let quality = (confidences / ms.len().max(1) as f64 * share) as f32;
        let known = all.len() > 30 && !matches!(hindrance, Some(Missing::NoData | Missing::Stale));
        let why = hindrance.unwrap_or(Missing::TooFew);
        Window { hindrance, left_out: if known { Ok(left_out) } else { Err(why) }, quality }
    }

    fn report(&self, end: EventTime, space: &mut Workspace, out: &mut Readings) {
        let window = self.lay_out(end, space);
        let Workspace { ends_s, ms, follows, rhythm, .. } = space;
        let series = Series { ends_s, ms, follows };
        let time = window.hindrance.map_or_else(|| series.time_domain(), Err);
        let entropy = window.hindrance.map_or_else(|| series.sample_entropy(), Err);
        let bands = match window.hindrance {
            Some(why) => Err(why),
            None if ends_s.windows(2).any(|w| w[1] - w[0] > HOLE_S) => Err(Missing::TooFew),
            None => bands(rhythm, &series),
        };
        let values = [
            time.map(|t| t.mean_ms),
            time.map(|t| t.sdnn_ms),
            time.map(|t| t.rmssd_ms),
            time.map(|t| t.pnn50_percent),
            bands.map(|b| b.low_ms2),
            bands.map(|b| b.high_ms2),
            bands.and_then(|b| ratio(b.low_ms2, b.high_ms2)),
            time.map(|t| t.sd1_ms),
            time.map(|t| t.sd2_ms),
            entropy,
            window.left_out,
        ];
        for (o, value) in WRITES.iter().zip(values) {
            let value = value.and_then(|v| if v.is_finite() { Ok(v) } else { Err(Missing::TooFew) });
            let quality = if value.is_ok() { window.quality.clamp(0.0, 1.0) } else { 0.0 };
            out.push(Reading { name: o.name, channel: None, time: end, window: WINDOW, value, quality });
        }
    }
}

fn bands(rhythm: &mut Option<Rhythm>, series: &Series<'_>) -> Result<Bands, Missing> {
    if rhythm.is_none() {
        *rhythm = Rhythm::new();
    }
    rhythm.as_mut().ok_or(Missing::TooFew)?.bands(series)
}

/// Of nothing to nothing there is no ratio.
fn ratio(low: f64, high: f64) -> Result<f64, Missing> {
    if high > 1e-6 { Ok(low / high) } else { Err(Missing::TooFew) }
}

impl Operator for Hrv {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let end = epoch.end();
        self.state.follow(epoch);
        out.beats.iter().filter(|b| b.kind == BeatKind::Qrs).for_each(|b| self.state.add(b));
        self.state.forget(end - WINDOW);
        if self.due(end) {
            WORKSPACE.with_borrow_mut(|space| self.report(end, space, out));
        }
    }

    fn far(&self, next: EventTime, to: &mut Far) {
        let (older, newer) = self.state.beats.as_slices();
        if self.due(next) {
            to.add(older);
            to.add(newer);
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

static WRITES: [Output; 11] = [
    Output::new("hrv_mean_nn", "ms", "Mean normal interval between beats"),
    Output::new("hrv_sdnn", "ms", "Standard deviation of normal intervals"),
    Output::new("hrv_rmssd", "ms", "Root mean square of successive differences of normal intervals"),
    Output::new("hrv_pnn50", "%", "Successive normal intervals that differ by more than 50 ms"),
    Output::new("hrv_lf", "ms2", "Power of the intervals from 0.04 to 0.15 Hz"),
    Output::new("hrv_hf", "ms2", "Power of the intervals from 0.15 to 0.4 Hz"),
    Output::new("hrv_lf_hf", "1", "Power from 0.04 to 0.15 Hz over that from 0.15 to 0.4 Hz"),
    Output::new("hrv_sd1", "ms", "Width of the plot of each interval over the one before"),
    Output::new("hrv_sd2", "ms", "Length of the plot of each interval over the one before"),
    Output::new(
        "hrv_sample_entropy",
        "1",
        "Sample entropy of the intervals (templates of two, a fifth of the SD)",
    ),
    Output::new("hrv_left_out", "1", "Share of intervals left out as ectopic or unsure"),
];

/// The card.
pub static SPEC: Spec = Spec {
    name: "hrv",
    summary: "Variability of the intervals between beats over five minutes",
    description: "Intervals end and begin with QRS complexes of one lead; across a gap of that lead, a change of lead \
        or a pause of more than four seconds there is none. An interval is left out if it differs by more than 20 % \
        from the median of the five around it (an ectopic or missed beat begins or ends it) or, that being so for \
        both, from the one before (as in bigeminy), or if one of its beats is less sure than confidence_min; beats \
        have no class yet. Differences are taken only between intervals \
        that follow one another. Nothing is said unless normal intervals cover four of the five minutes, and with \
        more than a fifth of them left out: in atrial fibrillation or bigeminy there are no normal intervals to \
        speak of. Atrial fibrillation with a small spread passes, and its numbers then say nothing of the autonomic \
        nerves: by this rule, of five-minute windows wholly in atrial fibrillation of ten long records (MIT-BIH AF \
        database, RR exports) 17 % were said, and 92 % of those wholly out of it. LF and HF: quadratic spline at 4 Hz \
        over what was left out, Welch with three Hann segments of half \
        the series, as neurokit2 does; with a hole of more than 5 s there is none. Entropy runs over what was left \
        out as if it had not been there. pNN50 is the share of all intervals, as the Task Force has it. Intervals \
        are as exact as the times of the R waves: below 250 Hz a spread of some ms is that of sampling.",
    reads: &[Kind::Ecg],
    writes: &WRITES,
    needs: &["rpeaks"],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Task Force of ESC and NASPE. Circulation 1996;93:1043-1065. doi:10.1161/01.CIR.93.5.1043 (measures, bands)",
        "Brennan M, Palaniswami M, Kamen P. IEEE Trans Biomed Eng 2001;48:1342-1347. doi:10.1109/10.959330 (SD1, SD2)",
        "Richman JS, Moorman JR. Am J Physiol Heart Circ Physiol 2000;278:H2039-H2049. \
         doi:10.1152/ajpheart.2000.278.6.H2039 (sample entropy)",
        "Makowski D et al. Behav Res Methods 2021;53:1689-1696. doi:10.3758/s13428-020-01516-y (neurokit2)",
    ],
    bounds: &[HOP, CONFIDENCE_MIN, COVERED_MIN, LEFT_OUT_MAX],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        HOP.check(params.hop_s)?;
        CONFIDENCE_MIN.check(params.confidence_min)?;
        COVERED_MIN.check(params.covered_min_s)?;
        LEFT_OUT_MAX.check(params.left_out_max)?;
        Ok(Box::new(Hrv { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Hertz, Run, Values};

    /// Beats of one second on an ECG that may begin anew; what is said then.
    fn second(op: &mut dyn Operator, s: i64, reset: bool, beats: &[(i64, &str, f32)]) -> Readings {
        let mv = [0.0f32; 250];
        let start = EventTime::from_seconds(s);
        let leads = ["ecg_ii", "ecg_v5"].map(ChannelId::of);
        let run =
            |channel| Run { channel, rate: Hertz(250.0), start, reset, raw: &mv, clean: &mv, bridged: 0 };
        let mut out = Readings::default();
        for &(ms, lead, confidence) in beats {
            let (kind, channel) = (BeatKind::Qrs, ChannelId::of(lead));
            let time = EventTime::from_micros(ms * 1000);
            out.beats.push(Beat { kind, channel, time, amplitude: 1.0, confidence });
        }
        op.apply(&Epoch { start, runs: &leads.map(run), values: &Values::default() }, &mut out);
        out
    }

    /// Five minutes and a half of beats; what is said at the end.
    fn said(all: &[(i64, &str, f32)], resets: &[i64]) -> Readings {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let mut last = Readings::default();
        for s in 0..330 {
            let now: Vec<_> = all.iter().copied().filter(|b| b.0 / 1000 == s).collect();
            last = second(op.as_mut(), s, s == 0 || resets.contains(&s), &now);
            assert_eq!(last.items.len(), if s % 30 == 29 { WRITES.len() } else { 0 });
        }
        last
    }

    fn value(out: &Readings, name: &str) -> Result<f64, Missing> {
        out.find(name).unwrap().value
    }

    /// Intervals of 780 and 820 ms in turn.
    fn steady() -> Vec<(i64, &'static str, f32)> {
        (0..412).map(|k| (100 + 800 * k + 20 * (k % 2), "ecg_ii", 0.95)).collect()
    }

    #[test]
    fn alternating_intervals_have_the_variability_they_are_made_of() {
        let out = said(&steady(), &[]);
        assert!((value(&out, "hrv_mean_nn").unwrap() - 800.0).abs() < 0.2);
        assert!((value(&out, "hrv_rmssd").unwrap() - 40.0).abs() < 1e-6);
        assert!((value(&out, "hrv_sdnn").unwrap() - 20.0).abs() < 0.1);
        assert_eq!((value(&out, "hrv_pnn50"), value(&out, "hrv_left_out")), (Ok(0.0), Ok(0.0)));
        assert!(value(&out, "hrv_hf").is_ok());
    }

    #[test]
    fn ectopic_beats_gaps_and_changes_of_lead_leave_no_trace() {
        let mut all = steady();
        for k in [50, 120, 200, 300] {
            all[k].0 -= 260;
        }
        // The other lead sees the R wave 15 ms later.
        for b in &mut all[150..250] {
            (b.0, b.1) = (b.0 + 15, "ecg_v5");
        }
        let out = said(&all, &[90, 270]);
        assert!((value(&out, "hrv_rmssd").unwrap() - 40.0).abs() < 1e-6, "{:?}", value(&out, "hrv_rmssd"));
        assert!((value(&out, "hrv_left_out").unwrap() - 8.0 / 372.0).abs() < 0.001);
    }

    #[test]
    fn what_is_not_sinus_or_not_sure_is_not_said() {
        let bigeminy: Vec<_> =
            steady().iter().enumerate().map(|(k, b)| (b.0 - 200 * (k as i64 % 2), b.1, b.2)).collect();
        assert_eq!(value(&said(&bigeminy, &[]), "hrv_sdnn"), Err(Missing::LowQuality));
        let unsure: Vec<_> = steady().iter().map(|b| (b.0, b.1, 0.4)).collect();
        assert_eq!(value(&said(&unsure, &[]), "hrv_sdnn"), Err(Missing::LowQuality));
        let late: Vec<_> = steady().into_iter().filter(|b| b.0 > 150_000).collect();
        assert_eq!(value(&said(&late, &[]), "hrv_sdnn"), Err(Missing::Learning));
        let gone: Vec<_> = steady().into_iter().filter(|b| b.0 < 310_000).collect();
        assert_eq!(value(&said(&gone, &[]), "hrv_sdnn"), Err(Missing::Stale));
        let hole: Vec<_> = steady().into_iter().filter(|b| !(200_000..208_000).contains(&b.0)).collect();
        let out = said(&hole, &[]);
        assert!(value(&out, "hrv_sdnn").is_ok());
        assert_eq!(value(&out, "hrv_lf"), Err(Missing::TooFew));
    }
}
