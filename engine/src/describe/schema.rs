//! JSON Schemas, from the very structs that are read and written.
//! In: a name. Out: the schema as it stands in `docs/schema/`.

use crate::config::Config;
use crate::risk::{RiskEvent, ScoreEvent};

/// Every schema: name, what it describes.
pub const SCHEMAS: &[(&str, &str)] = &[
    ("config", "The configuration file"),
    ("risk_event", "The body of a risk event"),
    ("score_event", "The body of a score evaluation"),
    ("model_manifest", "A model's `model.toml`"),
];

/// The schema of that name, as text.
///
/// ```
/// assert!(auscult::describe::schema("risk_event").unwrap().contains("alert_id"));
/// assert!(auscult::describe::schema("poem").is_none());
/// ```
pub fn schema(name: &str) -> Option<String> {
    let schema = match name {
        "config" => schemars::schema_for!(Config),
        "risk_event" => schemars::schema_for!(RiskEvent),
        "score_event" => schemars::schema_for!(ScoreEvent),
        "model_manifest" => schemars::schema_for!(auscult_models::manifest::Manifest),
        _ => return None,
    };
    Some(serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n")
}
