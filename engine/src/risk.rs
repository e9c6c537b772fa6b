//! Hop 6: rules and the alert state machine.
//! In: what one epoch yielded (readings, values, scores, probabilities), or the news that a patient fell silent.
//! Out: risk events, one for each transition of an alert.

mod emit;
mod event;
mod judge;
mod machine;
mod model_failed;
mod model_probability;
mod score_level;
mod signal_lost;
mod source_silent;
mod threshold;

pub(crate) use emit::judge;
pub use event::{
    AlertState, Category, Completeness, Decider, Driver, EvidenceBody, Harm, INTENDED_USE, Input, Onset,
    Phase, Priority, RiskEvent, ScoreEvent, SourceRange, Window, deterministic_id,
};
pub use judge::{Condition, Facts, Look, RuleSpec, Verdict};
pub use machine::{Alert, CONTINUE, Rule, RuleState, Transition, UNKNOWN_MAX};

/// The kinds of rule.
pub static RULES: &[&RuleSpec] = &[
    &score_level::SPEC,
    &threshold::SPEC,
    &signal_lost::SPEC,
    &source_silent::SPEC,
    &model_probability::SPEC,
    &model_failed::SPEC,
];
