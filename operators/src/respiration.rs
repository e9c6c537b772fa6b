//! Breathing: its rate from chest, gas, heart and pulse, breaths one by one, their absence and their pattern.
//! In: conditioned impedance (0.05 to 1.5 Hz), carbon dioxide, PPG, pulses and QRS complexes, signal quality. Out:
//! breaths, breaths per minute, seconds without a breath, carbon dioxide in mmHg.

pub mod apnoea;
pub mod breath_count;
pub mod breath_series;
pub mod breaths;
pub mod capnogram;
pub mod resp_rate_ecg;
pub mod resp_rate_fused;
pub mod resp_rate_wave;
pub mod tidal_pattern;

use crate::operator::Spec;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[
    &capnogram::SPEC,
    &resp_rate_wave::SPEC,
    &resp_rate_ecg::SPEC,
    &resp_rate_fused::SPEC,
    &breaths::SPEC,
    &apnoea::SPEC,
    &tidal_pattern::SPEC,
];
