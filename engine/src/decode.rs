//! Hop 2: bytes to a frame, or to a reject with its reason.
//! In: one record as the broker gave it. Out: a checked frame in canonical units, a tick, or a reject whose code and
//! detail never hold an identifier or payload.

mod check;
mod counts;
mod json;
mod protobuf;

use std::sync::Arc;

use auscult_operators::signal::{EventTime, Frame};
use bytes::Bytes;
pub use counts::CountsForm;
pub use protobuf::{encode, encode_tick};
use thiserror::Error;

use crate::limits;
use crate::source::Record;

/// The wire schema, as generated.
#[allow(missing_docs, clippy::all, reason = "generated from proto/frame.proto, documented there")]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/auscult.v1.rs"));
}

/// What a record turned out to be.
#[derive(Debug)]
pub enum Decoded {
    /// A frame that passed every check.
    Frame(Arc<Frame>),
    /// Time passes in the log.
    Tick,
    /// Not usable: it goes to the dead-letter topic.
    Reject(Reject),
}

/// Why a record is not usable. The code is stable; the detail is for people.
#[derive(Debug, Error, PartialEq)]
#[error("{code}: {detail}")]
pub struct Reject {
    /// Stable code, snake_case.
    pub code: &'static str,
    /// Attempted, found, expected. Never an identifier, never payload.
    pub detail: String,
}

impl Reject {
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
    pub(crate) fn over(code: &'static str, limit: &limits::Limit, found: impl std::fmt::Display) -> Self {
        let limits::Limit { name, max, unit, .. } = limit;
        Self::new(code, format!("found {found} {unit}, {name} allows {max}"))
    }
}

/// Every code that a reject can bear, with its meaning.
pub const CODES: &[(&str, &str)] = &[
    ("frame_too_large", "the message exceeds FRAME_BYTES"),
    ("not_protobuf", "the message is not an auscult.v1.Frame"),
    ("not_json", "the message says application/json and is not the JSON form of a frame"),
    ("no_patient", "the patient id is empty or too long"),
    ("key_mismatch", "the record key and the patient id differ"),
    ("no_source", "the source id is empty or too long"),
    ("bad_time", "an event time lies outside the years 2000 to 2100"),
    ("clock_ahead", "the event time lies further ahead of the broker time than AHEAD_S"),
    ("empty_frame", "the frame carries nothing"),
    ("too_many", "more waveforms, observations, commands or samples than allowed"),
    ("unknown_channel", "neither code nor name is in the channel table"),
    ("wrong_kind", "a waveform was sent for a numeric channel, or the other way round"),
    ("unit_mismatch", "the unit is not known or does not convert to the channel's unit"),
    ("bad_rate", "the sampling rate is not a positive number within WAVE_RATE_HZ"),
    ("bad_samples", "counts and values both present, or neither, or an odd number of bytes"),
    ("bad_scale", "scale or offset is not finite, or scale is zero"),
    ("bad_value", "a value, quality or code is outside its definition"),
    ("bad_span", "a waveform spans more than FRAME_SPAN_S or starts before the frame"),
    ("bad_command", "the command is not known, or its pause is outside PAUSE_S"),
    ("too_many_patients", "the partition already holds SHARD_PATIENTS patients"),
];

/// What the records of a log hold.
#[derive(Clone, Debug, Default)]
pub enum Form {
    /// Frames, as protobuf or JSON.
    #[default]
    Frames,
    /// Plain counts of one channel each. Ticks stand among them as they do among frames: without a key.
    Counts(CountsForm),
}

impl Form {
    /// The patient that a key names.
    pub fn patient<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        match self {
            Form::Frames => key,
            Form::Counts(counts) => counts.split(key).0,
        }
    }
}

/// Decodes one record of a log of this form.
pub fn decode_as(form: &Form, record: &Record) -> Decoded {
    match form {
        Form::Counts(counts) if !record.key.is_empty() => match counts.frame(record) {
            Ok(frame) => Decoded::Frame(Arc::new(frame)),
            Err(reject) => Decoded::Reject(reject),
        },
        _ => decode(record),
    }
}

/// The end of the last sample in a value of this form: when it can have left its sender. None if it cannot be read.
pub fn end(form: &Form, value: &Bytes) -> Option<EventTime> {
    match form {
        Form::Counts(_) => CountsForm::end(value),
        Form::Frames => {
            let frame = protobuf::parse(value.clone()).ok()?;
            let span_us = |w: &wire::Wave| {
                let samples = w.values.len().max(w.counts.len() / 2);
                w.start_us.saturating_add((samples as f64 * 1e6 / w.rate_hz) as i64)
            };
            let longest = frame.waves.iter().map(span_us).max().unwrap_or(0).clamp(0, 60_000_000);
            Some(EventTime::from_micros(frame.time_us.saturating_add(longest)))
        }
    }
}

/// Decodes one record that holds a frame.
pub fn decode(record: &Record) -> Decoded {
    if record.value.len() as u64 > limits::FRAME_BYTES.max {
        return Decoded::Reject(Reject::over("frame_too_large", &limits::FRAME_BYTES, record.value.len()));
    }
    let wire = if record.json { json::parse(&record.value) } else { protobuf::parse(record.value.clone()) };
    match wire {
        // A tick speaks of nobody: whatever bears a patient id is judged as a frame, so that no data is passed over.
        Ok(frame) if frame.tick.is_some() && frame.patient.is_empty() => Decoded::Tick,
        Ok(frame) => match check::frame(frame, &record.key, record.timestamp) {
            Ok(frame) => Decoded::Frame(Arc::new(frame)),
            Err(reject) => Decoded::Reject(reject),
        },
        Err(reject) => Decoded::Reject(reject),
    }
}
