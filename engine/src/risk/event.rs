//! The risk event: one transition of one alert, as consumers see it.
//! In: built by the risk hop. Out: a JSON body that is the same to the bit whenever the same frames are walked.
//!
//! Whatever depends on the transport (topic, partition, offsets, emission time) stands in headers, not in the body,
//! so that a replay, or another number of partitions, yields the same bodies.

use auscult_operators::score::ScoreResult;
use auscult_operators::signal::{EventTime, Missing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What Auscult is for; stands in every event.
pub const INTENDED_USE: &str = "decision support for research and integration; not a medical device";

/// Where in its life an alert stands (IHE ACM event phase).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The condition began and persisted.
    Start,
    /// It goes on: a sign of life.
    Continue,
    /// Something about it changed: acknowledged, or its value moved.
    Update,
    /// It became worse.
    Escalate,
    /// It became less severe.
    Deescalate,
    /// It is over.
    End,
}

/// Alarm state (IHE ACM).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Over.
    Inactive,
    /// The condition is there.
    Active,
    /// The condition is over, nobody has acknowledged it.
    Latched,
}

/// Priority after IEC 60601-1-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// For information.
    Advisory,
    /// Awareness is required.
    Low,
    /// Prompt response is required.
    Medium,
    /// Immediate response is required.
    High,
}

/// What an alert speaks of; the kinds are never merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The patient.
    Physiological,
    /// The equipment, the data, or Auscult itself.
    Technical,
    /// A hint.
    Advisory,
}

/// What may come of the condition if nobody responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Harm {
    /// Death or irreversible injury.
    Death,
    /// Reversible injury.
    Reversible,
    /// Minor injury or discomfort.
    Minor,
}

/// How soon the harm may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Onset {
    /// Before one could act.
    Immediate,
    /// While one can still act.
    Prompt,
    /// Later.
    Delayed,
}

impl Priority {
    /// The priority that harm and onset make (IEC 60601-1-8, table of alarm condition priorities). It is derived,
    /// never chosen.
    ///
    /// ```
    /// use auscult::risk::{Harm, Onset, Priority};
    /// assert_eq!(Priority::derived(Harm::Death, Onset::Prompt), Priority::High);
    /// assert_eq!(Priority::derived(Harm::Reversible, Onset::Delayed), Priority::Low);
    /// ```
    pub fn derived(harm: Harm, onset: Onset) -> Self {
        match (harm, onset) {
            (Harm::Death, Onset::Immediate | Onset::Prompt) | (Harm::Reversible, Onset::Immediate) => {
                Self::High
            }
            (Harm::Death, Onset::Delayed)
            | (Harm::Reversible, Onset::Prompt)
            | (Harm::Minor, Onset::Immediate) => Self::Medium,
            (Harm::Reversible, Onset::Delayed) | (Harm::Minor, Onset::Prompt) => Self::Low,
            (Harm::Minor, Onset::Delayed) => Self::Advisory,
        }
    }
}

/// A span of event time, both ends in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Start.
    pub start_us: i64,
    /// Just after the end.
    pub end_us: i64,
}

/// An input of the decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Input {
    /// Feature or quantity.
    pub name: String,
    /// Its value, if it was there.
    pub value: Option<f64>,
    /// UCUM code.
    pub unit: String,
    /// 0 to 1.
    pub quality: f32,
    /// When it was observed, in microseconds since 1970.
    pub observed_at_us: Option<i64>,
    /// Why it was not there.
    pub missing: Option<Missing>,
}

/// How complete the decision's inputs were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Completeness {
    /// Inputs present over inputs wanted, 0 to 1.
    pub share: f64,
    /// Names of the inputs that were not there.
    pub missing: Vec<String>,
}

/// One contribution to a probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Driver {
    /// Feature.
    pub name: String,
    /// Its contribution, in the unit the model's card states.
    pub contribution: f64,
}

/// A stretch of a source's own numbering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceRange {
    /// Source id.
    pub source: String,
    /// First sequence.
    pub first_sequence: u64,
    /// Last sequence.
    pub last_sequence: u64,
}

/// What the decision rests on. The place in the log stands in the headers `auscult_input_topic`,
/// `auscult_input_partition`, `auscult_input_first_offset` and `auscult_input_last_offset`, and in the archive's
/// columns of the same names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceBody {
    /// Frames of the window, by their sources' numbering.
    pub sources: Vec<SourceRange>,
    /// The values looked at.
    pub inputs: Vec<Input>,
}

/// The model or table that decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decider {
    /// `table`, `model` or `threshold`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Version of the table or model.
    pub version: String,
    /// Hash of the model's weights.
    pub sha256: Option<String>,
    /// Library and version that ran the model.
    pub runtime: Option<String>,
}

/// One transition of one alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RiskEvent {
    /// Deterministic id of this event.
    pub id: String,
    /// Deterministic id of the alert: the same from start to end.
    pub alert_id: String,
    /// Number of the transition within the alert, from 1.
    pub revision: u32,
    /// Pseudonymous patient id.
    pub patient: String,
    /// Name of the rule.
    pub rule: String,
    /// Kind, such as `news2.high` or `ecg.asystole`.
    pub kind: String,
    /// Phase of the alert.
    pub phase: Phase,
    /// State of the alert.
    pub state: AlertState,
    /// Whether somebody has acknowledged it.
    pub acknowledged: bool,
    /// Priority, derived from harm and onset.
    pub priority: Priority,
    /// What it speaks of.
    pub category: Category,
    /// What happened, for people.
    pub text: String,
    /// When the transition happened, in microseconds since 1970.
    pub event_time_us: i64,
    /// The span of data behind it.
    pub window: Window,
    /// The value that decided.
    pub value: Option<f64>,
    /// UCUM code of value and threshold.
    pub unit: String,
    /// What it was held against.
    pub threshold: Option<f64>,
    /// Probability, from models.
    pub probability: Option<f64>,
    /// Lowest and highest value possible, where inputs were missing.
    pub interval: Option<[f64; 2]>,
    /// 0 to 1: the lowest quality of the inputs used.
    pub confidence: f32,
    /// Which inputs were there.
    pub completeness: Completeness,
    /// Top contributions.
    pub drivers: Vec<Driver>,
    /// What the table recommends.
    pub recommendation: String,
    /// What it rests on.
    pub evidence: EvidenceBody,
    /// The table or model.
    pub decider: Decider,
    /// Hash of everything in the configuration that can change a result.
    pub config_hash: String,
    /// Build of the engine.
    pub build: String,
    /// What this is for.
    pub intended_use: String,
}

/// One evaluation of one score.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ScoreEvent {
    /// Deterministic id of this evaluation.
    pub id: String,
    /// Pseudonymous patient id.
    pub patient: String,
    /// End of the epoch it was evaluated for, in microseconds since 1970.
    pub event_time_us: i64,
    /// The evaluation.
    pub result: ScoreResult,
    /// Hash of everything in the configuration that can change a result.
    pub config_hash: String,
    /// Build of the engine.
    pub build: String,
    /// What this is for.
    pub intended_use: String,
}

/// A deterministic id: the first 16 bytes of a SHA-256 over the parts, as hex.
pub fn deterministic_id(parts: &[&[u8]]) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps ("ab", "c") apart from ("a", "bc").
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

impl Window {
    /// The span that ends at `end`.
    pub fn ending(end: EventTime, span: auscult_operators::signal::Span) -> Self {
        Self { start_us: (end - span).micros(), end_us: end.micros() }
    }
}
