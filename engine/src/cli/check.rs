//! `auscult check` and `auscult init`: configurations before they run.
//! In: a TOML file. Out: every fault with file, line, column, key and hint; or a commented file to start from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use auscult_datasets::simulate::ward;
use auscult_operators::signal::EventTime;

use super::{broker, say};
use crate::check;
use crate::config::Config;
use crate::error::RunError;
use crate::local::Local;
use crate::plan::Plan;

/// The starting configuration.
const EXAMPLE: &str = include_str!("../../../examples/auscult.toml");

/// Arguments of `auscult check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration.
    #[arg(short, long)]
    config: PathBuf,
    /// Do not connect to the broker.
    #[arg(long)]
    offline: bool,
}

/// Arguments of `auscult init`.
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// File to write; it must not be there yet. Standard output by default.
    file: Option<PathBuf>,
}

/// Reads and checks a configuration; the shipped one if none is named.
pub(super) fn load(file: Option<&Path>, strict: bool) -> Result<(Config, Plan), RunError> {
    let (text, name) = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(RunError::io("read", path))?;
            (text, path.display().to_string())
        }
        None => (String::new(), "shipped configuration".into()),
    };
    let config = check::read(&text, &name).map_err(RunError::Config)?;
    let plan = check::plan(&config, &text, &name, strict).map_err(RunError::Config)?;
    Ok((config, plan))
}

/// Runs `auscult check`.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    let (config, plan) = load(Some(&args.config), true)?;
    say::line(format_args!("configuration: ok, config_hash {}", plan.config_hash))?;
    for warning in &plan.warnings {
        say::line(format_args!("warning: {warning}"))?;
    }
    let list = |names: Vec<String>| if names.is_empty() { "none".into() } else { names.join(", ") };
    let operators = list(plan.operators.iter().map(|o| o.0.name.into()).collect());
    say::line(format_args!("operators: {operators}"))?;
    let models = plan.models.iter().map(|m| format!("{} on {}", m.identity.name, m.identity.runtime));
    say::line(format_args!("models: {}", list(models.collect())))?;
    let rules = plan.rules.iter().map(|r| format!("{} ({:?})", r.name, r.priority));
    say::line(format_args!("rules: {}", list(rules.collect())))?;
    if args.offline {
        say::line(format_args!("broker: not asked (--offline)"))?;
    } else {
        for line in broker::check(&config.kafka)? {
            say::line(format_args!("broker: {line}"))?;
        }
    }
    say::line(format_args!("dry run: {}", dry_run(plan)))
}

/// Thirty seconds of two simulated beds through the plan: nothing is written.
fn dry_run(plan: Plan) -> String {
    let mut local = Local::new(&Arc::new(plan), 1, 10);
    let mut beds = ward(1, 2, EventTime::from_seconds(1_700_000_000));
    for _ in 0..30 {
        for bed in &mut beds {
            if let Some(frame) = bed.next_second() {
                local.append(&frame);
            }
        }
    }
    local.stop();
    let status = local.status();
    format!("{} frames, {} scores, {} events", status.accounts.frames_in(), status.scores, status.events)
}

/// Runs `auscult init`.
pub(super) fn init(args: &InitArgs) -> Result<(), RunError> {
    let Some(path) = &args.file else {
        return say::text(EXAMPLE);
    };
    if path.exists() {
        return Err(RunError::Usage(format!("{} is there already; name another file", path.display())));
    }
    std::fs::write(path, EXAMPLE).map_err(RunError::io("write", path))?;
    say::line(format_args!("wrote {0}; next: auscult check -c {0}", path.display()))
}
