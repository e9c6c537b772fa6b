//! `auscult run`: the service.
//! In: a configuration. Out: runs until SIGTERM or SIGINT, then drains, commits, closes files and exits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::info;

use super::{broker, check};
use crate::error::RunError;
use crate::shared::Shared;
use crate::{http, run as service};

/// Arguments of `auscult run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration.
    #[arg(short, long)]
    config: PathBuf,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    let (config, plan) = check::load(Some(&args.config), true)?;
    let plan = Arc::new(plan);
    for m in &plan.models {
        info!(model = m.identity.name, sha256 = m.identity.sha256, runtime = m.identity.runtime, "model");
    }
    let shared = Arc::new(Shared::new(&plan, &config.kafka.instance, false));
    let address = http::serve(&config.http.listen, shared.clone())?;
    info!("dashboard http://{address}/");
    let stop = stop_flag()?;
    let kafka = config.kafka.clone();
    service::run(&config, plan, shared, &stop, move || broker::ensure(&kafka))
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
