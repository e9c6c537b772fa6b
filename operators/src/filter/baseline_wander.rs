//! Takes the baseline off an ECG and leaves the ST segment where it was: what remains is the signal less a smooth mean
//! around it. In: samples in the channel's unit. Out: as many samples in the same unit, [`Baseline::latency`] late.
//!
//! A mean over 3.2 s, smoothed by a mean over 0.8 s, both symmetric: linear phase, so no wave is bent. What an
//! impulse of 0.3 mV s leaves behind is at most 0.3 mV s / 3.2 s = 0.094 mV high and 0.3 mV s / (3.2 s * 0.8 s) =
//! 0.12 mV/s steep; IEC 60601-2-25:2011 (low-frequency response) and Kligfield et al., Circulation 2007;115:1306
//! allow 0.1 mV and 0.3 mV/s. Half the power is lost at 0.23 Hz; the AHA allows 0.67 Hz where the phase
//! is linear.
//!
//! Latency: 2 s. Without latency, `butterworth(1, Band::HighPass(Hertz(0.05)), rate)` meets the same limits, but lets
//! nine tenths of a wander of 0.1 Hz through.
//!
//! Limits: what the standard protects, wander shares. Of 0.05 Hz a twentieth remains, of 0.1 Hz a sixth, of 0.2 Hz
//! more than half; wander in time with breaths mostly stays. Shorter means take it, and bend ST more than allowed.
//!
//! Sums are of whole numbers, a 2^20th of the unit each: they carry no error on, and any order gives the same bits.
//! Samples beyond four million units count as four million. State: four bytes a sample of the two means, 4 KiB at 250
//! Hz.

use serde::{Deserialize, Serialize};

use super::design::DesignError;
use crate::signal::Hertz;

/// Length of the mean, seconds.
pub const LONG_S: f64 = 3.2;
/// Length of the mean that smooths it, seconds.
pub const SHORT_S: f64 = 0.8;
/// The longest either may be, samples.
pub const MAX_SPAN: usize = 16_384;

/// Parts of a unit that are counted, and the most of them in a sample.
const PARTS: f64 = 1_048_576.0;
const MOST: f64 = 4_194_304.0 * PARTS;

/// A remover of baseline for channels of one rate.
///
/// ```
/// use auscult_operators::filter::{Baseline, BaselineState};
/// use auscult_operators::signal::Hertz;
/// let baseline = Baseline::new(Hertz(250.0)).unwrap();
/// let (mut state, mut out) = (BaselineState::default(), [1f32; 100]);
/// baseline.filter(&mut state, &[5.0; 100], &mut out);
/// assert_eq!((baseline.latency(), out), (500, [0.0; 100]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Baseline {
    long: usize,
    short: usize,
}

/// What is remembered of one channel. A fresh one takes its past from the first sample that it sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BaselineState {
    samples: Mean,
    means: Mean,
}

/// The last values and their sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mean {
    values: Vec<f32>,
    oldest: u32,
    sum: i64,
}

impl Baseline {
    /// One that meets the limits of IEC 60601-2-25.
    ///
    /// # Errors
    /// [`DesignError::Taps`] for a rate at which the means would be too short or too long.
    pub fn new(rate: Hertz) -> Result<Self, DesignError> {
        Self::with_spans(LONG_S, SHORT_S, rate)
    }

    /// One of other lengths, in seconds. A `long_s` below 3 leaves more behind an impulse than the standard allows.
    ///
    /// # Errors
    /// [`DesignError::Taps`] unless `3 <= short <= long <= MAX_SPAN` in samples.
    pub fn with_spans(long_s: f64, short_s: f64, rate: Hertz) -> Result<Self, DesignError> {
        // Odd lengths have a middle; a float beyond all integers becomes the largest, none at all becomes zero.
        let odd = |s: f64| ((s * rate.get() / 2.0) as usize).saturating_mul(2) | 1;
        let (long, short) = (odd(long_s), odd(short_s));
        for found in [long, short] {
            if !(3..=MAX_SPAN).contains(&found) || short > long {
                return Err(DesignError::Taps {
                    found,
                    need: "means of 3 to 16384 samples, the shorter first",
                });
            }
        }
        Ok(Self { long, short })
    }

    /// How many samples late the output is.
    pub fn latency(&self) -> usize {
        (self.long - 1) / 2 + (self.short - 1) / 2
    }

    /// Takes the baseline off one channel's samples; `output` must be as long as `input`, the shorter counts. However
    /// the samples are cut into calls, the output has the same bits.
    pub fn filter(&self, state: &mut BaselineState, input: &[f32], output: &mut [f32]) {
        let Some(&first) = input.first() else { return };
        if state.samples.values.len() != self.long || state.means.values.len() != self.short {
            *state =
                BaselineState { samples: Mean::of(first, self.long), means: Mean::of(first, self.short) };
        }
        for (x, y) in input.iter().zip(output) {
            let mean = state.samples.push(*x);
            let baseline = state.means.push(mean as f32);
            let due = f64::from(state.samples.back(self.latency())) - baseline;
            *y = due.clamp(-f64::from(f32::MAX), f64::from(f32::MAX)) as f32;
        }
    }
}

impl BaselineState {
    /// Forgets the signal.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

fn parts(x: f32) -> i64 {
    // Towards zero: what is lost is a millionth of the unit at most, in and out alike.
    (f64::from(x) * PARTS).clamp(-MOST, MOST) as i64
}

impl Mean {
    fn of(x: f32, len: usize) -> Self {
        Self { values: vec![x; len], oldest: 0, sum: parts(x) * len as i64 }
    }

    /// Takes a value in for the oldest; yields the mean.
    fn push(&mut self, x: f32) -> f64 {
        let at = self.oldest as usize;
        self.sum += parts(x) - parts(self.values[at]);
        self.values[at] = x;
        self.oldest = if at + 1 == self.values.len() { 0 } else { self.oldest + 1 };
        self.sum as f64 / (PARTS * self.values.len() as f64)
    }

    /// The value that came `ago` values before the last.
    fn back(&self, ago: usize) -> f32 {
        let (next, len) = (self.oldest as usize, self.values.len());
        self.values[if next > ago { next - 1 - ago } else { next + len - 1 - ago }]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::filter::{Band, Cascade, CascadeState, Section, butterworth};

    /// What a filter leaves of IEC's impulse, 3 mV for 0.1 s, outside of it: highest value, and steepest slope per
    /// second over 0.1 s.
    fn left_of_impulse(rate: f64, late: usize, run: impl FnOnce(&[f32]) -> Vec<f32>) -> (f64, f64) {
        let second = rate as usize;
        let pulse = 10 * second..10 * second + second / 10;
        let input: Vec<f32> = (0..30 * second).map(|i| if pulse.contains(&i) { 3.0 } else { 0.0 }).collect();
        let out = run(&input);
        let outside = |i: usize| i + 1 < pulse.start + late || i > pulse.end + late;
        let step = second / 10;
        let high = (0..out.len()).filter(|&i| outside(i)).map(|i| f64::from(out[i]).abs());
        let steep = (0..out.len() - step)
            .filter(|&i| (i..=i + step).all(outside))
            .map(|i| f64::from(out[i + step] - out[i]).abs() / 0.1);
        (high.fold(0.0, f64::max), steep.fold(0.0, f64::max))
    }

    fn run(b: &Baseline, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0f32; x.len()];
        b.filter(&mut BaselineState::default(), x, &mut out);
        out
    }

    #[test]
    fn the_impulse_of_the_standard_leaves_no_more_than_it_allows() {
        for rate in [100.0, 250.0, 360.0, 500.0, 1000.0] {
            let b = Baseline::new(Hertz(rate)).unwrap();
            assert!((b.latency() as f64 / rate - 2.0).abs() < 0.03);
            let (high, steep) = left_of_impulse(rate, b.latency(), |x| run(&b, x));
            assert!(high > 0.05 && high <= 0.1 && steep <= 0.3, "{rate} Hz: {high} mV, {steep} mV/s");
            let at_once = butterworth(1, Band::HighPass(Hertz(0.05)), Hertz(rate)).unwrap();
            let (high, steep) = left_of_impulse(rate, 0, |x| filtered(at_once, rate, x));
            assert!(high <= 0.1 && steep <= 0.3, "{rate} Hz at once: {high} mV, {steep} mV/s");
            // The check bites: means as short as a filter of monitoring grade.
            let short = Baseline::with_spans(1.0, 0.25, Hertz(rate)).unwrap();
            assert!(left_of_impulse(rate, short.latency(), |x| run(&short, x)).0 > 0.2);
        }
    }

    /// How far ST at J + 60 ms, against the PR segment, is off at worst, and how far the PR segment wanders; after a
    /// filter that is `late` samples late, at 500 Hz, with 1 mV of wander.
    fn st_error(st_mv: f64, late: usize, run: impl FnOnce(&[f32]) -> Vec<f32>) -> (f64, f64) {
        let rate = 500.0;
        let bell = |t: f64, at: f64, w: f64| libm::exp(-0.5 * ((t - at) / w) * ((t - at) / w));
        let beat = |t: f64| {
            let t = t % 0.86;
            // ST level from 0.44 to 0.56 s, ending in T.
            let level = 1.0 / (1.0 + libm::exp(-(t - 0.43) / 0.004)) / (1.0 + libm::exp((t - 0.62) / 0.02));
            1.2 * bell(t, 0.39, 0.01) + 0.3 * bell(t, 0.65, 0.05) + st_mv * level
        };
        let wander = |t: f64| 0.5 * libm::sin(std::f64::consts::TAU * 0.04 * t) + 20.0;
        let x: Vec<f32> =
            (0..30_000).map(|i| (beat(i as f64 / rate) + wander(i as f64 / rate)) as f32).collect();
        let y = run(&x);
        let (mut worst, mut low, mut high) = (0.0f64, f64::MAX, f64::MIN);
        for k in 10..60 {
            let at = |s: f64| ((f64::from(k) * 0.86 + s) * rate) as usize;
            let (pr, st) = (at(0.33), at(0.49));
            let found = f64::from(y[st + late] - y[pr + late]);
            let truth = beat(st as f64 / rate) - beat(pr as f64 / rate);
            worst = worst.max((found - truth).abs());
            low = low.min(f64::from(y[pr + late]));
            high = high.max(f64::from(y[pr + late]));
        }
        (worst, high - low)
    }

    #[test]
    fn an_st_deviation_stays_and_wander_goes() {
        let b = Baseline::new(Hertz(500.0)).unwrap();
        for st_mv in [-0.3, -0.1, 0.0, 0.1, 0.2, 0.5] {
            let (worst, swing) = st_error(st_mv, b.latency(), |x| run(&b, x));
            assert!(worst < 0.01, "ST {st_mv}: {worst} mV");
            assert!(swing < 0.06, "1 mV of wander leaves {swing} mV");
        }
        // The check bites: a high-pass of monitoring grade, 0.5 Hz without linear phase, bends ST; none leaves the
        // wander.
        let sections = butterworth(2, Band::HighPass(Hertz(0.5)), Hertz(500.0)).unwrap();
        let (worst, _) = st_error(0.2, 0, |x| filtered(sections, 500.0, x));
        assert!(worst > 0.05, "{worst} mV");
        assert!(st_error(0.2, 0, <[f32]>::to_vec).1 > 0.9);
    }

    fn filtered(sections: Vec<Section>, rate: f64, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0f32; x.len()];
        Cascade::new(sections, Hertz(rate)).unwrap().filter(&mut CascadeState::default(), x, &mut out);
        out
    }

    #[test]
    fn any_cut_gives_the_same_bits_and_a_spike_leaves_nothing() {
        let b = Baseline::new(Hertz(50.0)).unwrap();
        let mut x: Vec<f32> = (0..1000).map(|i| ((i * 37) % 101) as f32 * 0.01 + 3.0).collect();
        let calm = run(&b, &x);
        x[400] = 3e38;
        x[401] = -3e38;
        let whole = run(&b, &x);
        assert!(whole.iter().all(|y| y.is_finite()));
        assert_eq!(whole[700..], calm[700..], "a spike is gone for good once it has left the means");
        let (mut cut, mut state) = (vec![0f32; x.len()], BaselineState::default());
        for at in (0..x.len()).step_by(7) {
            let to = x.len().min(at + 7);
            b.filter(&mut state, &x[at..to], &mut cut[at..to]);
            state = postcard::from_bytes(&postcard::to_stdvec(&state).unwrap()).unwrap();
        }
        assert_eq!(cut, whole);
        for rate in [0.0, 1.0, -5.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Baseline::new(Hertz(rate)).is_err(), "{rate}");
        }
        assert!(Baseline::with_spans(0.5, 1.0, Hertz(250.0)).is_err());
    }
}
