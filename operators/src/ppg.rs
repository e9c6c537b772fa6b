//! What a photoplethysmogram tells: pulses, their rate, variability and arrival, and whether movement spoils them.
//! In: PPG, conditioned (0.5 to 8 Hz) and raw, acceleration in g, signal quality. Out: systolic peaks, rates in /min,
//! times in ms.

pub mod motion_level;
pub mod perfusion_index;
pub mod pulse_arrival;
pub mod pulse_peaks;
pub mod pulse_rate;
pub mod pulse_variability;

use crate::operator::Spec;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[
    &motion_level::SPEC,
    &pulse_peaks::SPEC,
    &pulse_rate::SPEC,
    &pulse_variability::SPEC,
    &pulse_arrival::SPEC,
    &perfusion_index::SPEC,
];
