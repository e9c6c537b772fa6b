//! A sign of life each second, from a thread of its own: a process whose loop stands still is alive and says so.
//! In: what the loop publishes at each turn. Out: records of the heartbeat topic, and word to systemd.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use serde_json::{Value, json};
use tracing::warn;

use crate::clock;
use crate::config;
use crate::error::RunError;
use crate::notify::Notify;
use crate::plan::Plan;
use crate::shared::{DEAD, Shared};
use crate::source::kafka::client;

/// Between two heartbeats.
const EVERY: Duration = Duration::from_secs(1);
/// Why it is not ready, and the state that says so as well.
const WAITING: &str = "waiting for the broker";
/// How long the goodbye may take on its way.
const GOODBYE: Duration = Duration::from_secs(1);

/// The thread that says that this instance lives.
pub struct Heartbeat {
    leave: SyncSender<()>,
    thread: JoinHandle<()>,
}

struct Heart {
    producer: BaseProducer,
    topic: String,
    instance: String,
    models: Vec<Value>,
    config_hash: String,
    build: &'static str,
    shared: Arc<Shared>,
    notify: Notify,
    started_us: i64,
    sequence: u64,
    ready_told: bool,
    /// When the last heartbeat was, and since when there was no gap between them: a process that was stopped as a whole
    /// has a loop that could not turn, and is not stuck.
    last: Instant,
    awake: Instant,
}

impl Heartbeat {
    /// Starts it. The broker need not be there.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the client refuses its configuration, [`RunError::Io`] without a thread.
    pub fn start(kafka: &config::Kafka, plan: &Plan, shared: Arc<Shared>) -> Result<Self, RunError> {
        let mut config = client(kafka)?;
        // An old sign of life is worth nothing: what cannot be sent is dropped, and soon tried again.
        config
            .set("message.timeout.ms", "3000")
            .set("linger.ms", "0")
            .set("queue.buffering.max.messages", "100");
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
        let model = |m: &crate::infer::PlannedModel| {
            json!({
                "name": m.identity.name, "sha256": m.identity.sha256, "runtime": m.identity.runtime,
                "state": if m.unavailable.is_some() { "unavailable" } else { "running" },
            })
        };
        let mut heart = Heart {
            producer: config.create().map_err(RunError::kafka("create a producer"))?,
            topic: format!("{}heartbeat", kafka.prefix),
            instance: kafka.instance.clone(),
            models: plan.models.iter().map(model).collect(),
            config_hash: plan.config_hash.clone(),
            build: plan.build,
            shared,
            notify: Notify::from_environment(),
            started_us: clock::now().micros(),
            sequence: 0,
            ready_told: false,
            last: clock::instant(),
            awake: clock::instant(),
        };
        let (leave, left) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("heartbeat".into())
            .spawn(move || heart.beat(&left))
            .map_err(RunError::io("start", "the heartbeat"))?;
        Ok(Self { leave, thread })
    }

    /// Says goodbye, so that no watchdog rings. Dropped without it, the heartbeats just end.
    pub fn leave(self) {
        let _ = self.leave.try_send(());
        drop(self.leave);
        let _ = self.thread.join();
    }
}

impl Heart {
    fn beat(&mut self, left: &Receiver<()>) {
        loop {
            if self.last.elapsed() > 2 * EVERY {
                self.awake = clock::instant();
            }
            self.last = clock::instant();
            let body = self.body(None);
            self.send(&body);
            self.tell_systemd();
            match left.recv_timeout(EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) => {
                    self.notify.tell("STOPPING=1");
                    let body = self.body(Some("leaving"));
                    self.send(&body);
                    if let Err(e) = self.producer.flush(Timeout::After(GOODBYE)) {
                        warn!(code = "heartbeat", error = %e, "could not send the last heartbeat");
                    }
                    return;
                }
                // The service has failed: nobody has said goodbye.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn body(&mut self, state: Option<&str>) -> Value {
        self.sequence += 1;
        let status = self.shared.status();
        let a = &status.accounts;
        let state = state.unwrap_or(match status.why_not_ready.as_str() {
            WAITING => WAITING,
            _ if status.turns == 0 => "starting",
            _ => "running",
        });
        json!({
            "instance": self.instance, "sequence": self.sequence, "state": state, "started_us": self.started_us,
            "time_us": clock::now().micros(), "turns": status.turns,
            "held_s": status.held_s,
            "since_turn_s": self.shared.since_turn().min(self.awake.elapsed()).as_secs_f64(),
            "partitions": status.owned,
            "lag_records": status.lag, "frames_in": a.frames_in(), "processed": a.processed,
            "duplicate": a.duplicate, "late": a.late, "rejected": a.rejected_total(), "models": self.models,
            "ready": status.ready, "why_not_ready": status.why_not_ready,
            "config_hash": self.config_hash, "build": self.build,
        })
    }

    fn send(&mut self, body: &Value) {
        let value = body.to_string();
        let record = BaseRecord::to(&self.topic).key(&self.instance).payload(&value);
        // A full queue means that the broker is away; that is told elsewhere.
        let _ = self.producer.send(record);
        self.producer.poll(Duration::ZERO);
    }

    /// The service manager is told that it runs once the loop turns, and from then on as long as it turns.
    fn tell_systemd(&mut self) {
        let status = self.shared.status();
        if status.turns == 0 {
            return;
        }
        if !self.ready_told {
            self.ready_told = true;
            self.notify.tell("READY=1");
        }
        if self.shared.since_turn() < DEAD {
            let lag: i64 = status.lag.values().sum();
            let (partitions, why) = (status.owned.len(), &status.why_not_ready);
            self.notify
                .tell(&format!("WATCHDOG=1\nSTATUS=partitions {partitions}, lag {lag} records; {why}"));
        }
    }
}
