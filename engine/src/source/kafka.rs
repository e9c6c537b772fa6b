//! Source `kafka`: the frames topic, read by a consumer group, one queue a partition.
//! In: a broker. Out: records by partition, as many as asked for, and which partitions were gained and lost.
//!
//! A partition that is gained stands still until its owner says where to begin. One that is lost is given up only when
//! its owner says so, before anything else is read: until then nobody else can have it.

mod group;
mod hear;
mod name;
mod session;
mod settings;

pub use group::{Group, Members, WeakGroup};
pub use settings::{client, frames_topic};
pub(crate) use settings::{over, refused, swift};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auscult_operators::signal::EventTime;
use bytes::Bytes;
use rdkafka::bindings::rd_kafka_resp_err_t;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::Record;
use crate::clock;
use crate::config;
use crate::error::RunError;
use crate::failpoint;
use crate::shared::lock;

/// How long a seek within the client may take.
const SEEK: Duration = Duration::from_secs(1);
/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(1);
/// Between having left the group and joining it anew.
const APART: Duration = Duration::from_millis(500);

/// A change of ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These partitions are ours.
    Gain(Vec<i32>),
    /// They are to be given up.
    Lose {
        /// Which.
        partitions: Vec<i32>,
        /// Whether they are gone already: somebody else may own them.
        gone: bool,
    },
}

/// What the client says of itself once a second.
#[derive(Default)]
struct Heard {
    /// End of each partition, as of its last fetch.
    ends: BTreeMap<i32, i64>,
    /// Whether any broker is connected.
    connected: bool,
}

/// Hears of rebalances, and of how the client stands.
struct Ownership {
    topic: String,
    group: String,
    instance: String,
    changes: Mutex<Vec<Change>>,
    heard: Mutex<Heard>,
    closing: AtomicBool,
}

impl ClientContext for Ownership {
    fn stats(&self, statistics: Statistics) {
        let mut heard = lock(&self.heard);
        heard.connected = statistics.brokers.values().any(|b| b.state == "UP");
        if let Some(topic) = statistics.topics.get(&self.topic) {
            let ends = topic.partitions.values().filter(|p| p.partition >= 0 && p.hi_offset >= 0);
            heard.ends = ends.map(|p| (p.partition, p.hi_offset)).collect();
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // What matters comes back from polling; the rest heals, and the state of the process tells of it.
        debug!(error = %error, reason, "client");
    }
}

impl ConsumerContext for Ownership {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        err: rd_kafka_resp_err_t,
        tpl: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Relaxed) {
            if let Err(e) = consumer.incremental_unassign(tpl) {
                debug!(error = %e, "could not give up partitions at the end");
            }
            return;
        }
        let partitions = tpl.elements().iter().map(|e| e.partition()).collect();
        lock(&self.changes).push(match err {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Gain(partitions),
            _ => Change::Lose { partitions, gone: consumer.assignment_lost() },
        });
    }
}

/// One owned partition.
struct Queue {
    queue: PartitionQueue<Ownership>,
    /// Whether its owner has said where to begin.
    reading: bool,
    paused: bool,
}

/// The consumer of the frames topic.
pub struct KafkaSource {
    // Before the consumer: a queue may not outlive it.
    queues: BTreeMap<i32, Queue>,
    group: Group,
    /// How long this member may be silent.
    session: Duration,
    /// Since when the group is being left to be joined anew.
    rejoining: Option<Instant>,
}

impl KafkaSource {
    /// Joins the group. The broker need not be there yet. Where the last process of this instance is still in the group
    /// and its name cannot be taken over, waits for as long as `go_on` says.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the client refuses its configuration; [`RunError::Fenced`] if another process keeps on
    /// running as this instance.
    pub fn join(kafka: &config::Kafka, go_on: &dyn Fn() -> bool) -> Result<Self, RunError> {
        let topic = frames_topic(kafka);
        let ownership = || Ownership {
            topic: topic.clone(),
            group: kafka.group.clone(),
            instance: kafka.instance.clone(),
            changes: Mutex::default(),
            heard: Mutex::default(),
            closing: AtomicBool::new(false),
        };
        let mut config = ClientConfig::new();
        config
            .set("statistics.interval.ms", "1000")
            // A broker answers when there is a good deal, or after a moment: each answer costs it about the same.
            .set("fetch.wait.max.ms", "20")
            .set("fetch.min.bytes", "1048576")
            // Of each partition in one answer, and what is read ahead of it while its owner is busy. The client's
            // memory stays as large as it has ever been: this is what it is after the first backlog.
            .set("fetch.message.max.bytes", "524288")
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", "2048")
            // Where that is full the client looks again soon; by itself it would let a second pass, in which a backlog
            // grows.
            .set("fetch.queue.backoff.ms", "10");
        swift(&mut config);
        // With the newer group protocol these are the broker's to say.
        let newer = kafka.properties.get("group.protocol").is_some_and(|p| p == "consumer");
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
        let join = |config: &ClientConfig| {
            let consumer: BaseConsumer<Ownership> =
                config.create_with_context(ownership()).map_err(RunError::kafka("create a consumer"))?;
            let joined = consumer.subscribe(&[topic.as_str()]);
            joined.map_err(RunError::kafka("subscribe to the frames topic"))?;
            Ok(consumer)
        };
        let asked = Duration::from_millis(kafka.session_timeout_ms);
        let (consumer, session) = if newer {
            (name::joined(|| join(&config), go_on)?, asked)
        } else {
            let join = |session: Duration| join(&with_session(&config, session));
            session::joined(join, |consumer| session::refuses(consumer, go_on), asked)?
        };
        let group = Group { consumer: Arc::new(consumer) };
        Ok(Self { queues: BTreeMap::new(), group, session, rejoining: None })
    }

    /// How long this member may be silent before it is taken for dead.
    pub fn session(&self) -> Duration {
        self.session
    }

    /// Lets the client work, and says who owns what. Every change must be answered, by [`KafkaSource::adopt`] or
    /// [`KafkaSource::release`], before this is called again.
    ///
    /// # Errors
    /// [`RunError::Fenced`] if another process joined as this instance; [`RunError::Kafka`] for errors that do not
    /// heal by themselves.
    pub fn serve(&mut self) -> Result<Vec<Change>, RunError> {
        if self.rejoining.is_some_and(|since| since.elapsed() > APART) && self.queues.is_empty() {
            self.rejoining = None;
            let topic = self.group.topic();
            let joined = self.group.consumer.subscribe(&[topic]);
            joined.map_err(RunError::kafka("subscribe to the frames topic"))?;
        }
        let consumer = &self.group.consumer;
        // Bounded: a client that speaks without end must not keep the loop from turning.
        for _ in 0..100 {
            match consumer.poll(Duration::ZERO) {
                Some(Err(e)) => self.judge(e)?,
                // Read before its owner said where to begin: it is read again.
                Some(Ok(_)) => continue,
                None => {
                    let changes = std::mem::take(&mut *lock(&consumer.context().changes));
                    return Ok(changes);
                }
            }
        }
        Ok(std::mem::take(&mut *lock(&consumer.context().changes)))
    }

    fn judge(&self, e: KafkaError) -> Result<(), RunError> {
        use RDKafkaErrorCode::{FencedInstanceId, UnreleasedInstanceId};
        if matches!(e.rdkafka_error_code(), Some(FencedInstanceId | UnreleasedInstanceId)) {
            let instance = self.group.consumer.context().instance.clone();
            return Err(RunError::Fenced { instance });
        }
        if e.rdkafka_error_code() == Some(RDKafkaErrorCode::InvalidSessionTimeout) {
            return Err(RunError::Session { session_ms: self.session.as_millis() as u64 });
        }
        if heals(&e) {
            debug!(error = %e, "the broker is not reachable");
            return Ok(());
        }
        Err(RunError::kafka("read from the frames topic")(e))
    }

    /// Takes gained partitions over; they stand still until [`KafkaSource::begin`].
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the client refuses.
    pub fn adopt(&mut self, partitions: &[i32]) -> Result<(), RunError> {
        failpoint::hit(failpoint::IN_ASSIGN);
        let (consumer, topic) = (&self.group.consumer, self.group.topic());
        let mut list = TopicPartitionList::new();
        for p in partitions {
            // Before anything is fetched, so that nothing of it comes by another way.
            let Some(queue) = consumer.split_partition_queue(topic, *p) else { continue };
            self.queues.insert(*p, Queue { queue, reading: false, paused: true });
            list.add_partition_offset(topic, *p, Offset::Beginning)
                .map_err(RunError::kafka("take a partition over"))?;
        }
        consumer.incremental_assign(&list).map_err(RunError::kafka("take partitions over"))?;
        consumer.pause(&list).map_err(RunError::kafka("pause partitions"))
    }

    /// Gives partitions up.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the client refuses.
    pub fn release(&mut self, partitions: &[i32]) -> Result<(), RunError> {
        failpoint::hit(failpoint::IN_REVOKE);
        for p in partitions {
            self.queues.remove(p);
        }
        let list = self.list(partitions.iter().copied());
        self.group.consumer.incremental_unassign(&list).map_err(RunError::kafka("give partitions up"))
    }

    /// Begins to read a partition at an offset; false if the client is not ready for it yet.
    pub fn begin(&mut self, partition: i32, offset: i64) -> bool {
        let (consumer, topic) = (self.group.consumer.clone(), self.group.topic().to_string());
        let Some(queue) = self.queues.get_mut(&partition) else { return true };
        if let Err(e) = consumer.seek(&topic, partition, Offset::Offset(offset), SEEK) {
            debug!(partition, error = %e, "not yet ready to seek");
            return false;
        }
        queue.reading = true;
        self.pause(&[partition], false);
        true
    }

    /// Takes records of a partition: those at hand, at most so many. `None` if its place is not in the log any more.
    ///
    /// # Errors
    /// [`RunError::Kafka`] for errors that do not heal by themselves.
    pub fn take(&mut self, partition: i32, most: usize) -> Result<Option<Vec<Record>>, RunError> {
        let mut records = Vec::new();
        let Some(queue) = self.queues.get(&partition).filter(|q| q.reading && !q.paused) else {
            return Ok(Some(records));
        };
        while records.len() < most {
            match queue.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(m)) => records.push(record(&m)),
                Some(Err(e)) if out_of_range(&e) => return Ok(None),
                Some(Err(e)) => self.judge(e)?,
            }
        }
        Ok(Some(records))
    }

    /// Pauses or resumes partitions that are being read: what was read ahead is let go, and fetched again.
    pub fn pause(&mut self, partitions: &[i32], pause: bool) {
        let mut chosen = Vec::new();
        for p in partitions {
            if let Some(queue) = self.queues.get_mut(p).filter(|q| q.reading && q.paused != pause) {
                queue.paused = pause;
                chosen.push(*p);
            }
        }
        if chosen.is_empty() {
            return;
        }
        let (list, consumer) = (self.list(chosen.into_iter()), &self.group.consumer);
        let result = if pause { consumer.pause(&list) } else { consumer.resume(&list) };
        if let Err(e) = result {
            warn!(code = "pause", pause, error = %e, "could not pause or resume partitions");
        }
    }

    /// Stops reading a partition for good, without giving it up.
    pub fn refuse(&mut self, partition: i32) {
        self.pause(&[partition], true);
        if let Some(queue) = self.queues.get_mut(&partition) {
            queue.reading = false;
        }
    }

    /// Partitions that are paused although they are being read.
    pub fn paused(&self) -> usize {
        self.queues.values().filter(|q| q.reading && q.paused).count()
    }

    /// End of a partition as the client last heard of it.
    pub fn end_offset(&self, partition: i32) -> Option<i64> {
        lock(&self.group.consumer.context().heard).ends.get(&partition).copied()
    }

    /// Whether any broker is connected, as of a second ago.
    pub fn connected(&self) -> bool {
        lock(&self.group.consumer.context().heard).connected
    }

    /// The group, for others.
    pub fn group(&self) -> Group {
        self.group.clone()
    }

    /// Leaves the group and joins it anew, which makes it share its partitions out again. Those that are owned are lost
    /// first, as in any rebalance.
    pub fn rejoin(&mut self) {
        self.rejoining = Some(clock::instant());
        self.group.consumer.unsubscribe();
    }

    /// Leaves the group at once, so that others need not wait for the session to end.
    pub fn leave(&self) {
        let consumer = &self.group.consumer;
        consumer.context().closing.store(true, Ordering::Relaxed);
        consumer.unsubscribe();
        let began = clock::instant();
        let owns = || consumer.assignment().is_ok_and(|a| a.count() > 0);
        while owns() && began.elapsed() < LEAVE {
            consumer.poll(Duration::from_millis(20));
        }
        // The request itself leaves in the background.
        std::thread::sleep(Duration::from_millis(100));
        info!("left the group");
    }

    fn list(&self, partitions: impl Iterator<Item = i32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for p in partitions {
            list.add_partition(self.group.topic(), p);
        }
        list
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.group.consumer.context().closing.store(true, Ordering::Relaxed);
    }
}

/// The configuration of a member with this session. Six heartbeats go into one: who lives on hears by them that
/// somebody is gone, and several may be late.
fn with_session(config: &ClientConfig, session: Duration) -> ClientConfig {
    let (mut config, ms) = (config.clone(), session.as_millis());
    config.set("session.timeout.ms", ms.to_string());
    if config.get("heartbeat.interval.ms").is_none() {
        config.set("heartbeat.interval.ms", (ms / 6).to_string());
    }
    config
}

fn out_of_range(e: &KafkaError) -> bool {
    let code = e.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange))
}

/// Errors that librdkafka heals by itself.
pub fn heals(e: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    let code = e.rdkafka_error_code();
    matches!(
        code,
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::Resolve
                | Code::UnknownTopicOrPartition
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::CoordinatorLoadInProgress
                | Code::RebalanceInProgress
                | Code::PartitionEOF
        )
    ) || matches!(e, KafkaError::PartitionEOF(_))
}

fn record<M: Message>(m: &M) -> Record {
    let json = m.headers().is_some_and(|h| {
        h.iter().any(|h| {
            h.key.eq_ignore_ascii_case("content-type") && h.value == Some(b"application/json".as_slice())
        })
    });
    Record {
        offset: m.offset(),
        timestamp: EventTime::from_micros(m.timestamp().to_millis().unwrap_or(0).saturating_mul(1000)),
        key: Bytes::copy_from_slice(m.key().unwrap_or_default()),
        value: Bytes::copy_from_slice(m.payload().unwrap_or_default()),
        json,
    }
}
