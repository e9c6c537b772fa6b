//! Quality of signals: how far each waveform can be believed this second.
//! In: raw samples. Out: per channel a quality (0 to 1) and a state code, before anything else looks at it.

pub mod limits;
pub mod noise;
pub mod sentinel;
pub mod signal_quality;
mod survey;

use crate::operator::Spec;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[&signal_quality::SPEC];
