//! The Parquet archive: raw counts, numerics, scores and events, in files named by the stretch of log they hold.
//! In: effects of one partition, in log order. Out: `waveforms/`, `numerics/`, `scores/`, `events/`, each
//! `date=YYYY-MM-DD/TOPIC-PARTITION-FIRST-LAST.parquet`; after a crash the same stretch gives the same name and rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    ListBuilder, RecordBatch, StringBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema};
use auscult_operators::signal::frame::{Observation, Samples, Wave};
use auscult_operators::signal::{EventTime, Frame};
use serde::Serialize;

use super::held::Held;
pub use super::parquet_table::ArchiveError;
use super::parquet_table::Table;
use crate::align::{Evidence, Fate};
use crate::effects::Effect;
use crate::failpoint;

/// Rows gathered before they are handed to the encoder.
const BATCH_ROWS: usize = 512;

/// The tables of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Waveforms,
    Numerics,
    Scores,
    Events,
}

impl Kind {
    const fn folder(self) -> &'static str {
        match self {
            Kind::Waveforms => "waveforms",
            Kind::Numerics => "numerics",
            Kind::Scores => "scores",
            Kind::Events => "events",
        }
    }
}

/// Folders of all tables.
pub(super) const TABLES: [&str; 4] =
    [Kind::Waveforms.folder(), Kind::Numerics.folder(), Kind::Scores.folder(), Kind::Events.folder()];

/// The archive of one partition.
pub struct Archive {
    root: PathBuf,
    topic: String,
    partition: i32,
    /// First offset of the stretch being written.
    first: Option<i64>,
    /// Last offset seen.
    last: i64,
    /// What stands in whole files already.
    held: Held,
    open: BTreeMap<(Kind, String), OpenTable>,
    /// Files ended.
    pub files: u64,
}

struct OpenTable {
    table: Table,
    folder: PathBuf,
    rows: Rows,
}

/// Rows not yet handed to the encoder.
#[allow(clippy::large_enum_variant, reason = "a handful live at a time, each beside its open file")]
enum Rows {
    Waveforms(WaveRows),
    Numerics(NumericRows),
    Bodies(BodyRows),
}

impl Archive {
    /// The archive of one partition under a root folder. What stands there already is not written again.
    ///
    /// # Errors
    /// [`ArchiveError`] if what a crash left behind cannot be cleared.
    pub fn open(root: &Path, topic: &str, partition: i32) -> Result<Self, ArchiveError> {
        let held = Held::open(root, topic, partition)?;
        let (root, topic) = (root.into(), topic.to_string());
        Ok(Self { root, topic, partition, first: None, last: -1, held, open: BTreeMap::new(), files: 0 })
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
            if *offset <= self.held.to || matches!(effect, Effect::Roll) {
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
        let key = (kind, date(time));
        if !self.open.contains_key(&key) {
            let folder = self.root.join(kind.folder()).join(format!("date={}", key.1));
            let name = format!("{}-{}-{:020}.open", self.topic, self.partition, self.first.unwrap_or(0));
            let rows = Rows::new(kind);
            let table = Table::create(&folder, &name, rows.schema())?;
            self.open.insert(key.clone(), OpenTable { table, folder, rows });
        }
        match self.open.get_mut(&key) {
            Some(open) => Ok(&mut open.rows),
            None => unreachable!("inserted above"),
        }
    }

    fn spill(&mut self, kind: Kind, time: EventTime, at: usize) -> Result<(), ArchiveError> {
        match self.open.get_mut(&(kind, date(time))) {
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
        self.held.advance(last)
    }
}

impl OpenTable {
    fn spill(&mut self) -> Result<(), ArchiveError> {
        if self.rows.len() == 0 {
            return Ok(());
        }
        let columns = match &mut self.rows {
            Rows::Waveforms(r) => r.finish(),
            Rows::Numerics(r) => r.finish(),
            Rows::Bodies(r) => r.finish(),
        };
        match RecordBatch::try_new(self.rows.schema(), columns) {
            Ok(batch) => self.table.write(&batch),
            Err(e) => unreachable!("columns are built to their schema: {e}"),
        }
    }
}

/// The civil date, UTC, of an event time.
fn date(time: EventTime) -> String {
    let t = jiff::Timestamp::from_microsecond(time.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    t.strftime("%Y-%m-%d").to_string()
}

/// Where a row came from.
struct Place {
    topic: String,
    partition: i32,
    offset: i64,
    status: &'static str,
}

/// The tables of the archive by name, with the schema of their files.
pub fn tables() -> Vec<(&'static str, Arc<Schema>)> {
    [Kind::Waveforms, Kind::Numerics, Kind::Scores, Kind::Events]
        .map(|kind| (kind.folder(), Rows::new(kind).schema()))
        .to_vec()
}

impl Rows {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Waveforms => Rows::Waveforms(WaveRows::default()),
            Kind::Numerics => Rows::Numerics(NumericRows::default()),
            Kind::Scores | Kind::Events => Rows::Bodies(BodyRows::default()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Rows::Waveforms(r) => r.patient.len(),
            Rows::Numerics(r) => r.patient.len(),
            Rows::Bodies(r) => r.id.len(),
        }
    }

    fn schema(&self) -> Arc<Schema> {
        let text = |n| Field::new(n, DataType::Utf8, false);
        let long = |n| Field::new(n, DataType::Int64, false);
        let list = |n, t| Field::new(n, DataType::List(Arc::new(Field::new("item", t, true))), true);
        let number = |n| Field::new(n, DataType::Float64, false);
        let count = |n| Field::new(n, DataType::UInt64, false);
        let head = || {
            vec![
                text("patient"),
                text("source"),
                count("session"),
                count("sequence"),
                text("channel"),
                text("unit"),
            ]
        };
        let tail = || {
            vec![
                text("topic"),
                Field::new("partition", DataType::Int32, false),
                long("record_offset"),
                text("status"),
            ]
        };
        let fields = match self {
            Rows::Waveforms(_) => [
                head(),
                vec![
                    number("rate_hz"),
                    long("start_us"),
                    Field::new("scale", DataType::Float64, true),
                    Field::new("offset", DataType::Float64, true),
                    Field::new("missing_count", DataType::Int32, true),
                    list("counts", DataType::Int16),
                    list("samples", DataType::Float32),
                ],
                tail(),
            ]
            .concat(),
            Rows::Numerics(_) => [
                head(),
                vec![
                    Field::new("value", DataType::Float64, true),
                    long("observed_at_us"),
                    Field::new("quality", DataType::Float32, false),
                ],
                tail(),
            ]
            .concat(),
            Rows::Bodies(_) => vec![
                text("id"),
                text("patient"),
                long("event_time_us"),
                text("kind"),
                text("body"),
                text("input_topic"),
                Field::new("input_partition", DataType::Int32, false),
                Field::new("input_first_offset", DataType::Int64, true),
                Field::new("input_last_offset", DataType::Int64, true),
            ],
        };
        Arc::new(Schema::new(fields))
    }
}

/// Columns that every frame's rows share.
#[derive(Default)]
struct FrameColumns {
    source: StringBuilder,
    session: UInt64Builder,
    sequence: UInt64Builder,
    channel: StringBuilder,
    unit: StringBuilder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    status: StringBuilder,
}

impl FrameColumns {
    fn push(&mut self, frame: &Frame, channel: auscult_operators::signal::ChannelId, place: &Place) {
        self.source.append_value(&frame.source.0);
        self.session.append_value(frame.session);
        self.sequence.append_value(frame.sequence);
        self.channel.append_value(channel.row().name);
        self.unit.append_value(channel.row().unit.ucum());
        self.topic.append_value(&place.topic);
        self.partition.append_value(place.partition);
        self.offset.append_value(place.offset);
        self.status.append_value(place.status);
    }

    fn finish(&mut self, patient: ArrayRef, middle: Vec<ArrayRef>) -> Vec<ArrayRef> {
        let mut all: Vec<ArrayRef> = vec![
            patient,
            Arc::new(self.source.finish()),
            Arc::new(self.session.finish()),
            Arc::new(self.sequence.finish()),
            Arc::new(self.channel.finish()),
            Arc::new(self.unit.finish()),
        ];
        all.extend(middle);
        let tail: [ArrayRef; 4] = [
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.status.finish()),
        ];
        all.extend(tail);
        all
    }
}

#[derive(Default)]
struct WaveRows {
    patient: StringBuilder,
    common: FrameColumns,
    rate: Float64Builder,
    start: Int64Builder,
    scale: Float64Builder,
    offset: Float64Builder,
    missing: Int32Builder,
    counts: ListBuilder<Int16Builder>,
    samples: ListBuilder<Float32Builder>,
}

impl WaveRows {
    fn push(&mut self, frame: &Frame, wave: &Wave, place: &Place) {
        self.patient.append_value(frame.patient.expose());
        self.common.push(frame, wave.channel, place);
        self.rate.append_value(wave.rate.get());
        self.start.append_value(wave.start.micros());
        match &wave.samples {
            Samples::Counts { counts, scale, offset, missing } => {
                self.scale.append_value(*scale);
                self.offset.append_value(*offset);
                self.missing.append_option(missing.map(i32::from));
                self.counts.values().append_slice(counts);
                self.counts.append(true);
                self.samples.append(false);
            }
            Samples::Values(values) => {
                self.scale.append_null();
                self.offset.append_null();
                self.missing.append_null();
                self.counts.append(false);
                self.samples.values().append_slice(values);
                self.samples.append(true);
            }
        }
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let middle: Vec<ArrayRef> = vec![
            Arc::new(self.rate.finish()),
            Arc::new(self.start.finish()),
            Arc::new(self.scale.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.missing.finish()),
            Arc::new(self.counts.finish()),
            Arc::new(self.samples.finish()),
        ];
        self.common.finish(Arc::new(self.patient.finish()), middle)
    }
}

#[derive(Default)]
struct NumericRows {
    patient: StringBuilder,
    common: FrameColumns,
    value: Float64Builder,
    observed: Int64Builder,
    quality: Float32Builder,
}

impl NumericRows {
    fn push(&mut self, frame: &Frame, o: &Observation, place: &Place) {
        self.patient.append_value(frame.patient.expose());
        self.common.push(frame, o.channel, place);
        self.value.append_option(o.value);
        self.observed.append_value(o.observed_at.micros());
        self.quality.append_value(o.quality);
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let middle: Vec<ArrayRef> = vec![
            Arc::new(self.value.finish()),
            Arc::new(self.observed.finish()),
            Arc::new(self.quality.finish()),
        ];
        self.common.finish(Arc::new(self.patient.finish()), middle)
    }
}

#[derive(Default)]
struct BodyRows {
    id: StringBuilder,
    patient: StringBuilder,
    time: Int64Builder,
    kind: StringBuilder,
    body: StringBuilder,
    topic: StringBuilder,
    partition: Int32Builder,
    first: Int64Builder,
    last: Int64Builder,
}

impl BodyRows {
    #[allow(clippy::too_many_arguments, reason = "the columns of one row")]
    fn push(
        &mut self,
        id: &str,
        patient: &str,
        time_us: i64,
        kind: &str,
        body: &str,
        topic: &str,
        partition: i32,
        evidence: &Evidence,
    ) {
        self.id.append_value(id);
        self.patient.append_value(patient);
        self.time.append_value(time_us);
        self.kind.append_value(kind);
        self.body.append_value(body);
        self.topic.append_value(topic);
        self.partition.append_value(partition);
        self.first.append_option(evidence.offsets.map(|o| o.0));
        self.last.append_option(evidence.offsets.map(|o| o.1));
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.id.finish()),
            Arc::new(self.patient.finish()),
            Arc::new(self.time.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.body.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.first.finish()),
            Arc::new(self.last.finish()),
        ]
    }
}
