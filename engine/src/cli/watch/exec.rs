//! A program that is run at each change of an alarm: it pages somebody, or restarts something.
//! In: a body. Out: the program has read it on its standard input; no shell, no arguments, nothing to inject.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::clock;
use crate::error::RunError;

/// Changes that may wait while the program runs.
const QUEUE: usize = 1_024;
/// How long the program may run.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs the program on a thread of its own: one that hangs holds up nothing but its successors.
pub(super) struct Exec {
    bodies: SyncSender<String>,
}

impl Exec {
    pub(super) fn start(program: &Path) -> Result<Self, RunError> {
        let (bodies, from) = sync_channel(QUEUE);
        let program = program.to_path_buf();
        let run = move || all(&program, &from);
        thread::Builder::new()
            .name("exec".into())
            .spawn(run)
            .map_err(RunError::io("start", "the exec thread"))?;
        Ok(Self { bodies })
    }

    pub(super) fn run(&self, body: String) {
        if self.bodies.try_send(body).is_err() {
            warn!(code = "exec", "too many changes wait for the program; one is left out");
        }
    }
}

fn all(program: &PathBuf, bodies: &Receiver<String>) {
    for body in bodies {
        match Command::new(program).stdin(Stdio::piped()).stdout(Stdio::null()).spawn() {
            Ok(mut child) => {
                if let Some(mut input) = child.stdin.take() {
                    // A program that does not read it has its reasons. A body fits into the pipe.
                    let _ = input.write_all(body.as_bytes()).and_then(|()| input.write_all(b"\n"));
                }
                wait(&mut child);
            }
            Err(e) => warn!(code = "exec", error = %e, "the program cannot be run"),
        }
    }
}

fn wait(child: &mut Child) {
    let began = clock::instant();
    loop {
        match child.try_wait() {
            Ok(None) if began.elapsed() < LIMIT => thread::sleep(Duration::from_millis(20)),
            Ok(Some(status)) if status.success() => return,
            Ok(Some(status)) => return warn!(code = "exec", %status, "the program has failed"),
            Ok(None) | Err(_) => {
                warn!(code = "exec", "the program takes too long and is ended");
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
        }
    }
}
