//! Rows of the archive's tables, column by column.
//! In: frames, observations and bodies with their place in the log. Out: columns of the schema of their table.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, ArrowPrimitiveType, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
    Int64Builder, ListBuilder, PrimitiveBuilder, StringBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema};
use auscult_operators::signal::Frame;
use auscult_operators::signal::frame::{Observation, Samples, Wave};

use crate::align::Evidence;

/// The tables of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Waveforms,
    Numerics,
    Scores,
    Events,
}

impl Kind {
    pub(super) const fn folder(self) -> &'static str {
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

/// Rows not yet handed to the encoder.
#[allow(clippy::large_enum_variant, reason = "a handful live at a time, each beside its open file")]
pub(super) enum Rows {
    Waveforms(WaveRows),
    Numerics(NumericRows),
    Bodies(BodyRows),
}

/// Where a row came from.
pub(super) struct Place {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) status: &'static str,
}

/// The tables of the archive by name, with the schema of their files.
pub fn tables() -> Vec<(&'static str, Arc<Schema>)> {
    [Kind::Waveforms, Kind::Numerics, Kind::Scores, Kind::Events]
        .map(|kind| (kind.folder(), Rows::new(kind).schema()))
        .to_vec()
}

impl Rows {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Waveforms => Rows::Waveforms(WaveRows::default()),
            Kind::Numerics => Rows::Numerics(NumericRows::default()),
            Kind::Scores | Kind::Events => Rows::Bodies(BodyRows::default()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Rows::Waveforms(r) => r.patient.len(),
            Rows::Numerics(r) => r.patient.len(),
            Rows::Bodies(r) => r.id.len(),
        }
    }

    /// Columns of the rows gathered, which are then gone.
    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        match self {
            Rows::Waveforms(r) => r.finish(),
            Rows::Numerics(r) => r.finish(),
            Rows::Bodies(r) => r.finish(),
        }
    }

    pub(super) fn schema(&self) -> Arc<Schema> {
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
    pub(super) fn push(
        &mut self,
        frame: &Frame,
        channel: auscult_operators::signal::ChannelId,
        place: &Place,
    ) {
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
            text(&mut self.source),
            numbers(&mut self.session),
            numbers(&mut self.sequence),
            text(&mut self.channel),
            text(&mut self.unit),
        ];
        all.extend(middle);
        let tail: [ArrayRef; 4] = [
            text(&mut self.topic),
            numbers(&mut self.partition),
            numbers(&mut self.offset),
            text(&mut self.status),
        ];
        all.extend(tail);
        all
    }
}

#[derive(Default)]
pub(super) struct WaveRows {
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
    pub(super) fn push(&mut self, frame: &Frame, wave: &Wave, place: &Place) {
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
            numbers(&mut self.rate),
            numbers(&mut self.start),
            numbers(&mut self.scale),
            numbers(&mut self.offset),
            numbers(&mut self.missing),
            lists(&mut self.counts),
            lists(&mut self.samples),
        ];
        self.common.finish(text(&mut self.patient), middle)
    }
}

#[derive(Default)]
pub(super) struct NumericRows {
    patient: StringBuilder,
    common: FrameColumns,
    value: Float64Builder,
    observed: Int64Builder,
    quality: Float32Builder,
}

impl NumericRows {
    pub(super) fn push(&mut self, frame: &Frame, o: &Observation, place: &Place) {
        self.patient.append_value(frame.patient.expose());
        self.common.push(frame, o.channel, place);
        self.value.append_option(o.value);
        self.observed.append_value(o.observed_at.micros());
        self.quality.append_value(o.quality);
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let middle: Vec<ArrayRef> =
            vec![numbers(&mut self.value), numbers(&mut self.observed), numbers(&mut self.quality)];
        self.common.finish(text(&mut self.patient), middle)
    }
}

#[derive(Default)]
pub(super) struct BodyRows {
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
    pub(super) fn push(
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
            text(&mut self.id),
            text(&mut self.patient),
            numbers(&mut self.time),
            text(&mut self.kind),
            text(&mut self.body),
            text(&mut self.topic),
            numbers(&mut self.partition),
            numbers(&mut self.first),
            numbers(&mut self.last),
        ]
    }
}

/// The column of a builder, which has room for as much again: that spares it from growing step by step.
fn text(builder: &mut StringBuilder) -> ArrayRef {
    let (rows, bytes) = (builder.len(), builder.values_slice().len());
    let column = builder.finish();
    *builder = StringBuilder::with_capacity(rows, bytes);
    Arc::new(column)
}

fn numbers<T: ArrowPrimitiveType>(builder: &mut PrimitiveBuilder<T>) -> ArrayRef {
    let rows = builder.len();
    let column = builder.finish();
    *builder = PrimitiveBuilder::with_capacity(rows);
    Arc::new(column)
}

fn lists<T: ArrowPrimitiveType>(builder: &mut ListBuilder<PrimitiveBuilder<T>>) -> ArrayRef {
    let (rows, values) = (builder.len(), builder.values().len());
    let column = builder.finish();
    *builder = ListBuilder::with_capacity(PrimitiveBuilder::with_capacity(values), rows);
    Arc::new(column)
}
