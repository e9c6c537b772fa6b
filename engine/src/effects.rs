//! What a step asks the world to do.
//! In: filled by the hops, in the order of the log. Out: carried out by the sinks; nothing here has happened yet.

use std::sync::Arc;

use auscult_operators::signal::{Beat, EventTime, Frame, PatientId, Reading};

use crate::align::{Evidence, Fate};
use crate::decode::Reject;
use crate::infer::Prediction;
use crate::live::Glance;
use crate::risk::{RiskEvent, ScoreEvent};

/// One thing to be done, with the patient it belongs to.
#[derive(Debug)]
pub enum Effect {
    /// A risk event for the events topic and the archive.
    Event(Box<RiskEvent>, Evidence),
    /// An evaluation for the scores topic and the archive.
    Score(Box<ScoreEvent>, Evidence),
    /// A record for the dead-letter topic, by its place among the records of this step.
    Aside(usize, Reject),
    /// A frame for the archive: what it was.
    Frame(Arc<Frame>, Fate),
    /// Features for the features topic, if asked for.
    Features(PatientId, EventTime, Vec<Reading>),
    /// What models said, if asked for.
    Predictions(PatientId, EventTime, Vec<Prediction>),
    /// Beats, if asked for.
    Beats(PatientId, Vec<Beat>),
    /// A look at one bed, if somebody looks.
    Glance(Box<Glance>),
    /// A record of the state topic: key, and value or tombstone.
    State(Vec<u8>, Option<Vec<u8>>),
    /// The archive's files of this partition end before the record that caused this.
    Roll,
}

/// The effects of one step, each with the offset of the record that caused it. Effects of one kind stand in the
/// order of the log.
#[derive(Debug, Default)]
pub struct Effects {
    /// What to do, and because of which record.
    pub list: Vec<(i64, Effect)>,
}

impl Effects {
    /// Adds one.
    pub fn push(&mut self, offset: i64, effect: Effect) {
        self.list.push((offset, effect));
    }
}
