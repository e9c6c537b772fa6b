//! Heart rate, intervals between beats, and the time without a beat.
//! In: QRS beats written earlier in this epoch, and whether the ECG has samples. Out: rate per minute, intervals and
//! their variability in ms, seconds since the last QRS complex; in asystole the rate is absent and the time grows.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::filter::dispatch::{Far, Kernel, widest};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{BeatKind, Epoch, EventTime, Kind, Missing, Reading, Readings, Span};

/// Parameters of `heart_rate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Least mean confidence of the beats for a rate to be given (0 to 1).
    pub confidence_min: f64,
    /// Noise (`qrs_noise` of `rpeaks`) from which the absence of beats says nothing (1).
    pub noise_max: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { confidence_min: 0.6, noise_max: 0.6 }
    }
}

const CONFIDENCE_MIN: Bound = Bound { name: "confidence_min", min: 0.0, max: 1.0, unit: "" };
const NOISE_MAX: Bound = Bound { name: "noise_max", min: 0.1, max: 10.0, unit: "" };

/// Most intervals whose median is the rate, and the time they must end in.
const INTERVALS: usize = 8;
const RATE_WINDOW: Span = Span::seconds_const(10);
/// Fewer intervals make no rate.
const INTERVALS_MIN: usize = 2;
/// Longer without a beat, and there is no rate (PhysioNet 2015: asystole is four seconds without a QRS complex).
const PAUSE: Span = Span::seconds_const(4);
/// Window of the variability, and the least of it that must be filled.
const RMSSD_WINDOW: Span = Span::seconds_const(60);
const RMSSD_FILLED: Span = Span::seconds_const(30);
/// Least number of differences.
const DIFFERENCES_MIN: usize = 15;
/// An interval that differs by more from the median of the five around it begins or ends with an ectopic or a missed
/// beat, and is left out.
const ECTOPIC_SHARE: f64 = 0.2;
/// Most beats kept: the window at 300 a minute, and one.
const BEATS_MAX: usize = 301;

/// A beat as far as this operator needs it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    time: EventTime,
    confidence: f32,
}

/// What `heart_rate` knows of a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// Start of the ECG since which no gap has touched all leads; `None` while there is no ECG.
    since: Option<EventTime>,
    /// Whether there ever was an ECG.
    ever: bool,
    /// Beats since then, at most of the last minute.
    beats: VecDeque<Seen>,
}

struct HeartRate {
    params: Params,
    state: State,
}

/// A value or its absence, with the quality of what it came from.
type Graded = (Result<f64, Missing>, f32);

/// Root mean square of the differences of successive intervals in ms, without the intervals at ectopic or missed
/// beats; `None` if fewer than fifteen differences, or fewer than half of all, are left.
///
/// ```
/// use auscult_operators::ecg::heart_rate::rmssd;
/// let steady: Vec<f64> = (0..40).map(|i| if i % 2 == 0 { 800.0 } else { 820.0 }).collect();
/// assert!((rmssd(&steady).unwrap() - 20.0).abs() < 1e-9);
/// let mut ectopic = steady.clone();
/// (ectopic[20], ectopic[21]) = (500.0, 1120.0);
/// assert!((rmssd(&ectopic).unwrap() - 20.0).abs() < 1e-9);
/// assert!(rmssd(&steady[..10]).is_none());
/// ```
pub fn rmssd(intervals_ms: &[f64]) -> Option<f64> {
    let n = intervals_ms.len().min(BEATS_MAX);
    let mut normal = [false; BEATS_MAX];
    widest(Normal { intervals_ms, normal: &mut normal[..n] });
    let (mut sum, mut count) = (0.0, 0usize);
    for i in 1..n {
        if normal[i] && normal[i - 1] {
            let d = intervals_ms[i] - intervals_ms[i - 1];
            sum += d * d;
            count += 1;
        }
    }
    let enough = count >= DIFFERENCES_MIN && 2 * count >= intervals_ms.len();
    enough.then(|| (sum / count as f64).sqrt())
}

/// Which intervals are near the median of the five around them.
struct Normal<'a> {
    intervals_ms: &'a [f64],
    normal: &'a mut [bool],
}

impl Kernel for Normal<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let (x, n) = (self.intervals_ms, self.normal.len());
        let near = |x: f64, middle: f64| (x - middle).abs() <= ECTOPIC_SHARE * middle;
        if n >= 5 {
            let inner = &mut self.normal[2..n - 2];
            let m = inner.len();
            let (a, b, c, d, e) = (&x[..m], &x[1..=m], &x[2..m + 2], &x[3..m + 3], &x[4..m + 4]);
            for i in 0..m {
                inner[i] = near(c[i], middle_of_five([a[i], b[i], c[i], d[i], e[i]]));
            }
        }
        // The first and the last two have fewer around them.
        for i in (0..n).filter(|&i| i < 2 || i + 2 >= n) {
            self.normal[i] = near(x[i], median(&x[i.saturating_sub(2)..(i + 3).min(n)]));
        }
    }
}

/// The median of five without a sort: neither the lowest nor the highest of four is the middle of five.
#[inline(always)]
fn middle_of_five([a, b, c, d, e]: [f64; 5]) -> f64 {
    let less = |a: f64, b: f64| if a < b { a } else { b };
    let more = |a: f64, b: f64| if a > b { a } else { b };
    let inner = (more(less(a, b), less(c, d)), less(more(a, b), more(c, d)));
    less(more(e, less(inner.0, inner.1)), more(inner.0, inner.1))
}

/// Median of at most [`INTERVALS`] numbers; of an even count the mean of the middle two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = [0.0; INTERVALS];
    let n = values.len().min(INTERVALS);
    sorted[..n].copy_from_slice(&values[..n]);
    sorted[..n].sort_by(f64::total_cmp);
    if n == 0 { 0.0 } else { 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]) }
}

impl State {
    /// Follows the ECG: where it begins anew on every lead, what was before is forgotten.
    /// `watched` says whether a lead is there in which beats are looked for: of others their absence says nothing.
    fn follow(&mut self, epoch: &Epoch<'_>, watched: bool) {
        let ecg = || epoch.runs.iter().filter(|r| r.channel.row().kind == Kind::Ecg && !r.raw.is_empty());
        let broken = |r: &&crate::signal::Run<'_>| epoch.runs_of(r.channel).any(|other| other.reset);
        if !watched || ecg().next().is_none() {
            self.since = None;
            self.beats.clear();
            return;
        }
        self.ever = true;
        let unbroken = self.since.is_some() && ecg().any(|r| !broken(&r));
        if !unbroken {
            // The last start of each lead; the earliest of these is where the ECG begins again.
            let last_start = |r: &crate::signal::Run<'_>| {
                epoch.runs_of(r.channel).filter(|o| o.reset).map(|o| o.start).max().unwrap_or(r.start)
            };
            self.since = ecg().map(last_start).min();
            self.beats.clear();
        }
    }

    fn add(&mut self, out: &Readings, end: EventTime) {
        let Some(since) = self.since else { return };
        for b in out.beats.iter().filter(|b| b.kind == BeatKind::Qrs && b.time >= since) {
            if self.beats.back().is_none_or(|last| b.time > last.time) {
                if self.beats.len() == BEATS_MAX {
                    self.beats.pop_front();
                }
                self.beats.push_back(Seen { time: b.time, confidence: b.confidence });
            }
        }
        while self.beats.front().is_some_and(|b| b.time < end - RMSSD_WINDOW) {
            self.beats.pop_front();
        }
    }

    /// Last intervals in ms, newest first, that end after `from`. A pause is no interval: rates start anew after it,
    /// so that an asystole that is over does not look like a heart that beats three times a minute.
    fn intervals(&self, from: EventTime) -> impl Iterator<Item = f64> + '_ {
        let pairs = self.beats.iter().rev().zip(self.beats.iter().rev().skip(1));
        pairs
            .take_while(move |(b, a)| b.time > from && b.time - a.time <= PAUSE)
            .map(|(b, a)| (b.time - a.time).seconds() * 1e3)
    }

    fn confidence(&self, beats: usize) -> f32 {
        let n = self.beats.len().min(beats).max(1);
        self.beats.iter().rev().take(n).map(|b| b.confidence).sum::<f32>() / n as f32
    }
}

impl HeartRate {
    /// Why there is nothing to be said of the beats, if so.
    fn hindrance(&self, end: EventTime) -> Option<Missing> {
        let s = &self.state;
        let Some(since) = s.since else {
            return Some(if s.ever { Missing::Stale } else { Missing::NoData });
        };
        match s.beats.back() {
            None if end - since <= PAUSE => Some(Missing::Learning),
            None => Some(Missing::TooFew),
            Some(last) if end - last.time > PAUSE => Some(Missing::TooFew),
            Some(_) if f64::from(s.confidence(INTERVALS + 1)) < self.params.confidence_min => {
                Some(Missing::LowQuality)
            }
            Some(_) => None,
        }
    }

    /// Why an interval or rate is absent although beats are there: too early, or too slow.
    fn short(&self, end: EventTime, needed: Span) -> Missing {
        let young = self.state.since.is_some_and(|since| end - since < needed);
        if young { Missing::Learning } else { Missing::TooFew }
    }

    fn rate(&self, end: EventTime) -> Result<f64, Missing> {
        let mut last = [0.0; INTERVALS];
        let mut n = 0;
        for (slot, ms) in last.iter_mut().zip(self.state.intervals(end - RATE_WINDOW)) {
            *slot = ms;
            n += 1;
        }
        if n < INTERVALS_MIN { Err(self.short(end, RATE_WINDOW)) } else { Ok(60_000.0 / median(&last[..n])) }
    }

    fn variability(&self, end: EventTime) -> Result<f64, Missing> {
        if self.state.since.is_none_or(|since| end - since < RMSSD_FILLED) {
            return Err(Missing::Learning);
        }
        // Few hearts need the room that the fastest one does.
        match self.state.beats.len() {
            0..=128 => self.variability_in::<128>(end),
            _ => self.variability_in::<BEATS_MAX>(end),
        }
    }

    fn variability_in<const MOST: usize>(&self, end: EventTime) -> Result<f64, Missing> {
        let mut all = [0.0; MOST];
        let mut n = 0;
        for (slot, ms) in all.iter_mut().zip(self.state.intervals(end - RMSSD_WINDOW)) {
            *slot = ms;
            n += 1;
        }
        all[..n].reverse();
        rmssd(&all[..n]).ok_or(Missing::TooFew)
    }

    /// Seconds without a QRS complex; absent where noise could hide one. Flutter hides none: there is none.
    fn without(&self, out: &Readings, end: EventTime) -> Graded {
        let Some(since) = self.state.since else {
            return (Err(if self.state.ever { Missing::Stale } else { Missing::NoData }), 0.0);
        };
        let of = |name: &str| out.find(name).and_then(|r| r.value.ok()).unwrap_or(0.0);
        let noise = of("qrs_noise");
        if noise >= self.params.noise_max && of("flutter_index") <= 0.5 {
            return (Err(Missing::LowQuality), 0.0);
        }
        let from = self.state.beats.back().map_or(since, |b| b.time);
        (Ok((end - from).seconds().max(0.0)), (1.0 - 0.5 * noise / self.params.noise_max).max(0.0) as f32)
    }
}

impl Operator for HeartRate {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let end = epoch.end();
        // `rpeaks` had no lead: a rate out of its range, or another lead than the one asked for.
        let unwatched = out.find("flutter_index").is_some_and(|r| r.value == Err(Missing::NoData));
        self.state.follow(epoch, !unwatched);
        self.state.add(out, end);
        let hindrance = self.hindrance(end);
        let given = |f: &dyn Fn() -> Result<f64, Missing>| hindrance.map_or_else(f, Err);
        let last = || self.state.intervals(end - RATE_WINDOW).next().ok_or(self.short(end, RATE_WINDOW));
        let confidence = |beats: usize| if hindrance.is_none() { self.state.confidence(beats) } else { 0.0 };
        let (without, sure) = self.without(out, end);
        let all = [
            ("heart_rate", RATE_WINDOW, given(&|| self.rate(end)), confidence(INTERVALS + 1)),
            ("rr_interval", RATE_WINDOW, given(&last), confidence(2)),
            ("rr_rmssd", RMSSD_WINDOW, given(&|| self.variability(end)), confidence(BEATS_MAX)),
            ("since_last_qrs", Span::EPOCH, without, sure),
        ];
        for (name, window, value, quality) in all {
            let quality = if value.is_ok() { quality } else { 0.0 };
            out.push(Reading { name, channel: None, time: end, window, value, quality });
        }
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
        self.state = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "heart_rate",
    summary: "Heart rate and RR intervals from QRS complexes, and the time without one",
    description: "The rate is 60 000 over the median, in ms, of the last eight RR intervals that end within the last \
        ten seconds (at least two), so single ectopic, missed or false beats do not move it. It is never held: after \
        four seconds without a QRS complex it is absent, while since_last_qrs goes on growing as long as the ECG has \
        samples, also when no QRS complex was ever seen. since_last_qrs is counted to the end of the epoch and does \
        not see beats that are not settled yet (0.4 s as a rule); it is absent while noise could hide beats, but not \
        in flutter or fibrillation. rr_rmssd leaves out intervals that differ by more than 20 % from the median of the \
        five around them. A gap on all leads begins everything anew.",
    reads: &[Kind::Ecg],
    writes: &[
        Output { name: "heart_rate", unit: "/min", summary: "Heart rate, by median", feeds: "heart_rate" },
        Output { name: "rr_interval", unit: "ms", summary: "Last RR interval", feeds: "" },
        Output {
            name: "rr_rmssd",
            unit: "ms",
            summary: "Variability of the last minute's RR intervals",
            feeds: "",
        },
        Output { name: "since_last_qrs", unit: "s", summary: "Time since the last QRS complex", feeds: "" },
    ],
    needs: &["rpeaks"],
    latency: Span::ZERO,
    by_default: true,
    sources: &[
        "IEC 60601-2-27:2011 201.12.1.101 (disclosure of heart rate averaging)",
        "Clifford GD et al. Comput Cardiol 2015;42:273-276 (asystole: no QRS for at least 4 s)",
        "Task Force of ESC and NASPE. Circulation 1996;93:1043-1065. doi:10.1161/01.CIR.93.5.1043 (RMSSD)",
    ],
    bounds: &[CONFIDENCE_MIN, NOISE_MAX],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        CONFIDENCE_MIN.check(params.confidence_min)?;
        NOISE_MAX.check(params.noise_max)?;
        Ok(Box::new(HeartRate { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Beat, ChannelId, Hertz, Run, Values};

    fn build() -> Box<dyn Operator> {
        (SPEC.build)(&(SPEC.defaults)()).unwrap()
    }

    /// One epoch with an ECG (unless `ecg` is `None`; then whether it starts anew) and beats at these milliseconds.
    fn epoch(
        op: &mut dyn Operator,
        second: i64,
        ecg: Option<bool>,
        beats_ms: &[i64],
        noise: f64,
    ) -> Readings {
        let channel = ChannelId::named("ecg_ii").unwrap();
        let mv = [0.0f32; 250];
        let start = EventTime::from_seconds(second);
        let run = Run {
            channel,
            rate: Hertz(250.0),
            start,
            reset: ecg == Some(true),
            raw: &mv,
            clean: &mv,
            bridged: 0,
        };
        let runs: Vec<Run<'_>> = ecg.map(|_| run).into_iter().collect();
        let mut out = Readings::default();
        for ms in beats_ms {
            let time = EventTime::from_micros(ms * 1000);
            out.beats.push(Beat { kind: BeatKind::Qrs, channel, time, amplitude: 1.0, confidence: 0.98 });
        }
        out.push(Reading {
            name: "qrs_noise",
            channel: Some(channel),
            time: start + Span::EPOCH,
            window: Span::EPOCH,
            value: Ok(noise),
            quality: 1.0,
        });
        op.apply(&Epoch { start, runs: &runs, values: &Values::default() }, &mut out);
        out
    }

    fn value(out: &Readings, name: &str) -> Result<f64, Missing> {
        out.find(name).unwrap().value
    }

    /// Beats of `all` that fall into a second.
    fn of(all: &[i64], second: i64) -> Vec<i64> {
        all.iter().copied().filter(|ms| ms / 1000 == second).collect()
    }

    #[test]
    fn an_ecg_in_which_nobody_looks_for_beats_is_no_asystole() {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let values = Values::default();
        let mut since = Vec::new();
        for e in 0..40 {
            let mv = [0.0f32; 4];
            let run = Run {
                channel: ChannelId::named("ecg_v5").unwrap(),
                rate: Hertz(4.0),
                start: EventTime::from_seconds(e),
                reset: e == 0,
                raw: &mv,
                clean: &mv,
                bridged: 0,
            };
            let mut out = Readings::default();
            // From second 20 on a lead is watched.
            let value = if e < 20 { Err(Missing::NoData) } else { Ok(0.0) };
            let (name, window, quality) = ("flutter_index", Span::EPOCH, 1.0);
            let time = EventTime::from_seconds(e + 1);
            out.push(Reading { name, channel: None, time, window, value, quality });
            op.apply(&Epoch { start: EventTime::from_seconds(e), runs: &[run], values: &values }, &mut out);
            since.push(out.find("since_last_qrs").unwrap().value);
        }
        assert!(since[..20].iter().all(|v| *v == Err(Missing::NoData)), "{since:?}");
        assert_eq!((since[20], since[25]), (Ok(1.0), Ok(6.0)));
    }

    #[test]
    fn steady_rate_with_an_ectopic_beat() {
        let mut all: Vec<i64> = (0..100).map(|k| 300 + 750 * k).collect();
        all[50] -= 250;
        let mut op = build();
        for second in 0..60 {
            let out = epoch(op.as_mut(), second, Some(second == 0), &of(&all, second), 0.2);
            match second {
                0 => assert_eq!(value(&out, "heart_rate"), Err(Missing::Learning)),
                1 => assert_eq!(value(&out, "rr_interval"), Ok(750.0)),
                2.. => assert_eq!(value(&out, "heart_rate"), Ok(80.0), "at {second} s"),
                _ => {}
            }
            let rmssd = value(&out, "rr_rmssd");
            if second < 29 {
                assert_eq!(rmssd, Err(Missing::Learning));
            } else {
                assert_eq!(rmssd, Ok(0.0), "at {second} s");
            }
        }
    }

    #[test]
    fn in_asystole_the_rate_goes_and_the_time_grows() {
        let all: Vec<i64> = (0..20).map(|k| 500 + 1000 * k).collect();
        let mut op = build();
        for second in 0..60 {
            let out = epoch(op.as_mut(), second, Some(second == 0), &of(&all, second), 0.0);
            let since = value(&out, "since_last_qrs").unwrap();
            if second >= 20 {
                assert!((since - (second as f64 + 1.0 - 19.5)).abs() < 1e-9, "{since} at {second}");
            }
            if since > 4.0 {
                assert_eq!(value(&out, "heart_rate"), Err(Missing::TooFew));
                assert_eq!(value(&out, "rr_interval"), Err(Missing::TooFew));
            } else if second > 3 {
                assert_eq!(value(&out, "heart_rate"), Ok(60.0));
            }
        }
    }

    #[test]
    fn a_pause_that_is_over_is_no_slow_heart() {
        let mut all: Vec<i64> = (0..10).map(|k| 500 + 1000 * k).collect();
        all.extend((0..10).map(|k| 25_500 + 1000 * k));
        let mut op = build();
        for second in 0..36 {
            let out = epoch(op.as_mut(), second, Some(second == 0), &of(&all, second), 0.0);
            if let Ok(rate) = value(&out, "heart_rate") {
                assert_eq!(rate, 60.0, "at {second} s");
            }
            if let Ok(rr) = value(&out, "rr_interval") {
                assert_eq!(rr, 1000.0, "at {second} s");
            }
        }
    }

    #[test]
    fn flat_from_the_start_counts_too() {
        let mut op = build();
        for second in 0..10 {
            let out = epoch(op.as_mut(), second, Some(second == 0), &[], 0.0);
            assert_eq!(value(&out, "since_last_qrs"), Ok(second as f64 + 1.0));
        }
        assert_eq!(value(&epoch(op.as_mut(), 10, Some(false), &[], 0.0), "heart_rate"), Err(Missing::TooFew));
    }

    #[test]
    fn without_ecg_or_in_noise_nothing_is_claimed() {
        let mut op = build();
        let none = epoch(op.as_mut(), 0, None, &[], 0.0);
        assert_eq!(value(&none, "since_last_qrs"), Err(Missing::NoData));
        assert_eq!(value(&none, "heart_rate"), Err(Missing::NoData));
        epoch(op.as_mut(), 1, Some(true), &[1100, 1600], 0.2);
        let noisy = epoch(op.as_mut(), 2, Some(false), &[], 0.9);
        assert_eq!(value(&noisy, "since_last_qrs"), Err(Missing::LowQuality));
        let off = epoch(op.as_mut(), 3, None, &[], 0.0);
        assert_eq!(value(&off, "since_last_qrs"), Err(Missing::Stale));
        assert_eq!(value(&off, "heart_rate"), Err(Missing::Stale));
        // After the gap no interval reaches back over it.
        let again = epoch(op.as_mut(), 4, Some(true), &[4500], 0.2);
        assert_eq!(value(&again, "rr_interval"), Err(Missing::Learning));
        assert_eq!(value(&again, "since_last_qrs"), Ok(0.5));
    }

    #[test]
    fn saved_anywhere_it_goes_on() {
        let all: Vec<i64> = (0..80).map(|k| 400 + 700 * k + (k * k) % 90).collect();
        let (mut straight, mut resumed) = (build(), build());
        for second in 0..50 {
            let ecg = (second != 20).then_some(second == 0 || second == 21);
            let a = epoch(straight.as_mut(), second, ecg, &of(&all, second), 0.2);
            let b = epoch(resumed.as_mut(), second, ecg, &of(&all, second), 0.2);
            assert_eq!(a, b, "second {second}");
            let mut bytes = Vec::new();
            resumed.save(&mut bytes);
            resumed = build();
            resumed.load(&bytes).unwrap();
            assert!(build().load(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn parameters_are_bounded() {
        let error = (SPEC.build)(&serde_json::json!({ "confidence_min": 2 })).err().unwrap();
        assert_eq!(error.to_string(), "confidence_min is 2, outside 0..=1 ");
    }

    #[test]
    fn the_middle_of_five_is_that_of_a_sort() {
        for code in 0..5usize.pow(5) {
            let five = [1, 5, 25, 125, 625].map(|place| (code / place % 5) as f64);
            let mut sorted = five;
            sorted.sort_by(f64::total_cmp);
            assert_eq!(median(&five), sorted[2], "{five:?}");
        }
    }
}
