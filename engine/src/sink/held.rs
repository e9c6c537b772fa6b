//! How far the archive of one partition reaches: a stretch of the log is held once every table's file of it is there.
//! In: the archive's root. Out: the last offset held; what a crash left of the next stretch is cleared away.
//! Files of one stretch get their names one after the other, so that their presence alone does not tell.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::parquet_table::{ArchiveError, io_error};
use crate::failpoint;

/// The stretch of a partition's log that the archive holds.
pub(super) struct Held {
    /// File that says so.
    path: PathBuf,
    /// Its last offset; -1 before the first.
    pub(super) to: i64,
    /// Locked as long as this lives: a process that lost the partition without knowing it writes no more files over
    /// those of the next owner, nor the other way round.
    _lock: File,
}

impl Held {
    /// Reads how far the archive reaches, and clears what lies beyond: it is written again from the log.
    ///
    /// # Errors
    /// [`ArchiveError`] if it cannot be read or cleared: rows would stand twice.
    pub(super) fn open(root: &Path, topic: &str, partition: i32) -> Result<Self, ArchiveError> {
        let folder = root.join(".held");
        fs::create_dir_all(&folder).map_err(io_error("create folder", &folder))?;
        let stem = format!("{topic}-{partition}");
        let path = folder.join(&stem);
        let lock = lock(&folder.join(format!("{stem}.lock")))?;
        let files = files_of(root, &format!("{stem}-")).map_err(io_error("list", root))?;
        let said = said(&path)?;
        // An archive that was copied without this file is believed by the names of its files, and nothing is cleared.
        let whole = || files.iter().filter_map(|f| f.range).map(|r| r.1).max().unwrap_or(-1);
        let mut held = Self { path, to: said.unwrap_or_else(whole), _lock: lock };
        for file in &files {
            if file.range.is_none_or(|(first, _)| first > held.to) {
                fs::remove_file(&file.path).map_err(io_error("remove", &file.path))?;
            }
        }
        held.advance(held.to)?;
        Ok(held)
    }

    /// Says that every file up to this offset is there.
    ///
    /// # Errors
    /// [`ArchiveError`] if that cannot be written down.
    pub(super) fn advance(&mut self, to: i64) -> Result<(), ArchiveError> {
        self.to = self.to.max(to);
        let aside = self.path.with_extension("tmp");
        let mut file = File::create(&aside).map_err(io_error("create", &aside))?;
        let written = file.write_all(self.to.to_string().as_bytes()).and_then(|()| file.sync_all());
        written.map_err(io_error("write", &aside))?;
        failpoint::hit(failpoint::STATE_SYNCED);
        fs::rename(&aside, &self.path).map_err(io_error("rename to", &self.path))
    }
}

/// The right to write a partition's files. The system gives it back when a process ends, however it ends.
fn lock(path: &Path) -> Result<File, ArchiveError> {
    let file = File::create(path).map_err(io_error("create", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::Locked { path: path.into() }),
        Err(TryLockError::Error(e)) => Err(io_error("lock", path)(e)),
    }
}

/// The last offset that an archive says it holds of a partition, if it says anything.
///
/// # Errors
/// [`ArchiveError`] if it cannot be read.
pub fn last_held(root: &Path, topic: &str, partition: i32) -> Result<Option<i64>, ArchiveError> {
    said(&root.join(".held").join(format!("{topic}-{partition}")))
}

fn said(path: &Path) -> Result<Option<i64>, ArchiveError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse::<i64>().ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error("read", path)(e)),
    }
}

/// A file of a partition in any table; without a range while it is being written.
struct Found {
    path: PathBuf,
    range: Option<(i64, i64)>,
}

fn files_of(root: &Path, head: &str) -> io::Result<Vec<Found>> {
    let mut out = Vec::new();
    for table in super::rows::TABLES {
        let dates = match fs::read_dir(root.join(table)) {
            Ok(dates) => dates,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for date in dates {
            for file in fs::read_dir(date?.path())? {
                let path = file?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if let Some(rest) = name.strip_prefix(head).and_then(|r| r.strip_suffix(".parquet")) {
                    // A name of another making is nobody's leftover.
                    let number = |n: &str| n.parse::<i64>().ok();
                    let range = rest.split_once('-').and_then(|(a, b)| Some((number(a)?, number(b)?)));
                    out.extend(range.map(|range| Found { path, range: Some(range) }));
                    continue;
                }
                let aside =
                    name.strip_prefix('.').and_then(|n| n.strip_prefix(head)?.strip_suffix(".open.tmp"));
                if aside.is_some_and(|first| first.parse::<i64>().is_ok()) {
                    out.push(Found { path, range: None });
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at once")]
    use super::*;

    fn put(root: &Path, name: &str) -> PathBuf {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        path
    }

    #[test]
    fn one_owner_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = Held::open(root.path(), "t", 1).unwrap();
        assert!(matches!(Held::open(root.path(), "t", 1), Err(ArchiveError::Locked { .. })));
        assert!(Held::open(root.path(), "t", 2).is_ok());
        drop(first);
        assert!(Held::open(root.path(), "t", 1).is_ok());
    }

    #[test]
    fn a_stretch_cut_short_is_cleared_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let held = put(root, "waveforms/date=2026-01-01/t-1-00000-00009.parquet");
        let ours = Held::open(root, "t", 1).unwrap();
        assert_eq!(ours.to, 9, "without a word, the files are believed");
        let cut = put(root, "waveforms/date=2026-01-01/t-1-00010-00019.parquet");
        let aside = put(root, "scores/date=2026-01-01/.t-1-00010.open.tmp");
        let others = [
            ".t-1-0-00010.open.tmp",
            "t-11-00010-00019.parquet",
            "t-10-0-1.parquet",
            "u-1-00010-00019.parquet",
            "t-1-mine.parquet",
        ]
        .map(|n| put(root, &format!("waveforms/date=2026-01-01/{n}")));
        drop(ours);
        let mut ours = Held::open(root, "t", 1).unwrap();
        assert_eq!(ours.to, 9, "one table's file is not the stretch");
        assert!(held.exists() && !cut.exists() && !aside.exists());
        assert!(others.iter().all(|o| o.exists()));
        put(root, "waveforms/date=2026-01-01/t-1-00010-00019.parquet");
        ours.advance(19).unwrap();
        drop(ours);
        assert_eq!(Held::open(root, "t", 1).unwrap().to, 19);
        assert!(cut.exists());
    }

    #[test]
    fn a_first_stretch_cut_short_is_cleared_too() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Held::open(folder.path(), "t", 0).unwrap().to, -1);
        let cut = put(folder.path(), "events/date=2026-01-01/t-0-00000-00019.parquet");
        assert_eq!(Held::open(folder.path(), "t", 0).unwrap().to, -1);
        assert!(!cut.exists());
    }
}
