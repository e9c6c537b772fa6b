//! Writing a closed segment anew, once no take-over reads its records again.
//! In: its number, and where the newest state of each key stands. Out: the same segment with what was told, the state
//! that has no successor, and its last commit.

use std::collections::HashMap;
use std::path::Path;

use super::segment::{self, Header};
use super::{Entry, JournalError, io};

/// What a segment holds that is read again only by a take-over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Closed {
    pub number: u64,
    /// Offset of its last record; none if it has none.
    pub last_offset: Option<i64>,
    /// State records.
    pub states: usize,
}

impl Closed {
    /// Takes in one entry of it.
    pub(super) fn count(&mut self, entry: &Entry) {
        match entry {
            Entry::Record { offset, .. } => self.last_offset = Some(*offset),
            Entry::State { .. } => self.states += 1,
            _ => {}
        }
    }

    /// Whether it pays to write it anew: none of its records is read again, and most of its state has a successor.
    pub(super) fn is_done(&self, start: i64, newest: &HashMap<Vec<u8>, (u64, u64)>) -> bool {
        let live = newest.values().filter(|place| place.0 == self.number).count();
        self.last_offset.is_some_and(|o| o < start) && live * 4 <= self.states
    }
}

/// Writes it anew. `needs` is the commit as of which `newest` holds.
pub(super) fn compact(
    dir: &Path,
    number: u64,
    needs: (u64, u64),
    newest: &HashMap<Vec<u8>, (u64, u64)>,
) -> Result<(), JournalError> {
    let read = segment::read(dir, number)?;
    if let Some((at, why)) = read.broken {
        // Damage in a segment that was whole when it was written: the next start finds it and says what it does.
        tracing::warn!(
            code = "journal_damaged",
            segment = number,
            byte = at,
            why,
            "a segment is left as it is"
        );
        return Ok(());
    }
    let last_commit = read.entries.iter().rposition(|e| matches!(e.2, Entry::Commit { .. }));
    let kept = |(n, (at, _, entry)): (usize, &(u64, u64, Entry))| match entry {
        Entry::Output { .. } => true,
        Entry::State { key, .. } => newest.get(key) == Some(&(number, *at)),
        Entry::Commit { .. } => last_commit == Some(n),
        Entry::Record { .. } => false,
    };
    let list: Vec<Entry> = read
        .entries
        .iter()
        .enumerate()
        .filter(|(n, e)| kept((*n, e)))
        .map(|(_, (_, _, entry))| entry.clone())
        .collect();
    let path = segment::path(dir, number);
    let bytes = segment::whole(Header { number, needs }, &list);
    segment::replace(&path, &bytes).map_err(io("write", &path))
}
