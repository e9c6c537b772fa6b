//! A decoded frame: what one message says of one patient over a short span.
//! In: built by decoders and dataset readers, already checked. Out: samples in counts or physical units,
//! observations in canonical units, event times in microseconds.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::time::nearest;
use super::{ChannelId, EventTime, Hertz};

/// A pseudonymous patient id: the key of every record. It never shows itself in logs or errors.
///
/// ```
/// use auscult_operators::signal::PatientId;
/// let p = PatientId::new("ward7-bed3");
/// assert_eq!(format!("{p} {p:?}"), "patient(*) patient(*)");
/// assert_eq!(p.expose(), "ward7-bed3");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PatientId(Box<str>);

impl PatientId {
    /// Wraps an id.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }
    /// The id itself: for record keys, event bodies and archives only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("patient(*)")
    }
}
impl fmt::Display for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("patient(*)")
    }
}

/// The device, gateway or feed that numbered a frame. Its name is shared: every frame bears it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SourceId(pub Arc<str>);

impl From<String> for SourceId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<SourceId> for String {
    fn from(source: SourceId) -> Self {
        source.0.as_ref().into()
    }
}

/// One message of one patient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Whose data this is.
    pub patient: PatientId,
    /// Who sent it.
    pub source: SourceId,
    /// Which run of the source: changes when the source starts its numbering again.
    pub session: u64,
    /// Number of the frame within source and session, rising by one.
    pub sequence: u64,
    /// Event time of the frame's start.
    pub time: EventTime,
    /// Waveform samples.
    pub waves: Vec<Wave>,
    /// Numerics, laboratory and charted values, and context, each with its own time of observation.
    pub observations: Vec<Observation>,
    /// State of the device, if the frame tells one.
    pub device: Option<DeviceStatus>,
    /// Acknowledgements and pauses.
    pub commands: Vec<Command>,
}

impl Frame {
    /// Event time of the frame's end: the end of its longest waveform, or its start.
    pub fn end(&self) -> EventTime {
        self.waves.iter().map(Wave::end).max().unwrap_or(self.time).max(self.time)
    }
}

/// Evenly spaced samples of one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wave {
    /// Which signal.
    pub channel: ChannelId,
    /// Sampling rate.
    pub rate: Hertz,
    /// Event time of the first sample.
    pub start: EventTime,
    /// The samples, in the channel's canonical unit once scaled.
    pub samples: Samples,
}

impl Wave {
    /// Event time just after the last sample.
    pub fn end(&self) -> EventTime {
        let us = self.samples.len() as f64 * 1e6 / self.rate.get();
        EventTime::from_micros(self.start.micros().saturating_add(nearest(us)))
    }
}

/// Samples as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Samples {
    /// Raw counts: value = count * scale + offset, in the channel's canonical unit.
    Counts {
        /// Converter counts.
        counts: Vec<i16>,
        /// Canonical units per count.
        scale: f64,
        /// Canonical value of count zero.
        offset: f64,
        /// The count that means "no sample", if the source uses one.
        missing: Option<i16>,
    },
    /// Values in the channel's canonical unit; NaN means "no sample".
    Values(Vec<f32>),
}

impl Samples {
    /// Number of samples, present or not.
    pub fn len(&self) -> usize {
        match self {
            Samples::Counts { counts, .. } => counts.len(),
            Samples::Values(values) => values.len(),
        }
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One value observed at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Which quantity.
    pub channel: ChannelId,
    /// When it was observed.
    pub observed_at: EventTime,
    /// Value in the channel's canonical unit; `None` says that it was looked for and is not there.
    pub value: Option<f64>,
    /// 0 (worthless) to 1 (as good as it gets), as the source says.
    pub quality: f32,
}

/// What a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceStatus {
    /// Measuring.
    Running,
    /// Sensor or cable off.
    Disconnected,
    /// Calibrating, or set aside by a person.
    Standby,
    /// The source sends no more: everything before the frame's time is complete.
    Ended,
}

/// What a person, or a system for them, asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// What is asked.
    pub action: Action,
    /// Rule it concerns.
    pub rule: String,
    /// Pseudonymous id of the person who asked.
    pub actor: String,
    /// For how long, in seconds (pause only).
    pub for_s: f64,
}

/// The kinds of command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Somebody has seen the alert.
    Acknowledge,
    /// No alerts of the rule until the pause ends.
    Pause,
}
