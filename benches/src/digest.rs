//! A hash of what a run said: two runs with the same digest told the world the same.
//! In: effects in order. Out: one 64-bit FNV-1a, of the bodies of events, scores, features and beats, of rejects and of
//! the fate of every frame; the same however the log was cut into steps.

use std::fmt::{self, Write};

use auscult::effects::{Effect, Effects};

/// A running digest.
///
/// ```
/// use auscult_benches::digest::Digest;
/// let mut d = Digest::default();
/// d.add(&"one");
/// assert_ne!(d, Digest::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// One hash for each kind: only effects of one kind stand in the order of the log.
    kinds: [u64; 6],
}

impl Default for Digest {
    fn default() -> Self {
        Self { kinds: [0xcbf2_9ce4_8422_2325; 6] }
    }
}

struct Fnv<'a>(&'a mut u64);

impl Write for Fnv<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for b in s.bytes() {
            *self.0 = (*self.0 ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl Digest {
    /// Takes in anything that shows itself.
    pub fn add(&mut self, what: &impl fmt::Debug) {
        self.put(5, format_args!("{what:?}"));
    }

    /// Takes in the effects of one step.
    pub fn take(&mut self, effects: &Effects) {
        for (offset, effect) in &effects.list {
            match effect {
                Effect::Event(e, evidence) => self.put(0, format_args!("{offset} {e:?} {evidence:?}")),
                Effect::Score(s, evidence) => self.put(1, format_args!("{offset} {s:?} {evidence:?}")),
                Effect::Features(_, t, readings) => self.put(2, format_args!("{offset} {t:?} {readings:?}")),
                Effect::Predictions(_, t, said) => self.put(2, format_args!("{offset} {t:?} {said:?}")),
                Effect::Beats(_, beats) => self.put(3, format_args!("{offset} {beats:?}")),
                Effect::Frame(_, fate) => self.put(4, format_args!("{offset} {fate:?}")),
                Effect::Aside(_, reject) => self.put(4, format_args!("{offset} {reject:?}")),
                Effect::Roll | Effect::Glance(_) | Effect::State(..) => {}
            }
        }
    }

    fn put(&mut self, kind: usize, what: fmt::Arguments<'_>) {
        // Writing into a hash cannot fail.
        let _ = Fnv(&mut self.kinds[kind]).write_fmt(what);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.kinds.iter().fold(0u64, |h, k| (h ^ k).wrapping_mul(0x0100_0000_01b3).rotate_left(23));
        write!(f, "{all:016x}")
    }
}

#[cfg(test)]
mod tests {
    use auscult::worker::{Event, Worker};

    use super::*;
    use crate::workload::{Size, frames, plan, records};

    #[test]
    fn however_the_log_is_cut_the_digest_is_the_same() {
        let log = records(&frames(Size { beds: 3, seconds: 40 }), 0);
        let digest = |step: usize| {
            let (mut worker, mut digest) = (Worker::new(plan(true)), Digest::default());
            log.chunks(step).for_each(|part| digest.take(&worker.step(Event::Records(part))));
            digest
        };
        let whole = digest(log.len());
        assert_ne!(whole, Digest::default());
        for step in [1, 7, 64] {
            assert_eq!(digest(step), whole, "in steps of {step}");
        }
    }
}
