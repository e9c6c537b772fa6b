//! The shape of QRS complexes: a short memory of one ECG lead, and the shapes that this patient's beats come in.
//! In: samples in mV at 100 to 1000 Hz, times of R waves. Out: per beat its measures (width, height, slope, area)
//! and how it compares with the dominant shape.
//!
//! The lead is kept at about 120 Hz for some seconds. A beat is read from it on a grid of 10 ms, so that everything
//! that follows is the same at every rate. Beats that look alike share a [`Shape`]; the dominant one is that of most
//! beats, where narrow shapes that are not early weigh more.

use libm::{expf, logf};
use serde::{Deserialize, Serialize};

use crate::signal::{EventTime, Hertz, Run, Span};

/// What the lead is thinned to, in hertz, about.
const KEPT_HZ: f64 = 120.0;
/// How much of it is kept, in seconds.
const KEPT_S: f64 = 3.6;
/// Beyond this the signal is cut off, in mV.
const LIMIT_MV: f32 = 32.0;
/// Points of a beat, 10 ms apart, and the one at the R wave.
const POINTS: usize = 75;
const R_AT: usize = 30;
/// Points of a shape and where it begins in a beat: from 240 ms before the R wave to 310 ms after it.
const SHAPE: usize = 56;
const SHAPE_FROM: usize = 6;
/// The part of a shape that is the P wave, and that which is the QRS complex.
const P_PART: std::ops::Range<usize> = 0..15;
const QRS_PART: std::ops::Range<usize> = 12..42;
/// How far a beat is moved to match a shape, in points to either side.
const MOVES: usize = 5;
/// Shapes that are kept.
const SHAPES: usize = 6;
/// A beat joins a shape from this match on.
const ALIKE: f32 = 0.9;
/// How fast the weight of a shape fades, per beat: to a half in 350 beats.
const FADE: f32 = 0.998;
/// Weight of one beat in the mean of its shape, at least.
const SHAPE_WEIGHT: f32 = 0.03;
/// A shape is usual beside the dominant one if its weight has this share, so many beats joined it, they come no
/// earlier than this (ln of the interval over the usual one) and are no wider than so many times the dominant one.
const COMMON: f32 = 0.15;
const COMMON_BEATS: u32 = 12;
const NOT_EARLY: f32 = -0.07;
const WIDER: f32 = 1.9;
/// Longest stretch of time by which samples may miss their grid, in microseconds.
const GRID_US: i64 = 10_000;

/// The last seconds of one lead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeadMemory {
    rate: f64,
    /// Samples that make one kept value, their sum so far and how many there are.
    every: u32,
    sum: f32,
    filled: u32,
    ring: Vec<f32>,
    /// Values kept so far.
    count: u64,
    /// Time just after the last sample.
    end: EventTime,
}

impl LeadMemory {
    /// Empty, for a lead that begins with this run.
    pub fn new(rate: Hertz, start: EventTime) -> Self {
        let every = ((rate.get() / KEPT_HZ + 0.5) as u32).max(1);
        let size = (KEPT_S * rate.get() / f64::from(every)) as usize + 1;
        Self { rate: rate.get(), every, sum: 0.0, filled: 0, ring: vec![0.0; size], count: 0, end: start }
    }

    /// Whether the run goes on where the memory ends.
    pub fn continues(&self, run: &Run<'_>) -> bool {
        !run.reset && run.rate.get() == self.rate && (run.start - self.end).micros().abs() <= GRID_US
    }

    /// Takes in the samples of a run.
    pub fn push(&mut self, run: &Run<'_>) {
        for x in run.raw {
            self.sum += x.clamp(-LIMIT_MV, LIMIT_MV);
            self.filled += 1;
            if self.filled == self.every {
                let at = (self.count % self.ring.len() as u64) as usize;
                self.ring[at] = self.sum / self.every as f32;
                (self.sum, self.filled, self.count) = (0.0, 0, self.count + 1);
            }
        }
        self.end = run.time_of(run.raw.len());
    }

    /// Time just after the last sample.
    pub fn end(&self) -> EventTime {
        self.end
    }

    /// Whether all of a beat has been seen.
    pub fn covers(&self, r: EventTime) -> bool {
        self.end - r >= Span::from_micros((POINTS - R_AT) as i64 * 10_000 + 40_000)
    }

    /// The beat around an R wave on the grid, or `None` if some of it is not in memory.
    pub fn beat(&self, r: EventTime) -> Option<[f32; POINTS]> {
        let hz = self.rate / f64::from(self.every);
        // Place of the R wave among the values kept: each stands for the middle of its samples.
        let after = (self.end - r).seconds() * self.rate - f64::from(self.filled);
        let place = self.count as f64 - after / f64::from(self.every) - 0.5 + 0.5 / f64::from(self.every);
        let first = place - R_AT as f64 * 0.01 * hz;
        let last = place + (POINTS - R_AT) as f64 * 0.01 * hz;
        let oldest = self.count.saturating_sub(self.ring.len() as u64) as f64;
        if !(first >= oldest && last + 1.0 < self.count as f64) {
            return None;
        }
        let mut beat = [0.0; POINTS];
        for (i, x) in beat.iter_mut().enumerate() {
            let at = first + i as f64 * 0.01 * hz;
            let (k, part) = (at as u64, at.fract() as f32);
            let size = self.ring.len() as u64;
            let (a, b) = (self.ring[(k % size) as usize], self.ring[((k + 1) % size) as usize]);
            *x = a + part * (b - a);
        }
        Some(beat)
    }

    /// Whether a loaded state has the right shape.
    pub fn sound(&self) -> bool {
        if !(1.0..=4000.0).contains(&self.rate) {
            return false;
        }
        let new = Self::new(Hertz(self.rate), self.end);
        (self.every, self.ring.len()) == (new.every, new.ring.len())
            && self.filled < self.every
            && self.count < 1 << 52
            && self.ring.iter().chain([&self.sum]).all(|x| x.is_finite())
    }
}

/// Measures of one beat that need no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// How far the slopes of the QRS complex are spread around their middle, in points of 10 ms.
    pub spread: f32,
    /// From the first to the last steep point, in points of 10 ms.
    pub width: f32,
    /// Highest less lowest point of the QRS complex, in mV.
    pub height: f32,
    /// Mean distance from the baseline, in mV.
    pub area: f32,
    /// Steepest slope, in mV per 20 ms.
    pub slope: f32,
}

/// Measures a beat: the slopes from 150 ms before the R wave to 200 ms after it.
pub fn measure(beat: &[f32; POINTS]) -> Measures {
    let (from, to) = (R_AT - 15, R_AT + 20);
    let mut slopes = [0.0f32; 35];
    for (i, s) in slopes.iter_mut().enumerate() {
        *s = (beat[from + i + 1] - beat[from + i - 1]).abs();
    }
    let slope = slopes.iter().copied().fold(0.0, f32::max);
    let (mut sum, mut first, mut second) = (1e-9f32, 0.0f32, 0.0f32);
    for (i, s) in slopes.iter().enumerate() {
        let w = (s - 0.1 * slope).max(0.0);
        let t = i as f32 - 15.0;
        (sum, first, second) = (sum + w, first + w * t, second + w * t * t);
    }
    let middle = first / sum;
    let spread = (second / sum - middle * middle).max(0.25).sqrt();
    let steep = |s: &f32| *s > 0.25 * slope;
    let width = match (slopes.iter().position(steep), slopes.iter().rposition(steep)) {
        (Some(a), Some(b)) => (b - a + 1) as f32,
        _ => 35.0,
    };
    let qrs = &beat[from..to];
    let high = qrs.iter().copied().fold(f32::MIN, f32::max);
    let low = qrs.iter().copied().fold(f32::MAX, f32::min);
    let base = baseline(beat);
    let area = qrs.iter().map(|x| (x - base).abs()).sum::<f32>() / qrs.len() as f32;
    Measures { spread, width, height: high - low, area, slope }
}

/// The middle of all points of a beat.
fn baseline(beat: &[f32; POINTS]) -> f32 {
    let mut sorted = *beat;
    sorted.sort_by(f32::total_cmp);
    sorted[POINTS / 2]
}

/// Correlation of two stretches of equal length; 0 where one of them is flat.
fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len()).max(1) as f32;
    let (ma, mb) = (a.iter().sum::<f32>() / n, b.iter().sum::<f32>() / n);
    let (mut ab, mut aa, mut bb) = (0.0f32, 0.0f32, 0.0f32);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - ma, y - mb);
        (ab, aa, bb) = (ab + x * y, aa + x * x, bb + y * y);
    }
    let scale = (aa * bb).sqrt();
    if scale > 1e-9 { (ab / scale).clamp(-1.0, 1.0) } else { 0.0 }
}

/// Natural logarithm of a ratio, at most `most` to either side; 0 where one of them is nothing.
pub fn log_ratio(a: f32, b: f32, most: f32) -> f32 {
    if a > 0.0 && b > 0.0 { logf(a / b).clamp(-most, most) } else { 0.0 }
}

/// A shape that beats of this patient come in: mean of those that joined it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    wave: Vec<f32>,
    /// Beats that joined, fading.
    pub weight: f32,
    joined: u32,
    /// Mean of what its beats were judged, as log odds of being ventricular.
    pub verdict: f32,
    judged: u32,
    /// Means over its beats.
    pub measures: Measures,
    /// How early its beats come: mean of ln(interval before / usual interval).
    pub early: f32,
    /// How long a pause follows: mean of ln(interval after / usual interval).
    pub pause: f32,
}

/// How a beat lies on a shape.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Match {
    /// Correlation of the QRS complexes, moved to match best.
    pub qrs: f32,
    /// Correlation of the P waves without moving.
    pub p: f32,
    /// Natural logarithm of what the shape does not explain of the QRS complex over the shape.
    pub rest: f32,
    /// The QRS correlation less a share of the difference in height.
    pub likeness: f32,
    moved: usize,
}

impl Match {
    /// Whether the beat is one of the shape.
    pub fn alike(&self) -> bool {
        self.likeness >= ALIKE
    }
}

impl Shape {
    fn new(beat: &[f32; POINTS], measures: Measures) -> Self {
        let wave = beat[SHAPE_FROM..SHAPE_FROM + SHAPE].to_vec();
        Self { wave, weight: 1.0, joined: 1, verdict: 0.0, judged: 0, measures, early: 0.0, pause: 0.0 }
    }

    /// Compares a beat with the shape.
    pub fn compare(&self, beat: &[f32; POINTS], measures: &Measures) -> Match {
        let qrs = &self.wave[QRS_PART];
        let mut best = Match { qrs: -2.0, ..Match::default() };
        for moved in 0..=2 * MOVES {
            let from = SHAPE_FROM + QRS_PART.start + moved - MOVES;
            let c = correlation(qrs, &beat[from..from + qrs.len()]);
            if c > best.qrs {
                (best.qrs, best.moved) = (c, moved);
            }
        }
        let from = SHAPE_FROM + best.moved - MOVES;
        best.p = correlation(&self.wave[P_PART], &beat[SHAPE_FROM..SHAPE_FROM + P_PART.len()]);
        let there = &beat[from + QRS_PART.start..from + QRS_PART.end];
        best.rest = rest(qrs, there);
        let height = log_ratio(measures.height, self.measures.height, 1.5);
        best.likeness = best.qrs - 0.15 * height.abs();
        best
    }

    /// How much the verdict on its beats is worth, 0 to 1.
    pub fn worth(&self) -> f32 {
        let n = self.judged.min(1000) as f32;
        n / (n + 4.0)
    }

    fn join(&mut self, beat: &[f32; POINTS], measures: &Measures, m: &Match) {
        self.weight += 1.0;
        self.joined = self.joined.saturating_add(1);
        let w = (1.0 / self.joined as f32).max(SHAPE_WEIGHT);
        let from = SHAPE_FROM + m.moved - MOVES;
        for (a, b) in self.wave.iter_mut().zip(&beat[from..from + SHAPE]) {
            *a += w * (b - *a);
        }
        let Measures { spread, width, height, area, slope } = &mut self.measures;
        for (a, b) in [
            (spread, measures.spread),
            (width, measures.width),
            (height, measures.height),
            (area, measures.area),
            (slope, measures.slope),
        ] {
            *a += w * (b - *a);
        }
    }

    fn sound(&self) -> bool {
        let Measures { spread, width, height, area, slope } = self.measures;
        let numbers = [self.weight, self.early, self.pause, self.verdict, spread, width, height, area, slope];
        self.wave.len() == SHAPE && self.wave.iter().chain(&numbers).all(|x| x.is_finite())
    }
}

/// Natural logarithm of the mean square difference of two stretches over that of the first, both without their means.
fn rest(shape: &[f32], beat: &[f32]) -> f32 {
    let n = shape.len() as f32;
    let (ma, mb) = (shape.iter().sum::<f32>() / n, beat.iter().sum::<f32>() / n);
    let (mut off, mut all) = (0.0f32, 0.0f32);
    for (a, b) in shape.iter().zip(beat) {
        let (a, b) = (a - ma, b - mb);
        (off, all) = (off + (b - a) * (b - a), all + a * a);
    }
    log_ratio(off + 1e-6, all + 1e-6, 4.0)
}

/// All shapes of a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shapes {
    all: Vec<Shape>,
}

impl Shapes {
    /// The shapes, in no order that means anything.
    pub fn all(&self) -> &[Shape] {
        &self.all
    }

    /// Index of the dominant shape.
    pub fn dominant(&self) -> Option<usize> {
        let narrowest = self.all.iter().map(|s| s.measures.spread).fold(f32::MAX, f32::min);
        let score = |s: &Shape| {
            let narrow = narrowest / s.measures.spread.max(1e-3);
            s.weight * narrow * narrow * expf(4.0 * s.early.clamp(-0.5, 0.0))
        };
        // Of equal shapes the first one wins.
        let best = |best: Option<(usize, f32)>, (i, s): (usize, &Shape)| match best {
            Some((_, most)) if most >= score(s) => best,
            _ => Some((i, score(s))),
        };
        self.all.iter().enumerate().fold(None, best).map(|(i, _)| i)
    }

    /// Whether the beats of a shape are this patient's usual ones: those of the dominant shape, and of others that are
    /// common and come neither early nor much wider.
    pub fn usual(&self, shape: usize, dominant: usize) -> bool {
        let (s, d) = (&self.all[shape], &self.all[dominant]);
        let common = s.weight > COMMON * d.weight && s.joined >= COMMON_BEATS;
        shape == dominant || common && s.early > NOT_EARLY && s.measures.spread < WIDER * d.measures.spread
    }

    /// The shape that a beat is most like and how, among those that `fits` lets through.
    pub fn nearest(
        &self,
        beat: &[f32; POINTS],
        measures: &Measures,
        fits: impl Fn(usize) -> bool,
    ) -> Option<(usize, Match)> {
        let mut best: Option<(usize, Match)> = None;
        for (i, s) in self.all.iter().enumerate().filter(|(i, _)| fits(*i)) {
            let m = s.compare(beat, measures);
            if best.is_none_or(|(_, b)| m.likeness > b.likeness) {
                best = Some((i, m));
            }
        }
        best
    }

    /// Lets a beat join the shape that it is most like, as found by [`Shapes::nearest`], or start one in place of the
    /// rarest; gives its index.
    pub fn join(
        &mut self,
        beat: &[f32; POINTS],
        measures: &Measures,
        nearest: Option<(usize, Match)>,
    ) -> usize {
        for s in &mut self.all {
            s.weight *= FADE;
        }
        if let Some((i, m)) = nearest.filter(|(_, m)| m.alike()) {
            self.all[i].join(beat, measures, &m);
            return i;
        }
        if self.all.len() < SHAPES {
            self.all.push(Shape::new(beat, *measures));
            return self.all.len() - 1;
        }
        let mut rarest = 0;
        for (i, s) in self.all.iter().enumerate() {
            if s.weight < self.all[rarest].weight {
                rarest = i;
            }
        }
        self.all[rarest] = Shape::new(beat, *measures);
        rarest
    }

    /// Notes what a beat of a shape was judged to be.
    pub fn judged(&mut self, shape: usize, log_odds: f32) {
        let Some(s) = self.all.get_mut(shape) else { return };
        s.judged = s.judged.saturating_add(1);
        let w = (1.0 / s.judged as f32).max(SHAPE_WEIGHT);
        s.verdict += w * (log_odds.clamp(-6.0, 6.0) - s.verdict);
    }

    /// Notes when the beats of a shape come.
    pub fn timed(&mut self, shape: usize, early: f32, pause: f32) {
        let Some(s) = self.all.get_mut(shape) else { return };
        let w = (1.0 / s.joined as f32).max(SHAPE_WEIGHT);
        s.early += w * (early - s.early);
        s.pause += w * (pause - s.pause);
    }

    /// Whether a loaded state has the right shape.
    pub fn sound(&self) -> bool {
        self.all.len() <= SHAPES && self.all.iter().all(Shape::sound)
    }
}
