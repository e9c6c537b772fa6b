//! The mark: where a partition is taken over.
//! In: a worker's place in the log and what its patients still need. Out: the record `#mark` of the state topic.

use std::collections::BTreeMap;

use auscult_operators::signal::EventTime;
use serde::{Deserialize, Serialize};

use super::envelope::{self, Unreadable};
use super::snapshot::Standing;
use crate::accounts::Accounts;
use crate::decode;

/// The mark of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The accounts hold every record below this offset.
    pub offset: i64,
    /// Read the frames again from here.
    pub start: i64,
    /// Partition time before the record at `start`; `None` at the beginning of the log.
    pub start_time: Option<EventTime>,
    /// Archive files hold every record below this offset; `i64::MAX` without an archive.
    pub archived_below: i64,
    /// The snapshots that stand.
    pub kept: Standing,
    /// What became of every frame below `offset`.
    pub accounts: Accounts,
}

#[derive(Serialize, Deserialize)]
struct Written {
    offset: i64,
    start: i64,
    start_time: Option<EventTime>,
    archived_below: i64,
    kept: Standing,
    counts: [u64; 4],
    rejects: Vec<(u16, u64)>,
}

impl Mark {
    /// The record's value.
    pub fn save(&self) -> Vec<u8> {
        let a = &self.accounts;
        let place = |code: &str| decode::CODES.iter().position(|c| c.0 == code);
        let rejects = a.rejects.iter().filter_map(|(code, n)| Some((place(code)? as u16, *n)));
        envelope::seal(
            envelope::MARK,
            &Written {
                offset: self.offset,
                start: self.start,
                start_time: self.start_time,
                archived_below: self.archived_below,
                kept: self.kept,
                counts: [a.processed, a.duplicate, a.late, a.ticks],
                rejects: rejects.collect(),
            },
        )
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// [`Unreadable`], with the reason.
    pub fn load(bytes: &[u8]) -> Result<Self, Unreadable> {
        let w: Written = envelope::open(envelope::MARK, bytes)?;
        let [processed, duplicate, late, ticks] = w.counts;
        let mut rejects = BTreeMap::new();
        for (place, n) in w.rejects {
            let known = decode::CODES.get(usize::from(place));
            let code = known.ok_or_else(|| Unreadable::Content(format!("no reject code {place}")))?;
            rejects.insert(code.0, n);
        }
        let accounts = Accounts { processed, duplicate, late, rejects, ticks };
        Ok(Self {
            offset: w.offset,
            start: w.start,
            start_time: w.start_time,
            archived_below: w.archived_below,
            kept: w.kept,
            accounts,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_as_it_was() {
        let mut accounts =
            Accounts { processed: 5, duplicate: 4, late: 3, ticks: 2, rejects: BTreeMap::new() };
        decode::CODES.iter().for_each(|c| accounts.rejected(c.0));
        let start_time = Some(EventTime::from_seconds(9));
        let mut kept = Standing::default();
        kept.add(7, 1, 50);
        let mark = Mark { offset: 99, start: 7, start_time, archived_below: i64::MAX, kept, accounts };
        assert_eq!(Mark::load(&mark.save()).unwrap(), mark);
    }
}
