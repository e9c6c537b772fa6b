//! The sample grid of each channel: contiguous runs, bridged gaps, resets.
//! In: stretches of waveforms in time order. Out: samples in canonical units on one grid per channel.

use std::ops::Range;

use auscult_operators::filter::dispatch::Stretch;
use auscult_operators::filter::values_of_counts;
use auscult_operators::signal::frame::{Samples, Wave};
use auscult_operators::signal::time::nearest;
use auscult_operators::signal::{ChannelId, EventTime, Hertz, Span};
use serde::{Deserialize, Serialize};

use super::{SampleCounts, Sealed};

/// A contiguous stretch of samples inside a sealed epoch, as a range of its `raw` samples.
#[derive(Clone, Debug)]
pub struct RunMeta {
    /// Which signal.
    pub channel: ChannelId,
    /// Sampling rate.
    pub rate: Hertz,
    /// Event time of the first sample.
    pub start: EventTime,
    /// Whether state from before must be forgotten.
    pub reset: bool,
    /// Samples that were bridged.
    pub bridged: usize,
    /// Where the samples stand.
    pub range: Range<usize>,
}

/// A part of one wave of one pending frame that belongs to the epoch being sealed.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub(super) channel: ChannelId,
    pub(super) pending: usize,
    pub(super) wave: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The grid of one channel: sample `i` lies at `origin + i / rate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Clock {
    channel: ChannelId,
    rate: Hertz,
    origin: EventTime,
    next: i64,
    last: f32,
}

impl Clock {
    fn time_of(&self, index: i64) -> EventTime {
        sample_time(self.origin, self.rate, index)
    }
}

fn sample_time(origin: EventTime, rate: Hertz, index: i64) -> EventTime {
    EventTime::from_micros(origin.micros() + nearest(index as f64 * 1e6 / rate.get()))
}

/// Where the samples of a wave lie.
pub(super) fn samples_of(wave: &Wave) -> Stretch {
    match &wave.samples {
        Samples::Counts { counts, .. } => Stretch::of(&counts[..]),
        Samples::Values(values) => Stretch::of(&values[..]),
    }
}

/// Event time of the last sample of a wave, which has at least one.
pub(super) fn last_sample(wave: &Wave) -> EventTime {
    sample_time(wave.start, wave.rate, wave.samples.len() as i64 - 1)
}

/// How many samples of the wave lie before `t`.
pub(super) fn samples_before(wave: &Wave, t: EventTime) -> usize {
    let n = wave.samples.len();
    if wave.start >= t {
        return 0;
    }
    let guess = (t.micros() as f64 - wave.start.micros() as f64) * wave.rate.get() / 1e6;
    let mut i = (nearest(guess).max(0) as usize).min(n);
    while i < n && sample_time(wave.start, wave.rate, i as i64) < t {
        i += 1;
    }
    while i > 0 && sample_time(wave.start, wave.rate, i as i64 - 1) >= t {
        i -= 1;
    }
    i
}

/// Appends one cut to the epoch.
pub(super) fn append(
    clocks: &mut Vec<Clock>,
    wave: &Wave,
    cut: &Cut,
    sealed: &mut Sealed,
    counts: &mut SampleCounts,
) {
    let at = match clocks.binary_search_by_key(&wave.channel, |c| c.channel) {
        Ok(at) => at,
        Err(at) => {
            // A rate of zero never equals that of a wave: the first sample resets.
            let clock =
                Clock { channel: wave.channel, rate: Hertz(0.0), origin: wave.start, next: 0, last: 0.0 };
            clocks.insert(at, clock);
            at
        }
    };
    let clock = &mut clocks[at];
    match &wave.samples {
        Samples::Counts { counts: raw, scale, offset, missing } => {
            let part = |range: Range<usize>| Part::Counts(&raw[range], *scale, *offset);
            if missing.is_some_and(|m| raw[cut.from..cut.to].contains(&m)) {
                for (i, c) in raw.iter().enumerate().take(cut.to).skip(cut.from) {
                    if Some(*c) != *missing {
                        place(clock, wave, i, part(i..i + 1), sealed, counts);
                    }
                }
            } else {
                place(clock, wave, cut.from, part(cut.from..cut.to), sealed, counts);
            }
        }
        Samples::Values(raw) => {
            let part = &raw[cut.from..cut.to];
            if part.iter().all(|v| v.is_finite()) {
                place(clock, wave, cut.from, Part::Values(part), sealed, counts);
            } else {
                for (i, _) in part.iter().enumerate().filter(|(_, v)| v.is_finite()) {
                    place(clock, wave, cut.from + i, Part::Values(&part[i..=i]), sealed, counts);
                }
            }
        }
    }
}

/// Contiguous samples, all present.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// Counts with their scale and offset.
    Counts(&'a [i16], f64, f64),
    Values(&'a [f32]),
}

impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Part::Counts(counts, ..) => counts.len(),
            Part::Values(values) => values.len(),
        }
    }
    fn first(&self) -> Option<f32> {
        match self {
            Part::Counts(counts, scale, offset) => {
                counts.first().map(|c| (f64::from(*c) * scale + offset) as f32)
            }
            Part::Values(values) => values.first().copied(),
        }
    }
    /// Without the first `n`, which are there.
    fn after(self, n: usize) -> Self {
        match self {
            Part::Counts(counts, scale, offset) => Part::Counts(&counts[n..], scale, offset),
            Part::Values(values) => Part::Values(&values[n..]),
        }
    }
    fn append_to(&self, out: &mut Vec<f32>) {
        match self {
            Part::Counts(counts, scale, offset) => values_of_counts(counts, *scale, *offset, out),
            Part::Values(values) => out.extend_from_slice(values),
        }
    }
}

/// Puts contiguous present samples, the first of which is sample `first` of the wave, onto the grid.
fn place(
    clock: &mut Clock,
    wave: &Wave,
    first: usize,
    part: Part<'_>,
    sealed: &mut Sealed,
    counts: &mut SampleCounts,
) {
    let time = sample_time(wave.start, wave.rate, first as i64);
    let index = nearest(((time - clock.origin).micros() as f64) * wave.rate.get() / 1e6);
    let mut gap = index - clock.next;
    let hold = clock.channel.row().hold;
    let gap_span = Span::from_micros((gap as f64 * 1e6 / wave.rate.get()) as i64);
    let reset = clock.rate != wave.rate || gap_span > hold;
    if reset {
        counts.gaps += u64::from(clock.rate.get() > 0.0);
        (clock.rate, clock.origin, clock.next, gap) = (wave.rate, time, 0, 0);
    }
    // For some there is a sample at that time already: the earlier frame stands.
    let overlapping = usize::try_from(-gap).unwrap_or(0).min(part.len());
    counts.overlapping += overlapping as u64;
    let part = part.after(overlapping);
    let Some(head) = part.first() else { return };
    gap = gap.max(0);
    let fresh = reset || sealed.runs.last().is_none_or(|r| r.channel != clock.channel);
    if fresh {
        let start = clock.time_of(clock.next);
        let range = sealed.raw.len()..sealed.raw.len();
        sealed.runs.push(RunMeta {
            channel: clock.channel,
            rate: clock.rate,
            start,
            reset,
            bridged: 0,
            range,
        });
    }
    let Some(run) = sealed.runs.last_mut() else { return };
    for k in 1..=gap {
        let share = k as f32 / (gap + 1) as f32;
        sealed.raw.push(clock.last + (head - clock.last) * share);
    }
    run.bridged += gap as usize;
    counts.bridged += gap as u64;
    let before = sealed.raw.len();
    part.append_to(&mut sealed.raw);
    let n = sealed.raw.len() - before;
    counts.taken += n as u64;
    clock.next += gap + n as i64;
    clock.last = sealed.raw.last().copied().unwrap_or(head);
    run.range.end = sealed.raw.len();
}
