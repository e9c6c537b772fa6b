//! How a spectrum changes with time: transforms of short, overlapping pieces. In: samples in any unit, rate in hertz.
//! Out: per piece the magnitude at each frequency, in the unit of the samples, as `scipy.signal.stft` gives it.
//!
//! Source: Allen JB, Rabiner LR. Proc IEEE 1977;65:1558-1564, doi:10.1109/PROC.1977.10770. Window: Hann, periodic. Of
//! scipy it is `stft(..., boundary=None, padded=False)`: a piece is given when its last sample is there, and none is
//! filled up with zeros, so that nothing looks ahead.

use super::fft::{Bin, RealFft};
use crate::signal::{Hertz, Missing};

/// A short-time transform of one length, hop and rate: tables and working memory.
#[derive(Debug)]
pub struct Stft {
    rate: Hertz,
    hop: usize,
    fft: RealFft,
    window: Vec<f64>,
    /// One over the sum of the window: a sine of amplitude one has magnitude one half.
    scale: f64,
    tapered: Vec<f64>,
    bins: Vec<Bin>,
}

impl Stft {
    /// Pieces of `len` samples that begin `hop` samples after one another.
    ///
    /// # Errors
    /// [`Missing::TooFew`] for an odd or zero length, and for no hop.
    pub fn new(len: usize, hop: usize, rate: Hertz) -> Result<Self, Missing> {
        let fft = RealFft::new(len).map_err(|_| Missing::TooFew)?;
        if hop == 0 {
            return Err(Missing::TooFew);
        }
        let hann = |i: usize| 0.5 - 0.5 * libm::cos(2.0 * std::f64::consts::PI * i as f64 / len as f64);
        let window: Vec<f64> = (0..len).map(hann).collect();
        let scale = 1.0 / window.iter().sum::<f64>();
        let bins = vec![Bin::default(); fft.bins()];
        Ok(Self { rate, hop, fft, window, scale, tapered: vec![0.0; len], bins })
    }

    /// Number of frequencies of a piece.
    pub fn bins(&self) -> usize {
        self.bins.len()
    }

    /// Distance between frequencies, in hertz.
    pub fn step_hz(&self) -> f64 {
        self.rate.get() / self.fft.len() as f64
    }

    /// Whole pieces in so many samples.
    pub fn pieces(&self, samples: usize) -> usize {
        samples.checked_sub(self.fft.len()).map_or(0, |rest| rest / self.hop + 1)
    }

    /// Writes the magnitudes of each whole piece, one piece after the other, and returns the number of pieces.
    ///
    /// # Errors
    /// [`Missing::TooFew`] if there is not one whole piece, or less room than [`pieces`](Self::pieces) times
    /// [`bins`](Self::bins).
    ///
    /// ```
    /// use auscult_operators::signal::Hertz;
    /// use auscult_operators::spectrum::stft::Stft;
    /// let mut stft = Stft::new(32, 16, Hertz(32.0)).unwrap();
    /// // Silence, then a quarter of the rate.
    /// let wave: Vec<f32> = (0..96).map(|i| if i < 48 { 0.0 } else { [1.0, 0.0, -1.0, 0.0][i % 4] }).collect();
    /// let mut out = vec![0.0; stft.pieces(96) * stft.bins()];
    /// assert_eq!(stft.magnitudes(&wave, &mut out), Ok(5));
    /// let quarter: Vec<f64> = out.chunks(stft.bins()).map(|piece| piece[8]).collect();
    /// assert!(quarter[0] == 0.0 && quarter[1] == 0.0 && (quarter[4] - 0.5).abs() < 1e-12);
    /// ```
    pub fn magnitudes(&mut self, samples: &[f32], out: &mut [f64]) -> Result<usize, Missing> {
        let (pieces, bins) = (self.pieces(samples.len()), self.bins.len());
        if pieces == 0 || out.len() < pieces * bins {
            return Err(Missing::TooFew);
        }
        for (piece, out) in out.chunks_exact_mut(bins).take(pieces).enumerate() {
            let from = &samples[piece * self.hop..];
            for ((t, x), w) in self.tapered.iter_mut().zip(from).zip(&self.window) {
                *t = f64::from(*x) * w;
            }
            self.fft.forward(&self.tapered, &mut self.bins);
            for (o, b) in out.iter_mut().zip(&self.bins) {
                *o = b.norm_sqr().sqrt() * self.scale;
            }
        }
        Ok(pieces)
    }
}
