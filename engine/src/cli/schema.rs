//! `auscult schema`: JSON Schemas, from the very structs that are read and written.
//! In: a name. Out: a schema on standard output, or all of them as files.

use std::path::PathBuf;

use crate::config::Config;
use crate::error::RunError;
use crate::risk::{RiskEvent, ScoreEvent};

/// Arguments of `auscult schema`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which schema.
    #[arg(value_enum, required_unless_present = "write")]
    what: Option<What>,
    /// Write all of them into this folder.
    #[arg(long)]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum What {
    /// The configuration file.
    Config,
    /// The body of a risk event.
    RiskEvent,
    /// The body of a score evaluation.
    ScoreEvent,
    /// A model's `model.toml`.
    ModelManifest,
}

const ALL: [(What, &str); 4] = [
    (What::Config, "config"),
    (What::RiskEvent, "risk_event"),
    (What::ScoreEvent, "score_event"),
    (What::ModelManifest, "model_manifest"),
];

fn schema(what: What) -> String {
    let schema = match what {
        What::Config => schemars::schema_for!(Config),
        What::RiskEvent => schemars::schema_for!(RiskEvent),
        What::ScoreEvent => schemars::schema_for!(ScoreEvent),
        What::ModelManifest => schemars::schema_for!(auscult_models::manifest::Manifest),
    };
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    if let Some(what) = args.what {
        print!("{}", schema(what));
    }
    if let Some(folder) = &args.write {
        std::fs::create_dir_all(folder).map_err(RunError::io("create folder", folder))?;
        for (what, name) in ALL {
            let path = folder.join(format!("{name}.json"));
            std::fs::write(&path, schema(what)).map_err(RunError::io("write", &path))?;
            println!("wrote {}", path.display());
        }
    }
    Ok(())
}
