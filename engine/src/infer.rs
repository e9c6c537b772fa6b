//! Hop 5: models over the features of the epochs at which they are due.
//! In: rows gathered by the compute hop. Out: per row a probability, a refusal or a failure; a row's outcome never
//! depends on which other rows are computed with it.

use std::sync::Arc;

use auscult_models::manifest::Manifest;
use auscult_models::predict::{DRIVERS, Failure};
use auscult_models::{Model, ModelIdentity, Outcome, Package, Predictor, Row, Runtime, features, logistic};
use auscult_operators::signal::{ChannelId, EventTime, Readings, Span};

use crate::compute::Computed;
use crate::patient::Patient;
use crate::plan::Plan;

/// A model as planned.
pub struct PlannedModel {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Which model, and what runs it.
    pub identity: ModelIdentity,
    /// Why it cannot run, if it cannot.
    pub unavailable: Option<String>,
    /// Name and version, for whatever is told of it.
    label: (Arc<str>, Arc<str>),
    drivers: usize,
    package: Package,
    runtime: Option<&'static Runtime>,
}

impl PlannedModel {
    /// Plans a model. Without a runtime it is planned as unavailable, which is told and never silent.
    pub fn new(package: Package, runtime: Result<&'static Runtime, String>) -> Self {
        let manifest = package.manifest.clone();
        let needs_runtime = package.needs_runtime();
        let identity = ModelIdentity {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            sha256: manifest.sha256.clone(),
            runtime: match (&runtime, needs_runtime) {
                (_, false) => logistic::RUNTIME.into(),
                (Ok(runtime), true) => runtime.name(),
                (Err(_), true) => "none".into(),
            },
        };
        let label = (manifest.name.as_str().into(), manifest.version.as_str().into());
        let mut planned = Self {
            label,
            manifest,
            identity,
            unavailable: runtime.as_ref().err().filter(|_| needs_runtime).cloned(),
            drivers: DRIVERS,
            package,
            runtime: runtime.ok(),
        };
        if planned.unavailable.is_none() {
            planned.unavailable = planned.open().err();
        }
        planned
    }

    /// Its name.
    pub fn name(&self) -> Arc<str> {
        self.label.0.clone()
    }

    /// The same, telling this many drivers at most.
    pub fn with_drivers(mut self, most: usize) -> Self {
        self.drivers = most;
        self
    }

    fn open(&self) -> Result<Model, String> {
        match (&self.unavailable, self.runtime) {
            (Some(why), _) => Err(why.clone()),
            (None, runtime) => {
                let model = self.package.open(runtime).map_err(|e| e.to_string())?;
                Ok(model.with_drivers(self.drivers))
            }
        }
    }
}

/// The models of one worker.
pub(crate) struct Models {
    list: Vec<Result<Model, String>>,
}

impl Models {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self { list: plan.models.iter().map(PlannedModel::open).collect() }
    }
}

/// One row to be answered, and its answer.
#[derive(Debug)]
pub(crate) struct Due {
    /// Index of the model in the plan.
    pub model: usize,
    row: Row,
    outcome: Option<Outcome>,
}

/// What a model said of one patient at one time.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Name of the model.
    pub model: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// What it said.
    pub outcome: Outcome,
}

impl Due {
    /// The answer as it stands.
    pub(crate) fn prediction(&self, plan: &Plan) -> Option<Prediction> {
        let (model, version) = plan.models[self.model].label.clone();
        Some(Prediction { model, version, outcome: self.outcome.clone()? })
    }
}

/// What a model last said of a patient.
#[derive(Clone, Debug)]
pub struct ModelResult {
    /// Which model.
    pub identity: ModelIdentity,
    /// The epoch end it was evaluated for.
    pub at: Option<EventTime>,
    /// How long a result may be used.
    pub valid: Span,
    /// What it said.
    pub outcome: Option<Outcome>,
    /// Why it cannot run, if it cannot.
    pub unavailable: Option<String>,
    /// The first threshold of its manifest.
    pub threshold: Option<f64>,
    /// How many inputs it has.
    pub inputs: usize,
}

impl ModelResult {
    /// Nothing said yet.
    pub fn waiting(model: &PlannedModel) -> Self {
        Self {
            identity: model.identity.clone(),
            at: None,
            // One missed evaluation is forgiven.
            valid: Span::seconds_const(2 * i64::from(model.manifest.evaluate_every_s)),
            outcome: None,
            unavailable: model.unavailable.clone(),
            threshold: model.manifest.thresholds.first().map(|t| t.probability),
            inputs: model.manifest.inputs.len(),
        }
    }

    pub(crate) fn take(&mut self, due: Due, now: EventTime) {
        if due.outcome.is_some() {
            (self.at, self.outcome) = (Some(now), due.outcome);
        }
    }

    /// The outcome, while it may be used.
    pub fn current(&self, now: EventTime) -> Option<&Outcome> {
        let fresh = self.at.is_some_and(|at| now - at < self.valid);
        self.outcome.as_ref().filter(|_| fresh)
    }
}

/// Gathers the rows of the models due at the end of this epoch: event time says when, so a replay asks the same.
pub(crate) fn due(plan: &Plan, patient: &Patient, readings: &Readings, end: EventTime, out: &mut Vec<Due>) {
    let find = |name: &str, channel: Option<ChannelId>| match channel {
        Some(channel) => readings.find_on(name, channel).copied(),
        None => readings.find(name).copied(),
    };
    for (model, planned) in plan.models.iter().enumerate() {
        let every_s = planned.manifest.evaluate_every_s.max(1);
        let turn_s = if planned.manifest.staggered { patient.place.turn(every_s.into()) } else { 0 };
        let turn = Span::seconds_const(turn_s.cast_signed());
        if (end - turn).micros() % Span::seconds_const(every_s.into()).micros() == 0
            && planned.unavailable.is_none()
        {
            let row = features::row(&planned.manifest, &patient.values, &find, end);
            out.push(Due { model, row, outcome: None });
        }
    }
}

/// Answers every row, model by model.
pub(crate) fn infer(models: &mut Models, computed: &mut [Computed]) {
    if computed.iter().all(|c| c.due.is_empty()) {
        return;
    }
    for (index, model) in models.list.iter_mut().enumerate() {
        let mut asked: Vec<&mut Due> = computed
            .iter_mut()
            .flat_map(|c| &mut c.due)
            .filter(|d| d.model == index && d.outcome.is_none())
            .collect();
        if asked.is_empty() {
            continue;
        }
        let outcomes = match model {
            Ok(model) => {
                let rows: Vec<Row> = asked.iter().map(|d| d.row.clone()).collect();
                model.predict(&rows)
            }
            Err(why) => {
                vec![Outcome::Failed { reason: Failure::Runtime(why.clone()) }; asked.len()]
            }
        };
        for (due, outcome) in asked.iter_mut().zip(outcomes) {
            due.outcome = Some(outcome);
        }
    }
}
