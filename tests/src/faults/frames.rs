//! Frames made in the test itself, so that each can be damaged, moved and counted.
//! In: a seed. Out: a ward's frames in the order of their arrival, as records for the frames topic.

use auscult::decode::encode;
use auscult::source::recording::timestamp;
use auscult_datasets::simulate::Ward;
use auscult_operators::signal::{EventTime, Frame, Span};

use crate::kafka::Record;

/// A frame and when it comes to the broker.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When it comes.
    pub at: EventTime,
    /// What comes.
    pub frame: Frame,
}

/// An hour ago: no broker finds it old, no clock ahead.
pub fn start() -> EventTime {
    let now = jiff::Timestamp::now().as_second() - 3_600;
    EventTime::from_micros(now * 1_000_000)
}

/// So many beds over so many seconds, and the goodbye of each, in the order in which they come.
pub fn ward(seed: u64, beds: usize, seconds: u32, start: EventTime) -> Vec<Arrival> {
    let mut ward = Ward::new(seed, beds, start);
    let until = start + Span::from_seconds(f64::from(seconds));
    let mut frames: Vec<Frame> = ward.by_ref().take_while(|f| f.time < until).collect();
    frames.extend(ward.end());
    frames.into_iter().map(|frame| Arrival { at: timestamp(&frame), frame }).collect()
}

/// Records in the order of arrival; among those of one moment, in the order given.
pub fn records(mut arrivals: Vec<Arrival>) -> Vec<Record> {
    arrivals.sort_by_key(|a| a.at);
    arrivals.iter().map(record).collect()
}

/// One record.
pub fn record(arrival: &Arrival) -> Record {
    let key = arrival.frame.patient.expose();
    Record { timestamp_ms: Some(arrival.at.millis()), ..Record::new(key, encode(&arrival.frame)) }
}

/// The frame with a clock that is off by so much.
pub fn shifted(mut frame: Frame, by: Span) -> Frame {
    frame.time = frame.time + by;
    frame.waves.iter_mut().for_each(|w| w.start = w.start + by);
    frame.observations.iter_mut().for_each(|o| o.observed_at = o.observed_at + by);
    frame
}
