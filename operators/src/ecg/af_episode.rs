//! Atrial fibrillation from the irregularity of RR intervals.
//! In: classed QRS beats. Out: probability of atrial fibrillation, and whether an episode is on (0 or 1), each second.
//!
//! The coefficient of sample entropy tells whether intervals that are alike are followed by intervals that are alike:
//! in fibrillation they are not. Intervals at ventricular beats are left out.

use libm::{expf, logf};
use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::{Bound, ParamError};
use crate::signal::{BeatClass, Epoch, EventTime, Kind, Missing, Reading, Readings, Span};

/// Parameters of `af_episode`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Probability from which an episode begins (0 to 1); it ends below one minus this.
    pub begins_at: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { begins_at: 0.6 }
    }
}

const BEGINS_AT: Bound = Bound { name: "begins_at", min: 0.5, max: 0.95, unit: "" };

/// Most intervals that are looked at, the fewest, and the time that they end in.
const MOST: usize = 48;
const USED: usize = 40;
const FEWEST: usize = 16;
const WINDOW: Span = Span::seconds_const(60);
/// After so long without a beat everything begins anew.
const LOST: Span = Span::seconds_const(10);
/// A longer interval is a pause and no interval, and a shorter one is taken for this, in seconds.
const PAUSE_S: f32 = 3.0;
const SHORT_S: f32 = 0.2;
/// Two intervals are alike if they differ by no more than this, widened in such steps until enough pairs are, in
/// seconds.
const TOLERANCE_S: f32 = 0.03;
const TOLERANCE_MOST_S: f32 = 1.0;
const PAIRS: u32 = 5;
/// Weights of the log odds: constant, coefficient of sample entropy, ln(median interval in seconds). From a logistic
/// regression on ten records of the MIT-BIH Atrial Fibrillation Database and 26 of the Arrhythmia Database; the
/// constant was raised until sensitivity and specificity were about alike.
const WEIGHTS: [f32; 3] = [5.3, 4.92, -4.76];
/// Log odds count at most this much, and one second has this weight in their mean.
const LIMIT: f32 = 4.0;
const SECOND: f32 = 0.05;

/// An interval, by the beat that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Interval {
    time: EventTime,
    seconds: f32,
    /// Whether neither of its beats is ventricular or paced, and it is no pause.
    plain: bool,
    sure: bool,
}

/// What `af_episode` knows of a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    last: Option<(EventTime, BeatClass)>,
    intervals: Vec<Interval>,
    /// Mean of the log odds, once there were any.
    log_odds: Option<f32>,
    on: bool,
    ever: bool,
}

struct AfEpisode {
    params: Params,
    state: State,
}

/// Coefficient of sample entropy of intervals in seconds, `joined[i]` telling whether the interval after the `i`th
/// follows it without a beat left out between; templates of one interval. `None` of fewer than three.
///
/// ```
/// use auscult_operators::ecg::af_episode::sample_entropy;
/// let calm: Vec<f32> = (0..40).map(|i| 0.8 + 0.01 * (i % 3) as f32).collect();
/// let wild: Vec<f32> = (0..40).map(|i| 0.4 + 0.01 * (i * i * 7 % 61) as f32).collect();
/// let all = [true; 40];
/// assert!(sample_entropy(&calm, &all).unwrap() < -2.0);
/// assert!(sample_entropy(&wild, &all).unwrap() > -1.2);
/// assert!(sample_entropy(&calm[..2], &all).is_none());
/// ```
pub fn sample_entropy(intervals_s: &[f32], joined: &[bool]) -> Option<f32> {
    let n = intervals_s.len().min(joined.len());
    if n < 3 {
        return None;
    }
    let x = &intervals_s[..n];
    let mut tolerance = TOLERANCE_S;
    loop {
        let (mut alike, mut on) = (0u32, 0u32);
        for i in (0..n - 1).filter(|&i| joined[i]) {
            for j in (i + 1..n - 1).filter(|&j| joined[j]) {
                if (x[i] - x[j]).abs() <= tolerance {
                    alike += 1;
                    on += u32::from((x[i + 1] - x[j + 1]).abs() <= tolerance);
                }
            }
        }
        if on >= PAIRS || tolerance > TOLERANCE_MOST_S {
            let share = on.max(1) as f32 / alike.max(1) as f32;
            let mean = x.iter().sum::<f32>() / n as f32;
            return Some(-logf(share) + logf(2.0 * tolerance) - logf(mean.max(SHORT_S)));
        }
        tolerance += TOLERANCE_S;
    }
}

impl State {
    fn add(&mut self, out: &Readings) {
        for c in &out.classes {
            let ectopic = |class| matches!(class, BeatClass::Ventricular | BeatClass::Paced);
            if let Some((time, class)) = self.last.filter(|l| l.0 < c.time) {
                let seconds = (c.time - time).seconds() as f32;
                let plain = !ectopic(class) && !ectopic(c.class) && seconds < PAUSE_S;
                let sure = class != BeatClass::Unclassified && c.class != BeatClass::Unclassified;
                if self.intervals.len() == MOST {
                    self.intervals.remove(0);
                }
                self.intervals.push(Interval { time: c.time, seconds: seconds.max(SHORT_S), plain, sure });
            }
            self.last = Some((c.time, c.class));
            self.ever = true;
        }
    }

    /// Log odds of the intervals there are, and how many of them were of use.
    fn odds(&self) -> (Option<f32>, f32) {
        let (mut x, mut joined) = ([0.0; USED], [false; USED]);
        let kept = self.intervals.iter().filter(|i| i.plain).count();
        let mut n = 0;
        let mut broken = true;
        for (k, i) in self.intervals.iter().enumerate() {
            let skip = kept.saturating_sub(USED);
            let before = self.intervals[..k].iter().filter(|i| i.plain).count();
            if !i.plain || before < skip {
                broken = true;
                continue;
            }
            if n > 0 && !broken {
                joined[n - 1] = true;
            }
            (x[n], n, broken) = (i.seconds, n + 1, false);
        }
        let all = self.intervals.len().max(1) as f32;
        let sure = self.intervals.iter().filter(|i| i.sure).count() as f32 / all;
        if n < FEWEST {
            return (None, sure);
        }
        let mut sorted = x;
        sorted[..n].sort_by(f32::total_cmp);
        let entropy = sample_entropy(&x[..n], &joined[..n]);
        let odds = entropy.map(|e| WEIGHTS[0] + WEIGHTS[1] * e + WEIGHTS[2] * logf(sorted[n / 2]));
        (odds, sure * kept as f32 / all)
    }

    fn sound(&self) -> bool {
        let fine = |i: &Interval| (SHORT_S..1e6).contains(&i.seconds);
        self.intervals.len() <= MOST
            && self.intervals.iter().all(fine)
            && self.log_odds.is_none_or(|o| o.abs() <= LIMIT)
    }
}

impl AfEpisode {
    fn new(value: &serde_json::Value) -> Result<Self, ParamError> {
        let params: Params = params(value)?;
        BEGINS_AT.check(params.begins_at)?;
        Ok(Self { params, state: State::default() })
    }

    /// Follows the mean of the odds and the episode.
    fn judge(&mut self, odds: f32) -> f32 {
        let s = &mut self.state;
        let odds = odds.clamp(-LIMIT, LIMIT);
        let mean = s.log_odds.map_or(odds, |m| m + SECOND * (odds - m)).clamp(-LIMIT, LIMIT);
        s.log_odds = Some(mean);
        let probability = 1.0 / (1.0 + expf(-mean));
        let begins = self.params.begins_at as f32;
        s.on = probability >= if s.on { 1.0 - begins } else { begins };
        probability
    }
}

impl Operator for AfEpisode {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let end = epoch.end();
        self.state.add(out);
        self.state.intervals.retain(|i| i.time >= end - WINDOW);
        let lost = self.state.last.is_none_or(|l| end - l.0 > LOST);
        if lost {
            self.state = State { ever: self.state.ever, ..State::default() };
        }
        let (odds, quality) = self.state.odds();
        let answer = match odds {
            None if lost && !self.state.ever => Err(Missing::NoData),
            None if lost || self.state.intervals.len() >= FEWEST => Err(Missing::TooFew),
            None => Err(Missing::Learning),
            Some(_) if quality < 0.4 => Err(Missing::LowQuality),
            Some(odds) => Ok(self.judge(odds)),
        };
        if answer.is_err() {
            (self.state.log_odds, self.state.on) = (None, false);
        }
        let quality = if answer.is_ok() { quality } else { 0.0 };
        let on = answer.map(|_| f64::from(u8::from(self.state.on)));
        for (name, value) in [("af_probability", answer.map(f64::from)), ("af_state", on)] {
            out.push(Reading { name, channel: None, time: end, window: WINDOW, value, quality });
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = load_state(SPEC.name, bytes)?;
        if !state.sound() {
            return Err(StateError { operator: SPEC.name, reason: "lengths do not fit".into() });
        }
        self.state = state;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "af_episode",
    summary: "Atrial fibrillation from the irregularity of RR intervals",
    description: "The coefficient of sample entropy and the median of the last 40 RR intervals, within a minute, \
        give log odds by logistic regression; they are averaged over some 20 s, and an episode begins and ends with \
        hysteresis. Intervals at ventricular beats are left out, and intervals are joined only where no beat was \
        left out between. Fewer than 16 such intervals, or too few of a known class, and nothing is said. It begins \
        anew after ten seconds without a beat. An episode shows about half a minute late. Limits: flutter with \
        regular conduction is not seen; frequent atrial ectopic beats, wandering pacemakers and ectopic beats that \
        were not recognised look like fibrillation; a paced ventricle hides it. Differs from the source: tolerance \
        from 30 ms up until five pairs match, ectopic intervals left out, weights of its own.",
    reads: &[Kind::Ecg],
    writes: &[
        Output {
            name: "af_probability",
            unit: "1",
            summary: "Probability of atrial fibrillation",
            feeds: "",
        },
        Output {
            name: "af_state",
            unit: "1",
            summary: "Whether an episode of atrial fibrillation is on: 0 or 1",
            feeds: "",
        },
    ],
    needs: &["rpeaks", "beat_class"],
    latency: Span::seconds_const(6),
    by_default: false,
    sources: &[
        "Lake DE, Moorman JR. Am J Physiol Heart Circ Physiol 2011;300(1):H319-H325. doi:10.1152/ajpheart.00561.2010 \
         (coefficient of sample entropy)",
        "Moody GB, Mark RG. Comput Cardiol 1983;10:227-230 (MIT-BIH Atrial Fibrillation Database)",
    ],
    bounds: &[BEGINS_AT],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| Ok(Box::new(AfEpisode::new(v)?)),
};
