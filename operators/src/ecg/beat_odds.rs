//! The odds that a QRS complex is ventricular or supraventricular, from its shape and the intervals around it.
//! In: measures of a beat, the shapes that it is most like, intervals in seconds. Out: log odds of either.

use libm::logf;
use serde::{Deserialize, Serialize};

use super::beat_shape::{Match, Measures, Shape, log_ratio};

/// Intervals that the usual one is the median of.
const USUAL: usize = 8;
/// Weights of the log odds of a ventricular beat, in the order of `Case::odds`. From logistic regressions on both
/// leads of the MIT-BIH development records, each record of equal weight and paced ones left out. The features were
/// chosen one after another by figures on patients left out; the weights are those of all patients.
const VENTRICULAR: [f32; 12] =
    [-3.447, -1.357, -0.207, 3.754, -1.143, 1.935, -5.097, 1.656, -6.733, 0.654, -1.541, 3.777];
/// The same of a supraventricular beat among those that are not ventricular, from the first leads.
const SUPRAVENTRICULAR: [f32; 6] = [-5.684, 6.525, -34.356, -5.344, 0.399, -0.408];
/// Intervals between beats as far as classes need them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Intervals {
    /// Last intervals between usual beats, and last ones of all kinds, in seconds.
    pub(super) usual: Vec<f32>,
    all: Vec<f32>,
    /// Intervals in a row that were not usual.
    unusual: u32,
    /// Mean magnitude of ln(interval / interval before).
    restless: f32,
    before: f32,
}

impl Intervals {
    pub(super) fn sound(&self) -> bool {
        let numbers = self.usual.iter().chain(&self.all).chain([&self.restless, &self.before]);
        self.usual.len() <= USUAL && self.all.len() <= USUAL && numbers.copied().all(f32::is_finite)
    }

    pub(super) fn note(&mut self, before: f32, plain: bool) {
        let change = log_ratio(before, self.before, 1.0).abs();
        self.restless += (change - self.restless) / 16.0;
        self.before = before;
        push(&mut self.all, before);
        let usual = median(&self.usual);
        let near = log_ratio(before, usual, 1.0).abs() < 0.22;
        if self.usual.len() < 3 || plain && near || self.unusual >= 6 {
            push(&mut self.usual, before);
            self.unusual = 0;
        } else {
            self.unusual += 1;
        }
    }
}

fn push(ring: &mut Vec<f32>, x: f32) {
    if ring.len() == USUAL {
        ring.remove(0);
    }
    ring.push(x);
}

/// Median of at most [`USUAL`] numbers, 0 of none.
pub(super) fn median(values: &[f32]) -> f32 {
    let mut sorted = [0.0; USUAL];
    let n = values.len().min(USUAL);
    sorted[..n].copy_from_slice(&values[..n]);
    sorted[..n].sort_by(f32::total_cmp);
    if n == 0 { 0.0 } else { 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]) }
}

/// Log odds of two questions about one beat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Odds {
    pub(super) ventricular: f32,
    pub(super) supraventricular: f32,
}

/// What is judged: the intervals around a beat in seconds, its measures, the usual shape that it is most like and, if
/// there is one, the unusual one.
pub(super) struct Case<'a> {
    pub(super) before: f32,
    pub(super) intervals: &'a Intervals,
    pub(super) measures: &'a Measures,
    pub(super) usual: (&'a Shape, Match),
    pub(super) other: Option<(&'a Shape, Match)>,
}

impl Case<'_> {
    /// The log odds, see [`VENTRICULAR`] and [`SUPRAVENTRICULAR`].
    pub(super) fn odds(&self) -> Odds {
        let ((usual, on_usual), m, i) = (self.usual, self.measures, self.intervals);
        let d = &usual.measures;
        let (gap, early, pause, wider) = self.other.map_or((0.0, 0.0, 0.0, 0.0), |(s, on_other)| {
            let gap = logf(1.02 - on_usual.likeness) - logf(1.02 - on_other.likeness);
            (gap.clamp(0.0, 4.0), s.early, s.pause, log_ratio(s.measures.spread, d.spread, 1.5))
        });
        let calm = 1.0 + 8.0 * i.restless;
        let sooner = |x: f32| log_ratio(self.before, x, 1.2).min(0.0);
        let sharp = |m: &Measures| m.slope / m.height.max(1e-3);
        let area = log_ratio(m.area, d.area, 2.0);
        let ventricular = [
            1.0,
            logf(1.02 - on_usual.qrs),
            gap * early,
            gap * pause,
            area,
            gap * wider,
            if gap > 0.3 { early } else { 0.0 },
            on_usual.rest,
            sooner(i.before) / calm,
            logf(1.05 - on_usual.p),
            log_ratio(sharp(m), sharp(d), 1.5),
            log_ratio(m.height, d.height, 2.0).min(0.0),
        ];
        let early = sooner(median(&i.usual));
        let supraventricular = [1.0, early, early / calm, sooner(median(&i.all)), area, i.restless.min(0.5)];
        Odds {
            ventricular: dot(&VENTRICULAR, &ventricular),
            supraventricular: dot(&SUPRAVENTRICULAR, &supraventricular),
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (x, y)| sum + x * y)
}
