//! Rule `score_level`: an early-warning score has reached a level.
//! In: the evaluation of this epoch. Out: met at the level that is certain even if every missing input were normal.

use auscult_operators::operator::{defaults, params};
use auscult_operators::params::ParamError;
use auscult_operators::score::{self, ScoreResult, Status};
use auscult_operators::signal::{Missing, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{Completeness, Decider, Input};
use super::judge::{Condition, Facts, Look, RuleSpec, Verdict};

/// Parameters of `score_level`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Name of the score.
    pub score: String,
    /// The least level that makes an alert, by its name in the score's card.
    pub level: String,
}

impl Default for Params {
    fn default() -> Self {
        Self { score: "news2".into(), level: "medium".into() }
    }
}

/// The card.
pub static SPEC: RuleSpec = RuleSpec {
    name: "score_level",
    summary: "An early-warning score has reached a level",
    description: "Judges the lowest level that is certain: a partial score alerts when its lower bound reaches the \
                  level, and is unknown while only its upper bound does. The rank is the level's, so a rise escalates.",
    bounds: &[],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build,
};

struct ScoreLevel {
    score: String,
    rank: u8,
}

fn build(value: &serde_json::Value) -> Result<Box<dyn Condition>, ParamError> {
    let p: Params = params(value)?;
    let spec = score::SCORES.iter().find(|s| s.name == p.score).ok_or_else(|| {
        let known: Vec<&str> = score::SCORES.iter().map(|s| s.name).collect();
        ParamError::Shape(format!("score `{}` is not known, expected one of {}", p.score, known.join(", ")))
    })?;
    let rank = spec.levels.iter().position(|l| l.name == p.level).ok_or_else(|| {
        let known: Vec<&str> = spec.levels.iter().map(|l| l.name).collect();
        ParamError::Shape(format!("level `{}` is not one of {}", p.level, known.join(", ")))
    })?;
    Ok(Box::new(ScoreLevel { score: p.score, rank: rank as u8 }))
}

impl Condition for ScoreLevel {
    fn judge(&self, look: &Look<'_>, _active: bool) -> Verdict {
        let Some(r) = look.scores.iter().find(|s| s.score == self.score) else {
            return Verdict::Unknown(Missing::NoData);
        };
        if r.status == Status::Invalid {
            return Verdict::Unknown(Missing::NoData);
        }
        let (Some(low), Some(high)) = (&r.level_low, &r.level_high) else {
            return Verdict::Unknown(Missing::NoData);
        };
        if low.rank >= self.rank {
            return Verdict::Met(Box::new(facts(r, low.rank, low.name)));
        }
        if high.rank >= self.rank { Verdict::Unknown(Missing::NoData) } else { Verdict::NotMet }
    }
}

fn facts(r: &ScoreResult, rank: u8, level: &str) -> Facts {
    let inputs: Vec<Input> = r
        .parts
        .iter()
        .map(|p| Input {
            name: p.name.to_string(),
            value: p.value,
            unit: p.unit.to_string(),
            quality: p.quality.unwrap_or(0.0),
            observed_at_us: p.observed_at_us,
            missing: p.missing,
        })
        .collect();
    let present = inputs.iter().filter(|i| i.missing.is_none()).count();
    let total = match (r.total, r.low, r.high) {
        (Some(total), ..) => format!("{total}"),
        (None, Some(low), Some(high)) => format!("{low} to {high}, incomplete"),
        _ => "unknown".into(),
    };
    let shown = r.score.to_uppercase();
    Facts {
        rank,
        kind: format!("{}.{}", r.score, level.replace(['-', ' '], "_")),
        text: format!("{shown} {total} ({level})"),
        value: r.total.or(r.low).map(|v| v as f64),
        unit: "{score}".into(),
        threshold: None,
        probability: None,
        interval: r.low.zip(r.high).map(|(a, b)| [a as f64, b as f64]),
        confidence: inputs.iter().filter(|i| i.missing.is_none()).map(|i| i.quality).fold(1.0, f32::min),
        completeness: Completeness {
            share: present as f64 / inputs.len().max(1) as f64,
            missing: r.missing.iter().map(ToString::to_string).collect(),
        },
        drivers: vec![],
        recommendation: score::find(r.score).map(|spec| r.advice(spec)).unwrap_or_default(),
        inputs,
        decider: Decider {
            kind: "table".into(),
            name: r.score.to_string(),
            version: r.table_version.to_string(),
            sha256: None,
            runtime: None,
        },
        window: Span::EPOCH,
    }
}
