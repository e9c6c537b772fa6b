//! The static name of a member under the newer group protocol: there a name is free only once its last bearer has said
//! goodbye, or its session is over, and who joins before that is sent away for good.
//! In: how to join, whether to go on waiting. Out: a consumer whose name is its own.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use tracing::info;

use super::{Ownership, lock};
use crate::clock;
use crate::error::RunError;

/// A broker that has said nothing against the name for so long is away, or has nothing against it.
const HEARD: Duration = Duration::from_secs(3);
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
        if !taken(&consumer, go_on) || !go_on() {
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

/// Whether the broker says that the name is taken. What it says otherwise is left for whoever reads.
fn taken(consumer: &BaseConsumer<Ownership>, go_on: &dyn Fn() -> bool) -> bool {
    let began = clock::instant();
    while began.elapsed() < HEARD && lock(&consumer.context().changes).is_empty() && go_on() {
        if let Some(Err(e)) = consumer.poll(AGAIN / 20)
            && e.rdkafka_error_code() == Some(RDKafkaErrorCode::UnreleasedInstanceId)
        {
            return true;
        }
    }
    false
}
