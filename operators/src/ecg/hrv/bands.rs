//! The slow and the fast rhythm in the intervals between beats: low (0.04 to 0.15 Hz) and high (0.15 to 0.4 Hz)
//! frequency. In: normal intervals of up to five minutes. Out: power of each band in ms squared.
//!
//! The intervals are laid on a grid of 4 Hz by the quadratic spline through them and given to Welch's estimate with
//! segments of half the series, padded to five minutes: what neurokit2 0.2.13 does (`hrv_frequency`, `normalize=False`)
//! wherever it averages three segments. Where half the series is odd it averages two; here it is always three.

use super::series::Series;
use crate::signal::Missing;
use crate::spectrum::RealFft;
use crate::spectrum::fft::Bin;

/// Points of the grid per second.
const GRID_HZ: f64 = 4.0;
/// Length of a transform: five minutes.
const LEN: usize = 1200;
/// Shortest series: two minutes hold five waves of the slowest rhythm.
const LEAST: usize = 480;
/// Bands of the Task Force (Hz): the lower end belongs to a band, the upper to the next.
const LOW_HZ: (f64, f64) = (0.04, 0.15);
const HIGH_HZ: (f64, f64) = (0.15, 0.4);

/// Power of the two bands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bands {
    /// From 0.04 to 0.15 Hz (ms squared).
    pub low_ms2: f64,
    /// From 0.15 to 0.4 Hz (ms squared).
    pub high_ms2: f64,
}

/// Tables and working memory, for use again and again.
#[derive(Debug)]
pub struct Rhythm {
    fft: RealFft,
    bins: Vec<Bin>,
    segment: Vec<f64>,
    density: Vec<f64>,
    grid: Vec<f64>,
    coefficients: Vec<f64>,
    ratios: Vec<f64>,
}

impl Rhythm {
    /// Memory for series of five minutes; `None` does not happen, as five minutes are even.
    pub fn new() -> Option<Self> {
        let fft = RealFft::new(LEN).ok()?;
        let bins = vec![Bin::default(); fft.bins()];
        let density = vec![0.0; fft.bins()];
        let (grid, coefficients, ratios) = (Vec::new(), Vec::new(), Vec::new());
        Some(Self { fft, bins, segment: vec![0.0; LEN], density, grid, coefficients, ratios })
    }

    /// Power of the two bands.
    ///
    /// # Errors
    /// [`Missing::TooFew`] if the series is shorter than two minutes or longer than five, or has not at least four
    /// intervals that end after one another.
    pub fn bands(&mut self, series: &Series<'_>) -> Result<Bands, Missing> {
        self.lay_on_grid(series)?;
        let n = self.grid.len();
        let mean = self.grid.iter().sum::<f64>() / n as f64;
        self.grid.iter_mut().for_each(|v| *v -= mean);
        // An even half, so that three segments fit whatever the length.
        let len = n / 4 * 2;
        let hop = len / 2;
        let hann = |i: usize| 0.5 - 0.5 * libm::cos(2.0 * std::f64::consts::PI * i as f64 / len as f64);
        let energy: f64 = (0..len).map(|i| hann(i) * hann(i)).sum();
        self.density.fill(0.0);
        for from in [0, hop, 2 * hop] {
            self.segment.fill(0.0);
            for (i, (to, x)) in self.segment.iter_mut().zip(&self.grid[from..from + len]).enumerate() {
                *to = x * hann(i);
            }
            self.fft.forward(&self.segment, &mut self.bins);
            for (d, b) in self.density.iter_mut().zip(&self.bins) {
                *d += b.norm_sqr();
            }
        }
        let scale = 2.0 / (GRID_HZ * energy * 3.0);
        let of = |band| scale * self.between(band);
        Ok(Bands { low_ms2: of(LOW_HZ), high_ms2: of(HIGH_HZ) })
    }

    /// Area under the density by trapezia, from the first frequency of a band to its last one.
    fn between(&self, (from, to): (f64, f64)) -> f64 {
        let step = GRID_HZ / LEN as f64;
        let inside = |k: &usize| (from..to).contains(&(*k as f64 * step));
        let mut last = None;
        let mut area = 0.0;
        for k in (0..self.density.len()).filter(inside) {
            let now = self.density[k];
            area += last.map_or(0.0, |before: f64| 0.5 * (before + now) * step);
            last = Some(now);
        }
        area
    }

    /// Writes the quadratic spline through the intervals, whose knots lie midway between their ends, at 4 Hz.
    fn lay_on_grid(&mut self, series: &Series<'_>) -> Result<(), Missing> {
        let (x, y) = (series.ends_s, series.ms);
        let n = x.len();
        if n < 4 || y.len() != n || x.windows(2).any(|w| w[1] <= w[0]) {
            return Err(Missing::TooFew);
        }
        let points = ((x[n - 1] - x[0]) * GRID_HZ + 1.0).ceil();
        if !(points >= LEAST as f64 && points <= (LEN + 4) as f64) {
            return Err(Missing::TooFew);
        }
        self.solve(x, y);
        self.grid.clear();
        let mut piece = 2;
        for k in 0..points as usize {
            let at = (x[0] + k as f64 / GRID_HZ).min(x[n - 1]);
            while piece < n - 1 && at >= knot(x, piece + 1) {
                piece += 1;
            }
            let w = weights(x, piece, at);
            let c = &self.coefficients[piece - 2..];
            self.grid.push(w[0] * c[0] + w[1] * c[1] + w[2] * c[2]);
        }
        // A series that is longer by a fraction of a beat loses its oldest points.
        let surplus = self.grid.len().saturating_sub(LEN);
        self.grid.drain(..surplus);
        Ok(())
    }

    /// Coefficients of the spline: a tridiagonal system, taken apart without exchanges as its minors are positive.
    fn solve(&mut self, x: &[f64], y: &[f64]) {
        let n = x.len();
        let (c, r) = (&mut self.coefficients, &mut self.ratios);
        c.clear();
        r.clear();
        let (mut before, mut ratio) = (y[0], 0.0);
        c.push(before);
        r.push(ratio);
        for i in 1..n - 1 {
            let w = weights(x, (i + 1).min(n - 1), x[i]);
            let pivot = w[1] - w[0] * ratio;
            (before, ratio) = ((y[i] - w[0] * before) / pivot, w[2] / pivot);
            c.push(before);
            r.push(ratio);
        }
        c.push(y[n - 1]);
        for i in (0..n - 1).rev() {
            c[i] -= r[i] * c[i + 1];
        }
    }
}

/// Knot `i`: three at each end, and the middles but the first and the last one.
fn knot(x: &[f64], i: usize) -> f64 {
    let n = x.len();
    match i {
        0..=2 => x[0],
        _ if i >= n => x[n - 1],
        _ => 0.5 * (x[i - 2] + x[i - 1]),
    }
}

/// Values at `at` of the three splines that are not zero between knot `l` and the next.
fn weights(x: &[f64], l: usize, at: f64) -> [f64; 3] {
    let [a, b, c, d] = [knot(x, l - 1), knot(x, l), knot(x, l + 1), knot(x, l + 2)];
    let (down, up) = ((c - at) / (c - b), (at - b) / (c - b));
    let (left, right) = ((c - at) / (c - a), (d - at) / (d - b));
    [left * down, (1.0 - left) * down + right * up, (1.0 - right) * up]
}
