//! The electrocardiogram: QRS complexes and what follows from them.
//! In: ECG runs in mV, 100 to 1000 Hz. Out: beats, heart rate, intervals; units in the cards.

mod leads;
pub mod qrs;
pub mod qrs_features;
pub mod qrs_flutter;
mod qrs_odds;

pub mod heart_rate;
pub mod hrv;
pub mod rpeaks;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod qrs_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod records;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod rpeaks_records;

use crate::operator::Spec;

/// The cards of this family, in graph order.
pub static SPECS: &[&Spec] = &[&rpeaks::SPEC, &heart_rate::SPEC, &hrv::SPEC];
