//! Power spectral density by several tapers that see the same samples differently: less noise at the same length.
//! In: samples in any unit, rate in hertz. Out: one-sided density in unit squared per hertz, the mean of the tapered
//! periodograms; and the tapers themselves, of energy one, as `scipy.signal.windows.dpss` gives them.
//!
//! Sources: Thomson DJ. Proc IEEE 1982;70:1055-1096, doi:10.1109/PROC.1982.12433; Slepian D. Bell Syst Tech J
//! 1978;57:1371-1430, doi:10.1002/j.1538-7305.1978.tb02104.x (the tapers as eigenvectors of a tridiagonal matrix);
//! Percival DB, Walden AT. Spectral Analysis for Physical Applications, 1993, chapter 8 (their signs). Every taper
//! weighs the same. Each signal's mean is taken away first.

use super::fft::{Bin, RealFft};
use crate::signal::{Hertz, Missing};

/// Rounds of inverse iteration: each leaves of the other eigenvectors less than a millionth.
const ROUNDS: usize = 4;
/// Halvings of the interval that an eigenvalue lies in, down to the last bit of any start.
const HALVINGS: usize = 110;

/// The first `count` tapers of length `len` with time-half-bandwidth `nw`, one after the other.
///
/// # Errors
/// [`Missing::TooFew`] unless `0 < count <= len` and `0 < nw < len / 2`.
///
/// ```
/// use auscult_operators::spectrum::multitaper::tapers;
/// let two = tapers(64, 2.5, 2).unwrap();
/// let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
/// let (first, second) = two.split_at(64);
/// assert!((product(first, first) - 1.0).abs() < 1e-12 && product(first, second).abs() < 1e-12);
/// ```
pub fn tapers(len: usize, nw: f64, count: usize) -> Result<Vec<f64>, Missing> {
    if count == 0 || count > len || !(nw > 0.0 && nw < len as f64 / 2.0) {
        return Err(Missing::TooFew);
    }
    let width = libm::cos(2.0 * std::f64::consts::PI * nw / len as f64);
    let middle = |i: usize| (len as f64 - 1.0 - 2.0 * i as f64) / 2.0;
    let diagonal: Vec<f64> = (0..len).map(|i| middle(i) * middle(i) * width).collect();
    let beside: Vec<f64> = (1..len).map(|i| i as f64 * (len - i) as f64 / 2.0).collect();
    let mut all = Vec::with_capacity(len * count);
    for order in 0..count {
        let value = eigenvalue(&diagonal, &beside, order);
        let mut taper = eigenvector(&diagonal, &beside, value, order);
        if turned(&taper, order) {
            taper.iter_mut().for_each(|w| *w = -*w);
        }
        all.extend(taper);
    }
    Ok(all)
}

/// Whether a taper has the wrong sign: even ones have a positive mean, odd ones begin with a positive lobe.
fn turned(taper: &[f64], order: usize) -> bool {
    if order.is_multiple_of(2) {
        return taper.iter().sum::<f64>() < 0.0;
    }
    let noise = (1.0 / taper.len() as f64).max(1e-7);
    taper.iter().find(|w| **w * **w > noise).is_some_and(|w| *w < 0.0)
}

/// Eigenvalue number `order` of a symmetric tridiagonal matrix, the largest first, by bisection.
fn eigenvalue(diagonal: &[f64], beside: &[f64], order: usize) -> f64 {
    let reach = |i: usize| {
        let left = if i > 0 { beside[i - 1].abs() } else { 0.0 };
        left + beside.get(i).map_or(0.0, |b| b.abs())
    };
    let ends = diagonal.iter().enumerate().map(|(i, d)| (d - reach(i), d + reach(i)));
    let (mut low, mut high) = ends.fold((f64::MAX, f64::MIN), |(l, h), (a, b)| (l.min(a), h.max(b)));
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        if above(diagonal, beside, middle) > order { low = middle } else { high = middle }
    }
    low + (high - low) / 2.0
}

/// How many eigenvalues lie above `x`: the positive pivots of the matrix less `x` (Sturm's sequence).
fn above(diagonal: &[f64], beside: &[f64], x: f64) -> usize {
    let (mut count, mut pivot) = (0, 1.0);
    for (i, d) in diagonal.iter().enumerate() {
        let off = if i > 0 { beside[i - 1] } else { 0.0 };
        pivot = d - x - off * off / pivot;
        if pivot == 0.0 {
            pivot = -f64::EPSILON;
        }
        count += usize::from(pivot > 0.0);
    }
    count
}

/// The eigenvector of energy one, by inverse iteration.
fn eigenvector(diagonal: &[f64], beside: &[f64], value: f64, order: usize) -> Vec<f64> {
    let n = diagonal.len();
    let phase = |i: usize| std::f64::consts::PI * (order + 1) as f64 * (i as f64 + 0.5) / n as f64;
    // Near to what is looked for, with as many changes of sign.
    let mut x: Vec<f64> = (0..n).map(|i| libm::sin(phase(i))).collect();
    let lu = Factors::new(diagonal, beside, value);
    for _ in 0..ROUNDS {
        lu.solve(&mut x);
        let size = x.iter().map(|v| v * v).sum::<f64>().sqrt();
        x.iter_mut().for_each(|v| *v /= size);
    }
    x
}

/// A tridiagonal matrix taken apart by Gauss with row exchanges: three upper diagonals, and what was done to the rows.
struct Factors {
    upper: [Vec<f64>; 3],
    factor: Vec<f64>,
    exchanged: Vec<bool>,
}

impl Factors {
    fn new(diagonal: &[f64], beside: &[f64], value: f64) -> Self {
        let n = diagonal.len();
        let mut upper = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
        let (mut factor, mut exchanged) = (vec![0.0; n], vec![false; n]);
        let off = |i: usize| beside.get(i).copied().unwrap_or(0.0);
        let tiny = f64::EPSILON * diagonal.iter().fold(1.0_f64, |m, d| m.max(d.abs()));
        let mut row = [diagonal[0] - value, off(0), 0.0];
        for i in 0..n {
            let Some(d) = diagonal.get(i + 1) else { break };
            let mut below = [off(i), d - value, off(i + 1)];
            if below[0].abs() > row[0].abs() {
                std::mem::swap(&mut row, &mut below);
                exchanged[i] = true;
            }
            if row[0] == 0.0 {
                row[0] = tiny;
            }
            let f = below[0] / row[0];
            factor[i] = f;
            (upper[0][i], upper[1][i], upper[2][i]) = (row[0], row[1], row[2]);
            row = [below[1] - f * row[1], below[2] - f * row[2], 0.0];
        }
        upper[0][n - 1] = if row[0].abs() < tiny { tiny } else { row[0] };
        Self { upper, factor, exchanged }
    }

    fn solve(&self, x: &mut [f64]) {
        let n = x.len();
        for i in 0..n - 1 {
            if self.exchanged[i] {
                x.swap(i, i + 1);
            }
            x[i + 1] -= self.factor[i] * x[i];
        }
        for i in (0..n).rev() {
            let after = |k: usize| x.get(i + k).copied().unwrap_or(0.0) * self.upper[k][i];
            x[i] = (x[i] - after(1) - after(2)) / self.upper[0][i];
        }
    }
}

/// Density estimator of one length and rate: tapers, tables and working memory.
#[derive(Debug)]
pub struct Multitaper {
    rate: Hertz,
    fft: RealFft,
    tapers: Vec<f64>,
    tapered: Vec<f64>,
    bins: Vec<Bin>,
}

impl Multitaper {
    /// An estimator for `len` samples by `count` tapers.
    ///
    /// # Errors
    /// [`Missing::TooFew`] as [`tapers`] says, and for an odd length.
    pub fn new(len: usize, nw: f64, count: usize, rate: Hertz) -> Result<Self, Missing> {
        let fft = RealFft::new(len).map_err(|_| Missing::TooFew)?;
        let bins = vec![Bin::default(); fft.bins()];
        Ok(Self { rate, tapers: tapers(len, nw, count)?, tapered: vec![0.0; len], bins, fft })
    }

    /// Number of frequencies.
    pub fn bins(&self) -> usize {
        self.bins.len()
    }

    /// Distance between frequencies, in hertz.
    pub fn step_hz(&self) -> f64 {
        self.rate.get() / self.fft.len() as f64
    }

    /// Writes the density at each frequency.
    ///
    /// # Errors
    /// [`Missing::TooFew`] unless there are as many samples as it was made for, and room for
    /// [`bins`](Self::bins) densities.
    ///
    /// ```
    /// use auscult_operators::signal::Hertz;
    /// use auscult_operators::spectrum::{multitaper::Multitaper, power_between};
    /// let mut estimate = Multitaper::new(256, 3.0, 5, Hertz(64.0)).unwrap();
    /// let wave: Vec<f32> = (0..256).map(|i| [1.0, 0.0, -1.0, 0.0][i % 4]).collect();
    /// let mut density = vec![0.0; estimate.bins()];
    /// estimate.density(&wave, &mut density).unwrap();
    /// assert!((power_between(&density, estimate.step_hz(), 14.0, 18.0) - 0.5).abs() < 1e-3);
    /// ```
    pub fn density(&mut self, samples: &[f32], density: &mut [f64]) -> Result<(), Missing> {
        let (len, bins) = (self.fft.len(), self.bins.len());
        if samples.len() != len || density.len() < bins {
            return Err(Missing::TooFew);
        }
        let density = &mut density[..bins];
        density.fill(0.0);
        let mean = samples.iter().map(|x| f64::from(*x)).sum::<f64>() / len as f64;
        for taper in self.tapers.chunks_exact(len) {
            for ((t, x), w) in self.tapered.iter_mut().zip(samples).zip(taper) {
                *t = (f64::from(*x) - mean) * w;
            }
            self.fft.forward(&self.tapered, &mut self.bins);
            for (d, b) in density.iter_mut().zip(&self.bins) {
                *d += b.norm_sqr();
            }
        }
        let scale = 1.0 / (self.rate.get() * (self.tapers.len() / len) as f64);
        for (k, d) in density.iter_mut().enumerate() {
            // What lies below zero is counted above it; zero and half the rate stand alone.
            *d *= if k == 0 || k + 1 == bins { scale } else { 2.0 * scale };
        }
        Ok(())
    }
}
