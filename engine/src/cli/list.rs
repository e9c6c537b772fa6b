//! `auscult list`: the cards.
//! In: a family. Out: a line a card, or JSON.

use auscult_models::Registry;
use auscult_operators::{registry, score, signal::CHANNELS};
use serde_json::{Value, json};

use super::say;
use crate::error::RunError;
use crate::{decode, limits, metrics, risk};

/// Arguments of `auscult list`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to list; everything by default.
    #[arg(value_enum)]
    what: Option<Family>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Family {
    Operators,
    Scores,
    Models,
    Rules,
    Channels,
    Limits,
    Metrics,
    Codes,
}

const ALL: [Family; 8] = [
    Family::Operators,
    Family::Scores,
    Family::Models,
    Family::Rules,
    Family::Channels,
    Family::Limits,
    Family::Metrics,
    Family::Codes,
];

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    let families: Vec<Family> = args.what.map_or_else(|| ALL.to_vec(), |f| vec![f]);
    let mut all = serde_json::Map::new();
    for family in families {
        let cards = cards(family);
        if !args.json {
            say::line(format_args!("{}", name(family)))?;
            for card in &cards {
                let text = |key: &str| card[key].as_str().unwrap_or("");
                say::line(format_args!("  {:24} {}", text("name"), text("summary")))?;
            }
        }
        all.insert(name(family), cards.into());
    }
    if args.json {
        say::line(format_args!("{:#}", Value::Object(all)))?;
    }
    Ok(())
}

fn name(family: Family) -> String {
    format!("{family:?}").to_lowercase()
}

fn cards(family: Family) -> Vec<Value> {
    match family {
        Family::Operators => registry::OPERATORS
            .iter()
            .map(|s| {
                let writes: Vec<Value> = s
                    .writes
                    .iter()
                    .map(|o| json!({"name": o.name, "unit": o.unit, "summary": o.summary, "feeds": o.feeds}))
                    .collect();
                json!({
                    "name": s.name, "summary": s.summary, "description": s.description, "writes": writes,
                    "latency_s": s.latency.seconds(), "needs": s.needs, "by_default": s.by_default,
                    "sources": s.sources, "params": (s.defaults)(), "schema": (s.schema)(),
                })
            })
            .collect(),
        Family::Scores => score::SCORES
            .iter()
            .map(|s| {
                json!({
                    "name": s.name, "summary": s.summary, "description": s.description,
                    "version": s.table_version, "population": s.population, "sources": s.sources,
                })
            })
            .collect(),
        Family::Models => Registry::embedded()
            .cards()
            .iter()
            .map(|c| json!({"name": c.manifest.name, "summary": c.manifest.summary, "card": c}))
            .collect(),
        Family::Rules => risk::RULES
            .iter()
            .map(|r| {
                json!({
                    "name": r.name, "summary": r.summary, "description": r.description, "params": (r.defaults)(),
                    "schema": (r.schema)(),
                })
            })
            .collect(),
        Family::Channels => CHANNELS
            .iter()
            .map(|c| {
                let summary = format!("{} in {}, {} to {}", c.label, c.unit.ucum(), c.plausible.0, c.plausible.1);
                json!({
                    "name": c.name, "summary": summary, "mdc": c.mdc, "loinc": c.loinc, "unit": c.unit.ucum(),
                    "plausible": [c.plausible.0, c.plausible.1], "hold_s": c.hold.seconds(),
                })
            })
            .collect(),
        Family::Limits => limits::ALL
            .iter()
            .map(|l| {
                let summary = format!("{} {}; beyond it, {}", l.max, l.unit, l.beyond);
                json!({"name": l.name, "summary": summary, "max": l.max, "unit": l.unit, "beyond": l.beyond})
            })
            .collect(),
        Family::Metrics => metrics::METRICS.iter().map(|(n, h)| json!({"name": n, "summary": h})).collect(),
        Family::Codes => decode::CODES.iter().map(|(n, h)| json!({"name": n, "summary": h})).collect(),
    }
}
