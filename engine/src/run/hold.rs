//! Holding back: while too much is in flight nothing is taken in, until half of it is done, and that is said.
//! In: how full the hand-overs are, and what time it is. Out: when partitions are paused and when they go on; for how
//! long, and for want of what.
//!
//! Alerts wait as long as this holds. That is decided so: the archive is to be whole and memory bounded, and a disk
//! that has *failed* is passed over. So a disk, or a broker, that is merely too slow must never hold back in silence.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::metrics::BEHIND;

/// Held back for so long, partitions are paused: what was read ahead is let go.
const HOLD: Duration = Duration::from_millis(300);
/// The log says it no more often than this: catching up holds back by turns.
const SAY: Duration = Duration::from_secs(10);

/// What does not keep up, in the order of [`BEHIND`].
#[derive(Clone, Copy)]
enum Behind {
    Transactions,
    Archive,
}

impl Behind {
    fn name(self) -> &'static str {
        BEHIND[self as usize]
    }

    /// What `/readyz` and the log say.
    fn why(self) -> String {
        format!(
            "held back: {} slower than what comes in, and alerts wait",
            match self {
                Behind::Transactions => "transactions are",
                Behind::Archive => "the archive is",
            }
        )
    }
}

/// Whether, since when and for want of what nothing is taken in.
#[derive(Default)]
pub(super) struct Hold {
    now: Option<(Instant, Behind)>,
    /// How long that was the case before, in the order of [`BEHIND`].
    before: [Duration; 2],
    /// When the log last said so, and whether of this time.
    said: Option<Instant>,
    said_now: bool,
}

impl Hold {
    /// Weighs how full the hand-overs are, 1 being as full as they may get. Whether partitions are now to be paused
    /// (true), or to go on (false).
    pub(super) fn weigh(&mut self, transactions: f64, archive: f64, now: Instant) -> Option<bool> {
        let fill = transactions.max(archive);
        match self.now {
            None if fill >= 1.0 => {
                let behind = if archive > transactions { Behind::Archive } else { Behind::Transactions };
                self.now = Some((now, behind));
                None
            }
            Some((since, behind)) if fill < 0.5 => {
                self.let_go(now - since, behind);
                Some(false)
            }
            Some((since, behind)) if now - since > HOLD => {
                self.say(behind, now);
                Some(true)
            }
            _ => None,
        }
    }

    fn let_go(&mut self, span: Duration, behind: Behind) {
        self.now = None;
        self.before[behind as usize] += span;
        if std::mem::take(&mut self.said_now) {
            info!(behind = behind.name(), seconds = span.as_secs_f64(), "no longer held back");
        }
    }

    fn say(&mut self, behind: Behind, now: Instant) {
        if self.said_now || self.said.is_some_and(|s| now - s < SAY) {
            return;
        }
        (self.said, self.said_now) = (Some(now), true);
        warn!(code = "held_back", behind = behind.name(), "{}", behind.why());
    }

    /// Whether nothing is taken in.
    pub(super) fn holds(&self) -> bool {
        self.now.is_some()
    }

    /// Why nothing is taken in, and for how long so far; `None` while that is a matter of moments.
    pub(super) fn lasts(&self, now: Instant) -> Option<(String, Duration)> {
        let (since, behind) = self.now?;
        Some((behind.why(), now - since)).filter(|l| l.1 > HOLD)
    }

    /// Seconds in which nothing was taken in, by what did not keep up.
    pub(super) fn seconds(&self, now: Instant) -> [(&'static str, f64); 2] {
        let mut spans = self.before;
        if let Some((since, behind)) = self.now {
            spans[behind as usize] += now - since;
        }
        [0, 1].map(|n| (BEHIND[n], spans[n].as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn holds_at_the_bound_pauses_after_a_moment_and_lets_go_at_half() {
        let (mut hold, start) = (Hold::default(), clock::instant());
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!((hold.weigh(0.9, 0.99, at(0)), hold.holds()), (None, false));
        assert_eq!((hold.weigh(0.9, 1.0, at(10)), hold.holds()), (None, true));
        assert_eq!((hold.weigh(0.9, 1.0, at(310)), hold.lasts(at(310))), (None, None));
        assert_eq!(hold.weigh(0.9, 1.0, at(311)), Some(true));
        let (why, span) = hold.lasts(at(511)).expect("it lasts");
        assert!(why.contains("the archive is slower"), "{why}");
        assert_eq!(span, Duration::from_millis(501));
        assert_eq!(hold.weigh(0.1, 0.5, at(1_000)), Some(true));
        assert_eq!((hold.weigh(0.1, 0.49, at(1_010)), hold.holds()), (Some(false), false));
        assert_eq!(hold.seconds(at(9_000)), [("transactions", 0.0), ("archive", 1.0)]);
        // The next one is for want of the other, and counts while it goes on.
        assert_eq!(hold.weigh(1.2, 0.2, at(10_000)), None);
        assert_eq!(hold.seconds(at(12_000)), [("transactions", 2.0), ("archive", 1.0)]);
        assert!(hold.lasts(at(12_000)).is_some_and(|l| l.0.contains("transactions are slower")));
    }

    #[test]
    fn the_log_is_not_flooded() {
        let (mut hold, start) = (Hold::default(), clock::instant());
        let mut said = 0;
        // Half a second held back in each second of a minute.
        for half in 0..120 {
            let now = start + Duration::from_millis(500 * half);
            hold.weigh(0.0, if half % 2 == 0 { 1.0 } else { 0.0 }, now);
            hold.weigh(0.0, if half % 2 == 0 { 1.0 } else { 0.0 }, now + HOLD * 3 / 2);
            said += u64::from(hold.said == Some(now + HOLD * 3 / 2));
        }
        assert_eq!(said, 6);
    }
}
