//! Hop 1: where records come from.
//! In: a broker, recordings, or a simulator. Out: records in log order, with their place and broker time.

pub mod crowd;
pub mod dump;
pub mod kafka;
pub mod recording;

#[cfg(doc)]
use crate::worker::Worker;

use auscult_operators::signal::EventTime;
use bytes::Bytes;

/// One record of the input log, as given. Its topic and partition are those of its [`Worker`].
#[derive(Clone, Debug)]
pub struct Record {
    /// Offset within the partition.
    pub offset: i64,
    /// Timestamp the log gave it: when it arrived, or when its sender said it left.
    pub timestamp: EventTime,
    /// Key: the patient.
    pub key: Bytes,
    /// Value: a frame.
    pub value: Bytes,
    /// Whether the value is the JSON form.
    pub json: bool,
}
