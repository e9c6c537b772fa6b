//! What runs: a configuration that passed every check, resolved to operators, scores, models and rules.
//! In: built by [`crate::check`] alone. Out: shared by all workers, never changed.

use auscult_operators::filter::Conditioning;
use auscult_operators::operator::{Operator, Spec};
use auscult_operators::params::ParamError;
use auscult_operators::score::{self, ScoreSpec};
use auscult_operators::signal::Span;
use serde_json::Value;

use crate::decode::Form;
use crate::infer::PlannedModel;
use crate::risk::Rule;

/// Build of the engine, as it stands in every event.
pub const BUILD: &str = concat!("auscult ", env!("CARGO_PKG_VERSION"));

/// What runs.
pub struct Plan {
    /// How far a frame may lag behind the patient's newest event time.
    pub lateness: Span,
    /// Broker time after which a quiet patient's data is sealed.
    pub quiet: Span,
    /// Broker time after which a patient counts as silent.
    pub silent: Span,
    /// What a record holds.
    pub form: Form,
    /// Conditioning filters.
    pub conditioning: Conditioning,
    /// Operators in graph order, with their parameters.
    pub operators: Vec<(&'static Spec, Value)>,
    /// Scores with their parameters.
    pub scores: Vec<(&'static ScoreSpec, score::Params)>,
    /// Models.
    pub models: Vec<PlannedModel>,
    /// Rules in order of configuration.
    pub rules: Vec<Rule>,
    /// Partition time between two ends of archive files.
    pub archive_roll: Span,
    /// Partition time between two snapshots of a patient.
    pub state_every: Span,
    /// Whether features are told.
    pub features: bool,
    /// Whether what models say is told as it is, besides what rules make of it.
    pub predictions: bool,
    /// Whether beats are told.
    pub beats: bool,
    /// Whether somebody looks at the live view.
    pub live: bool,
    /// Of so many patients, the first met, the samples are shown as well.
    pub strip_beds: usize,
    /// What may be meant, and is rarely wise.
    pub warnings: Vec<String>,
    /// Hash of everything that can change a result.
    pub config_hash: String,
    /// Build of the engine.
    pub build: &'static str,
}

impl Plan {
    /// Operators for one patient.
    ///
    /// # Errors
    /// [`ParamError`] if an operator refuses its parameters, which `check` has found before.
    pub fn build_operators(&self) -> Result<Vec<Box<dyn Operator>>, ParamError> {
        self.operators.iter().map(|(spec, params)| (spec.build)(params)).collect()
    }
}
