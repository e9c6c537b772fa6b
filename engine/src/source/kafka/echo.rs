//! Whether a member that is fenced was fenced by its own echo.
//! In: when its session was lost, when it is fenced. Out: whether it may join anew, or another process has its name.
//!
//! A member whose session ends at a coordinator that says nothing joins anew, as a member of another id. A heartbeat of
//! the old id that still waits to be answered, or is sent once more, is then told that the name belongs to another.

use std::time::{Duration, Instant};

/// A request of the old member is answered, or given up, so long after its session was lost at the latest.
const LASTS: Duration = Duration::from_secs(30);
/// The loop turns many times a second, and takes 2 s to give partitions up. A process that has stood still for longer
/// has lost its session by itself, and its name is another's for good reason.
const STILL: Duration = Duration::from_secs(3);

/// Sessions that were lost.
#[derive(Debug, Default)]
pub(super) struct Echo {
    turned: Option<Instant>,
    stood_still: Option<Instant>,
    lost: Option<Instant>,
}

impl Echo {
    /// The loop turns.
    pub(super) fn turn(&mut self, now: Instant) {
        if self.turned.is_some_and(|t| now.saturating_duration_since(t) > STILL) {
            self.stood_still = Some(now);
        }
        self.turned = Some(now);
    }

    /// The session is lost, without anybody having said that the name is another's.
    pub(super) fn lost(&mut self, now: Instant) {
        self.lost = Some(now).filter(|_| !self.stood_still.is_some_and(|t| recent(t, now)));
    }

    /// Fenced: whether by an echo. Each loss has one; after that it is another process.
    pub(super) fn is_heard(&mut self, now: Instant) -> bool {
        self.lost.take().is_some_and(|lost| recent(lost, now))
    }
}

fn recent(what: Instant, now: Instant) -> bool {
    now.saturating_duration_since(what) < LASTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_loss_has_one_echo_and_only_for_a_while() {
        let begun = clock::instant();
        let at = |s| begun + Duration::from_secs(s);
        let mut echo = Echo::default();
        echo.turn(at(0));
        assert!(!echo.is_heard(at(0)), "nothing was lost: another process has the name");
        echo.turn(at(1));
        echo.lost(at(1));
        assert!(echo.is_heard(at(9)));
        assert!(!echo.is_heard(at(10)), "a second time it is another process");
        echo.lost(at(20));
        assert!(!echo.is_heard(at(60)), "too late for an echo");
    }

    #[test]
    fn who_has_stood_still_has_no_echo() {
        let begun = clock::instant();
        let at = |s| begun + Duration::from_secs(s);
        let mut echo = Echo::default();
        echo.turn(at(0));
        echo.turn(at(9));
        echo.lost(at(9));
        assert!(!echo.is_heard(at(10)));
        // Long after that it is like any other.
        (10..60).for_each(|s| echo.turn(at(s)));
        echo.lost(at(60));
        assert!(echo.is_heard(at(61)));
    }
}
