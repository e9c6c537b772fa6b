//! Filters of finite length: what runs, and its state. Designs are in [`window`], [`equiripple`] and [`smooth`],
//! instantaneous amplitude in [`envelope`]. In: coefficients, samples in the channel's unit. Out: as many samples in
//! the same unit.
//!
//! Each output is a sum in double precision from the newest sample to the oldest, neither fused nor in another order,
//! so any cut of the input, any number of lanes and every width of instructions give the same bits. It goes wide along
//! time: sixteen outputs are the lanes of each operation, which serves one channel as well as many.

pub mod envelope;
pub mod equiripple;
pub mod smooth;
pub mod window;

use serde::{Deserialize, Serialize};

use super::design::DesignError;
use super::dispatch::{Kernel, Width, widest_at};
use crate::signal::Hertz;

/// The most coefficients a filter may have.
pub const MAX_TAPS: usize = 1024;

/// Samples that are worked on at once.
const BLOCK: usize = 256;

/// Outputs that are computed side by side.
const LANES: usize = 16;

/// A filter of finite length.
///
/// ```
/// use auscult_operators::filter::fir::{Fir, FirState};
/// let mean = Fir::new(vec![0.25; 4]).unwrap();
/// let (mut state, mut out) = (FirState::default(), [0f32; 5]);
/// mean.filter(&mut state, &[4.0, 8.0, 8.0, 8.0, 8.0], &mut out);
/// assert_eq!(out, [4.0, 5.0, 6.0, 7.0, 8.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fir {
    taps: Vec<f64>,
}

/// The last samples of one channel, the oldest first. A fresh one takes its past from the first sample that it sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FirState {
    past: Vec<f32>,
    primed: bool,
}

impl Fir {
    /// A filter of these coefficients, that of the newest sample first.
    ///
    /// # Errors
    /// [`DesignError::Taps`] for none, or more than [`MAX_TAPS`]; [`DesignError::Precision`] for one that is no
    /// number.
    pub fn new(taps: Vec<f64>) -> Result<Self, DesignError> {
        check_taps(taps.len(), 1)?;
        if taps.iter().all(|h| h.is_finite()) { Ok(Self { taps }) } else { Err(DesignError::Precision) }
    }

    /// Its coefficients, that of the newest sample first.
    pub fn taps(&self) -> &[f64] {
        &self.taps
    }

    /// How many samples late the output is, if its phase is linear: half a sample more for an even number of
    /// coefficients.
    ///
    /// ```
    /// use auscult_operators::filter::fir::Fir;
    /// assert_eq!(Fir::new(vec![0.25, 0.5, 0.25]).unwrap().latency(), Some(1.0));
    /// assert_eq!(Fir::new(vec![1.0, 0.5]).unwrap().latency(), None);
    /// ```
    pub fn latency(&self) -> Option<f64> {
        let close = |sign: f64| {
            let peak = self.taps.iter().fold(0.0f64, |p, h| p.max(h.abs()));
            self.taps.iter().zip(self.taps.iter().rev()).all(|(a, b)| (a - sign * b).abs() <= 1e-9 * peak)
        };
        (close(1.0) || close(-1.0)).then(|| (self.taps.len() - 1) as f64 / 2.0)
    }

    /// Gain at a frequency.
    pub fn magnitude(&self, frequency: Hertz, rate: Hertz) -> f64 {
        let w = std::f64::consts::TAU * frequency.get() / rate.get();
        let sum = |f: fn(f64) -> f64| -> f64 {
            self.taps.iter().enumerate().map(|(k, h)| h * f(w * k as f64)).sum()
        };
        let (re, im) = (sum(libm::cos), sum(libm::sin));
        (re * re + im * im).sqrt()
    }

    /// Runs one channel; `output` must be as long as `input`, the shorter counts.
    pub fn filter(&self, state: &mut FirState, input: &[f32], output: &mut [f32]) {
        self.filter_at(Width::best(), state, input, output);
    }

    /// As [`Fir::filter`] with instructions of a given width; one that this machine lacks falls back to the build's
    /// own.
    pub fn filter_at(&self, width: Width, state: &mut FirState, input: &[f32], output: &mut [f32]) {
        self.each_block(width, state, input, output, |_, sums, out| {
            for (y, sum) in out.iter_mut().zip(sums) {
                *y = narrow(*sum);
            }
        });
    }

    /// Runs the filter block by block, and hands out the line of samples (the past first), the sums and their places.
    fn each_block(
        &self,
        width: Width,
        state: &mut FirState,
        input: &[f32],
        output: &mut [f32],
        mut take: impl FnMut(&[f64], &[f64], &mut [f32]),
    ) {
        let past = self.taps.len() - 1;
        let Some(&first) = input.first() else { return };
        if !state.primed || state.past.len() != past {
            state.primed = true;
            state.past.clear();
            state.past.resize(past, first);
        }
        let mut line = [0f64; MAX_TAPS + BLOCK];
        let mut sums = [0f64; BLOCK];
        for (x, to) in state.past.iter().zip(&mut line) {
            *to = f64::from(*x);
        }
        for (x, y) in input.chunks(BLOCK).zip(output.chunks_mut(BLOCK)) {
            let len = x.len().min(y.len());
            for (x, to) in x[..len].iter().zip(&mut line[past..]) {
                *to = f64::from(*x);
            }
            let line_now = &line[..past + len];
            widest_at(width, Convolve { taps: &self.taps, line: line_now, sums: &mut sums[..len] });
            take(line_now, &sums[..len], &mut y[..len]);
            line.copy_within(len..len + past, 0);
        }
        for (x, to) in line.iter().zip(&mut state.past) {
            *to = *x as f32;
        }
    }
}

impl FirState {
    /// Forgets the signal.
    pub fn reset(&mut self) {
        self.primed = false;
    }
}

/// At most the largest single: never infinite.
fn narrow(x: f64) -> f32 {
    x.clamp(-f64::from(f32::MAX), f64::from(f32::MAX)) as f32
}

fn check_taps(found: usize, least: usize) -> Result<(), DesignError> {
    let fits = (least..=MAX_TAPS).contains(&found);
    if fits { Ok(()) } else { Err(DesignError::Taps { found, need: "at least one, and at most 1024" }) }
}

/// Sums of coefficients with a line of samples.
struct Convolve<'a> {
    taps: &'a [f64],
    /// The past, one sample fewer than there are coefficients, and then one sample for each sum.
    line: &'a [f64],
    sums: &'a mut [f64],
}

impl Kernel for Convolve<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let mut at = 0;
        while at < self.sums.len() {
            let many = self.sums.len() - at;
            if many >= LANES {
                side_by_side::<LANES>(self.taps, &self.line[at..], &mut self.sums[at..]);
                at += LANES;
            } else {
                side_by_side::<1>(self.taps, &self.line[at..], &mut self.sums[at..]);
                at += 1;
            }
        }
    }
}

/// `L` sums, one after the other in time.
#[inline(always)]
fn side_by_side<const L: usize>(taps: &[f64], line: &[f64], sums: &mut [f64]) {
    let line = &line[..taps.len() - 1 + L];
    let mut all = [0f64; L];
    for (h, x) in taps.iter().rev().zip(line.windows(L)).rev() {
        for l in 0..L {
            all[l] += h * x[l];
        }
    }
    sums[..L].copy_from_slice(&all);
}

#[cfg(test)]
mod tests;
