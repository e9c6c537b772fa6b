//! Hop 3: frames of one patient to sealed epochs, in event time.
//! In: decoded frames in log order. Out: whole seconds of event time with contiguous runs of samples, gaps told
//! apart from late and doubled frames; what each frame turned out to be, for the accounts.

mod grid;
mod sequence;
#[cfg(test)]
mod tests;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use auscult_operators::filter::dispatch::{Far, Stretch};
use auscult_operators::signal::frame::{Command, DeviceStatus, Observation};
use auscult_operators::signal::{EventTime, Frame, SourceId, Span};
pub use grid::RunMeta;
use grid::{Clock, Cut};
use sequence::Sources;
use serde::{Deserialize, Serialize};

use crate::limits;

/// What became of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Taken in.
    Processed,
    /// Source and sequence were seen before.
    Duplicate,
    /// All its samples lie in epochs already sealed.
    Late,
}

/// One sealed epoch on its way through the hops.
#[derive(Clone, Debug, Default)]
pub struct Sealed {
    /// Start of the epoch.
    pub start: EventTime,
    /// Runs in channel order, as ranges of `raw`.
    pub runs: Vec<RunMeta>,
    /// Samples in canonical units.
    pub raw: Vec<f32>,
    /// Observations that arrived since the last epoch.
    pub observations: Vec<Observation>,
    /// Commands that arrived since the last epoch.
    pub commands: Vec<Command>,
    /// Device states that arrived since the last epoch.
    pub devices: Vec<DeviceStatus>,
    /// Whether every source had said that it sends no more: this is the patient's last epoch.
    pub ended: bool,
    /// Where the data of this epoch stands in the log.
    pub evidence: Evidence,
}

/// The stretch of the log, and of a source's numbering, that an epoch was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// First and last offset, if any frame contributed.
    pub offsets: Option<(i64, i64)>,
    /// First and last sequence by source, in order of source.
    #[serde(with = "named")]
    pub sources: Vec<(Arc<str>, u64, u64)>,
}

/// Sealed epochs in order, and the memory of those that were used: nothing is allocated for an epoch but at first.
#[derive(Debug, Default)]
pub struct Epochs {
    list: Vec<Sealed>,
    spare: Vec<Sealed>,
    cuts: Vec<Cut>,
}

/// Used epochs whose memory is kept.
const SPARE_EPOCHS: usize = 128;

impl Epochs {
    /// Keeps the memory of an epoch that was used.
    pub fn give_back(&mut self, mut used: Sealed) {
        if self.spare.len() == SPARE_EPOCHS {
            return;
        }
        used.runs.clear();
        used.raw.clear();
        used.observations.clear();
        used.commands.clear();
        used.devices.clear();
        used.ended = false;
        used.evidence.clear();
        self.spare.push(used);
    }
}

impl Deref for Epochs {
    type Target = Vec<Sealed>;
    fn deref(&self) -> &Vec<Sealed> {
        &self.list
    }
}

impl DerefMut for Epochs {
    fn deref_mut(&mut self) -> &mut Vec<Sealed> {
        &mut self.list
    }
}

impl Evidence {
    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.offsets = None;
        self.sources.clear();
    }

    /// Widens this to hold the other.
    pub fn merge(&mut self, other: &Evidence) {
        if let Some((a, b)) = other.offsets {
            self.offsets = Some(self.offsets.map_or((a, b), |(x, y)| (x.min(a), y.max(b))));
        }
        for (source, first, last) in &other.sources {
            self.add_source(source, *first, *last);
        }
    }

    fn add(&mut self, offset: i64, frame: &Frame) {
        self.offsets = Some(self.offsets.map_or((offset, offset), |(x, y)| (x.min(offset), y.max(offset))));
        self.add_source(&frame.source.0, frame.sequence, frame.sequence);
    }

    fn add_source(&mut self, source: &Arc<str>, first: u64, last: u64) {
        match self.sources.iter_mut().find(|s| s.0 == *source) {
            Some(s) => (s.1, s.2) = (s.1.min(first), s.2.max(last)),
            None => {
                // Each patient remembers ten of these lists, nearly all of one source.
                self.sources.reserve_exact(1);
                self.sources.push((source.clone(), first, last));
                self.sources.sort();
            }
        }
    }
}

/// Sources by name, in a snapshot.
mod named {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Sources = Vec<(Arc<str>, u64, u64)>;

    pub(super) fn serialize<S: Serializer>(sources: &Sources, s: S) -> Result<S::Ok, S::Error> {
        let plain: Vec<(&str, u64, u64)> = sources.iter().map(|(n, a, b)| (&**n, *a, *b)).collect();
        plain.serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Sources, D::Error> {
        let plain = Vec::<(String, u64, u64)>::deserialize(d)?;
        Ok(plain.into_iter().map(|(n, a, b)| (n.into(), a, b)).collect())
    }
}

/// Used frames of a patient whose memory is kept.
const SPARE_COUNTS: usize = 2;

/// Counts that the aligner keeps beside the accounts of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleCounts {
    /// Samples handed on.
    pub taken: u64,
    /// Samples of gaps that were bridged.
    pub bridged: u64,
    /// Samples inside an epoch already sealed, of frames that were not wholly late.
    pub late: u64,
    /// Samples at a time for which there was one already.
    pub overlapping: u64,
    /// Gaps longer than the hold time.
    pub gaps: u64,
}

impl SampleCounts {
    /// Adds another patient's counts.
    pub fn add(&mut self, other: &SampleCounts) {
        self.taken += other.taken;
        self.bridged += other.bridged;
        self.late += other.late;
        self.overlapping += other.overlapping;
        self.gaps += other.gaps;
    }

    /// What has come since an earlier count of the same patient.
    #[must_use]
    pub fn since(&self, before: &SampleCounts) -> SampleCounts {
        SampleCounts {
            taken: self.taken - before.taken,
            bridged: self.bridged - before.bridged,
            late: self.late - before.late,
            overlapping: self.overlapping - before.overlapping,
            gaps: self.gaps - before.gaps,
        }
    }
}

/// Stretches of memory noted of a frame: itself, its lists, and the samples of its first waves.
const STRETCHES: usize = 8;

/// Where a frame lies: noted when it comes, as it is at hand then.
fn memory_of(frame: &Arc<Frame>) -> [Stretch; STRETCHES] {
    let whole = [Stretch::of(&**frame), Stretch::of(&frame.waves[..]), Stretch::of(&frame.observations[..])];
    let mut all = whole.into_iter().chain(frame.waves.iter().map(grid::samples_of));
    std::array::from_fn(|_| all.next().unwrap_or_default())
}

/// One frame that waits for its epochs to be sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    #[serde(with = "shared")]
    frame: Arc<Frame>,
    offset: i64,
    /// Samples of each wave already handed on.
    taken: Vec<usize>,
    /// Whether observations, commands and device state were handed on.
    told: bool,
    /// Where the frame lies.
    #[serde(skip)]
    memory: [Stretch; STRETCHES],
}

/// A frame in a snapshot: by value, for nobody shares it afterwards.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Frame;

    pub(super) fn serialize<S: Serializer>(frame: &Arc<Frame>, to: S) -> Result<S::Ok, S::Error> {
        frame.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Frame>, D::Error> {
        Frame::deserialize(from).map(Arc::new)
    }
}

/// What pending frames are ordered by.
fn key(f: &Frame) -> (EventTime, &SourceId, u64, u64) {
    (f.time, &f.source, f.session, f.sequence)
}

/// The event-time order of one patient.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Timeline {
    sources: Sources,
    newest: Option<EventTime>,
    sealed_to: Option<EventTime>,
    /// Epochs without data since the last that had some.
    empty: u64,
    /// Ordered by time, source, session, sequence.
    pending: Vec<Pending>,
    clocks: Vec<Clock>,
    /// Memory of frames that were used.
    #[serde(skip)]
    spare: Vec<Vec<usize>>,
    /// Counts of samples.
    pub counts: SampleCounts,
}

impl Timeline {
    /// Notes where it lies, see [`Far`].
    pub(crate) fn far(&self, to: &mut Far) {
        to.add(&self.pending[..]);
        to.add(&self.clocks[..]);
        self.sources.far(to);
    }

    /// Asks for the frame that is sealed next: it came some seconds ago.
    pub(crate) fn fetch_oldest(&self) {
        self.pending.first().into_iter().flat_map(|p| p.memory).for_each(Stretch::fetch);
    }

    /// Takes one frame in. Call [`Timeline::seal_due`] afterwards.
    pub fn take(&mut self, frame: &Arc<Frame>, offset: i64) -> Fate {
        match self.sources.admit(frame) {
            Fate::Processed => {}
            other => return other,
        }
        let sealed_to = self.sealed_to.unwrap_or(EventTime::from_micros(i64::MIN));
        let mut taken = self.spare.pop().unwrap_or_default();
        taken.clear();
        taken.extend(frame.waves.iter().map(|w| grid::samples_before(w, sealed_to)));
        if !taken.is_empty() && frame.waves.iter().zip(&taken).all(|(w, n)| *n >= w.samples.len()) {
            return Fate::Late;
        }
        self.counts.late += taken.iter().map(|n| *n as u64).sum::<u64>();
        let at = self.pending.partition_point(|p| key(&p.frame) <= key(frame));
        self.pending.insert(
            at,
            Pending { memory: memory_of(frame), frame: frame.clone(), offset, taken, told: false },
        );
        self.newest = self.newest.max(Some(frame.end()));
        if frame.device == Some(DeviceStatus::Ended) {
            self.sources.end(frame);
        }
        Fate::Processed
    }

    /// Seals every epoch whose end the patient time has passed: the newest event time less the lateness; or all
    /// that is there, once every source has ended.
    pub fn seal_due(&mut self, lateness: Span, out: &mut Epochs) {
        let Some(newest) = self.newest else { return };
        if self.sources.all_ended() {
            let before = out.len();
            self.seal_all(out);
            // The last epoch is one without samples, so that operators settle what still waits.
            if let Some(start) =
                self.sealed_to.filter(|_| out[before..].last().is_some_and(|s| !s.runs.is_empty()))
            {
                self.seal_one(start, out);
                self.sealed_to = Some(start + Span::EPOCH);
            }
            if let Some(last) = out[before..].last_mut() {
                last.ended = true;
            }
        } else {
            let mut to = (newest - lateness).epoch_start();
            if self.pending.len() as u64 > limits::PATIENT_PENDING_FRAMES.max {
                let oldest = self.pending[0].frame.time;
                let start = self.sealed_to.map_or(oldest, |s| s.max(oldest)).epoch_start();
                to = to.max(start + Span::EPOCH);
            }
            self.seal_to(to, out);
        }
    }

    /// Seals everything that has arrived: the patient has fallen quiet, or all sources ended.
    pub fn seal_all(&mut self, out: &mut Epochs) {
        // The end of a sample may reach into an epoch that holds nothing yet: what counts is where it begins.
        let last = |p: &Pending| {
            let waiting = p.frame.waves.iter().zip(&p.taken).filter(|(w, n)| **n < w.samples.len());
            waiting.map(|(w, _)| grid::last_sample(w)).chain((!p.told).then_some(p.frame.time)).max()
        };
        let Some(last) = self.pending.iter().filter_map(last).max() else { return };
        let start = self.sealed_to.map_or(last, |s| s.max(last)).epoch_start();
        self.seal_to(start + Span::EPOCH, out);
    }

    /// Event time up to which everything is sealed.
    pub fn sealed_to(&self) -> Option<EventTime> {
        self.sealed_to
    }

    /// Largest event time seen.
    pub fn newest(&self) -> Option<EventTime> {
        self.newest
    }

    /// Whether every source has said that it sends no more.
    pub fn ended(&self) -> bool {
        self.sources.all_ended()
    }

    fn seal_to(&mut self, to: EventTime, out: &mut Epochs) {
        let Some(first) = self.pending.first() else { return };
        let mut start = self.sealed_to.unwrap_or(first.frame.time.epoch_start());
        if start >= to {
            // Nothing was sealed: a frame that belongs before the first one is not late yet.
            return;
        }
        while start < to {
            match self.pending.first().map(|p| p.frame.time.epoch_start()) {
                Some(data) if data <= start => self.empty = 0,
                data if self.empty >= limits::EMPTY_EPOCHS.max => {
                    start = data.unwrap_or(to).min(to);
                    continue;
                }
                _ => self.empty += 1,
            }
            self.seal_one(start, out);
            start = start + Span::EPOCH;
        }
        self.sealed_to = Some(start);
    }

    fn seal_one(&mut self, start: EventTime, out: &mut Epochs) {
        let end = start + Span::EPOCH;
        let Epochs { list, spare, cuts } = out;
        let mut sealed = Sealed { start, ..spare.pop().unwrap_or_default() };
        cuts.clear();
        for (i, p) in self.pending.iter_mut().enumerate().take_while(|(_, p)| p.frame.time < end) {
            let mut used = !p.told;
            if !p.told {
                p.told = true;
                sealed.observations.extend(p.frame.observations.iter().cloned());
                sealed.commands.extend(p.frame.commands.iter().cloned());
                sealed.devices.extend(p.frame.device);
            }
            for (w, wave) in p.frame.waves.iter().enumerate() {
                let to = grid::samples_before(wave, end);
                if to > p.taken[w] {
                    cuts.push(Cut { channel: wave.channel, pending: i, wave: w, from: p.taken[w], to });
                    p.taken[w] = to;
                    used = true;
                }
            }
            if used {
                sealed.evidence.add(p.offset, &p.frame);
            }
        }
        cuts.sort_unstable_by_key(|c| (c.channel, c.pending, c.wave));
        sealed.raw.reserve_exact(cuts.iter().map(|c| c.to - c.from).sum());
        sealed.runs.reserve_exact(cuts.chunk_by(|a, b| a.channel == b.channel).count());
        for cut in cuts.iter() {
            let wave = &self.pending[cut.pending].frame.waves[cut.wave];
            grid::append(&mut self.clocks, wave, cut, &mut sealed, &mut self.counts);
        }
        let spare = &mut self.spare;
        self.pending.retain_mut(|p| {
            let used = p.told && p.frame.waves.iter().zip(&p.taken).all(|(w, n)| *n >= w.samples.len());
            if used && spare.len() < SPARE_COUNTS {
                spare.push(std::mem::take(&mut p.taken));
            }
            !used
        });
        list.push(sealed);
    }
}
