//! Rule `threshold`: a quantity or feature above or below a limit.
//! In: a value still valid, or a reading of this epoch. Out: met beyond the limit; once the alert is on, until the
//! value is back past the clearing limit.

use auscult_operators::operator::params;
use auscult_operators::params::ParamError;
use auscult_operators::registry;
use auscult_operators::signal::{ChannelId, EventTime, Missing, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{Completeness, Decider, Input};
use super::judge::{Condition, Facts, Look, RuleSpec, Verdict};

/// Parameters of `threshold`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Quantity of the channel table, or name of a reading.
    pub input: String,
    /// The condition holds at or above this value.
    pub above: Option<f64>,
    /// The condition holds at or below this value.
    pub below: Option<f64>,
    /// The value at which an alert that is on may end: below it for `above`, above it for `below`.
    pub clear: Option<f64>,
    /// What the input is called in the text of the event; its name by default.
    pub label: String,
    /// Kind of the event.
    pub event: String,
    /// Lowest quality with which the value is used, 0 to 1.
    pub quality_floor: f32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            input: "heart_rate".into(),
            above: None,
            below: None,
            clear: None,
            label: String::new(),
            event: "threshold".into(),
            quality_floor: 0.5,
        }
    }
}

/// The card.
pub static SPEC: RuleSpec = RuleSpec {
    name: "threshold",
    summary: "A quantity or feature is above or below a limit",
    description: "Give either `above` or `below`. Looks at a value of the channel table while it is valid, or at a \
                  reading of the epoch. A value that is missing, stale, implausible or of poor quality makes the \
                  rule unknown: it neither starts nor ends an alert.",
    bounds: &[],
    schema: || schemars::schema_for!(Params),
    defaults: || params_json(&Params { above: Some(140.0), ..Params::default() }),
    build,
};

fn params_json(params: &Params) -> serde_json::Value {
    serde_json::to_value(params).unwrap_or_default()
}

struct Threshold {
    params: Params,
    unit: &'static str,
    channel: Option<ChannelId>,
}

fn build(value: &serde_json::Value) -> Result<Box<dyn Condition>, ParamError> {
    let params: Params = params(value)?;
    if params.above.is_some() == params.below.is_some() {
        return Err(ParamError::Shape("give either `above` or `below`".into()));
    }
    let channel = ChannelId::named(&params.input);
    let output = registry::OPERATORS.iter().flat_map(|s| s.writes).find(|o| o.name == params.input);
    let unit = match (channel, output) {
        (Some(c), _) => c.row().unit.ucum(),
        (None, Some(o)) => o.unit,
        (None, None) => {
            let hint = "expected a channel or the output of an operator, see `auscult list`";
            return Err(ParamError::Shape(format!("input `{}` is not known: {hint}", params.input)));
        }
    };
    Ok(Box::new(Threshold { params, unit, channel }))
}

struct Found {
    value: f64,
    quality: f32,
    at: EventTime,
    window: Span,
}

impl Threshold {
    fn find(&self, look: &Look<'_>) -> Result<Found, Missing> {
        let found = match self.channel {
            Some(channel) => {
                let v = look.values.at(channel, look.now)?;
                Found { value: v.value, quality: v.quality, at: v.observed_at, window: Span::EPOCH }
            }
            None => {
                let r = look.readings.find(&self.params.input).ok_or(Missing::NoData)?;
                Found { value: r.value?, quality: r.quality, at: r.time, window: r.window }
            }
        };
        match found {
            // No comparison holds for what is not a number: it would pass for normal.
            f if !f.value.is_finite() => Err(Missing::Implausible),
            f if f.quality >= self.params.quality_floor => Ok(f),
            _ => Err(Missing::LowQuality),
        }
    }
}

impl Condition for Threshold {
    fn judge(&self, look: &Look<'_>, active: bool) -> Verdict {
        let found = match self.find(look) {
            Ok(found) => found,
            Err(reason) => return Verdict::Unknown(reason),
        };
        let p = &self.params;
        let limit = |l: f64| if active { p.clear.unwrap_or(l) } else { l };
        let (met, threshold, word) = match (p.above, p.below) {
            (Some(l), _) => (found.value >= limit(l), l, "above"),
            (_, Some(l)) => (found.value <= limit(l), l, "below"),
            _ => return Verdict::NotMet,
        };
        if !met {
            return Verdict::NotMet;
        }
        let label = if p.label.is_empty() { &p.input } else { &p.label };
        let unit = self.unit.trim_start_matches('{').trim_end_matches('}');
        let text = format!("{label} {:.1} {unit}, {word} {threshold}", found.value);
        Verdict::Met(Box::new(Facts {
            rank: 1,
            kind: p.event.clone(),
            text,
            value: Some(found.value),
            unit: self.unit.into(),
            threshold: Some(threshold),
            probability: None,
            interval: None,
            confidence: found.quality,
            completeness: Completeness { share: 1.0, missing: vec![] },
            drivers: vec![],
            recommendation: String::new(),
            inputs: vec![Input {
                name: p.input.clone(),
                value: Some(found.value),
                unit: self.unit.into(),
                quality: found.quality,
                observed_at_us: Some(found.at.micros()),
                missing: None,
            }],
            decider: Decider::threshold(SPEC.name),
            window: found.window,
        }))
    }
}
