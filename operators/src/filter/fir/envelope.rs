//! Instantaneous amplitude: the length of the signal and its Hilbert transform, taken as two sides of a right angle.
//! In: samples of a narrow band in the channel's unit. Out: as many amplitudes in the same unit, half the
//! transformer's length late.
//!
//! Source: Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd ed., section 12.4. The amplitude is right for
//! frequencies that the transformer passes whole; a level counts as amplitude, so take it off first.

use super::window::{Window, hilbert};
use super::{Fir, FirState, narrow};
use crate::filter::design::DesignError;
use crate::filter::dispatch::Width;

/// A follower of amplitude.
///
/// ```
/// use auscult_operators::filter::fir::{FirState, envelope::Envelope, window::Window};
/// let envelope = Envelope::new(65, Window::Hamming).unwrap();
/// let x: Vec<f32> = (0..400).map(|i| 3.0 * (i as f32 * 0.7).sin()).collect();
/// let (mut state, mut out) = (FirState::default(), vec![0f32; 400]);
/// envelope.follow(&mut state, &x, &mut out);
/// assert_eq!(envelope.latency(), 32);
/// assert!(out[100..].iter().all(|a| (a - 3.0).abs() < 0.02));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    hilbert: Fir,
}

impl Envelope {
    /// One whose transformer has an odd number of coefficients.
    ///
    /// # Errors
    /// As [`hilbert`].
    pub fn new(taps: usize, window: Window) -> Result<Self, DesignError> {
        Ok(Self { hilbert: hilbert(taps, window)? })
    }

    /// How many samples late the output is.
    pub fn latency(&self) -> usize {
        self.hilbert.taps.len() / 2
    }

    /// Follows one channel; `output` must be as long as `input`, the shorter counts. Any cut gives the same bits.
    pub fn follow(&self, state: &mut FirState, input: &[f32], output: &mut [f32]) {
        let middle = self.latency();
        self.hilbert.each_block(Width::best(), state, input, output, |line, sums, out| {
            for ((y, h), x) in out.iter_mut().zip(sums).zip(&line[middle..]) {
                *y = narrow((h * h + x * x).sqrt());
            }
        });
    }
}
