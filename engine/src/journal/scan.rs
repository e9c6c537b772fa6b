//! How far a folder of segments can be trusted, and cutting off the rest.
//! In: a folder. Out: the last commit before the first fault, and which segments lie before it.

use std::fs::OpenOptions;
use std::path::Path;

use super::compact::Closed;
use super::{Entry, JournalError, io, segment};

/// What stands up to the last commit that can be trusted.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The last commit: its segment, and the position after it.
    pub last: Option<(u64, u64)>,
    /// The offset of the next record then.
    pub next: i64,
    /// How far the source had come then.
    pub source: u64,
    /// Segments that hold records.
    pub closed: Vec<Closed>,
    /// Segments in the folder.
    count: u64,
    /// The first fault, or what follows the last commit.
    fault: Option<String>,
}

impl Scan {
    /// Looks through a folder.
    pub(super) fn of(dir: &Path) -> Result<Self, JournalError> {
        let mut scan = Self { count: count(dir)?, ..Self::default() };
        let mut needs = (0, 0);
        for number in 0..scan.count {
            if !segment::path(dir, number).exists() {
                scan.fault = Some(format!("segment {number} is missing"));
                break;
            }
            let read = segment::read(dir, number)?;
            needs = needs.max(read.header.needs);
            let mut end = 0;
            let mut closed = Closed { number, ..Closed::default() };
            for (_, after, entry) in &read.entries {
                end = *after;
                closed.count(entry);
                if let Entry::Commit { next, source } = entry {
                    (scan.last, scan.next, scan.source) = (Some((number, *after)), *next, *source);
                }
            }
            scan.closed.extend(closed.last_offset.is_some().then_some(closed));
            if let Some((at, why)) = read.broken {
                scan.fault = Some(format!("segment {number}, byte {at}: {why}"));
                break;
            }
            if scan.last.is_some_and(|l| l.0 == number && l.1 < end) && number + 1 == scan.count {
                scan.fault = Some(format!("segment {number}: the last entries were not committed"));
            }
        }
        if scan.last.unwrap_or_default() < needs {
            // The oldest segments hold state as of a commit that is gone: all begins anew.
            scan.fault
                .get_or_insert_with(|| format!("the log ends before segment {}, byte {}", needs.0, needs.1));
            (scan.last, scan.next, scan.source) = (None, 0, 0);
            scan.closed.clear();
        }
        Ok(scan)
    }

    /// Looks through a folder and cuts off what cannot be trusted, the newest first: a second crash meanwhile finds the
    /// same fault again. With it, what was cut off and why.
    pub(super) fn repaired(dir: &Path) -> Result<(Self, Option<String>), JournalError> {
        let mut scan = Self::of(dir)?;
        let (keep, length) = scan.last.map_or((0, 0), |(number, at)| (number + 1, at));
        for number in (keep..scan.count).rev() {
            let path = segment::path(dir, number);
            if path.exists() {
                std::fs::remove_file(&path).map_err(io("remove", &path))?;
            }
        }
        if let Some((number, _)) = scan.last {
            let path = segment::path(dir, number);
            let file = OpenOptions::new().write(true).open(&path).map_err(io("open", &path))?;
            if file.metadata().map_err(io("look at", &path))?.len() > length {
                file.set_len(length).and_then(|()| file.sync_all()).map_err(io("cut", &path))?;
            }
        }
        segment::sync_folder(dir).map_err(io("sync", dir))?;
        // A segment that was just begun holds nothing, and is begun again.
        let cut = scan.fault.take();
        Ok((scan, cut))
    }

    /// Every entry that is committed, in order, with its segment and position.
    pub(super) fn committed(
        &self,
        dir: &Path,
        mut take: impl FnMut(u64, u64, Entry),
    ) -> Result<(), JournalError> {
        let Some((last, end)) = self.last else { return Ok(()) };
        for number in 0..=last {
            for (at, after, entry) in segment::read(dir, number)?.entries {
                if number < last || after <= end {
                    take(number, at, entry);
                }
            }
        }
        Ok(())
    }
}

/// One more than the largest number of a segment.
fn count(dir: &Path) -> Result<u64, JournalError> {
    let mut count = 0;
    for entry in std::fs::read_dir(dir).map_err(io("read folder", dir))? {
        let name = entry.map_err(io("read folder", dir))?.file_name();
        let number = name.to_str().and_then(|n| n.strip_suffix(".journal")?.parse::<u64>().ok());
        count = count.max(number.map_or(0, |n| n + 1));
    }
    Ok(count)
}
