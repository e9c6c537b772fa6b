//! `auscult schema`: JSON Schemas, from the very structs that are read and written.
//! In: a name. Out: a schema on standard output, or all of them as files.

use std::path::PathBuf;

use super::say;
use crate::describe;
use crate::error::RunError;

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

impl What {
    /// Name in [`describe::SCHEMAS`].
    fn name(self) -> &'static str {
        match self {
            What::Config => "config",
            What::RiskEvent => "risk_event",
            What::ScoreEvent => "score_event",
            What::ModelManifest => "model_manifest",
        }
    }
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    if let Some(what) = args.what {
        say::text(&describe::schema(what.name()).unwrap_or_default())?;
    }
    if let Some(folder) = &args.write {
        std::fs::create_dir_all(folder).map_err(RunError::io("create folder", folder))?;
        for (name, _) in describe::SCHEMAS {
            let path = folder.join(format!("{name}.json"));
            let text = describe::schema(name).unwrap_or_default();
            std::fs::write(&path, text).map_err(RunError::io("write", &path))?;
            say::line(format_args!("wrote {}", path.display()))?;
        }
    }
    Ok(())
}
