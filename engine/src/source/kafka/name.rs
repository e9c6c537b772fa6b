//! The static name of a member under the newer group protocol: there a name is free only once its last bearer has said
//! goodbye, or its session is over, and who joins before that is sent away for good.
//! In: how to join, whether to go on waiting. Out: a consumer whose name is its own.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use tracing::info;

use super::Ownership;
use super::hear::objection;
use crate::clock;
use crate::error::RunError;

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);
/// Brokers let a session last for a minute at most by default: who has the name for longer is alive.
const SESSION: Duration = Duration::from_secs(75);

/// Joins, and joins again while the name is still taken.
pub(super) fn joined(
    join: impl Fn() -> Result<BaseConsumer<Ownership>, RunError>,
    go_on: &dyn Fn() -> bool,
) -> Result<BaseConsumer<Ownership>, RunError> {
    let (began, mut said) = (clock::instant(), false);
    loop {
        let consumer = join()?;
        let taken = objection(&consumer, go_on, &[RDKafkaErrorCode::UnreleasedInstanceId]);
        if taken.is_none() || !go_on() {
            return Ok(consumer);
        }
        let instance = consumer.context().instance.clone();
        if began.elapsed() > SESSION {
            return Err(RunError::Fenced { instance });
        }
        if !said {
            info!(instance, "waiting for the session of the last process of this instance to end");
            said = true;
        }
        drop(consumer);
        let since = clock::instant();
        while since.elapsed() < AGAIN && go_on() {
            thread::sleep(AGAIN / 20);
        }
    }
}
