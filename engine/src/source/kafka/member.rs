//! A member of the group: how its client is set up, how it joins, how it is let go.
//! In: the configuration. Out: a client that has joined.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;

use super::group::Client;
use super::settings::{frames_topic, over, swift};
use super::{Ownership, name, session};
use crate::config;
use crate::error::RunError;

/// Between two looks whether somebody still uses a client that is let go.
const LOOK: Duration = Duration::from_millis(50);

/// How a member joins, once and again.
pub(super) struct Joining {
    kafka: config::Kafka,
    client: ClientConfig,
    /// How long it may be silent.
    pub(super) session: Duration,
}

impl Joining {
    /// The first time: what the brokers object to is found out, and waited for or done without.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the client refuses its configuration; [`RunError::Fenced`] if another process keeps on
    /// running as this instance.
    pub(super) fn first(kafka: &config::Kafka, go_on: &dyn Fn() -> bool) -> Result<(Self, Client), RunError> {
        // With the newer group protocol the session and the strategy are the broker's to say.
        let newer = kafka.properties.get("group.protocol").is_some_and(|p| p == "consumer");
        let with = |session: Duration| -> Result<Self, RunError> {
            let mut client = settings(kafka, newer)?;
            if !newer {
                set_session(&mut client, session);
            }
            Ok(Self { kafka: kafka.clone(), client, session })
        };
        let asked = Duration::from_millis(kafka.session_timeout_ms);
        if newer {
            let joining = with(asked)?;
            let client = name::joined(|| joining.join(), go_on)?;
            return Ok((joining, client));
        }
        let join = |session| with(session)?.join();
        let (client, session) = session::joined(join, |client| session::refuses(client, go_on), asked)?;
        Ok((with(session)?, client))
    }

    /// Joins, or begins to: the broker need not be there.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the client refuses its configuration.
    pub(super) fn join(&self) -> Result<Client, RunError> {
        let client: Client = self
            .client
            .create_with_context(Ownership::new(&self.kafka))
            .map_err(RunError::kafka("create a consumer"))?;
        let joined = client.subscribe(&[&frames_topic(&self.kafka)]);
        joined.map_err(RunError::kafka("subscribe to the frames topic"))?;
        Ok(client)
    }
}

fn settings(kafka: &config::Kafka, newer: bool) -> Result<ClientConfig, RunError> {
    let mut config = ClientConfig::new();
    config
        .set("statistics.interval.ms", "1000")
        // A broker answers when there is a good deal, or after a moment: each answer costs it about the same.
        .set("fetch.wait.max.ms", "20")
        .set("fetch.min.bytes", "1048576")
        // Of each partition in one answer, and what is read ahead of it while its owner is busy. The client's memory
        // stays as large as it has ever been: this is what it is after the first backlog.
        .set("fetch.message.max.bytes", "524288")
        // Of all partitions: over a slow line, too, an answer is there before the request is given up.
        .set("fetch.max.bytes", "4194304")
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "2048")
        // Where that is full the client looks again soon; by itself it would let a second pass, in which a backlog
        // grows.
        .set("fetch.queue.backoff.ms", "10")
        // A coordinator that says nothing keeps its answer to a heartbeat for as long as the session. So the brokers
        // are asked all the time who coordinates.
        .set("coordinator.query.interval.ms", "1000");
    swift(&mut config);
    if !newer {
        config.set("partition.assignment.strategy", "cooperative-sticky");
    }
    config = over(config, kafka)?;
    config
        .set("group.id", &kafka.group)
        .set("group.instance.id", &kafka.instance)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // An offset that is not there any more is judged by the owner, never skipped.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed");
    Ok(config)
}

/// Six heartbeats go into a session: who lives on hears by them that somebody is gone, and several may be late.
fn set_session(config: &mut ClientConfig, session: Duration) {
    let ms = session.as_millis();
    config.set("session.timeout.ms", ms.to_string());
    if config.get("heartbeat.interval.ms").is_none() {
        config.set("heartbeat.interval.ms", (ms / 6).to_string());
    }
}

/// Lets go of a client once nobody uses it any more: it may take its time to close. One with a static name does not
/// leave the group by that, and another may have that name.
pub(super) fn let_go(client: Arc<Client>) {
    client.context().closing.store(true, Ordering::Relaxed);
    thread::spawn(move || {
        while Arc::strong_count(&client) > 1 {
            thread::sleep(LOOK);
        }
    });
}
