//! Fourier transform of real samples, of any even length. In: samples in double precision. Out: the
//! coefficients from zero to half the rate, in the caller's buffer, with the sign and scale of
//! `numpy.fft.rfft`; the unit is that of the samples.
//!
//! Even and odd samples are packed as real and imaginary parts of a complex signal of half the length, and
//! its transform is taken apart again (Press et al., Numerical Recipes, 3rd ed., section 12.3). Double
//! precision costs little here and keeps bins far below the strongest one exact.

use thiserror::Error;

pub use super::stockham::{ABREAST, Bin, Bins};
use super::stockham::{ComplexFft, Element, turn};

/// A length that is not transformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a transform of {found} samples is not of an even length of at least 2")]
pub struct LengthError {
    /// The length asked for.
    pub found: usize,
}

/// A transform of one length: tables and working memory, for use again and again.
#[derive(Debug)]
pub struct RealFft {
    len: usize,
    half: ComplexFft,
    /// exp(-2 pi i k / len) for k up to a quarter of the length, as deep as the taking apart goes.
    turns: Vec<Bin>,
    packed: Vec<Bin>,
    packed_abreast: Vec<Bins>,
}

impl RealFft {
    /// Plans a transform of `len` samples.
    ///
    /// # Errors
    /// [`LengthError`] if the length is odd or zero.
    pub fn new(len: usize) -> Result<Self, LengthError> {
        if len < 2 || len % 2 == 1 {
            return Err(LengthError { found: len });
        }
        let turns = (0..=len / 4).map(|k| turn(k, len)).collect();
        let packed = vec![Bin::new(0.0, 0.0); len / 2];
        Ok(Self { len, half: ComplexFft::new(len / 2), turns, packed, packed_abreast: Vec::new() })
    }

    /// Samples taken.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: there is no transform of no samples.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Coefficients given: half the length and one.
    pub fn bins(&self) -> usize {
        self.len / 2 + 1
    }

    /// Transforms [`len`](Self::len) samples into [`bins`](Self::bins) coefficients. Missing samples count as
    /// zero; surplus ones, on either side, are left alone.
    ///
    /// ```
    /// use auscult_operators::spectrum::{RealFft, fft::Bin};
    /// let mut fft = RealFft::new(4).unwrap();
    /// let mut bins = [Bin::default(); 3];
    /// fft.forward(&[1.0, 2.0, 3.0, 4.0], &mut bins);
    /// let expected = [Bin::new(10.0, 0.0), Bin::new(-2.0, 2.0), Bin::new(-2.0, 0.0)];
    /// assert!(bins.iter().zip(expected).all(|(a, b)| (a - b).norm_sqr() < 1e-28));
    /// ```
    pub fn forward(&mut self, samples: &[f64], bins: &mut [Bin]) {
        let half = self.len / 2;
        let at = |i: usize| samples.get(i).copied().unwrap_or(0.0);
        for (k, p) in self.packed.iter_mut().enumerate() {
            *p = Bin::new(at(2 * k), at(2 * k + 1));
        }
        self.half.forward(&mut self.packed);
        let first = self.packed[0];
        let mut put = |k: usize, value: Bin| {
            if let Some(b) = bins.get_mut(k) {
                *b = value;
            }
        };
        put(0, Bin::new(first.re + first.im, 0.0));
        put(half, Bin::new(first.re - first.im, 0.0));
        for k in 1..=half / 2 {
            let (low, high) = apart(self.packed[k], self.packed[half - k], self.turns[k]);
            put(k, low);
            put(half - k, high);
        }
    }

    /// Transforms [`ABREAST`] signals side by side: `sample` tells sample `i` of each. To be called from within a
    /// kernel, so that it goes wide.
    #[inline(always)]
    pub(super) fn forward_abreast(&mut self, sample: impl Fn(usize) -> [f64; ABREAST], bins: &mut [Bins]) {
        let half = self.len / 2;
        self.packed_abreast.resize(half, Bins::ZERO);
        for (k, p) in self.packed_abreast.iter_mut().enumerate() {
            *p = Bins { re: sample(2 * k), im: sample(2 * k + 1) };
        }
        self.half.forward_abreast(&mut self.packed_abreast);
        let (packed, Some(bins)) = (&self.packed_abreast[..], bins.get_mut(..=half)) else { return };
        let (first, mut ends) = (packed[0], [Bins::ZERO; 2]);
        for l in 0..ABREAST {
            (ends[0].re[l], ends[1].re[l]) = (first.re[l] + first.im[l], first.re[l] - first.im[l]);
        }
        (bins[0], bins[half]) = (ends[0], ends[1]);
        for k in 1..=half / 2 {
            let (low, high) = apart(packed[k], packed[half - k], self.turns[k]);
            (bins[k], bins[half - k]) = (low, high);
        }
    }
}

/// Coefficient `k` of the real signal, and the one as far from the other end, from those of the packed one. `turn` is
/// the half-sample delay of the odd samples.
#[inline(always)]
fn apart<E: Element<Turn = Bin>>(low: E, high: E, turn: Bin) -> (E, E) {
    let (a, b) = (low, high.conj());
    let even = (a + b).times(0.5);
    // The odd part: (a - b) / 2i, turned by its half-sample delay.
    let odd = (a - b).times(0.5).back().turned(turn);
    (even + odd, (even - odd).conj())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    /// The definition, term by term.
    fn slow(x: &[f64]) -> Vec<Bin> {
        let n = x.len();
        let term = |k: usize, j: usize| {
            let angle = 2.0 * std::f64::consts::PI * (k * j % n) as f64 / n as f64;
            Bin::new(libm::cos(angle), -libm::sin(angle))
        };
        (0..=n / 2).map(|k| x.iter().enumerate().map(|(j, v)| term(k, j) * *v).sum()).collect()
    }

    #[test]
    fn equals_the_definition_at_every_even_length() {
        for n in (2..=96).step_by(2).chain([250, 256, 346, 1440]) {
            let x: Vec<f64> =
                (0..n).map(|i| ((i * i * 7919 + i * 31) % 1009) as f64 / 1009.0 - 0.4).collect();
            let mut bins = vec![Bin::default(); n / 2 + 1];
            RealFft::new(n).unwrap().forward(&x, &mut bins);
            let expected = slow(&x);
            let peak = expected.iter().map(|b| b.norm_sqr()).fold(0.0, f64::max).sqrt();
            for (k, (a, b)) in bins.iter().zip(&expected).enumerate() {
                assert!((a - b).norm_sqr().sqrt() < 1e-13 * n as f64 * peak.max(1.0), "{n} {k} {a} {b}");
            }
        }
        assert_eq!(RealFft::new(7).unwrap_err(), LengthError { found: 7 });
        assert!(RealFft::new(0).is_err());
    }
}
