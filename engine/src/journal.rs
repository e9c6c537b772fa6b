//! The local log of one partition and its state, in files, for a walk without a broker.
//! In: records, what was told because of them, state records; and, at each commit, how far the source has come. Out:
//! after a crash at any point the last commit, whole, and the worker that goes on from it.
//!
//! A folder holds segments, numbered from 0. A segment is a sequence of entries with their lengths and checksums, which
//! depend on the place as well. What follows the last commit is cut off. So is everything from the first damaged byte
//! on: the source is asked again from the commit before it, and what is told then is the same to the bit.
//!
//! Segments that no take-over reads again are written anew without their records and without state that has a
//! successor. What was told is kept for good.

mod compact;
mod scan;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::failpoint;
use crate::plan::Plan;
use crate::source::Record;
use crate::state::{Mark, Report, Restore, Start};
use crate::worker::Worker;
use compact::Closed;
use scan::Scan;
use segment::{Header, Segment};

pub use segment::replace;

/// Bytes after which a new segment is begun.
pub const SEGMENT_BYTES: u64 = 16 << 20;

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file system refuses.
    #[error("cannot {what} {path}: {source}; what was committed before is kept")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Written by another version.
    #[error(
        "{path} is of version {found}, this build reads version {}; use the build that wrote it, or another folder",
        segment::VERSION
    )]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version.
        found: u16,
    },
    /// Another process writes it.
    #[error("{path} is in use by another process")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
}

/// What kind of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Topic {
    /// A risk event.
    Events,
    /// A score.
    Scores,
    /// A dead letter: offset, code and detail.
    Rejects,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// A record of the log.
    Record {
        /// Its offset.
        offset: i64,
        /// Its timestamp in microseconds.
        time_us: i64,
        /// Whether the value is the JSON form.
        json: bool,
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// What was told because of a record.
    Output {
        /// Offset of the record.
        offset: i64,
        /// Of which kind.
        topic: Topic,
        /// The body, as Kafka would carry it.
        body: Vec<u8>,
    },
    /// A state record.
    State {
        /// Its key.
        key: Vec<u8>,
        /// Its value, or a tombstone.
        value: Option<Vec<u8>>,
    },
    /// Everything up to here belongs together and is done.
    Commit {
        /// The offset of the next record.
        next: i64,
        /// How far the source had come, in its own measure.
        source: u64,
    },
}

/// A journal that is open for writing.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    _lock: std::fs::File,
    segment: Segment,
    most_bytes: u64,
    buffer: Vec<Entry>,
    /// Closed segments that hold records still.
    closed: Vec<Closed>,
    /// What the open one holds.
    open: Closed,
    /// Where the newest state record of each key stands: segment and position.
    newest: HashMap<Vec<u8>, (u64, u64)>,
    /// A take-over reads the log from here.
    start: i64,
}

/// What a journal held.
pub struct Opened {
    /// To be written on.
    pub journal: Journal,
    /// Goes on where the predecessor stood.
    pub worker: Worker,
    /// From where, and what was told before.
    pub start: Start,
    /// Records to be taken in again.
    pub again: Vec<Record>,
    /// How far the source had come at the last commit.
    pub source: u64,
    /// The offset of the next record.
    pub next: i64,
    /// What came of the state.
    pub report: Report,
    /// What had to be cut off, if anything.
    pub cut: Option<String>,
}

impl Journal {
    /// Opens a folder, or makes it. Whatever follows the last good commit is gone then.
    ///
    /// # Errors
    /// [`JournalError`]; damage is none, it is cut off and told.
    pub fn open(dir: &Path, plan: &Arc<Plan>, most_bytes: u64) -> Result<Opened, JournalError> {
        std::fs::create_dir_all(dir).map_err(io("create folder", dir))?;
        let lock = lock(dir)?;
        let mut restore = Restore::new(plan.clone());
        let mut newest = HashMap::new();
        let (scan, cut) = Scan::repaired(dir)?;
        let mut start = 0;
        scan.committed(dir, |number, at, entry| {
            if let Entry::State { key, value } = entry {
                failpoint::hit(failpoint::IN_RESTORE);
                restore.take(&key, value.as_deref());
                start = start_of(&key, value.as_deref()).unwrap_or(start);
                newest.insert(key, (number, at));
            }
        })?;
        let (worker, from, report) = restore.finish(scan.next, false);
        let mut again = Vec::new();
        scan.committed(dir, |_, _, entry| again.extend(entry.record().filter(|r| r.offset >= from.offset)))?;
        let segment = match scan.last {
            Some((number, at)) => Segment::reopen(dir, number, at)?,
            None => Segment::create(dir, Header::new(0))?,
        };
        let journal = Self {
            dir: dir.into(),
            _lock: lock,
            open: scan.closed.iter().find(|c| c.number == segment.number()).copied().unwrap_or_default(),
            closed: scan.closed.into_iter().filter(|c| c.number < segment.number()).collect(),
            segment,
            most_bytes,
            buffer: Vec::new(),
            newest,
            start,
        };
        let (source, next) = (scan.source, scan.next);
        Ok(Opened { journal, worker, start: from, again, source, next, report, cut })
    }

    /// Adds an entry, to be written with the next commit.
    pub fn add(&mut self, entry: Entry) {
        self.buffer.push(entry);
    }

    /// Writes what was added, and that it is done: all of it is on disk then, or nothing.
    ///
    /// # Errors
    /// [`JournalError::Io`]: what was committed before stands, and this journal must be opened again.
    pub fn commit(&mut self, next: i64, source: u64) -> Result<(), JournalError> {
        self.buffer.push(Entry::Commit { next, source });
        let entries = std::mem::take(&mut self.buffer);
        let places = self.segment.append(&entries)?;
        for (entry, at) in entries.into_iter().zip(places) {
            self.open.count(&entry);
            if let Entry::State { key, value } = entry {
                self.start = start_of(&key, value.as_deref()).unwrap_or(self.start);
                self.newest.insert(key, (self.segment.number(), at));
            }
        }
        failpoint::hit(failpoint::AFTER_COMMIT);
        if self.segment.bytes() >= self.most_bytes {
            self.roll()?;
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<(), JournalError> {
        let number = self.segment.number();
        let needs = (number, self.segment.bytes());
        self.closed.push(Closed { number, ..std::mem::take(&mut self.open) });
        self.segment = Segment::create(&self.dir, Header::new(number + 1))?;
        let (done, rest): (Vec<Closed>, Vec<Closed>) =
            self.closed.drain(..).partition(|c| c.is_done(self.start, &self.newest));
        self.closed = rest;
        for closed in done {
            compact::compact(&self.dir, closed.number, needs, &self.newest)?;
        }
        Ok(())
    }
}

/// Everything that was told, in the order of the log: topic and body.
///
/// # Errors
/// [`JournalError`] if the folder cannot be read. What follows the first damage is not told.
pub fn outputs(dir: &Path) -> Result<Vec<(Topic, Vec<u8>)>, JournalError> {
    let scan = Scan::of(dir)?;
    let mut all = Vec::new();
    scan.committed(dir, |_, _, entry| {
        if let Entry::Output { topic, body, .. } = entry {
            all.push((topic, body));
        }
    })?;
    Ok(all)
}

impl Entry {
    /// The entry of a record.
    pub fn of(record: &Record) -> Self {
        Self::Record {
            offset: record.offset,
            time_us: record.timestamp.micros(),
            json: record.json,
            key: record.key.to_vec(),
            value: record.value.to_vec(),
        }
    }

    /// The record of an entry.
    fn record(self) -> Option<Record> {
        let Self::Record { offset, time_us, json, key, value } = self else { return None };
        let timestamp = auscult_operators::signal::EventTime::from_micros(time_us);
        Some(Record { offset, timestamp, key: key.into(), value: value.into(), json })
    }
}

/// From where a take-over reads, if this is the record that says so.
fn start_of(key: &[u8], value: Option<&[u8]>) -> Option<i64> {
    if key != crate::state::MARK_KEY {
        return None;
    }
    value.and_then(|v| Mark::load(v).ok()).map(|m| m.start)
}

fn lock(dir: &Path) -> Result<std::fs::File, JournalError> {
    let path = dir.join("lock");
    let file = std::fs::File::create(&path).map_err(io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(JournalError::Busy { path: dir.into() }),
    }
}

fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.into();
    move |source| JournalError::Io { what, path, source }
}
