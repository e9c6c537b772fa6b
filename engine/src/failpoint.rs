//! Named points at which a test lets the engine die, wait or fail; compiled in only by the feature `failpoints`.
//! In: `AUSCULT_FAILPOINTS="point=abort@3;point=sleep:500@1-3;point=error@2"`, read once. Out: the fault, and before
//! it one line in the file `AUSCULT_FAILPOINTS_LOG` that says so, by which a test proves that it happened.
//!
//! An action applies to the Nth hit of its point in this process (`@N`), to several (`@N-M`, `@N-`), or to each one.
//! `abort` ends the process at once, without destructors; `sleep:MS` holds the calling thread; `error` is for points
//! that can fail and are asked by [`fails`].

/// Before the source is asked for records.
pub const BEFORE_POLL: &str = "before_poll";
/// Records are read, and no state has seen them.
pub const AFTER_POLL: &str = "after_poll";
/// In the middle of a turn's computing: some shards or steps are done, others are not.
pub const IN_STEP: &str = "in_step";
/// All is computed, and nothing of it is handed to the producer.
pub const BEFORE_PRODUCE: &str = "before_produce";
/// One more output is handed to the producer; hit once an output.
pub const IN_PRODUCE: &str = "in_produce";
/// The producer's own queue takes no more; hit each time it says so.
pub const PRODUCER_FULL: &str = "producer_full";
/// All outputs are handed over and the offsets are not.
pub const BEFORE_SEND_OFFSETS: &str = "before_send_offsets";
/// The offsets are in the transaction, which is still open.
pub const AFTER_SEND_OFFSETS: &str = "after_send_offsets";
/// The transaction is committed, and nobody has been told.
pub const AFTER_COMMIT: &str = "after_commit";
/// The producer is about to be made again after a commit whose end is unknown.
pub const BEFORE_RENEW: &str = "before_renew";
/// One more snapshot is handed over in its transaction; hit once a snapshot.
pub const IN_SNAPSHOT: &str = "in_snapshot";
/// A state file is written aside and not synced.
pub const STATE_WRITTEN: &str = "state_written";
/// A state file is synced and has not its name.
pub const STATE_SYNCED: &str = "state_synced";
/// A state file has its name, and its folder is not synced.
pub const STATE_RENAMED: &str = "state_renamed";
/// One more snapshot is read back; hit once a snapshot.
pub const IN_RESTORE: &str = "in_restore";
/// The state is read back and the log from there on is being read again; hit once a poll.
pub const IN_CATCH_UP: &str = "in_catch_up";
/// A file of the archive is about to be opened aside.
pub const ARCHIVE_CREATE: &str = "archive_create";
/// A file of the archive has its footer and is not synced.
pub const ARCHIVE_WRITTEN: &str = "archive_written";
/// A file of the archive is synced and has not its name.
pub const ARCHIVE_SYNCED: &str = "archive_synced";
/// A file of the archive has its name, and its folder is not synced.
pub const ARCHIVE_RENAMED: &str = "archive_renamed";
/// All files of a stretch have their names, and the archive does not say that it holds them.
pub const ARCHIVE_BEFORE_HELD: &str = "archive_before_held";
/// Partitions are being gained.
pub const IN_ASSIGN: &str = "in_assign";
/// Partitions are being given up.
pub const IN_REVOKE: &str = "in_revoke";
/// The service was told to stop and has not yet ended its files.
pub const IN_SHUTDOWN: &str = "in_shutdown";
/// Files are ended and the goodbye is not sent.
pub const BEFORE_GOODBYE: &str = "before_goodbye";

/// Every point.
pub const POINTS: &[&str] = &[
    BEFORE_POLL,
    AFTER_POLL,
    IN_STEP,
    BEFORE_PRODUCE,
    IN_PRODUCE,
    PRODUCER_FULL,
    BEFORE_SEND_OFFSETS,
    AFTER_SEND_OFFSETS,
    AFTER_COMMIT,
    BEFORE_RENEW,
    IN_SNAPSHOT,
    STATE_WRITTEN,
    STATE_SYNCED,
    STATE_RENAMED,
    IN_RESTORE,
    IN_CATCH_UP,
    ARCHIVE_CREATE,
    ARCHIVE_WRITTEN,
    ARCHIVE_SYNCED,
    ARCHIVE_RENAMED,
    ARCHIVE_BEFORE_HELD,
    IN_ASSIGN,
    IN_REVOKE,
    IN_SHUTDOWN,
    BEFORE_GOODBYE,
];

/// The walk has come to a point that cannot fail: it may die or wait here.
#[inline]
pub fn hit(point: &'static str) {
    let _ = fails(point);
}

/// The walk has come to a point that can fail: whether it must fail now.
#[inline]
#[must_use]
pub fn fails(point: &'static str) -> bool {
    #[cfg(feature = "failpoints")]
    {
        active::act(point)
    }
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = point;
        false
    }
}

/// As [`fails`], as the error of a file system.
///
/// # Errors
/// An error that says that it was asked for.
#[inline]
pub fn io(point: &'static str) -> std::io::Result<()> {
    if fails(point) { Err(std::io::Error::other("asked for by AUSCULT_FAILPOINTS")) } else { Ok(()) }
}

#[cfg(feature = "failpoints")]
mod active {
    use std::collections::HashMap;
    use std::io::Write;
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::Duration;

    use super::POINTS;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Action {
        Abort,
        Sleep(Duration),
        Error,
    }

    /// What is to happen at which hits of a point.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Fault {
        pub(super) point: &'static str,
        pub(super) action: Action,
        pub(super) first: u64,
        pub(super) last: u64,
    }

    struct Plan {
        faults: Vec<Fault>,
        hits: Mutex<HashMap<&'static str, u64>>,
        log: Option<std::path::PathBuf>,
    }

    static PLAN: LazyLock<Plan> = LazyLock::new(|| {
        let text = std::env::var("AUSCULT_FAILPOINTS").unwrap_or_default();
        // A plan that is not understood would be a test that injects nothing.
        let faults = parse(&text).unwrap_or_else(|e| panic!("AUSCULT_FAILPOINTS: {e}"));
        let log = std::env::var_os("AUSCULT_FAILPOINTS_LOG").map(Into::into);
        Plan { faults, hits: Mutex::default(), log }
    });

    /// `point=action[@N[-[M]]]`, separated by semicolons.
    pub(super) fn parse(text: &str) -> Result<Vec<Fault>, String> {
        text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(fault).collect()
    }

    fn fault(part: &str) -> Result<Fault, String> {
        let (name, what) = part.split_once('=').ok_or_else(|| format!("no action in {part:?}"))?;
        let point = POINTS.iter().find(|p| **p == name).ok_or_else(|| format!("no point {name:?}"))?;
        let (action, hits) = what.split_once('@').unwrap_or((what, "1-"));
        let number = |n: &str| n.parse::<u64>().map_err(|_| format!("no number: {n:?} in {part:?}"));
        let (first, last) = match hits.split_once('-') {
            None => (number(hits)?, number(hits)?),
            Some((first, "")) => (number(first)?, u64::MAX),
            Some((first, last)) => (number(first)?, number(last)?),
        };
        let action = match action.split_once(':') {
            None if action == "abort" => Action::Abort,
            None if action == "error" => Action::Error,
            Some(("sleep", ms)) => Action::Sleep(Duration::from_millis(number(ms)?)),
            _ => return Err(format!("no action {action:?}: abort, error or sleep:MS")),
        };
        Ok(Fault { point, action, first, last })
    }

    pub(super) fn act(point: &'static str) -> bool {
        debug_assert!(POINTS.contains(&point), "{point} is not in the table");
        let plan = &*PLAN;
        if !plan.faults.iter().any(|f| f.point == point) {
            return false;
        }
        let n = {
            let mut hits = plan.hits.lock().unwrap_or_else(PoisonError::into_inner);
            let n = hits.entry(point).or_default();
            *n += 1;
            *n
        };
        let Some(fault) = plan.faults.iter().find(|f| f.point == point && (f.first..=f.last).contains(&n))
        else {
            return false;
        };
        plan.tell(fault, n);
        match fault.action {
            Action::Abort => std::process::abort(),
            Action::Sleep(time) => std::thread::sleep(time),
            Action::Error => return true,
        }
        false
    }

    impl Plan {
        fn tell(&self, fault: &Fault, n: u64) {
            let Some(path) = &self.log else { return };
            let line = format!("{} {} {:?} {n}\n", std::process::id(), fault.point, fault.action);
            let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
            // Without its line the fault would not count, and the test fails for want of it.
            let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        }
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop")]
    use std::time::Duration;

    use super::active::{Action, Fault, parse};
    use super::*;

    #[test]
    fn plans_are_read() {
        let text = "after_commit=abort@3; in_step=sleep:500@1-3;archive_synced=error@2-;before_poll=abort";
        let fault = |point, action, first, last| Fault { point, action, first, last };
        let expected = [
            fault(AFTER_COMMIT, Action::Abort, 3, 3),
            fault(IN_STEP, Action::Sleep(Duration::from_millis(500)), 1, 3),
            fault(ARCHIVE_SYNCED, Action::Error, 2, u64::MAX),
            fault(BEFORE_POLL, Action::Abort, 1, u64::MAX),
        ];
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse("").unwrap(), []);
        for wrong in ["after_commit", "nowhere=abort", "in_step=sleep", "in_step=abort@x", "in_step=stop"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn points_stand_once() {
        let mut names = POINTS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), POINTS.len());
    }
}
