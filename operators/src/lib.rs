//! The pure half of Auscult: the vocabulary that travels (units, times, channels, frames, epochs, readings) and
//! everything that computes on it (filters, spectra, beats, quality, windows, scores).
//!
//! Nothing here knows a clock, a file, a socket, a thread or a model. Every function is deterministic: the same
//! input gives the same bits on every machine and with every SIMD width.
//!
//! Reading order: [`signal`] (the words), [`operator`] (what an operator is), [`registry`] (all of them), then
//! the families.

pub mod signal;

pub mod operator;
pub mod params;
pub mod registry;

pub mod filter;
pub mod spectrum;
pub mod window;

pub mod alarm;
pub mod ecg;
pub mod eeg;
pub mod motion;
pub mod ppg;
pub mod pressure;
pub mod quality;
pub mod respiration;
pub mod trend;
pub mod vitals;

pub mod score;
