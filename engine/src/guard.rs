//! The guard against crash loops: an engine that dies of a record again and again stops and says which one.
//! In: a folder, the offsets committed at each start. Out: leave to start, or a refusal that names the partition and
//! the offset at which it stands.
//!
//! Each start is written down, a clean end strikes all off. Several unclean starts in a row, in which a partition that
//! has records to read did not move, are a loop. The refusal is not for good: once the starts are old enough, the next
//! one may try again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use auscult_operators::signal::EventTime;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::error::RunError;
use crate::journal;

/// Unclean starts without progress after which no further one is made.
pub const STARTS: usize = 5;
/// Only starts of the last so many minutes count.
pub const MINUTES: i64 = 10;
/// Starts that are kept.
const KEPT: usize = 50;

/// Where a partition stands: the next record to be told, and the end of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// The offset that the group has committed; 0 if it has none.
    pub committed: i64,
    /// The offset of the record to come.
    pub end: i64,
}

/// Where each partition stands; empty if the broker did not say.
pub type Stands = BTreeMap<i32, Stand>;

/// One start.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Start {
    time_us: i64,
    stands: Stands,
}

/// Written down as started; to be struck off at a clean end.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
}

impl Guard {
    /// Writes a start down, unless it would be one too many.
    ///
    /// # Errors
    /// [`RunError::CrashLoop`] for one too many, unless `force`; [`RunError::Io`] if the folder cannot be written.
    pub fn enter(
        dir: &Path,
        instance: &str,
        now: EventTime,
        stands: Stands,
        force: bool,
    ) -> Result<Self, RunError> {
        std::fs::create_dir_all(dir).map_err(RunError::io("create folder", dir))?;
        // An instance may be named anything.
        let name: String =
            instance.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let path = dir.join(format!("starts-{name}.json"));
        let mut starts = read(&path);
        if force {
            starts.clear();
        } else if let Some((partition, offset)) = stands_still(&starts, now, &stands) {
            return Err(RunError::CrashLoop { starts: STARTS, minutes: MINUTES, partition, offset });
        }
        starts.push(Start { time_us: now.micros(), stands });
        starts.drain(..starts.len().saturating_sub(KEPT));
        let guard = Self { path };
        guard.write(&starts)?;
        Ok(guard)
    }

    /// A clean end: nothing is held against the next start.
    ///
    /// # Errors
    /// [`RunError::Io`] if the folder cannot be written.
    pub fn leave(self) -> Result<(), RunError> {
        self.write(&[])
    }

    fn write(&self, starts: &[Start]) -> Result<(), RunError> {
        let bytes = serde_json::to_vec(starts).unwrap_or_default();
        journal::replace(&self.path, &bytes).map_err(RunError::io("write", &self.path))
    }
}

/// What cannot be read counts as nothing: a guard must not keep an engine from starting.
fn read(path: &Path) -> Vec<Start> {
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    serde_json::from_slice(&bytes).unwrap_or_else(|e| {
        warn!(code = "guard", error = %e, "the record of starts cannot be read and begins anew");
        Vec::new()
    })
}

/// The partition that has records to read and has not moved since the first of the last starts.
fn stands_still(starts: &[Start], now: EventTime, stands: &Stands) -> Option<(i32, i64)> {
    let recent = starts.len().checked_sub(STARTS).map(|from| &starts[from..])?;
    let oldest = now.micros() - MINUTES * 60_000_000;
    if recent.iter().any(|s| s.time_us < oldest || s.time_us > now.micros()) {
        return None;
    }
    let same = |p: &i32, at: i64| recent.iter().all(|s| s.stands.get(p).is_some_and(|s| s.committed == at));
    let stuck = stands.iter().find(|(p, s)| s.committed < s.end && same(p, s.committed));
    stuck.map(|(p, s)| (*p, s.committed))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;

    fn at(committed: i64, end: i64) -> Stands {
        [(0, Stand { committed: 900, end: 900 }), (3, Stand { committed, end })].into()
    }

    fn enter(dir: &Path, second: i64, stands: Stands) -> Result<Guard, RunError> {
        Guard::enter(dir, "ward/1", EventTime::from_seconds(1_000_000 + second), stands, false)
    }

    #[test]
    fn the_sixth_start_without_progress_is_refused_and_says_where() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..5 {
            enter(dir.path(), n * 10, at(77, 100 + n)).unwrap();
        }
        let refused = enter(dir.path(), 60, at(77, 200)).unwrap_err();
        assert_eq!(refused.exit_code(), 69);
        let said = refused.to_string();
        assert!(
            said.contains("partition 3") && said.contains("offset 77") && said.contains("--force-start"),
            "{said}"
        );
        // Forced, or after the time, or once it has moved, it may.
        let now = EventTime::from_seconds(1_000_061);
        let forced = |d: &Path| Guard::enter(d, "ward/1", now, at(77, 200), true);
        assert!(enter(dir.path(), 70, at(78, 200)).is_ok());
        let dir = tempfile::tempdir().unwrap();
        (0..5).for_each(|n| drop(enter(dir.path(), n, at(77, 100)).unwrap()));
        assert!(enter(dir.path(), 5, at(77, 100)).is_err());
        assert!(enter(dir.path(), 601, at(77, 100)).is_ok());
        assert!(forced(dir.path()).is_ok());
    }

    #[test]
    fn what_is_no_loop_is_not_refused() {
        let quiet = |_: i64| at(100, 100);
        let moves = |n: i64| at(n, 100);
        let unknown = |_: i64| Stands::new();
        let cases: [(&str, &dyn Fn(i64) -> Stands); 3] =
            [("quiet", &quiet), ("moves", &moves), ("unknown", &unknown)];
        for (name, stands) in cases {
            let dir = tempfile::tempdir().unwrap();
            for n in 0..30 {
                assert!(enter(dir.path(), n, stands(n)).is_ok(), "{name} {n}");
            }
        }
        // Clean ends in between.
        let dir = tempfile::tempdir().unwrap();
        for n in 0..30 {
            enter(dir.path(), n, at(77, 100)).unwrap().leave().unwrap();
        }
        // A record that is damaged.
        for n in 0..5 {
            enter(dir.path(), n, at(77, 100)).unwrap();
        }
        let path = dir.path().join("starts-ward-1.json");
        let half = std::fs::read(&path).unwrap();
        std::fs::write(&path, &half[..half.len() / 2]).unwrap();
        assert!(enter(dir.path(), 9, at(77, 100)).is_ok());
    }
}
