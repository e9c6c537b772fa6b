//! Rule `source_silent`: nothing at all has come of a monitored patient, by the log's own time.
//! In: the news of silence from the partition's time. Out: met while it lasts.

use auscult_operators::operator::{defaults, params};
use auscult_operators::params::ParamError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{Completeness, Decider};
use super::judge::{Condition, Facts, Look, RuleSpec, Verdict};

/// Parameters of `source_silent`: none. The length of silence is `silent_s` of the `[input]` table.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {}

/// The card.
pub static SPEC: RuleSpec = RuleSpec {
    name: "source_silent",
    summary: "Nothing has come of a monitored patient for a while",
    description: "Judged by partition time (broker timestamps and ticks), so that a dead gateway is noticed although \
                  no frame comes. Only patients with waveforms are expected to speak all the time; a source that said \
                  it ended is not.",
    bounds: &[],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build,
};

struct SourceSilent;

fn build(value: &serde_json::Value) -> Result<Box<dyn Condition>, ParamError> {
    let Params {} = params(value)?;
    Ok(Box::new(SourceSilent))
}

impl Condition for SourceSilent {
    fn judge(&self, look: &Look<'_>, _active: bool) -> Verdict {
        let Some(silent) = look.silent else { return Verdict::NotMet };
        Verdict::Met(Box::new(Facts {
            rank: 1,
            kind: "source.silent".into(),
            text: format!("no data for {:.0} s", silent.seconds()),
            value: Some(silent.seconds()),
            unit: "s".into(),
            threshold: Some(silent.seconds()),
            probability: None,
            interval: None,
            confidence: 1.0,
            completeness: Completeness { share: 0.0, missing: vec!["all signals".into()] },
            drivers: vec![],
            recommendation: "check monitor, gateway and network".into(),
            inputs: vec![],
            decider: Decider::threshold(SPEC.name),
            window: silent,
        }))
    }
}
