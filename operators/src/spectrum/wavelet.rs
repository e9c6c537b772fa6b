//! Slopes of a wave at five widths: the stationary (undecimated) transform by the quadratic spline wavelet.
//! In: samples in any unit, in pieces of any length. Out: five scales of the same length, in the unit of the samples;
//! an extreme stands where the smoothed wave is steepest, a zero where it has its peak, each late by a known delay.
//!
//! Sources: Mallat S, Zhong S. IEEE Trans Pattern Anal Mach Intell 1992;14:710-732, doi:10.1109/34.142909 (the
//! filters); Martinez JP et al. IEEE Trans Biomed Eng 2004;51:570-581, doi:10.1109/TBME.2003.821031 (their use on the
//! ECG, at 250 Hz). Differs from both in that every filter looks back only, which delays scale k by 2^k - 1.5 samples,
//! and in that the past before the first sample is taken to be level. The filters are those of the sources at any
//! rate: at another one a scale covers frequencies in proportion.

use serde::{Deserialize, Serialize};

use crate::window::tame;

/// Scales given: 2 to 2^5 samples wide.
pub const SCALES: usize = 5;
/// Samples of the past that scale k needs: three times its step.
const PAST: [usize; SCALES] = [3, 6, 12, 24, 48];
/// All of them.
const PAST_ALL: usize = 93;
/// Samples beyond are taken to be this large, so that no difference overflows.
const MOST: f32 = 1e30;

/// The past of one channel on its way through the transform.
///
/// ```
/// use auscult_operators::spectrum::wavelet::{SCALES, SplineWavelet, delay};
/// // A peak at sample 100 crosses zero at sample 100 and the delay, here between two samples.
/// let wave: Vec<f32> = (0..200).map(|i| 20.0 - (i as f32 - 100.0).abs().min(20.0)).collect();
/// let (mut wavelet, mut work) = (SplineWavelet::default(), Vec::new());
/// let mut scales: [Vec<f32>; SCALES] = Default::default();
/// wavelet.transform(&wave, &mut work, &mut scales);
/// let third = &scales[2];
/// let crossing = (90..140).find(|&i| third[i] > 0.0 && third[i + 1] <= 0.0).unwrap();
/// assert_eq!((crossing, delay(3)), (106, 6.5));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f32>", into = "Vec<f32>")]
pub struct SplineWavelet {
    /// Empty before the first sample, then the past of every scale, one after the other, oldest first.
    past: Vec<f32>,
}

impl From<SplineWavelet> for Vec<f32> {
    fn from(wavelet: SplineWavelet) -> Self {
        wavelet.past
    }
}

impl TryFrom<Vec<f32>> for SplineWavelet {
    type Error = &'static str;
    fn try_from(past: Vec<f32>) -> Result<Self, Self::Error> {
        let known = past.is_empty() || past.len() == PAST_ALL;
        if known { Ok(Self { past }) } else { Err("a wavelet's past of impossible length") }
    }
}

/// Samples by which scale `k` (1 to [`SCALES`]) lags behind the wave: 0.5, 2.5, 6.5, 14.5, 30.5.
pub fn delay(k: usize) -> f64 {
    (1u64 << k.min(SCALES)) as f64 - 1.5
}

impl SplineWavelet {
    /// Forgets the past.
    pub fn reset(&mut self) {
        self.past.clear();
    }

    /// Takes in samples and writes as many numbers of each scale, the finest first. `work` is for use again and again.
    pub fn transform(&mut self, samples: &[f32], work: &mut Vec<f32>, scales: &mut [Vec<f32>; SCALES]) {
        scales.iter_mut().for_each(Vec::clear);
        let Some(first) = samples.first() else { return };
        if self.past.len() != PAST_ALL {
            self.past.clear();
            self.past.resize(PAST_ALL, tame(*first, -MOST, MOST));
        }
        let n = samples.len();
        work.clear();
        work.resize(PAST[SCALES - 1], 0.0);
        work.extend(samples.iter().map(|x| tame(*x, -MOST, MOST)));
        let mut held = &mut self.past[..];
        for (k, scale) in scales.iter_mut().enumerate() {
            let (step, reach) = (1 << k, PAST[k]);
            let (past, rest) = held.split_at_mut(reach);
            held = rest;
            // The wave so far smoothed stands at the end of `work`; its past goes before it.
            let line = &mut work[PAST[SCALES - 1] - reach..];
            line[..reach].copy_from_slice(past);
            past.copy_from_slice(&line[n..n + reach]);
            let (a, b) = (&line[reach..], &line[2 * step..]);
            scale.extend(a.iter().zip(b).map(|(now, before)| 2.0 * (now - before)));
            // Smoothed in place, from the newest back: what is read is older than what is written.
            for i in (0..n).rev() {
                let outer = line[i] + line[i + 3 * step];
                let inner = line[i + step] + line[i + 2 * step];
                line[i + reach] = 0.125 * outer + 0.375 * inner;
            }
        }
    }
}
