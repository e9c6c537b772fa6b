//! Source `recording`: frames of recordings or simulated beds, as records of a local log.
//! In: frames in the order in which they would have arrived. Out: records with offsets and timestamps.

use auscult_operators::signal::Frame;
use bytes::Bytes;

use super::Record;
use crate::decode::encode;

/// The record that a frame becomes: as if it had arrived when its last sample was taken.
///
/// ```
/// use auscult::source::recording::record;
/// use auscult_operators::signal::{EventTime, Frame, PatientId, SourceId};
/// let frame = Frame {
///     patient: PatientId::new("p1"), source: SourceId("s".into()), session: 1, sequence: 0,
///     time: EventTime::from_seconds(1_600_000_000), waves: vec![], observations: vec![],
///     device: None, commands: vec![],
/// };
/// assert_eq!(record(&frame, 7).timestamp, frame.time);
/// ```
pub fn record(frame: &Frame, offset: i64) -> Record {
    Record {
        offset,
        timestamp: timestamp(frame),
        key: Bytes::copy_from_slice(frame.patient.expose().as_bytes()),
        value: Bytes::from(encode(frame)),
        json: false,
    }
}

/// The log's time of a frame, in whole milliseconds as Kafka keeps it.
pub fn timestamp(frame: &Frame) -> auscult_operators::signal::EventTime {
    auscult_operators::signal::EventTime::from_micros(frame.end().millis() * 1000)
}
