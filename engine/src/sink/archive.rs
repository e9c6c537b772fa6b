//! The Parquet archive: raw counts, numerics, scores and events, in files named by the stretch of log they hold.
//! In: effects of one partition, in log order. Out: `waveforms/`, `numerics/`, `scores/`, `events/`, each
//! `date=YYYY-MM-DD/TOPIC-PARTITION-FIRST-LAST.parquet`; after a crash the same stretch gives the same name and rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use auscult_operators::signal::{EventTime, Frame};
use serde::Serialize;

use super::held::Held;
pub use super::held::last_held;
pub use super::parquet_table::ArchiveError;
use super::parquet_table::Table;
pub use super::rows::tables;
use super::rows::{Kind, Place, Rows};
use crate::align::{Evidence, Fate};
use crate::effects::Effect;
use crate::failpoint;

/// Rows gathered before they are handed to the encoder.
const BATCH_ROWS: usize = 512;

/// The archive of one partition.
pub struct Archive {
    root: PathBuf,
    topic: Arc<str>,
    partition: i32,
    /// First offset of the stretch being written.
    first: Option<i64>,
    /// Last offset seen.
    last: i64,
    /// What stands in whole files already.
    held: Held,
    /// By table and civil day, in days since 1970.
    open: BTreeMap<(Kind, i64), OpenTable>,
    /// Whole files hold every record below this offset.
    below: i64,
    /// Files ended.
    pub files: u64,
}

struct OpenTable {
    table: Table,
    folder: PathBuf,
    rows: Rows,
}

impl Archive {
    /// The archive of one partition under a root folder. What stands there already is not written again.
    ///
    /// # Errors
    /// [`ArchiveError`] if what a crash left behind cannot be cleared.
    pub fn open(root: &Path, topic: &str, partition: i32) -> Result<Self, ArchiveError> {
        let held = Held::open(root, topic, partition)?;
        let (root, topic) = (root.into(), topic.into());
        let (below, open) = (held.to + 1, BTreeMap::new());
        Ok(Self { root, topic, partition, first: None, last: -1, held, open, below, files: 0 })
    }

    /// The same, but what stands before this offset is in somebody else's archive.
    pub fn starting(mut self, offset: i64) -> Self {
        self.below = self.below.max(offset);
        self
    }

    /// Whole files hold every record below this offset.
    pub fn below(&self) -> i64 {
        self.below
    }

    /// Takes in the effects of one step, in order.
    ///
    /// # Errors
    /// [`ArchiveError`] if a file cannot be written; the stretch is then written again from the log.
    pub fn take(&mut self, effects: &[(i64, Effect)]) -> Result<(), ArchiveError> {
        for (offset, effect) in effects {
            if matches!(effect, Effect::Roll) {
                self.roll(*offset)?;
            }
            if *offset < self.below || matches!(effect, Effect::Roll) {
                continue;
            }
            self.first.get_or_insert(*offset);
            self.last = self.last.max(*offset);
            match effect {
                Effect::Frame(frame, fate) => self.frame(frame, *offset, *fate)?,
                Effect::Score(score, evidence) => {
                    self.body(
                        Kind::Scores,
                        &score.id,
                        &score.patient,
                        score.event_time_us,
                        "score",
                        score,
                        evidence,
                    )?;
                }
                Effect::Event(e, evidence) => {
                    self.body(Kind::Events, &e.id, &e.patient, e.event_time_us, &e.kind, e, evidence)?;
                }
                Effect::Roll
                | Effect::State(..)
                | Effect::Aside(..)
                | Effect::Features(..)
                | Effect::Predictions(..)
                | Effect::Beats(..)
                | Effect::Glance(..) => {}
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Arc<Frame>, offset: i64, fate: Fate) -> Result<(), ArchiveError> {
        let status = match fate {
            Fate::Processed => "processed",
            Fate::Late => "late",
            // Its first copy is in the archive.
            Fate::Duplicate => return Ok(()),
        };
        let place = Place { topic: self.topic.clone(), partition: self.partition, offset, status };
        if !frame.waves.is_empty() {
            let Rows::Waveforms(rows) = self.rows(Kind::Waveforms, frame.time)? else { return Ok(()) };
            for wave in &frame.waves {
                rows.push(frame, wave, &place);
            }
            self.spill(Kind::Waveforms, frame.time, BATCH_ROWS)?;
        }
        if !frame.observations.is_empty() {
            let Rows::Numerics(rows) = self.rows(Kind::Numerics, frame.time)? else { return Ok(()) };
            for o in &frame.observations {
                rows.push(frame, o, &place);
            }
            self.spill(Kind::Numerics, frame.time, BATCH_ROWS)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the columns of one row")]
    fn body(
        &mut self,
        kind: Kind,
        id: &str,
        patient: &str,
        time_us: i64,
        what: &str,
        body: &impl Serialize,
        evidence: &Evidence,
    ) -> Result<(), ArchiveError> {
        let (topic, partition) = (self.topic.clone(), self.partition);
        let time = EventTime::from_micros(time_us);
        let Rows::Bodies(rows) = self.rows(kind, time)? else { return Ok(()) };
        let text = serde_json::to_string(body).unwrap_or_default();
        rows.push(id, patient, time_us, what, &text, &topic, partition, evidence);
        self.spill(kind, time, BATCH_ROWS)
    }

    /// The rows of the file that is open for this table and date.
    fn rows(&mut self, kind: Kind, time: EventTime) -> Result<&mut Rows, ArchiveError> {
        match self.open.entry((kind, day(time))) {
            Entry::Occupied(open) => Ok(&mut open.into_mut().rows),
            Entry::Vacant(place) => {
                let folder = self.root.join(kind.folder()).join(format!("date={}", date(time)));
                let first = self.first.unwrap_or(0);
                let name = format!("{}-{}-{first:020}.open", self.topic, self.partition);
                let rows = Rows::new(kind);
                let table = Table::create(&folder, &name, rows.schema())?;
                Ok(&mut place.insert(OpenTable { table, folder, rows }).rows)
            }
        }
    }

    fn spill(&mut self, kind: Kind, time: EventTime, at: usize) -> Result<(), ArchiveError> {
        match self.open.get_mut(&(kind, day(time))) {
            Some(open) if open.rows.len() >= at => open.spill(),
            _ => Ok(()),
        }
    }

    /// Ends all open files: they hold every record before `offset`.
    fn roll(&mut self, offset: i64) -> Result<(), ArchiveError> {
        let last = self.last.min(offset - 1);
        let first = self.first.take().unwrap_or(last);
        for (_, mut open) in std::mem::take(&mut self.open) {
            open.spill()?;
            let name = format!("{}-{}-{first:020}-{last:020}.parquet", self.topic, self.partition);
            open.table.finish(&open.folder, &name)?;
            self.files += 1;
        }
        failpoint::hit(failpoint::ARCHIVE_BEFORE_HELD);
        if last > self.held.to {
            self.held.advance(last)?;
        }
        // At the end of the log nobody knows whether more records without rows came before it.
        let to = if offset == i64::MAX { last + 1 } else { offset };
        self.below = self.below.max(to);
        Ok(())
    }
}

impl OpenTable {
    fn spill(&mut self) -> Result<(), ArchiveError> {
        if self.rows.len() == 0 {
            return Ok(());
        }
        match RecordBatch::try_new(self.rows.schema(), self.rows.finish()) {
            Ok(batch) => self.table.write(&batch),
            Err(e) => unreachable!("columns are built to their schema: {e}"),
        }
    }
}

/// The civil day, UTC, of an event time, in days since 1970.
fn day(time: EventTime) -> i64 {
    instant(time).as_second().div_euclid(86_400)
}

/// The same as the name of a folder has it.
fn date(time: EventTime) -> String {
    instant(time).strftime("%Y-%m-%d").to_string()
}

/// A time that no calendar holds is taken for the first.
fn instant(time: EventTime) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(time.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}
