//! Readers, writers and simulators of physiological recordings.
//! In: files in WFDB, CSV or PSV form, or a seed. Out: frames in the shared vocabulary, raw counts kept,
//! event times in microseconds; and, from the simulators, the truth behind them.
//!
//! Reading order: [`recording`] (what was read, and frames of it), [`read`] (files to recordings),
//! [`mod@write`] (recordings to files), [`simulate`] (seeds to frames). Nothing here knows Kafka or the
//! engine.

pub mod read;
pub mod recording;
pub mod simulate;
pub mod write;

pub use read::{ReadError, open};
pub use recording::{Recording, frames};
