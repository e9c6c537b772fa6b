//! Rule `signal_lost`: a waveform that was there has stopped, while the patient is still heard of.
//! In: when each waveform last had a sample. Out: met with the names of the signals; one more lost escalates.

use auscult_operators::operator::{defaults, params};
use auscult_operators::params::{Bound, ParamError};
use auscult_operators::signal::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{Completeness, Decider, Input};
use super::judge::{Condition, Facts, Look, RuleSpec, Verdict};
use auscult_operators::signal::Missing;

/// Parameters of `signal_lost`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// A signal without samples for this long is lost, in seconds.
    pub after_s: f64,
    /// A signal not seen for this long is no longer expected, in seconds.
    pub forget_s: f64,
}

const AFTER: Bound = Bound { name: "after_s", min: 1.0, max: 600.0, unit: "s" };
const FORGET: Bound = Bound { name: "forget_s", min: 60.0, max: 86_400.0, unit: "s" };

impl Default for Params {
    fn default() -> Self {
        Self { after_s: 5.0, forget_s: 3600.0 }
    }
}

/// The card.
pub static SPEC: RuleSpec = RuleSpec {
    name: "signal_lost",
    summary: "A waveform has stopped while the patient is still heard of",
    description: "A channel that had samples within the last `forget_s` and none for `after_s`. The rank is the number \
                  of channels lost, so one more escalates and clears an acknowledgement. Quiet on standby.",
    bounds: &[AFTER, FORGET],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build,
};

struct SignalLost {
    after: Span,
    forget: Span,
}

fn build(value: &serde_json::Value) -> Result<Box<dyn Condition>, ParamError> {
    let p: Params = params(value)?;
    Ok(Box::new(SignalLost {
        after: Span::from_seconds(AFTER.check(p.after_s)?),
        forget: Span::from_seconds(FORGET.check(p.forget_s)?),
    }))
}

impl Condition for SignalLost {
    fn judge(&self, look: &Look<'_>, _active: bool) -> Verdict {
        if look.standby {
            return Verdict::NotMet;
        }
        let lost: Vec<_> = look
            .waves
            .iter()
            .filter(|(_, last)| look.now - *last >= self.after && look.now - *last < self.forget)
            .collect();
        if lost.is_empty() {
            return Verdict::NotMet;
        }
        let names: Vec<String> = lost.iter().map(|(c, _)| c.row().name.to_string()).collect();
        let longest = lost.iter().map(|(_, last)| look.now - *last).max().unwrap_or(Span::ZERO);
        let inputs = lost.iter().map(|(c, last)| Input {
            name: c.row().name.into(),
            value: None,
            unit: c.row().unit.ucum().into(),
            quality: 0.0,
            observed_at_us: Some(last.micros()),
            missing: Some(Missing::Stale),
        });
        Verdict::Met(Box::new(Facts {
            rank: lost.len().min(255) as u8,
            kind: "signal.lost".into(),
            text: format!("no signal: {}", names.join(", ")),
            value: Some(longest.seconds()),
            unit: "s".into(),
            threshold: Some(self.after.seconds()),
            probability: None,
            interval: None,
            confidence: 1.0,
            completeness: Completeness {
                share: 1.0 - lost.len() as f64 / look.waves.len().max(1) as f64,
                missing: names,
            },
            drivers: vec![],
            recommendation: "check sensors, leads and cables".into(),
            inputs: inputs.collect(),
            decider: Decider::threshold(SPEC.name),
            window: longest,
        }))
    }
}
