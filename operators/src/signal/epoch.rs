//! One sealed epoch: a whole second of one patient's event time, complete or known to be incomplete.
//! In: built by the align hop. Out: per channel the contiguous runs of samples in canonical units, and every
//! observation still valid.

use super::time::nearest;
use super::{ChannelId, EventTime, Hertz, Span, Values};

/// What an operator sees of one second of one patient.
#[derive(Clone, Copy, Debug)]
pub struct Epoch<'a> {
    /// A whole second.
    pub start: EventTime,
    /// Contiguous stretches of samples, ordered by channel, then time. A channel without samples has no run.
    pub runs: &'a [Run<'a>],
    /// Last value of each quantity with its validity, as of the end of the epoch.
    pub values: &'a Values,
}

impl<'a> Epoch<'a> {
    /// Event time just after the epoch.
    pub fn end(&self) -> EventTime {
        self.start + Span::EPOCH
    }
    /// The runs of one channel, in time order.
    pub fn runs_of(&self, channel: ChannelId) -> impl Iterator<Item = &'a Run<'a>> + use<'a> {
        self.runs.iter().filter(move |r| r.channel == channel)
    }
}

/// A contiguous stretch of samples of one channel inside one epoch.
///
/// Samples lie on one grid from run to run until `reset` is set: a gap longer than the channel's hold time, or a
/// change of rate, starts a new grid, and whoever keeps state for the channel forgets it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Which signal.
    pub channel: ChannelId,
    /// Sampling rate.
    pub rate: Hertz,
    /// Event time of the first sample.
    pub start: EventTime,
    /// Whether state from before must be forgotten: first samples ever, or after a gap.
    pub reset: bool,
    /// Samples in the channel's canonical unit: always finite.
    pub raw: &'a [f32],
    /// The same samples after the channel's conditioning chain: same length.
    pub clean: &'a [f32],
    /// How many of the samples were bridged over a gap within the hold time.
    pub bridged: usize,
}

impl Run<'_> {
    /// Event time of sample `i` of this run.
    pub fn time_of(&self, i: usize) -> EventTime {
        EventTime::from_micros(self.start.micros() + nearest(i as f64 * 1e6 / self.rate.get()))
    }
}
