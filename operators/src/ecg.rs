//! Operators on the electrocardiogram.
//! In: ECG runs in millivolts. Out: beats and readings named in the cards.

pub mod qrs;
pub mod qrs_features;
pub mod qrs_flutter;
