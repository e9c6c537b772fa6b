//! Recursive filters: designed as second-order sections, run many channels side by side in SIMD lanes. Beside them:
//! filters of finite length, medians, what removes mains and baseline, and changes of rate.
//! In: cut-off frequencies in hertz, samples in the channel's canonical unit. Out: samples in the same unit.
//!
//! Reading order: [`design`] (what a filter is), [`cascade`] (what runs, and its state), [`lanes`] (how many
//! channels run at once), [`dispatch`] (which instructions), [`conditioning`] (which filter a channel gets). The
//! others stand alone.

pub mod baseline_wander;
pub mod cascade;
pub mod conditioning;
pub mod counts;
pub mod design;
pub mod dispatch;
pub mod fir;
pub mod lanes;
pub mod mains;
pub mod median;
pub mod resample;

pub use baseline_wander::{Baseline, BaselineState};
pub use cascade::{Cascade, CascadeState, Precision};
pub use conditioning::{BandPass, Conditioning, Family, cascade_for};
pub use counts::values_of_counts;
pub use design::{Band, DesignError, Section, butterworth, chebyshev1, chebyshev2, elliptic, notch};
pub use dispatch::Width;
pub use lanes::{Job, filter_many};
pub use mains::{MainsCanceller, MainsState};
pub use median::{Hampel, HampelState, MedianState, RunningMedian};
pub use resample::{ResampleState, Resampler};
