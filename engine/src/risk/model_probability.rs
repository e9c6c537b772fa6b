//! Rule `model_probability`: a model's probability has reached a threshold.
//! In: the model's last outcome, while it may be used. Out: met at or above the threshold, cleared below `clear`.

use auscult_models::{ModelIdentity, Outcome, Probability};
use auscult_operators::operator::{defaults, params};
use auscult_operators::params::{Bound, ParamError};
use auscult_operators::signal::{Missing, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{Completeness, Decider, Driver, Input};
use super::judge::{Condition, Facts, Look, RuleSpec, Verdict};

/// Parameters of `model_probability`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Name of the model.
    pub model: String,
    /// Alert at or above this probability. Without it, the first threshold of the model's manifest.
    pub threshold: Option<f64>,
    /// An alert that is on ends below this share of the threshold.
    pub clear_share: f64,
}

const THRESHOLD: Bound = Bound { name: "threshold", min: 0.0, max: 1.0, unit: "" };
const CLEAR: Bound = Bound { name: "clear_share", min: 0.0, max: 1.0, unit: "" };

impl Default for Params {
    fn default() -> Self {
        Self { model: "sepsis_vitals".into(), threshold: None, clear_share: 0.9 }
    }
}

/// The card.
pub static SPEC: RuleSpec = RuleSpec {
    name: "model_probability",
    summary: "A model's probability has reached a threshold",
    description: "Looks at the model's last outcome while it is at most two evaluations old. A refusal or failure \
                  makes the rule unknown: no probability is never a low probability.",
    bounds: &[THRESHOLD, CLEAR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build,
};

struct ModelProbability {
    params: Params,
}

fn build(value: &serde_json::Value) -> Result<Box<dyn Condition>, ParamError> {
    let params: Params = params(value)?;
    params.threshold.map_or(Ok(0.0), |t| THRESHOLD.check(t))?;
    CLEAR.check(params.clear_share)?;
    Ok(Box::new(ModelProbability { params }))
}

impl Condition for ModelProbability {
    fn judge(&self, look: &Look<'_>, active: bool) -> Verdict {
        let Some(result) = look.models.iter().find(|m| m.identity.name == self.params.model) else {
            return Verdict::Unknown(Missing::NoData);
        };
        let Some(Outcome::Probability(p)) = result.current(look.now) else {
            return Verdict::Unknown(Missing::NoData);
        };
        let Some(threshold) = self.params.threshold.or(result.threshold) else {
            return Verdict::Unknown(Missing::NoData);
        };
        let limit = if active { threshold * self.params.clear_share } else { threshold };
        if p.value < limit {
            return Verdict::NotMet;
        }
        Verdict::Met(Box::new(facts(&result.identity, p, threshold, result.inputs)))
    }
}

fn facts(identity: &ModelIdentity, p: &Probability, threshold: f64, inputs: usize) -> Facts {
    let missing: Vec<String> = p.missing_inputs.iter().map(|m| m.feature.clone()).collect();
    let present = inputs.saturating_sub(missing.len());
    Facts {
        rank: 1,
        kind: format!("model.{}", identity.name),
        text: format!("{} {:.1} %", identity.name, p.value * 100.0),
        value: Some(p.value),
        unit: "1".into(),
        threshold: Some(threshold),
        probability: Some(p.value),
        interval: p.interval,
        confidence: 1.0,
        completeness: Completeness { share: present as f64 / inputs.max(1) as f64, missing },
        drivers: p
            .drivers
            .iter()
            .map(|d| Driver { name: d.feature.clone(), contribution: d.log_odds })
            .collect(),
        recommendation: "review the patient; a model supports a decision and does not make it".into(),
        inputs: p
            .drivers
            .iter()
            .map(|d| Input {
                name: d.feature.clone(),
                value: d.value,
                unit: auscult_models::manifest::feature_unit(&d.feature).unwrap_or("1").into(),
                quality: 1.0,
                observed_at_us: None,
                missing: p.missing_inputs.iter().find(|m| m.feature == d.feature).map(|m| m.why),
            })
            .collect(),
        decider: decider(identity),
        window: Span::EPOCH,
    }
}

/// The model as the decider of an event.
pub(super) fn decider(identity: &ModelIdentity) -> Decider {
    Decider {
        kind: "model".into(),
        name: identity.name.clone(),
        version: identity.version.clone(),
        sha256: Some(identity.sha256.clone()),
        runtime: Some(identity.runtime.clone()),
    }
}
