//! Designs filters of linear phase whose greatest error is the least possible: Parks and McClellan's exchange.
//! In: number of coefficients, bands with gain and weight, edges and rate in hertz. Out: a filter with coefficients as
//! `scipy.signal.remez` gives them.
//!
//! Sources: McClellan, Parks and Rabiner, IEEE Trans Audio Electroacoust 1973;21:506 (the four kinds of symmetry, the
//! grid of sixteen points for each free coefficient); Oppenheim and Schafer, 3rd ed., section 7.7 (the exchange);
//! Berrut and Trefethen, SIAM Rev 2004;46:501 (barycentric interpolation).

use super::{Fir, check_taps};
use crate::filter::design::DesignError;
use crate::signal::Hertz;

const PI: f64 = std::f64::consts::PI;

/// Grid points for each free coefficient.
const DENSITY: usize = 16;

/// The exchange ends long before this, or does not end.
const ROUNDS: usize = 100;

/// What is wanted of a band of frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Want {
    /// Lower edge; zero is allowed.
    pub low: Hertz,
    /// Upper edge; half the rate is allowed.
    pub high: Hertz,
    /// Gain in the band; for a differentiator its slope, per part of the rate.
    pub gain: f64,
    /// How much an error here counts.
    pub weight: f64,
}

/// What the coefficients look like, read from the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symmetry {
    /// The same: low-, high-, band-passes and what is made of them.
    Even,
    /// The negative: Hilbert transformers.
    Odd,
    /// The negative, with a gain that grows with the frequency, and errors relative to it.
    Differentiator,
}

/// A filter of linear phase; its latency is half of `taps - 1` samples.
///
/// # Errors
/// [`DesignError::Taps`] for too few or too many taps, for no band, and for a design that does not settle;
/// [`DesignError::Edge`] for bands out of order; [`DesignError::Quality`] for a weight that is not positive.
///
/// ```
/// use auscult_operators::filter::fir::equiripple::{Symmetry, Want, equiripple};
/// use auscult_operators::signal::Hertz;
/// let want = |low, high, gain| Want { low: Hertz(low), high: Hertz(high), gain, weight: 1.0 };
/// let low = equiripple(41, &[want(0.0, 30.0, 1.0), want(40.0, 125.0, 0.0)], Symmetry::Even, Hertz(250.0)).unwrap();
/// assert!(low.magnitude(Hertz(60.0), Hertz(250.0)) < 0.02);
/// ```
pub fn equiripple(taps: usize, bands: &[Want], symmetry: Symmetry, rate: Hertz) -> Result<Fir, DesignError> {
    check_taps(taps, 3)?;
    check(bands, rate)?;
    let kind = Kind { taps, odd: symmetry != Symmetry::Even };
    let grid = Grid::new(kind, bands, symmetry, rate);
    let failed = DesignError::Taps { found: taps, need: "a number for which the design settles" };
    if grid.points.len() <= kind.free() + 1 {
        return Err(failed);
    }
    let response = grid.exchange(kind.free()).ok_or(failed)?;
    Fir::new(kind.coefficients(&response))
}

fn check(bands: &[Want], rate: Hertz) -> Result<(), DesignError> {
    let half = rate.get() / 2.0;
    let mut above = 0.0;
    for b in bands {
        let (low, high) = (b.low.get(), b.high.get());
        if !(low >= above && low < high) {
            return Err(DesignError::Edge { found: low, above, below: high });
        }
        if !(high > low && high <= half) {
            return Err(DesignError::Edge { found: high, above: low, below: half });
        }
        let good = b.weight > 0.0 && b.weight.is_finite() && b.gain.is_finite();
        if !good {
            return Err(DesignError::Quality { found: b.weight });
        }
        above = high;
    }
    if bands.is_empty() { Err(DesignError::Taps { found: 0, need: "at least one band" }) } else { Ok(()) }
}

/// Length and symmetry: the amplitude is a polynomial in cos(2 pi f) times a factor that they give.
#[derive(Clone, Copy)]
struct Kind {
    taps: usize,
    odd: bool,
}

impl Kind {
    fn has_middle(self) -> bool {
        !self.taps.is_multiple_of(2)
    }

    /// Coefficients that may be chosen.
    fn free(self) -> usize {
        self.taps / 2 + usize::from(self.has_middle() && !self.odd)
    }

    /// The factor at frequency `f`, in parts of the rate.
    fn factor(self, f: f64) -> f64 {
        match (self.odd, self.has_middle()) {
            (false, true) => 1.0,
            (false, false) => libm::cos(PI * f),
            (true, true) => libm::sin(2.0 * PI * f),
            (true, false) => libm::sin(PI * f),
        }
    }

    /// Coefficients of an amplitude, from as many of its values as there are coefficients.
    fn coefficients(self, response: &Interpolant) -> Vec<f64> {
        let n = self.taps as f64;
        let middle = (n - 1.0) / 2.0;
        let amplitude: Vec<f64> = (0..=self.taps / 2)
            .map(|k| k as f64 / n)
            .map(|f| self.factor(f) * response.at(libm::cos(2.0 * PI * f)))
            .collect();
        let value = |i: usize| {
            let mut sum = 0.0;
            for (k, a) in amplitude.iter().enumerate() {
                // Half the rate and zero stand for themselves, the rest for their negatives too.
                let twice = if k == 0 || 2 * k == self.taps { 1.0 } else { 2.0 };
                let angle = 2.0 * PI * k as f64 / n * (i as f64 - middle);
                sum += twice * a * if self.odd { -libm::sin(angle) } else { libm::cos(angle) };
            }
            sum / n
        };
        let all: Vec<f64> = (0..self.taps).map(value).collect();
        // Rounding must not bend the phase.
        let sign = if self.odd { -1.0 } else { 1.0 };
        (0..self.taps).map(|i| (all[i] + sign * all[self.taps - 1 - i]) / 2.0).collect()
    }
}

/// A frequency at which the error is looked at.
#[derive(Clone, Copy)]
struct Point {
    /// cos(2 pi f).
    x: f64,
    wanted: f64,
    weight: f64,
    /// The first or last point of a band.
    first: bool,
    last: bool,
}

struct Grid {
    points: Vec<Point>,
}

impl Grid {
    fn new(kind: Kind, bands: &[Want], symmetry: Symmetry, rate: Hertz) -> Self {
        let step = 0.5 / (DENSITY * kind.free()) as f64;
        let mut points = Vec::new();
        for (b, want) in bands.iter().enumerate() {
            let (low, high) = (want.low.get() / rate.get(), want.high.get() / rate.get());
            // An odd amplitude is zero at zero.
            let mut f = if b == 0 && kind.odd { low.max(step) } else { low };
            let mut frequencies = vec![f];
            while f + step <= high {
                f += step;
                frequencies.push(f);
            }
            if let Some(last) = frequencies.last_mut() {
                *last = high;
            }
            // These kinds are zero at half the rate.
            let zero_at_half = kind.odd == kind.has_middle();
            if b + 1 == bands.len() && zero_at_half && high > 0.5 - step {
                frequencies.pop();
            }
            let count = frequencies.len();
            for (i, f) in frequencies.into_iter().enumerate() {
                let slope = symmetry == Symmetry::Differentiator;
                let wanted = if slope { want.gain * f } else { want.gain };
                let weight = if slope && want.gain >= 1e-4 { want.weight / f } else { want.weight };
                let factor = kind.factor(f);
                points.push(Point {
                    x: libm::cos(2.0 * PI * f),
                    wanted: wanted / factor,
                    weight: weight * factor,
                    first: i == 0,
                    last: i + 1 == count,
                });
            }
        }
        Self { points }
    }

    /// Exchanges the points of greatest error until they stay; `None` if they never do.
    fn exchange(&self, free: usize) -> Option<Interpolant> {
        let last = self.points.len() - 1;
        let mut chosen: Vec<usize> = (0..=free).map(|k| k * last / free).collect();
        for _ in 0..ROUNDS {
            let response = self.level(&chosen);
            let errors: Vec<f64> =
                self.points.iter().map(|p| p.weight * (p.wanted - response.at(p.x))).collect();
            // Where next to no error is left, its peaks are rounding.
            let wanted = self.points.iter().fold(0.0f64, |m, p| m.max((p.weight * p.wanted).abs()));
            let Some(next) = self.peaks(&errors, free + 1) else {
                return errors.iter().all(|e| e.abs() <= 1e-9 * wanted).then_some(response);
            };
            let sizes = || next.iter().map(|&i| errors[i].abs());
            let (most, least) = (sizes().fold(0.0, f64::max), sizes().fold(f64::MAX, f64::min));
            if next == chosen || most - least <= 1e-12 * most {
                return Some(response);
            }
            chosen = next;
        }
        None
    }

    /// The polynomial whose errors at the chosen points are of one size and alternate.
    fn level(&self, chosen: &[usize]) -> Interpolant {
        let x: Vec<f64> = chosen.iter().map(|&i| self.points[i].x).collect();
        let all = weights(&x);
        let (mut up, mut down, mut sign) = (0.0, 0.0, 1.0);
        for (&i, w) in chosen.iter().zip(&all) {
            up += w * self.points[i].wanted;
            down += sign * w / self.points[i].weight;
            sign = -sign;
        }
        let error = up / down;
        let mut sign = 1.0;
        let mut y = Vec::with_capacity(x.len());
        for &i in chosen {
            y.push(self.points[i].wanted - sign * error / self.points[i].weight);
            sign = -sign;
        }
        // One point fewer determines it.
        let x = x[..x.len() - 1].to_vec();
        let weights = weights(&x);
        Interpolant { x, y, weights }
    }

    /// The `count` greatest errors of alternating sign.
    fn peaks(&self, errors: &[f64], count: usize) -> Option<Vec<usize>> {
        let mut peaks: Vec<usize> = Vec::new();
        for (i, p) in self.points.iter().enumerate() {
            let sign = errors[i].signum();
            let over = |j: usize| sign * errors[i] >= sign * errors[j];
            if !((p.first || over(i - 1)) && (p.last || over(i + 1))) {
                continue;
            }
            // Of neighbours of one sign the greater stays.
            match peaks.last_mut() {
                Some(before) if errors[*before].signum() == sign => {
                    if errors[i].abs() > errors[*before].abs() {
                        *before = i;
                    }
                }
                _ => peaks.push(i),
            }
        }
        while peaks.len() > count {
            let size = |k: usize| errors[peaks[k]].abs();
            let end = peaks.len() - 1;
            if peaks.len() == count + 1 {
                peaks.remove(if size(0) < size(end) { 0 } else { end });
                continue;
            }
            let smallest = (0..=end).fold(0, |s, k| if size(k) < size(s) { k } else { s });
            if smallest == 0 || smallest == end {
                peaks.remove(smallest);
            } else {
                // With its smaller neighbour, so that signs still alternate.
                let left = size(smallest - 1) < size(smallest + 1);
                let from = if left { smallest - 1 } else { smallest };
                peaks.drain(from..from + 2);
            }
        }
        (peaks.len() == count).then_some(peaks)
    }
}

/// Barycentric weights; the factor of two keeps products of many differences near one.
fn weights(x: &[f64]) -> Vec<f64> {
    let one = |k: usize| {
        let others = (0..x.len()).filter(|&j| j != k);
        1.0 / others.fold(1.0, |p, j| p * 2.0 * (x[k] - x[j]))
    };
    (0..x.len()).map(one).collect()
}

/// A polynomial by its values; `y` may be longer than `x`.
struct Interpolant {
    x: Vec<f64>,
    y: Vec<f64>,
    weights: Vec<f64>,
}

impl Interpolant {
    fn at(&self, x: f64) -> f64 {
        let (mut up, mut down) = (0.0, 0.0);
        for ((node, y), w) in self.x.iter().zip(&self.y).zip(&self.weights) {
            let away = x - node;
            if away == 0.0 {
                return *y;
            }
            up += w / away * y;
            down += w / away;
        }
        up / down
    }
}
