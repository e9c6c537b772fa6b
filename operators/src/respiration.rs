//! Breathing: its rate from the chest's impedance, or from how breathing moves the pulse wave.
//! In: conditioned impedance (0.05 to 1.5 Hz), PPG and its pulses, signal quality. Out: breaths per minute.

pub mod breath_count;
pub mod resp_rate_wave;

use crate::operator::Spec;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[&resp_rate_wave::SPEC];
