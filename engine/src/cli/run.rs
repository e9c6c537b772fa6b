//! `auscult run`: the service.
//! In: a configuration. Out: runs until SIGTERM or SIGINT, then drains, commits, closes files and exits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};

use super::{broker, check, memory};
use crate::config::Config;
use crate::error::RunError;
use crate::guard::Guard;
use crate::heartbeat::Heartbeat;
use crate::live::STRIP_BEDS_MAX;
use crate::shared::Shared;
use crate::{clock, http, run as service};

/// Arguments of `auscult run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration.
    #[arg(short, long)]
    config: PathBuf,
    /// Start even if the last starts have all died at the same place.
    #[arg(long)]
    force_start: bool,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    memory::keep_nothing_free();
    let (config, mut plan) = check::load(Some(&args.config), true)?;
    plan.strip_beds = STRIP_BEDS_MAX;
    let plan = Arc::new(plan);
    for warning in &plan.warnings {
        warn!(code = "config", "{warning}");
    }
    for m in &plan.models {
        info!(model = m.identity.name, sha256 = m.identity.sha256, runtime = m.identity.runtime, "model");
    }
    // Before anything answers: whoever sees it answer may tell it to stop.
    let stop = stop_flag()?;
    let shared = Arc::new(Shared::new(&plan, &config.kafka.instance, false));
    let address = http::serve(&config.http.listen, shared.clone())?;
    info!("dashboard http://{address}/");
    let guard = guard(&config, args.force_start)?;
    let heartbeat = Heartbeat::start(&config.kafka, &plan, shared.clone())?;
    let kafka = config.kafka.clone();
    service::run(&config, plan, shared, &stop, move || broker::ensure(&kafka))?;
    heartbeat.leave();
    guard.map_or(Ok(()), Guard::leave)
}

/// Writes the start down, if there is a folder for it.
fn guard(config: &Config, force: bool) -> Result<Option<Guard>, RunError> {
    let given = config.state.dir.as_ref().map(PathBuf::from);
    // systemd gives several folders separated by colons if it is told to.
    let systemd = || std::env::var("STATE_DIRECTORY").ok()?.split(':').next().map(PathBuf::from);
    let Some(dir) = given.or_else(systemd) else { return Ok(None) };
    let stands = broker::stands(&config.kafka);
    Guard::enter(&dir, &config.kafka.instance, clock::now(), stands, force).map(Some)
}

/// A flag that SIGTERM and SIGINT set. A second signal ends the process at once.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>, RunError> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::io("watch", "signals"))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut term), Ok(mut int)) =
                (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
            else {
                return;
            };
            loop {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                if set.swap(true, Ordering::Relaxed) {
                    std::process::exit(1);
                }
            }
        });
    });
    Ok(stop)
}
