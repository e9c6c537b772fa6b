//! Duplicates: which frames of each source were seen.
//! In: source, session and sequence of a frame. Out: whether it is new.

use auscult_operators::filter::dispatch::Far;
use auscult_operators::signal::{Frame, SourceId};
use serde::{Deserialize, Serialize};

use super::Fate;
use crate::limits;

/// Sequence numbers below the highest that are remembered one by one.
const WINDOW: u64 = 512;

/// One run of one source.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Source {
    id: SourceId,
    session: u64,
    highest: u64,
    /// Bit `n` tells whether `highest - n` was seen.
    seen: [u64; (WINDOW / 64) as usize],
    ended: bool,
    /// Whether it has ever sent anything but commands.
    measures: bool,
}

/// The sources of one patient, the one heard of longest ago first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sources {
    list: Vec<Source>,
}

impl Sources {
    /// Notes where they lie, see [`Far`].
    pub(super) fn far(&self, to: &mut Far) {
        to.add(&self.list[..]);
        self.list.iter().for_each(|s| to.add(&*s.id.0));
    }

    /// Tells a new frame from a duplicate. A frame of an older session, or from before the window of remembered
    /// numbers, cannot be told from a duplicate: it counts as late.
    pub(super) fn admit(&mut self, frame: &Frame) -> Fate {
        let Some(at) = self.list.iter().position(|s| s.id == frame.source) else {
            if self.list.len() as u64 >= limits::PATIENT_SOURCES.max {
                self.list.remove(0);
            }
            self.list.reserve_exact(1);
            self.list.push(Source::new(frame));
            return Fate::Processed;
        };
        let mut source = self.list.remove(at);
        source.measures |= measures(frame);
        let fate = source.admit(frame);
        self.list.push(source);
        fate
    }

    /// Notes that the source sends no more.
    pub(super) fn end(&mut self, frame: &Frame) {
        if let Some(s) = self.list.iter_mut().find(|s| s.id == frame.source) {
            s.ended = true;
        }
    }

    /// Whether there are sources that measure and all of them have ended.
    pub(super) fn all_ended(&self) -> bool {
        let mut measuring = self.list.iter().filter(|s| s.measures).peekable();
        measuring.peek().is_some() && measuring.all(|s| s.ended)
    }
}

fn measures(frame: &Frame) -> bool {
    !frame.waves.is_empty() || !frame.observations.is_empty()
}

impl Source {
    fn new(frame: &Frame) -> Self {
        let mut seen = [0; (WINDOW / 64) as usize];
        seen[0] = 1;
        let (session, highest) = (frame.session, frame.sequence);
        Self { id: frame.source.clone(), session, highest, seen, ended: false, measures: measures(frame) }
    }

    fn admit(&mut self, frame: &Frame) -> Fate {
        if frame.session != self.session {
            if frame.session < self.session {
                return Fate::Late;
            }
            *self = Self::new(frame);
            return Fate::Processed;
        }
        if frame.sequence > self.highest {
            self.shift(frame.sequence - self.highest);
            self.highest = frame.sequence;
            self.seen[0] |= 1;
            self.ended = false;
            return Fate::Processed;
        }
        let back = self.highest - frame.sequence;
        if back >= WINDOW {
            return Fate::Late;
        }
        let (word, bit) = ((back / 64) as usize, 1u64 << (back % 64));
        if self.seen[word] & bit != 0 {
            return Fate::Duplicate;
        }
        self.seen[word] |= bit;
        Fate::Processed
    }

    /// Makes room for `n` newer numbers.
    fn shift(&mut self, n: u64) {
        let words = self.seen.len();
        let (skip, bits) = ((n / 64) as usize, n % 64);
        for i in (0..words).rev() {
            let low = if i >= skip { self.seen[i - skip] << bits } else { 0 };
            let carry = if bits > 0 && i > skip { self.seen[i - skip - 1] >> (64 - bits) } else { 0 };
            self.seen[i] = low | carry;
        }
    }
}

#[cfg(test)]
mod tests {
    use auscult_operators::signal::{EventTime, PatientId};

    use super::*;

    fn frame(session: u64, sequence: u64) -> Frame {
        Frame {
            patient: PatientId::new("p"),
            source: SourceId("s".into()),
            session,
            sequence,
            time: EventTime::from_seconds(0),
            waves: vec![],
            observations: vec![],
            device: None,
            commands: vec![],
        }
    }

    /// `sequence` or `session/sequence`, and what is expected: p(rocessed), d(uplicate), l(ate).
    fn check(history: &str) {
        let mut sources = Sources::default();
        for item in history.split_whitespace() {
            let (what, expected) = item.split_once('=').unwrap();
            let (session, sequence) = what.split_once('/').unwrap_or(("0", what));
            let fate = sources.admit(&frame(session.parse().unwrap(), sequence.parse().unwrap()));
            let expected = match expected {
                "p" => Fate::Processed,
                "d" => Fate::Duplicate,
                _ => Fate::Late,
            };
            assert_eq!(fate, expected, "{item} in {history}");
        }
    }

    #[test]
    fn duplicates_are_told_from_new_frames() {
        check("0=p 1=p 1=d 0=d 3=p 2=p 2=d 3=d");
        check("100=p 99=p 37=p 36=p 36=d 37=d 164=p 37=d 36=d 101=p 101=d");
        check("5=p 517=p 5=l 6=p 6=d 600=p 88=l 89=p");
        check("0=p 10000=p 0=l 9999=p 9999=d 10000=d");
        check("7=p 1/0=p 7=l 1/0=d 1/1=p 0/8=l");
    }
}
