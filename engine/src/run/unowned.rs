//! Partitions that nobody owns although the group is at rest.
//! In: what the group says of itself, asked for now and then on a thread of its own. Out: whether to join it anew.
//!
//! A member with a static name that dies while it gives partitions up comes back to what it kept, without a rebalance:
//! what it was giving up is nobody's. The brokers do not see that; only a new rebalance mends it, and the member that
//! owns the fewest partitions asks for it, since it has to give them up meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::clock;
use crate::source::kafka::{Group, Members};

/// Between two looks at the group.
const LOOK: Duration = Duration::from_secs(3);
/// A gap may be one that is about to be closed: whoever gives partitions up has so long for it.
const ABOUT: Duration = Duration::from_secs(6);
/// After a rebalance was asked for, until another is.
const AGAIN: Duration = Duration::from_secs(60);

/// Looks at the group; asks its own process to join anew.
pub(super) struct Unowned {
    asked: Arc<AtomicBool>,
}

impl Unowned {
    /// Starts to look.
    pub(super) fn start(group: &Group) -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let (group, theirs) = (group.weak(), Arc::downgrade(&asked));
        thread::spawn(move || {
            let mut look = Look::default();
            loop {
                thread::sleep(LOOK);
                // Ends with the loop that it looks for.
                let (Some(group), Some(asked)) = (group.upgrade(), theirs.upgrade()) else { return };
                match group.members(LOOK) {
                    Ok(members) if look.take(&members, clock::instant()) => {
                        let what = "partitions have no owner: the group is joined anew";
                        warn!(code = "unowned", owned = members.owned(), of = members.partitions, "{what}");
                        asked.store(true, Ordering::Relaxed);
                    }
                    Ok(_) => {}
                    Err(e) => debug!(error = %e, "the group says nothing of itself"),
                }
            }
        });
        Self { asked }
    }

    /// Whether the group is to be joined anew.
    pub(super) fn asked(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }
}

/// What was seen so far.
#[derive(Default)]
struct Look {
    /// Since when the same gap is there.
    gap: Option<(Instant, BTreeMap<String, usize>)>,
    last: Option<Instant>,
}

impl Look {
    /// Takes note of the group; whether its own process is to join anew.
    fn take(&mut self, members: &Members, now: Instant) -> bool {
        if !members.stable || members.counts.is_empty() || members.owned() >= members.partitions {
            self.gap = None;
            return false;
        }
        match &self.gap {
            Some((since, counts)) if *counts == members.counts => {
                let fewest = members.counts.iter().min_by_key(|(id, n)| (**n, *id)).map(|(id, _)| id);
                let due = now - *since >= ABOUT && self.last.is_none_or(|l| now - l >= AGAIN);
                if !due || fewest != Some(&members.me) {
                    return false;
                }
                (self.gap, self.last) = (None, Some(now));
                true
            }
            _ => {
                self.gap = Some((now, members.counts.clone()));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(counts: &[(&str, usize)], me: &str) -> Members {
        let counts = counts.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        Members { stable: true, partitions: 6, counts, me: me.into(), instances: Default::default() }
    }

    #[test]
    fn a_gap_that_stays_is_mended_by_the_member_that_has_least() {
        let begun = clock::instant();
        let at = |s| begun + Duration::from_secs(s);
        for (me, expected) in [("a", false), ("b", true)] {
            let (mut look, gap) = (Look::default(), group(&[("a", 3), ("b", 0)], me));
            assert!(!look.take(&gap, at(0)) && !look.take(&gap, at(3)), "it may be about to be closed");
            assert_eq!(look.take(&gap, at(6)), expected);
            assert!(!look.take(&gap, at(9)) && !look.take(&gap, at(40)), "not again and again");
            assert_eq!(look.take(&gap, at(70)), expected);
        }
    }

    #[test]
    fn a_group_that_moves_or_is_whole_is_left_alone() {
        let begun = clock::instant();
        let at = |s| begun + Duration::from_secs(s);
        let (gap, whole) = (group(&[("a", 3), ("b", 0)], "b"), group(&[("a", 3), ("b", 3)], "b"));
        let moving = Members { stable: false, ..group(&[("a", 3), ("b", 0)], "b") };
        for between in [whole, moving, group(&[("a", 2), ("b", 1)], "b")] {
            let mut look = Look::default();
            assert!(!look.take(&gap, at(0)) && !look.take(&between, at(5)) && !look.take(&gap, at(9)));
        }
    }
}
