//! Before anything runs: the topics are there, or are waited for as long as the broker is away.
//! In: a question to the broker. Out: whether to go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::error::RunError;
use crate::metrics::Status;
use crate::shared::Shared;
use crate::source::kafka::heals;

/// Waits until the topics are there; false if told to stop before.
pub(super) fn wait_for_topics(
    shared: &Shared,
    stop: &AtomicBool,
    ready: impl Fn() -> Result<(), RunError> + Send + 'static,
) -> Result<bool, RunError> {
    let (to, answers) = std::sync::mpsc::channel();
    thread::spawn(move || {
        loop {
            let answer = ready();
            let again = matches!(&answer, Err(RunError::Kafka { source, .. }) if heals(source));
            if to.send(answer).is_err() || !again {
                return;
            }
            thread::sleep(Duration::from_secs(1));
        }
    });
    let mut told = false;
    while !stop.load(Ordering::Relaxed) {
        match answers.recv_timeout(Duration::from_millis(100)) {
            Ok(Ok(())) => return Ok(true),
            Ok(Err(RunError::Kafka { source, .. })) if heals(&source) => {
                if !told {
                    warn!(code = "waiting_for_broker", error = %source, "waiting for the broker");
                    told = true;
                }
            }
            Ok(Err(e)) => return Err(e),
            Err(_) => {}
        }
        let why_not_ready = "waiting for the broker".into();
        shared.publish(Status { why_not_ready, ..Status::default() });
    }
    Ok(false)
}
