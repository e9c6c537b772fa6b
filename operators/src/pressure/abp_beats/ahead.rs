//! What the detector of pressure beats computes of many samples at once, before it looks for beats.
//! In: raw pressure in mmHg. Out: per sample the pressure without its noise, its rise and the slope sum (mmHg).

use super::Detector;
use crate::filter::dispatch::Kernel;
use crate::window::tame;

/// Samples that are computed ahead at a time.
pub(super) const TOGETHER: usize = 64;

/// What is known of the next samples before any beat is looked for.
pub(super) struct Ahead {
    pub(super) pressure: [f32; TOGETHER],
    pub(super) smooth: [f32; TOGETHER],
    pub(super) rise: [f32; TOGETHER],
    pub(super) slope: [f32; TOGETHER],
}

impl Default for Ahead {
    fn default() -> Self {
        let none = [0.0; TOGETHER];
        Self { pressure: none, smooth: none, rise: none, slope: none }
    }
}

pub(super) struct Compute<'a> {
    pub(super) detector: &'a mut Detector,
    pub(super) raw: &'a [f32],
    pub(super) ahead: &'a mut Ahead,
}

impl Kernel for Compute<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        self.detector.compute(self.raw, self.ahead);
    }
}

impl Detector {
    /// What does not depend on the beats found: the pressure without its noise, its rise, and the slope sum.
    #[inline(always)]
    fn compute(&mut self, raw: &[f32], ahead: &mut Ahead) {
        let n = raw.len().min(TOGETHER);
        let Ahead { pressure, smooth, rise, slope } = ahead;
        for i in 0..n {
            pressure[i] = tame(raw[i], -50.0, 400.0);
        }
        // A mean of 10 ms takes the edge off noise and leaves systolic peaks as they are.
        let share = (1.0 / (self.rate * 0.010)).min(1.0) as f32;
        let first = if self.count == 0 { pressure[0] } else { self.smooth };
        for i in 0..n {
            smooth[i] = pressure[i] * share;
        }
        // In the order in which a sample waits least for the one before.
        let (mut before, keep) = (first, 1.0 - share);
        for new in &mut smooth[..n] {
            before = before * keep + *new;
            *new = before;
        }
        let (mut up, mut sums) = ([0.0_f32; TOGETHER], [0.0_f64; TOGETHER]);
        for i in 0..n {
            rise[i] = smooth[i] - if i == 0 { first } else { smooth[i - 1] };
            up[i] = if rise[i] > 0.0 { rise[i] } else { 0.0 };
        }
        // The sum is made anew at each sample whose number is a multiple of the ring's length.
        let capacity = self.slopes.capacity() as u64;
        let renewed = (capacity - self.count % capacity) % capacity;
        self.slopes.running_sums(&up[..n], self.slope_sum, renewed as usize, &mut sums[..n]);
        self.slope_sum = sums[n - 1];
        for i in 0..n {
            slope[i] = sums[i] as f32;
        }
    }
}
