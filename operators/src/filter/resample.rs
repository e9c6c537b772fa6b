//! Changes the rate of a signal by a ratio of whole numbers. In: samples in the channel's unit at one rate. Out:
//! samples in the same unit at `up / down` of that rate.
//!
//! Source: Crochiere and Rabiner, Multirate Digital Signal Processing (1983): zeros put in between, a
//! low-pass below both half rates, and only the outputs that are kept computed. The low-pass is that of
//! `scipy.signal.resample_poly`: Kaiser's window of beta 5, ten samples of the slower rate to each side.
//!
//! Latency: [`Resampler::latency`]. The sum of each output is in eight parts of fixed order, neither fused nor
//! regrouped: any cut of the input and every width of instructions give the same bits.

use serde::{Deserialize, Serialize};

use super::design::DesignError;
use super::dispatch::{Kernel, widest};
use super::fir::MAX_TAPS;
use super::fir::window::{Window, low_pass};

/// The largest factor of a ratio, in lowest terms.
pub const MAX_FACTOR: usize = 1000;

/// Samples of the slower rate that the low-pass reaches to each side.
const REACH: usize = 10;

/// Parts of a sum.
const PARTS: usize = 8;

/// Samples that are worked on at once.
const BLOCK: usize = 256;

/// Changes the rate of channels by one ratio.
///
/// ```
/// use auscult_operators::filter::{ResampleState, Resampler};
/// let half = Resampler::new(1, 2).unwrap();
/// let (mut state, mut out) = (ResampleState::default(), Vec::new());
/// half.resample(&mut state, &[3.0; 100], &mut out);
/// assert_eq!((half.latency(), out.len()), (20.0, 50));
/// assert!(out.iter().all(|y| (y - 3.0).abs() < 0.01));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Resampler {
    up: usize,
    down: usize,
    /// Coefficients of each phase, that of the oldest sample first, filled up with zeros in front to whole parts.
    phases: Vec<f64>,
    /// Coefficients in a phase.
    taps: usize,
    /// Half the length of the low-pass, in steps of the common rate.
    half: usize,
}

/// What is remembered of one channel. A fresh one takes its past from the first sample that it sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResampleState {
    past: Vec<f32>,
    primed: bool,
    /// Steps of the common rate from the next sample to the next output.
    wait: u32,
}

impl Resampler {
    /// One that puts out `up` samples for `down`.
    ///
    /// # Errors
    /// [`DesignError::Taps`] for a factor of zero, or above [`MAX_FACTOR`] in lowest terms, and for a ratio below some
    /// fiftieth, whose low-pass would be too long.
    pub fn new(up: usize, down: usize) -> Result<Self, DesignError> {
        let common = greatest_common(up, down).max(1);
        let (up, down) = (up / common, down / common);
        let large = up.max(down);
        let need = "a ratio of at least 1/50, of factors from 1 to 1000";
        if up == 0 || down == 0 || large > MAX_FACTOR {
            return Err(DesignError::Taps { found: large, need });
        }
        let half = REACH * large;
        let taps = (2 * half + 1).div_ceil(up).next_multiple_of(PARTS);
        if taps > MAX_TAPS {
            return Err(DesignError::Taps { found: taps, need });
        }
        let all = low_pass(2 * half + 1, 1.0 / large as f64, Window::Kaiser(5.0));
        let mut phases = vec![0.0; taps * up];
        for (k, h) in all.iter().enumerate() {
            // Coefficient k meets the sample that is k / up before the newest, in phase k % up.
            phases[k % up * taps + taps - 1 - k / up] = h * up as f64;
        }
        Ok(Self { up, down, phases, taps, half })
    }

    /// How late the output is, in samples of the input.
    pub fn latency(&self) -> f64 {
        self.half as f64 / self.up as f64
    }

    /// How many samples of the output come before that which stands for the first of the input.
    pub fn skipped(&self) -> usize {
        self.half / self.down
    }

    /// Puts what becomes of `input` behind what is in `output`, which does not grow beyond its capacity if that is
    /// enough: `input.len() * up / down + 1`.
    pub fn resample(&self, state: &mut ResampleState, input: &[f32], output: &mut Vec<f32>) {
        let past = self.taps - 1;
        let Some(&first) = input.first() else { return };
        if !state.primed || state.past.len() != past {
            state.past.clear();
            state.past.resize(past, first);
            // So that one output falls on the first sample's own time, late by the latency.
            *state = ResampleState {
                past: std::mem::take(&mut state.past),
                primed: true,
                wait: (self.half % self.down) as u32,
            };
        }
        let mut line = [0f64; MAX_TAPS + BLOCK];
        for (x, to) in state.past.iter().zip(&mut line) {
            *to = f64::from(*x);
        }
        for block in input.chunks(BLOCK) {
            for (x, to) in block.iter().zip(&mut line[past..]) {
                *to = f64::from(*x);
            }
            let wait = state.wait as usize;
            state.wait = widest(Run { of: self, line: &line[..past + block.len()], wait, output }) as u32;
            line.copy_within(block.len()..block.len() + past, 0);
        }
        for (x, to) in line.iter().zip(&mut state.past) {
            *to = *x as f32;
        }
    }
}

impl ResampleState {
    /// Forgets the signal.
    pub fn reset(&mut self) {
        self.primed = false;
    }
}

fn greatest_common(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// One block of samples with the past before it.
struct Run<'a> {
    of: &'a Resampler,
    line: &'a [f64],
    wait: usize,
    output: &'a mut Vec<f32>,
}

impl Kernel for Run<'_> {
    /// Steps from the sample after the block to the next output.
    type Out = usize;
    #[inline(always)]
    fn run(self) -> usize {
        let Resampler { up, down, taps, .. } = *self.of;
        let mut wait = self.wait;
        for from in 0..=self.line.len() - taps {
            while wait < up {
                let phase = &self.of.phases[wait * taps..][..taps];
                let sum = sum_of_products(phase, &self.line[from..from + taps]);
                self.output.push(sum.clamp(-f64::from(f32::MAX), f64::from(f32::MAX)) as f32);
                wait += down;
            }
            wait -= up;
        }
        wait
    }
}

/// In eight parts, each from the oldest sample on; `a` is of whole parts.
#[inline(always)]
fn sum_of_products(a: &[f64], b: &[f64]) -> f64 {
    let mut parts = [0f64; PARTS];
    for (a, b) in a.chunks_exact(PARTS).zip(b.chunks_exact(PARTS)) {
        for l in 0..PARTS {
            parts[l] += a[l] * b[l];
        }
    }
    let [a, b, c, d, e, f, g, h] = parts;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::filter::Width;
    use crate::filter::dispatch::widest_at;

    fn noise(n: usize) -> Vec<f32> {
        let mut state = 3u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn any_cut_gives_the_same_bits() {
        let x = noise(1300);
        for (up, down) in [(1, 1), (1, 2), (2, 1), (25, 36), (36, 25), (1, 40), (1000, 1), (125, 128)] {
            let r = Resampler::new(up, down).unwrap();
            let mut whole = Vec::new();
            r.resample(&mut ResampleState::default(), &x, &mut whole);
            let due = x.len() * up / down;
            assert!(whole.len().abs_diff(due) <= r.up.max(1), "{up}/{down}: {} for {due}", whole.len());
            let (mut state, mut cut, mut at) = (ResampleState::default(), Vec::new(), 0);
            for len in [1, 0, 2, 250, 300, 62, 63].into_iter().cycle() {
                let to = x.len().min(at + len);
                r.resample(&mut state, &x[at..to], &mut cut);
                state = postcard::from_bytes(&postcard::to_stdvec(&state).unwrap()).unwrap();
                at = to;
                if at == x.len() {
                    break;
                }
            }
            assert!(whole.iter().map(|y| y.to_bits()).eq(cut.iter().map(|y| y.to_bits())), "{up}/{down}");
        }
    }

    #[test]
    fn every_width_gives_the_same_bits() {
        let r = Resampler::new(25, 36).unwrap();
        let line: Vec<f64> = noise(r.taps - 1 + 200).iter().map(|&x| f64::from(x)).collect();
        let run = |width: Width| {
            let mut output = Vec::new();
            let wait = widest_at(width, Run { of: &r, line: &line, wait: 5, output: &mut output });
            (wait, output.iter().map(|y| y.to_bits()).collect::<Vec<_>>())
        };
        let scalar = run(Width::Scalar);
        assert!(scalar.1.len() > 130);
        for width in Width::available() {
            assert_eq!(run(width), scalar, "{width:?}");
        }
    }

    #[test]
    fn what_the_new_rate_cannot_show_is_gone() {
        let r = Resampler::new(1, 4).unwrap();
        // 110 Hz at 500 Hz would be heard as 15 Hz at 125 Hz.
        let tone = |hz: f64| -> Vec<f32> {
            (0..4000).map(|i| libm::sin(i as f64 * hz / 500.0 * std::f64::consts::TAU) as f32).collect()
        };
        let peak = |hz: f64| {
            let mut out = Vec::new();
            r.resample(&mut ResampleState::default(), &tone(hz), &mut out);
            out[100..].iter().fold(0f32, |p, y| p.max(y.abs()))
        };
        assert!(peak(110.0) < 0.003 && peak(20.0) > 0.99, "{} {}", peak(110.0), peak(20.0));
    }

    #[test]
    fn huge_samples_stay_finite_and_faults_are_named() {
        let mut x = noise(500);
        x[100..110].fill(f32::MAX);
        x[110..120].fill(f32::MIN);
        let mut out = Vec::new();
        Resampler::new(2, 3).unwrap().resample(&mut ResampleState::default(), &x, &mut out);
        assert!(out.iter().all(|y| y.is_finite()));
        for (up, down) in [(0, 1), (1, 0), (0, 0), (1001, 1), (1, 60)] {
            assert!(Resampler::new(up, down).is_err(), "{up}/{down}");
        }
        assert_eq!(Resampler::new(500, 250).unwrap(), Resampler::new(2, 1).unwrap());
    }
}
