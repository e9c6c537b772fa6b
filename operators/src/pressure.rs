//! What an arterial line tells: systolic, diastolic and mean pressure beat by beat.
//! In: raw arterial pressure in mmHg, signal quality. Out: pressures in mmHg, pulses.

pub mod abp_beats;

use crate::operator::Spec;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[&abp_beats::SPEC];
