//! What a photoplethysmogram tells: pulses and their rate.
//! In: conditioned PPG (0.5 to 8 Hz), signal quality. Out: systolic peaks, pulse rate in /min.

pub mod pulse_peaks;
pub mod pulse_rate;

use crate::operator::Spec;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[&pulse_peaks::SPEC, &pulse_rate::SPEC];
