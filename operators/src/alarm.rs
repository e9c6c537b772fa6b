//! What several signals together say of a condition that one of them shows.
//! In: beats and pulses of earlier operators, their quality. Out: evidence from 0 to 1.

pub mod alarm_evidence;
mod beat_trains;

use crate::operator::Spec;

/// The cards of this family, in graph order.
pub static SPECS: &[&Spec] = &[&alarm_evidence::SPEC];
