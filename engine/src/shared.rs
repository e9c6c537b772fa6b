//! What the processing loop shares with the HTTP server: status, live view, and commands on their way in.
//! In: written by the loop each turn. Out: read by requests. Nothing here flows back into a result but commands,
//! and those go through the log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use auscult_operators::signal::EventTime;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock;
use crate::live::Ward;
use crate::metrics::Status;
use crate::plan::Plan;

/// The pages are told nothing more when the loop has not turned for this long.
pub const STUCK: Duration = Duration::from_secs(3);
/// The loop is taken for dead when it has not turned for this long: whoever restarts processes may do so.
pub const DEAD: Duration = Duration::from_secs(5);
/// Commands that may wait for the loop.
const COMMANDS_MAX: usize = 256;

/// A command from the dashboard.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WardCommand {
    /// Whose alert.
    pub patient: String,
    /// Which rule.
    pub rule: String,
    /// `acknowledge` or `pause`.
    pub action: String,
    /// Pause only, in seconds.
    #[serde(default)]
    pub for_s: f64,
}

/// Shared by the loop and the server.
pub struct Shared {
    /// Who and what this is.
    pub about: Value,
    status: Mutex<Status>,
    turned: Mutex<Instant>,
    ward: Mutex<Ward>,
    commands: Mutex<VecDeque<WardCommand>>,
}

/// Locks, whatever a panic left behind.
pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// What is shared at the start.
    pub fn new(plan: &Plan, instance: &str, simulated: bool) -> Self {
        let runtime = plan.models.first().map_or("none", |m| m.identity.runtime.as_str());
        let about = json!({
            "instance": instance, "build": plan.build, "config_hash": plan.config_hash, "runtime": runtime,
            "models": plan.models.iter().map(|m| json!({
                "name": m.identity.name, "version": m.identity.version, "sha256": m.identity.sha256,
                "unavailable": m.unavailable,
            })).collect::<Vec<_>>(),
            "simulated": simulated, "disclaimer": crate::risk::INTENDED_USE,
        });
        Self {
            about,
            status: Mutex::default(),
            turned: Mutex::new(clock::instant()),
            ward: Mutex::default(),
            commands: Mutex::default(),
        }
    }

    /// The loop has turned once and this is how it stands.
    pub fn publish(&self, status: Status) {
        *lock(&self.status) = status;
        *lock(&self.turned) = clock::instant();
    }

    /// The loop has turned, or waits for something that is bounded.
    pub fn touch(&self) {
        *lock(&self.turned) = clock::instant();
    }

    /// The last status.
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// How long ago the loop turned.
    pub fn since_turn(&self) -> Duration {
        lock(&self.turned).elapsed()
    }

    /// The log's own time, as of the last turn.
    pub fn log_time(&self) -> Option<EventTime> {
        lock(&self.status).log_time
    }

    /// The live view.
    pub fn ward(&self) -> MutexGuard<'_, Ward> {
        lock(&self.ward)
    }

    /// Takes a command in; false if too many wait.
    pub fn ask(&self, command: WardCommand) -> bool {
        let mut waiting = lock(&self.commands);
        let room = waiting.len() < COMMANDS_MAX;
        if room {
            waiting.push_back(command);
        }
        room
    }

    /// Commands that wait.
    pub fn asked(&self) -> Vec<WardCommand> {
        lock(&self.commands).drain(..).collect()
    }
}
