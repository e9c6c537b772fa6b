//! Source `kafka`: the frames topic, read by a consumer group, one queue a partition.
//! In: a broker. Out: records by partition, as many as asked for, and which partitions were gained and lost.
//!
//! A partition that is gained stands still until its owner says where to begin. One that is lost is given up only when
//! its owner says so, before anything else is read: until then nobody else can have it.

mod echo;
mod group;
mod hear;
mod member;
mod name;
mod session;
mod settings;

pub use group::{Group, Members, WeakGroup};
pub use settings::{client, frames_topic};
pub(crate) use settings::{over, refused, swift};

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use auscult_operators::signal::EventTime;
use bytes::Bytes;
use rdkafka::bindings::rd_kafka_resp_err_t;
use rdkafka::client::ClientContext;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use self::echo::Echo;
use self::group::Client;
use self::member::Joining;
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
    /// Of the sessions that were lost.
    echo: Mutex<Echo>,
    closing: AtomicBool,
}

impl Ownership {
    fn new(kafka: &config::Kafka) -> Self {
        Self {
            topic: frames_topic(kafka),
            group: kafka.group.clone(),
            instance: kafka.instance.clone(),
            changes: Mutex::default(),
            heard: Mutex::default(),
            echo: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }
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
        let change = match err {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Gain(partitions),
            _ => Change::Lose { partitions, gone: consumer.assignment_lost() },
        };
        if matches!(change, Change::Lose { gone: true, .. }) {
            lock(&self.echo).lost(clock::instant());
        }
        lock(&self.changes).push(change);
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
    joining: Joining,
    /// Since when the group is being left to be joined anew.
    rejoining: Option<Instant>,
    /// Fenced by its own echo: what is owned is lost, and another member joins.
    fenced: bool,
}

impl KafkaSource {
    /// Joins the group. The broker need not be there yet. Where the last process of this instance is still in the group
    /// and its name cannot be taken over, waits for as long as `go_on` says.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the client refuses its configuration; [`RunError::Fenced`] if another process keeps on
    /// running as this instance.
    pub fn join(kafka: &config::Kafka, go_on: &dyn Fn() -> bool) -> Result<Self, RunError> {
        let (joining, client) = Joining::first(kafka, go_on)?;
        let group = Group::new(&frames_topic(kafka), client);
        Ok(Self { queues: BTreeMap::new(), group, joining, rejoining: None, fenced: false })
    }

    /// How long this member may be silent before it is taken for dead.
    pub fn session(&self) -> Duration {
        self.joining.session
    }

    /// Lets the client work, and says who owns what. Every change must be answered, by [`KafkaSource::adopt`] or
    /// [`KafkaSource::release`], before this is called again.
    ///
    /// # Errors
    /// [`RunError::Fenced`] if another process joined as this instance; [`RunError::Kafka`] for errors that do not
    /// heal by themselves.
    pub fn serve(&mut self) -> Result<Vec<Change>, RunError> {
        let apart = self.rejoining.is_some_and(|since| since.elapsed() > APART);
        if apart && self.queues.is_empty() && !self.fenced {
            self.rejoining = None;
            let topic = self.group.topic();
            let joined = self.group.client().subscribe(&[topic]);
            joined.map_err(RunError::kafka("subscribe to the frames topic"))?;
        }
        let client = self.group.client();
        lock(&client.context().echo).turn(clock::instant());
        // Bounded: a client that speaks without end must not keep the loop from turning.
        for _ in 0..100 {
            if self.fenced {
                return self.join_anew();
            }
            match client.poll(Duration::ZERO) {
                Some(Err(e)) => self.judge(e)?,
                // Read before its owner said where to begin: it is read again.
                Some(Ok(_)) => continue,
                None => break,
            }
        }
        Ok(std::mem::take(&mut *lock(&client.context().changes)))
    }

    /// After an echo: another member joins in the place of this one, once everything that it owned is lost.
    fn join_anew(&mut self) -> Result<Vec<Change>, RunError> {
        if !self.queues.is_empty() {
            let partitions = self.queues.keys().copied().collect();
            return Ok(vec![Change::Lose { partitions, gone: true }]);
        }
        let what = "fenced by a late answer to a request of its own: the member joins anew";
        warn!(code = "fenced_by_echo", "{what}");
        member::let_go(self.group.replace(self.joining.join()?));
        (self.fenced, self.rejoining) = (false, None);
        Ok(Vec::new())
    }

    fn judge(&mut self, e: KafkaError) -> Result<(), RunError> {
        use RDKafkaErrorCode::{FencedInstanceId, InvalidSessionTimeout, UnreleasedInstanceId};
        let client = self.group.client();
        match e.rdkafka_error_code() {
            Some(FencedInstanceId) if lock(&client.context().echo).is_heard(clock::instant()) => {
                self.fenced = true;
                return Ok(());
            }
            Some(FencedInstanceId | UnreleasedInstanceId) => {
                return Err(RunError::Fenced { instance: client.context().instance.clone() });
            }
            Some(InvalidSessionTimeout) => {
                return Err(RunError::Session { session_ms: self.session().as_millis() as u64 });
            }
            _ => {}
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
        let (client, topic) = (self.group.client(), self.group.topic());
        let mut list = TopicPartitionList::new();
        for p in partitions {
            // Before anything is fetched, so that nothing of it comes by another way.
            let Some(queue) = client.split_partition_queue(topic, *p) else { continue };
            self.queues.insert(*p, Queue { queue, reading: false, paused: true });
            list.add_partition_offset(topic, *p, Offset::Beginning)
                .map_err(RunError::kafka("take a partition over"))?;
        }
        let taken = client.incremental_assign(&list).and_then(|()| client.pause(&list));
        obeyed(&client, taken, "take partitions over")
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
        let (list, client) = (self.list(partitions.iter().copied()), self.group.client());
        obeyed(&client, client.incremental_unassign(&list), "give partitions up")
    }

    /// Begins to read a partition at an offset; false if the client is not ready for it yet.
    pub fn begin(&mut self, partition: i32, offset: i64) -> bool {
        let (client, topic) = (self.group.client(), self.group.topic().to_string());
        let Some(queue) = self.queues.get_mut(&partition) else { return true };
        if let Err(e) = client.seek(&topic, partition, Offset::Offset(offset), SEEK) {
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
                Some(Err(e)) => {
                    self.judge(e)?;
                    break;
                }
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
        let (list, client) = (self.list(chosen.into_iter()), self.group.client());
        let result = if pause { client.pause(&list) } else { client.resume(&list) };
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
        lock(&self.group.client().context().heard).ends.get(&partition).copied()
    }

    /// Whether any broker is connected, as of a second ago.
    pub fn connected(&self) -> bool {
        lock(&self.group.client().context().heard).connected
    }

    /// The group, for others.
    pub fn group(&self) -> Group {
        self.group.clone()
    }

    /// Leaves the group and joins it anew, which makes it share its partitions out again. Those that are owned are lost
    /// first, as in any rebalance.
    pub fn rejoin(&mut self) {
        self.rejoining = Some(clock::instant());
        self.group.client().unsubscribe();
    }

    /// Leaves the group at once, so that others need not wait for the session to end.
    pub fn leave(&self) {
        let client = self.group.client();
        client.context().closing.store(true, Ordering::Relaxed);
        client.unsubscribe();
        let began = clock::instant();
        let owns = || client.assignment().is_ok_and(|a| a.count() > 0);
        while owns() && began.elapsed() < LEAVE {
            client.poll(Duration::from_millis(20));
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
        self.group.client().context().closing.store(true, Ordering::Relaxed);
    }
}

/// Whether the client has done as it was told. One that has come to its end obeys no more, and says why when it is
/// polled.
fn obeyed(client: &Client, result: Result<(), KafkaError>, what: &'static str) -> Result<(), RunError> {
    if result.is_err() && client.client().fatal_error().is_some() {
        return Ok(());
    }
    result.map_err(RunError::kafka(what))
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
