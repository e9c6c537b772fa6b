//! From rows to probabilities, or to the reason why there is none.
//! In: rows in the manifest's order. Out: per row a probability rounded to 1e-4 with what was missing and what drove
//! it; or refused, by the model's own policy; or failed, if the network's answer cannot be one.
//!
//! A row's outcome never depends on its batch (I2): what runs together is one patient's row and the same with one input
//! after the other at its reference, in one fixed shape; a network that answers otherwise then than row by row is asked
//! row by row. The rounding afterwards hides the last bits in which machines differ.

use auscult_operators::signal::Missing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::manifest::{Calibration, Manifest, MissingPolicy};

/// Outputs are rounded to multiples of one over this.
pub const STEPS: f64 = 10_000.0;
/// Most drivers told, unless [`Model::with_drivers`] says otherwise.
pub const DRIVERS: usize = 5;
/// How far outside 0 to 1 a network may land by rounding in float32.
const SLACK: f64 = 1e-6;

/// Which model answered; goes into every event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelIdentity {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// sha256 of the weights.
    pub sha256: String,
    /// What ran them, as in `onnxruntime 1.28.0`.
    pub runtime: String,
}

/// One patient's inputs, in the manifest's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Value in the engine's unit, or why there is none.
    pub inputs: Vec<Result<f64, Missing>>,
}

/// What came of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An answer.
    Probability(Probability),
    /// No answer, by the model's policy.
    Refused {
        /// Why.
        reason: Refusal,
        /// Every input that was missing.
        missing_inputs: Vec<MissingInput>,
    },
    /// No answer, because something is broken: a technical matter, not a state of the patient.
    Failed {
        /// What is broken.
        reason: Failure,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probability {
    /// 0 to 1; of an ONNX model a multiple of 1e-4.
    pub value: f64,
    /// Lower and upper bound, for models that give one.
    pub interval: Option<[f64; 2]>,
    /// Inputs that were missing; the answer was made without them.
    pub missing_inputs: Vec<MissingInput>,
    /// Inputs that moved it most, the strongest first.
    pub drivers: Vec<Driver>,
}

/// An input that was not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingInput {
    /// Which.
    pub feature: String,
    /// Why.
    pub why: Missing,
}

/// How far one input moved an answer: the answer, less what it would be with the manifest's reference in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Driver {
    /// Which input.
    pub feature: String,
    /// Its value; none if it was missing (its absence can move an answer too).
    pub value: Option<f64>,
    /// What it was replaced by.
    pub reference: f64,
    /// Difference in log odds, rounded to 1e-4: above 0 it raised the probability.
    pub log_odds: f64,
}

/// Why a model refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// An input without which there is no answer is missing.
    RequiredMissing,
    /// Fewer inputs than the manifest's `at_least`.
    TooFewInputs,
}

/// Why a model fails.
#[derive(Clone, Debug, PartialEq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The row is not one of this model.
    #[error("the row has {found} inputs, the model {expected}")]
    Row {
        /// Inputs found.
        found: usize,
        /// Inputs of the model.
        expected: usize,
    },
    /// The output is not of the declared shape.
    #[error("the model's output has shape {found:?}, expected [1, more than {index}]")]
    Shape {
        /// Shape found.
        found: Vec<i64>,
        /// Column that the manifest names.
        index: usize,
    },
    /// The output is NaN or infinite.
    #[error("the model's output is not a finite number")]
    NotFinite,
    /// The output is not a probability.
    #[error("the model's output is {0}, outside 0 to 1")]
    OutsideUnit(f64),
    /// The back end could not run it.
    #[error("the model could not be run: {0}")]
    Runtime(String),
}

/// What a back end offers: one row of columns in, one number out.
pub trait Network: Send {
    /// Runs one row.
    ///
    /// # Errors
    /// [`Failure`] if there is no number.
    fn run(&mut self, columns: &[f64]) -> Result<f64, Failure>;
    /// Runs as many rows as `out` has places for, which stand one after the other.
    ///
    /// # Errors
    /// [`Failure`] if there is no number for one of them.
    fn run_rows(&mut self, columns: &[f64], out: &mut [f64]) -> Result<(), Failure> {
        let width = (columns.len() / out.len().max(1)).max(1);
        for (row, out) in columns.chunks(width).zip(out) {
            *out = self.run(row)?;
        }
        Ok(())
    }
    /// Whether a row gives the same bits on every machine: then its answer need not be rounded.
    fn is_exact(&self) -> bool {
        false
    }
}

/// Something that answers rows.
pub trait Predictor: Send {
    /// Which model it is.
    fn identity(&self) -> &ModelIdentity;
    /// What the model says of itself.
    fn manifest(&self) -> &Manifest;
    /// One outcome per row, in order, each independent of the others.
    fn predict(&mut self, rows: &[Row]) -> Vec<Outcome>;
}

/// A model that is ready: a manifest and a network that fits it.
pub struct Model {
    manifest: Manifest,
    identity: ModelIdentity,
    network: Box<dyn Network>,
    most_drivers: usize,
    /// Whether the network may be asked several rows at once.
    together: bool,
    /// Working memory: columns of rows, and what the network says of each.
    rows: Vec<f64>,
    raw: Vec<f64>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Model {
    /// Puts a model together and tries it: on the reference row, and on one with nothing but what it requires.
    ///
    /// # Errors
    /// [`Failure`] if the network gives no probability there.
    pub fn new(manifest: Manifest, runtime: &str, network: Box<dyn Network>) -> Result<Self, Failure> {
        let identity = ModelIdentity {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            sha256: manifest.sha256.clone(),
            runtime: runtime.into(),
        };
        let (together, rows, raw) = (false, Vec::new(), Vec::new());
        let most_drivers = DRIVERS;
        let mut model = Self { manifest, identity, network, most_drivers, together, rows, raw };
        let usual = Row { inputs: model.manifest.inputs.iter().map(|i| Ok(i.reference)).collect() };
        let mut bare = usual.clone();
        for (value, input) in bare.inputs.iter_mut().zip(&model.manifest.inputs) {
            if input.missing != MissingPolicy::Refuse {
                *value = Err(Missing::NoData);
            }
        }
        let alone = [model.ask_alone(&usual)?, model.ask_alone(&bare)?];
        model.together = model.asks_alike([&usual, &bare], alone);
        Ok(model)
    }

    fn ask_alone(&mut self, row: &Row) -> Result<f64, Failure> {
        self.rows.clear();
        columns(&self.manifest, row, &mut self.rows);
        let raw = self.network.run(&self.rows)?;
        self.probability(raw)?;
        Ok(raw)
    }

    /// Whether rows in turn, as many as are later asked at once, are answered as they are alone.
    fn asks_alike(&mut self, rows: [&Row; 2], alone: [f64; 2]) -> bool {
        let count = 1 + self.manifest.inputs.len();
        self.rows.clear();
        for row in rows.iter().cycle().take(count) {
            columns(&self.manifest, row, &mut self.rows);
        }
        let mut raw = vec![f64::NAN; count];
        let made = self.network.run_rows(&self.rows, &mut raw);
        made.is_ok() && raw.iter().zip(alone.iter().cycle()).all(|(a, b)| a.to_bits() == b.to_bits())
    }

    /// Tells this many drivers at most. Each input costs one more row of the network; with none, a row costs one.
    pub fn with_drivers(mut self, most: usize) -> Self {
        self.most_drivers = most;
        self
    }

    fn answer(&mut self, row: &Row) -> Result<Outcome, Failure> {
        let inputs = &self.manifest.inputs;
        if row.inputs.len() != inputs.len() {
            return Err(Failure::Row { found: row.inputs.len(), expected: inputs.len() });
        }
        // A value that is not a number is no value.
        let clean = |v: &Result<f64, Missing>| {
            v.and_then(|v| if v.is_finite() { Ok(v) } else { Err(Missing::Implausible) })
        };
        let row = Row { inputs: row.inputs.iter().map(clean).collect() };
        let missing = |(v, i): (&Result<f64, Missing>, &crate::manifest::Input)| {
            v.err().map(|why| MissingInput { feature: i.feature.clone(), why })
        };
        let missing_inputs: Vec<_> = row.inputs.iter().zip(inputs).filter_map(missing).collect();
        let mut each = row.inputs.iter().zip(inputs);
        let required = each.any(|(v, i)| v.is_err() && i.missing == MissingPolicy::Refuse);
        let there = row.inputs.iter().zip(inputs).filter(|(v, i)| v.is_ok() && !i.is_context()).count();
        if required {
            return Ok(Outcome::Refused { reason: Refusal::RequiredMissing, missing_inputs });
        }
        if there < self.manifest.at_least {
            return Ok(Outcome::Refused { reason: Refusal::TooFewInputs, missing_inputs });
        }
        self.ask(&row)?;
        let exact = self.probability(self.raw[0])?;
        let drivers = self.drivers(&row, exact)?;
        let value = if self.network.is_exact() { exact } else { round(exact) };
        Ok(Outcome::Probability(Probability { value, interval: None, missing_inputs, drivers }))
    }

    /// Asks the network: the row itself, and after it the row with each input at its reference, if drivers are told.
    fn ask(&mut self, row: &Row) -> Result<(), Failure> {
        let Self { manifest, network, rows, raw, .. } = self;
        rows.clear();
        columns(manifest, row, rows);
        let width = rows.len();
        if self.most_drivers > 0 {
            let mut other = row.clone();
            for (i, input) in manifest.inputs.iter().enumerate() {
                let own = std::mem::replace(&mut other.inputs[i], Ok(input.reference));
                columns(manifest, &other, rows);
                other.inputs[i] = own;
            }
        }
        raw.clear();
        raw.resize(rows.len() / width.max(1), f64::NAN);
        if self.together {
            return network.run_rows(rows, raw);
        }
        for (row, raw) in rows.chunks(width.max(1)).zip(raw) {
            *raw = network.run(row)?;
        }
        Ok(())
    }

    /// Calibrated, not yet rounded.
    fn probability(&self, raw: f64) -> Result<f64, Failure> {
        if !raw.is_finite() {
            return Err(Failure::NotFinite);
        }
        if !(-SLACK..=1.0 + SLACK).contains(&raw) {
            return Err(Failure::OutsideUnit(raw));
        }
        let p = raw.clamp(0.0, 1.0);
        Ok(self.manifest.calibration.map_or(p, |c| calibrate(p, c)))
    }

    /// Contributions by occlusion: what the network said with each input that is not at its reference put there.
    fn drivers(&self, row: &Row, exact: f64) -> Result<Vec<Driver>, Failure> {
        let mut out = Vec::new();
        let others = self.raw.get(1..).unwrap_or_default();
        for ((value, input), raw) in row.inputs.iter().zip(&self.manifest.inputs).zip(others) {
            let reference = input.reference;
            if *value == Ok(reference) {
                continue;
            }
            let log_odds = round(logit(exact) - logit(self.probability(*raw)?));
            if log_odds != 0.0 {
                let feature = input.feature.clone();
                out.push(Driver { feature, value: value.ok(), reference, log_odds });
            }
        }
        // Stable, so ties stay in the manifest's order.
        out.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()));
        out.truncate(self.most_drivers);
        Ok(out)
    }
}

impl Predictor for Model {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn predict(&mut self, rows: &[Row]) -> Vec<Outcome> {
        rows.iter().map(|row| self.answer(row).unwrap_or_else(|reason| Outcome::Failed { reason })).collect()
    }
}

/// Adds the columns of a row under the manifest's policies. A missing input whose policy is to refuse never gets here.
fn columns(manifest: &Manifest, row: &Row, out: &mut Vec<f64>) {
    for (value, input) in row.inputs.iter().zip(&manifest.inputs) {
        let stand_in = input.fill.unwrap_or(f64::NAN);
        out.push(value.unwrap_or(stand_in));
        if input.flag {
            out.push(if value.is_err() { 1.0 } else { 0.0 });
        }
    }
}

/// Platt scaling. Probabilities of 0 and 1 are taken as 1e-9 away from there, so that their odds exist.
///
/// ```
/// use auscult_models::{manifest::Calibration, predict::calibrate};
/// assert!((calibrate(0.2, Calibration { a: 1.0, b: 0.0 }) - 0.2).abs() < 1e-12);
/// assert!((calibrate(0.5, Calibration { a: 2.0, b: 1.0 }) - 0.731_058_578_630_005).abs() < 1e-12);
/// ```
pub fn calibrate(p: f64, c: Calibration) -> f64 {
    1.0 / (1.0 + libm::exp(-(c.a * logit(p) + c.b)))
}

fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    libm::log(p / (1.0 - p))
}

/// To the nearest multiple of 1e-4; never minus zero.
fn round(v: f64) -> f64 {
    libm::round(v * STEPS) / STEPS + 0.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at once")]
#[path = "predict_tests.rs"]
mod tests;
