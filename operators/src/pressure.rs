//! What an arterial line tells: pressures beat by beat, what follows from them, and the state of the line itself.
//! In: raw arterial pressure in mmHg, signal quality. Out: pressures in mmHg, pulses, burdens, codes; units in the
//! cards.

pub mod abp_beats;
pub mod abp_hypotension;
pub mod abp_line;
pub mod abp_upstroke;
pub mod pulse_pressure_variation;
pub mod shock_index;

use crate::operator::Spec;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[
    &abp_beats::SPEC,
    &abp_upstroke::SPEC,
    &abp_line::SPEC,
    &abp_hypotension::SPEC,
    &shock_index::SPEC,
    &pulse_pressure_variation::SPEC,
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod simulated;
