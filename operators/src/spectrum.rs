//! Spectra: how the power of a signal is spread over frequency. In: conditioned samples in the channel's
//! unit. Out: densities in unit squared per hertz, powers in unit squared.

pub mod band_power;
pub mod fft;
pub mod lomb_scargle;
pub mod low_welch;
pub mod multitaper;
pub mod stft;
pub mod stockham;
mod stockham_lanes;
pub mod wavelet;
pub mod welch;
pub mod window_spectrum;
pub mod windowed;

pub use fft::RealFft;
pub use welch::{Welch, power_between};
pub use windowed::WindowedPower;

use crate::operator::Spec;

/// The operators of this family.
pub static SPECS: &[&Spec] = &[&band_power::SPEC, &window_spectrum::SPEC];
