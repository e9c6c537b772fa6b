//! What a rule is: a condition without memory, and its card.
//! In: everything known at the end of one epoch. Out: met, not met, or unknown with the reason. Persistence and
//! hysteresis belong to the state machine, which is the same for all rules.

use crate::infer::ModelResult;
use auscult_operators::params::{Bound, ParamError};
use auscult_operators::score::ScoreResult;
use auscult_operators::signal::{ChannelId, EventTime, Missing, Readings, Span, Values};
use serde::{Deserialize, Serialize};

use super::event::{Completeness, Decider, Driver, Input};

/// What a condition may look at.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// End of the epoch.
    pub now: EventTime,
    /// Last values with their validity.
    pub values: &'a Values,
    /// What the operators said of this epoch.
    pub readings: &'a Readings,
    /// What the scores said of this epoch.
    pub scores: &'a [ScoreResult],
    /// The last outcome of each model, with its name.
    pub models: &'a [ModelResult],
    /// When each waveform last had a sample.
    pub waves: &'a [(ChannelId, EventTime)],
    /// Whether the patient has fallen silent by the log's own time.
    pub silent: Option<Span>,
    /// Whether the equipment is set aside or disconnected on purpose.
    pub standby: bool,
}

/// What was found, for the event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Severity within the rule: higher is worse. A rise escalates the alert.
    pub rank: u8,
    /// Kind of the event.
    pub kind: String,
    /// For people.
    pub text: String,
    /// The value that decided.
    pub value: Option<f64>,
    /// UCUM code of value and threshold.
    pub unit: String,
    /// What it was held against.
    pub threshold: Option<f64>,
    /// Probability, from models.
    pub probability: Option<f64>,
    /// Lowest and highest value possible.
    pub interval: Option<[f64; 2]>,
    /// Lowest quality of the inputs used.
    pub confidence: f32,
    /// Which inputs were there.
    pub completeness: Completeness,
    /// Top contributions.
    pub drivers: Vec<Driver>,
    /// What the table recommends.
    pub recommendation: String,
    /// The values looked at.
    pub inputs: Vec<Input>,
    /// Table, model or threshold.
    pub decider: Decider,
    /// Span of data behind the decision.
    pub window: Span,
}

/// What a condition says of one epoch.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The condition holds.
    Met(Box<Facts>),
    /// It does not hold.
    NotMet,
    /// It cannot be told: neither starts nor ends an alert.
    Unknown(Missing),
}

/// A condition without memory.
pub trait Condition: Send + Sync {
    /// Judges one epoch. `active` says whether the alert is on, so that a looser threshold may clear it.
    fn judge(&self, look: &Look<'_>, active: bool) -> Verdict;
}

/// The card of a kind of rule.
pub struct RuleSpec {
    /// Name in configuration; name of the file and of the page.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// How it judges, and its limits.
    pub description: &'static str,
    /// Bounds of its parameters.
    pub bounds: &'static [Bound],
    /// JSON Schema of its parameters.
    pub schema: fn() -> schemars::Schema,
    /// Its parameters by default.
    pub defaults: fn() -> serde_json::Value,
    /// Makes the condition.
    pub build: fn(&serde_json::Value) -> Result<Box<dyn Condition>, ParamError>,
}

impl Decider {
    /// A plain comparison, decided by the rule itself.
    pub(super) fn threshold(name: &str) -> Self {
        Decider {
            kind: "threshold".into(),
            name: name.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            sha256: None,
            runtime: None,
        }
    }
}

#[cfg(test)]
mod tests;
