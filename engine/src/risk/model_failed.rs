//! Rule `model_failed`: a model that should run does not.
//! In: the last outcome of every model. Out: met with the reason; a refusal for missing inputs is not a failure.

use auscult_models::Outcome;
use auscult_operators::operator::{defaults, params};
use auscult_operators::params::ParamError;
use auscult_operators::signal::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Completeness;
use super::judge::{Condition, Facts, Look, RuleSpec, Verdict};
use super::model_probability::decider;

/// Parameters of `model_failed`: none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {}

/// The card.
pub static SPEC: RuleSpec = RuleSpec {
    name: "model_failed",
    summary: "A model that should run does not",
    description: "Technical: the model's output is not a probability, or the runtime gave an error for this patient's \
                  row. A model that cannot run at all is one failure, not one for each patient: `auscult run` refuses \
                  to start with it.",
    bounds: &[],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build,
};

struct ModelFailed;

fn build(value: &serde_json::Value) -> Result<Box<dyn Condition>, ParamError> {
    let Params {} = params(value)?;
    Ok(Box::new(ModelFailed))
}

impl Condition for ModelFailed {
    fn judge(&self, look: &Look<'_>, _active: bool) -> Verdict {
        let failed = look.models.iter().find_map(|m| match m.current(look.now) {
            Some(Outcome::Failed { reason }) => Some((m, reason.to_string())),
            _ => None,
        });
        let Some((model, why)) = failed else { return Verdict::NotMet };
        Verdict::Met(Box::new(Facts {
            rank: 1,
            kind: "model.failed".into(),
            text: format!("{} does not run: {why}", model.identity.name),
            value: None,
            unit: "1".into(),
            threshold: None,
            probability: None,
            interval: None,
            confidence: 1.0,
            completeness: Completeness { share: 0.0, missing: vec![model.identity.name.clone()] },
            drivers: vec![],
            recommendation: "tell whoever runs Auscult; scores and limits go on without the model".into(),
            inputs: vec![],
            decider: decider(&model.identity),
            window: Span::EPOCH,
        }))
    }
}
