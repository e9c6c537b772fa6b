//! The electrocardiogram: QRS complexes and what follows from them.
//! In: ECG runs in mV, 100 to 1000 Hz. Out: beats, heart rate, intervals; units in the cards.

pub mod average_beat;
pub mod delineation;
mod leads;
pub mod qrs;
pub mod qrs_features;
pub mod qrs_flutter;
mod qrs_odds;

pub mod af_episode;
pub mod beat_class;
mod beat_odds;
pub mod beat_shape;
pub mod ecg_intervals;
pub mod heart_rate;
pub mod hrv;
pub mod rhythm;
pub mod rpeaks;
pub mod st_level;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop and tells its figures")]
mod ecg_intervals_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod qrs_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod records;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod rpeaks_records;
#[cfg(test)]
mod synthetic;

use crate::operator::Spec;

/// The cards of this family, in graph order.
pub static SPECS: &[&Spec] = &[
    &rpeaks::SPEC,
    &heart_rate::SPEC,
    &hrv::SPEC,
    &ecg_intervals::SPEC,
    &st_level::SPEC,
    &beat_class::SPEC,
    &af_episode::SPEC,
    &rhythm::SPEC,
];
