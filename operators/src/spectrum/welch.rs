//! Power spectral density after Welch: the mean over half-overlapping, windowed segments. In: samples in any
//! unit, rate in hertz. Out: one-sided density in unit squared per hertz, from zero to half the rate, as
//! `scipy.signal.welch` with its defaults gives it.
//!
//! Source: Welch, IEEE Trans Audio Electroacoust 1967;15:70-73, doi:10.1109/TAU.1967.1161901. Window: Hann,
//! periodic. Each segment's mean is taken away first. Differs from scipy in that a signal shorter than one
//! segment has no density, rather than one of lower resolution.

use super::fft::{ABREAST, Bin, Bins, LengthError, RealFft};
use crate::filter::dispatch::{Kernel, widest};
use crate::signal::{Hertz, Missing};

/// Density estimator of one segment length and rate: tables and working memory.
#[derive(Debug)]
pub struct Welch {
    rate: Hertz,
    fft: RealFft,
    window: Vec<f64>,
    /// One over rate and energy of the window.
    scale: f64,
    segment: Vec<f64>,
    bins: Vec<Bin>,
    bins_abreast: Vec<Bins>,
}

impl Welch {
    /// An estimator with segments of `len` samples.
    ///
    /// # Errors
    /// [`LengthError`] if the length is odd or zero.
    pub fn new(len: usize, rate: Hertz) -> Result<Self, LengthError> {
        let fft = RealFft::new(len)?;
        let hann = |i: usize| 0.5 - 0.5 * libm::cos(2.0 * std::f64::consts::PI * i as f64 / len as f64);
        let window: Vec<f64> = (0..len).map(hann).collect();
        let energy: f64 = window.iter().map(|w| w * w).sum();
        let bins = vec![Bin::new(0.0, 0.0); fft.bins()];
        Ok(Self {
            rate,
            fft,
            window,
            scale: 1.0 / (rate.get() * energy),
            segment: vec![0.0; len],
            bins,
            bins_abreast: Vec::new(),
        })
    }

    /// Rate it was made for.
    pub fn rate(&self) -> Hertz {
        self.rate
    }

    /// Length of a segment in samples.
    pub fn segment_len(&self) -> usize {
        self.window.len()
    }

    /// Number of frequencies.
    pub fn bins(&self) -> usize {
        self.bins.len()
    }

    /// Distance between frequencies, in hertz.
    pub fn step_hz(&self) -> f64 {
        self.rate.get() / self.window.len() as f64
    }

    /// Writes the density at each frequency and returns the number of segments averaged. Samples after the
    /// last whole segment are not used.
    ///
    /// # Errors
    /// [`Missing::TooFew`] if there is not one whole segment, or if `density` is shorter than
    /// [`bins`](Self::bins).
    ///
    /// ```
    /// use auscult_operators::signal::Hertz;
    /// use auscult_operators::spectrum::{Welch, power_between};
    /// let mut welch = Welch::new(128, Hertz(64.0)).unwrap();
    /// // Up, nothing, down, nothing: a quarter of the rate, of power one half.
    /// let wave: Vec<f32> = (0..640).map(|i| [1.0, 0.0, -1.0, 0.0][i % 4]).collect();
    /// let mut density = vec![0.0; welch.bins()];
    /// assert_eq!(welch.density(&wave, &mut density), Ok(9));
    /// assert!((power_between(&density, welch.step_hz(), 15.0, 17.0) - 0.5).abs() < 1e-9);
    /// ```
    pub fn density(&mut self, samples: &[f32], density: &mut [f64]) -> Result<usize, Missing> {
        let (len, bins) = (self.window.len(), self.bins.len());
        if samples.len() < len || density.len() < bins {
            return Err(Missing::TooFew);
        }
        let density = &mut density[..bins];
        density.fill(0.0);
        let hop = len / 2;
        let segments = (samples.len() - len) / hop + 1;
        let mut done = 0;
        while done < segments {
            let from = &samples[done * hop..];
            if segments - done >= ABREAST {
                widest(Abreast { welch: self, samples: from, density });
                done += ABREAST;
            } else {
                self.transform(&from[..len]);
                for (d, b) in density.iter_mut().zip(&self.bins) {
                    *d += b.norm_sqr();
                }
                done += 1;
            }
        }
        let scale = self.scale / segments as f64;
        scale_one_sided(density, bins, scale);
        Ok(segments)
    }

    fn transform(&mut self, samples: &[f32]) {
        let sum: f64 = samples.iter().map(|&x| f64::from(x)).sum();
        let mean = sum / samples.len() as f64;
        for ((s, x), w) in self.segment.iter_mut().zip(samples).zip(&self.window) {
            *s = (f64::from(*x) - mean) * w;
        }
        self.fft.forward(&self.segment, &mut self.bins);
    }
}

/// [`ABREAST`] segments, each half a segment after the one before, added to the density in their order.
struct Abreast<'a> {
    welch: &'a mut Welch,
    samples: &'a [f32],
    density: &'a mut [f64],
}

impl Kernel for Abreast<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { welch, samples, density } = self;
        let (len, hop) = (welch.window.len(), welch.window.len() / 2);
        let Welch { fft, window, bins_abreast, bins, .. } = welch;
        bins_abreast.resize(bins.len(), Bins::default());
        let mut rows: [&[f32]; ABREAST] = [&[]; ABREAST];
        for (l, row) in rows.iter_mut().enumerate() {
            *row = &samples[l * hop..][..len];
        }
        let mut sums = [0.0; ABREAST];
        #[allow(clippy::needless_range_loop, reason = "rows abreast: the inner loop becomes one instruction")]
        for i in 0..len {
            for l in 0..ABREAST {
                sums[l] += f64::from(rows[l][i]);
            }
        }
        let mean = sums.map(|s| s / len as f64);
        let window = &window[..len];
        fft.forward_abreast(
            |i| {
                let mut at = [0.0; ABREAST];
                for l in 0..ABREAST {
                    at[l] = (f64::from(rows[l][i]) - mean[l]) * window[i];
                }
                at
            },
            bins_abreast,
        );
        for (d, b) in density.iter_mut().zip(bins_abreast) {
            for l in 0..ABREAST {
                *d += b.re[l] * b.re[l] + b.im[l] * b.im[l];
            }
        }
    }
}

/// Scales summed powers of the first of `bins` frequencies. Those that also stand for their negative count twice.
pub(super) fn scale_one_sided(density: &mut [f64], bins: usize, scale: f64) {
    for (k, d) in density.iter_mut().enumerate() {
        *d *= if k == 0 || k == bins - 1 { scale } else { 2.0 * scale };
    }
}

/// Power from `low_hz` up to but not including `high_hz`: the sum of the bins there times their width.
///
/// A sum rather than the trapezoid rule, so that the powers of adjacent bands add up to that of their union.
///
/// ```
/// use auscult_operators::spectrum::power_between;
/// let density = [9.0, 1.0, 2.0, 3.0, 4.0];
/// assert_eq!(power_between(&density, 0.5, 0.5, 1.5), 1.5);
/// assert_eq!(power_between(&density, 0.5, 1.5, 2.5), 3.5);
/// ```
pub fn power_between(density: &[f64], step_hz: f64, low_hz: f64, high_hz: f64) -> f64 {
    let at_least = |hz: f64| first_at_least(density.len(), step_hz, hz);
    let (from, to) = (at_least(low_hz), at_least(high_hz));
    let sum: f64 = density.get(from..to).unwrap_or_default().iter().sum();
    sum * step_hz
}

/// The first of `bins` frequencies, `step_hz` apart, that is not below `hz`; `bins` if none is.
pub(super) fn first_at_least(bins: usize, step_hz: f64, hz: f64) -> usize {
    // The quotient is rounded: the product decides.
    let mut k = ((hz / step_hz).max(0.0) as usize).min(bins);
    while k > 0 && (k - 1) as f64 * step_hz >= hz {
        k -= 1;
    }
    while k < bins && (k as f64 * step_hz) < hz {
        k += 1;
    }
    k
}
