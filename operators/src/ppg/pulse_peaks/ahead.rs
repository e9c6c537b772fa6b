//! What the detector of pulses computes of many samples at once, before it looks for pulses.
//! In: conditioned PPG. Out: per sample the two means of the squared upper half and the mean energy, in the square of
//! the channel's unit, and where the one exceeds the others.

use super::Detector;
use crate::filter::dispatch::Kernel;
use crate::window::{bits, tame};

/// Memory of the mean energy (s).
const ENERGY_S: f64 = 3.0;

/// Samples that are computed ahead at a time, one bit each.
pub(super) const TOGETHER: usize = 64;

/// What is known of the next samples before any pulse is looked for.
pub(super) struct Ahead {
    pub(super) signal: [f32; TOGETHER],
    pub(super) squared: [f32; TOGETHER],
    pub(super) narrow: [f64; TOGETHER],
    pub(super) wide: [f64; TOGETHER],
    pub(super) peak: [f32; TOGETHER],
    pub(super) energy: [f64; TOGETHER],
}

impl Ahead {
    /// Nothing known yet.
    pub(super) const EMPTY: Self = {
        let (none, no) = ([0.0; TOGETHER], [0.0; TOGETHER]);
        Self { signal: none, squared: none, narrow: no, wide: no, peak: none, energy: no }
    };
}

pub(super) struct Compute<'a> {
    pub(super) detector: &'a mut Detector,
    pub(super) clean: &'a [f32],
    pub(super) ahead: &'a mut Ahead,
}

impl Kernel for Compute<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        self.detector.compute(self.clean, self.ahead);
    }
}

/// Where the narrow mean exceeds the wide one by more than a share of the usual energy.
pub(super) struct Inside<'a> {
    pub(super) ahead: &'a Ahead,
    pub(super) most: f64,
    pub(super) offset: f64,
}

impl Kernel for Inside<'_> {
    type Out = u64;
    #[inline(always)]
    fn run(self) -> u64 {
        let Ahead { peak, wide, energy, .. } = self.ahead;
        let mut inside = [0; TOGETHER];
        for i in 0..TOGETHER {
            let typical = if energy[i] < self.most { energy[i] } else { self.most };
            let peak = f64::from(peak[i]);
            inside[i] = u8::from((peak > wide[i] + self.offset * typical) & (peak > 0.0));
        }
        bits(&inside)
    }
}

impl Detector {
    /// Energies at the next samples: nothing of them depends on the pulses found.
    #[inline(always)]
    fn compute(&mut self, clean: &[f32], ahead: &mut Ahead) {
        let n = clean.len().min(TOGETHER);
        let Ahead { signal, squared, narrow, wide, peak, energy } = ahead;
        for i in 0..n {
            signal[i] = tame(clean[i], -1e7, 1e7);
            let above = if signal[i] > 0.0 { signal[i] } else { 0.0 };
            squared[i] = above * above;
        }
        self.narrow.push_all(&squared[..n], &mut narrow[..n]);
        self.wide.push_all(&squared[..n], &mut wide[..n]);
        let mut new = [0.0_f32; TOGETHER];
        for i in 0..n {
            new[i] = narrow[i] as f32;
        }
        // Both means are centred on the same sample: of the narrow one, that of a while ago; none at first.
        let (held, late) = (self.delayed.len(), self.delayed.capacity() - 1);
        let none = late.saturating_sub(held).min(n);
        peak[..none].fill(0.0);
        let mut to = &mut peak[none..n];
        let (older, newer) = self.delayed.as_slices();
        let mut skip = held.saturating_sub(late);
        for from in [older, newer, &new[..n]] {
            let from = &from[skip.min(from.len())..];
            skip = 0;
            let (now, later) = to.split_at_mut(to.len().min(from.len()));
            now.copy_from_slice(&from[..now.len()]);
            to = later;
        }
        self.delayed.extend(&new[..n]);
        let most = self.rate * ENERGY_S;
        let learning = (most - self.count as f64 - 1.0).ceil().clamp(0.0, n as f64) as usize;
        let mut mean = self.energy;
        for i in 0..learning {
            mean += (f64::from(squared[i]) - mean) / ((self.count + i as u64) as f64 + 1.0);
            energy[i] = mean;
        }
        // The same with a memory of fixed length, in the order in which a sample waits least for the one before.
        let (share, keep) = (1.0 / most, 1.0 - 1.0 / most);
        for i in learning..n {
            mean = mean * keep + f64::from(squared[i]) * share;
            energy[i] = mean;
        }
        self.energy = mean;
    }
}
