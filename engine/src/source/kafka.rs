//! Source `kafka`: the frames topic, read by a consumer group.
//! In: a broker. Out: records by partition, and which partitions were gained and lost.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use auscult_operators::signal::EventTime;
use bytes::Bytes;
use rdkafka::bindings::rd_kafka_resp_err_t;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::Record;
use crate::config;
use crate::error::RunError;
use crate::failpoint;

const TIMEOUT: Duration = Duration::from_secs(15);

/// A change of ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This partition is ours: outputs of records below the offset are told already.
    Gain(i32, i64),
    /// It is no longer ours.
    Lose(i32),
}

/// Hears of rebalances.
struct Ownership {
    topic: String,
    changes: Mutex<Vec<Change>>,
}

impl ClientContext for Ownership {}

impl ConsumerContext for Ownership {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        err: rd_kafka_resp_err_t,
        tpl: &mut TopicPartitionList,
    ) {
        let assign = err == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let result = if assign { self.gain(consumer, tpl) } else { self.lose(consumer, tpl) };
        if let Err(e) = result {
            warn!(code = "rebalance_failed", error = %e, "could not carry out a rebalance");
        }
    }
}

impl Ownership {
    /// Every gained partition is read from its start: the state that follows from what was told already is built up
    /// again, and only what was not yet told is told.
    fn gain(&self, consumer: &BaseConsumer<Self>, tpl: &mut TopicPartitionList) -> Result<(), KafkaError> {
        failpoint::hit(failpoint::IN_ASSIGN);
        let committed = consumer.committed_offsets(tpl.clone(), TIMEOUT)?;
        tpl.set_all_offsets(Offset::Beginning)?;
        consumer.incremental_assign(tpl)?;
        let elements = committed.elements();
        let gained = elements.iter().map(|e| {
            let told = if let Offset::Offset(o) = e.offset() { o } else { 0 };
            info!(partition = e.partition(), told_below = told, "partition gained");
            Change::Gain(e.partition(), told)
        });
        self.push(gained.collect());
        Ok(())
    }

    fn lose(&self, consumer: &BaseConsumer<Self>, tpl: &TopicPartitionList) -> Result<(), KafkaError> {
        failpoint::hit(failpoint::IN_REVOKE);
        let lost: Vec<Change> = tpl.elements().iter().map(|e| Change::Lose(e.partition())).collect();
        info!(partitions = lost.len(), "partitions lost");
        self.push(lost);
        consumer.incremental_unassign(tpl)
    }

    fn push(&self, new: Vec<Change>) {
        let mut changes = self.changes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        changes.extend(new);
    }
}

/// The consumer of the frames topic.
pub struct KafkaSource {
    consumer: BaseConsumer<Ownership>,
}

impl KafkaSource {
    /// Joins the group.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the client refuses its configuration.
    pub fn join(kafka: &config::Kafka) -> Result<Self, RunError> {
        let topic = frames_topic(kafka);
        let ownership = Ownership { topic: topic.clone(), changes: Mutex::default() };
        let consumer: BaseConsumer<Ownership> = client(kafka)?
            .set("group.id", &kafka.group)
            .set("group.instance.id", &kafka.instance)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("session.timeout.ms", "10000")
            .set("fetch.wait.max.ms", "20")
            .set("queued.max.messages.kbytes", "65536")
            .create_with_context(ownership)
            .map_err(RunError::kafka("create a consumer"))?;
        consumer.subscribe(&[topic.as_str()]).map_err(RunError::kafka("subscribe to the frames topic"))?;
        Ok(Self { consumer })
    }

    /// Polls until the deadline or `most` records, whichever comes first. Records of lost partitions are dropped.
    ///
    /// # Errors
    /// [`RunError::Kafka`] for errors that do not heal by themselves.
    pub fn poll(
        &self,
        wait: Duration,
        most: usize,
        batch: &mut BTreeMap<i32, Vec<Record>>,
    ) -> Result<Vec<Change>, RunError> {
        let end = crate::clock::instant() + wait;
        let mut taken = 0;
        let mut changes = Vec::new();
        loop {
            let left = end.saturating_duration_since(crate::clock::instant());
            let message = self.consumer.poll(left);
            self.take_changes(batch, &mut changes);
            match message {
                None => break,
                Some(Err(e)) if heals(&e) => warn!(code = "kafka", error = %e, "the broker is not reachable"),
                Some(Err(e)) => return Err(RunError::kafka("read from the frames topic")(e)),
                Some(Ok(m)) => {
                    batch.entry(m.partition()).or_default().push(record(&m));
                    taken += 1;
                }
            }
            if taken >= most || left.is_zero() {
                break;
            }
        }
        Ok(changes)
    }

    fn take_changes(&self, batch: &mut BTreeMap<i32, Vec<Record>>, out: &mut Vec<Change>) {
        let mut changes =
            self.consumer.context().changes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for change in changes.drain(..) {
            if let Change::Lose(p) = change {
                batch.remove(&p);
            }
            out.push(change);
        }
    }

    /// What the producer must know to commit offsets for the group.
    pub fn group(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }

    /// Offsets committed for these partitions.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the coordinator does not answer.
    pub fn committed(&self, partitions: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>, RunError> {
        let mut tpl = TopicPartitionList::new();
        for p in partitions.keys() {
            tpl.add_partition(&self.consumer.context().topic, *p);
        }
        let found = self
            .consumer
            .committed_offsets(tpl, TIMEOUT)
            .map_err(RunError::kafka("read committed offsets"))?;
        let offset = |o| if let Offset::Offset(o) = o { o } else { 0 };
        Ok(found.elements().iter().map(|e| (e.partition(), offset(e.offset()))).collect())
    }

    /// End offset of a partition.
    pub fn end_offset(&self, partition: i32) -> Option<i64> {
        let wait = Duration::from_millis(500);
        self.consumer.fetch_watermarks(&self.consumer.context().topic, partition, wait).ok().map(|w| w.1)
    }
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
    )
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

/// Name of the frames topic.
pub fn frames_topic(kafka: &config::Kafka) -> String {
    format!("{}{}", kafka.prefix, kafka.frames)
}

/// A client configuration: our settings first, the user's librdkafka keys over them.
///
/// # Errors
/// [`RunError::Secret`] if a value refers to a variable or file that is not there.
pub fn client(kafka: &config::Kafka) -> Result<ClientConfig, RunError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.brokers).set("client.id", &kafka.instance);
    for (key, value) in &kafka.properties {
        config.set(key, secret(key, value)?);
    }
    Ok(config)
}

/// A value, or what `env:NAME` or `file:PATH` refers to. The value itself never shows in an error.
fn secret(key: &str, value: &str) -> Result<String, RunError> {
    let missing = |what: &str| RunError::Secret { key: key.into(), reference: what.into() };
    if let Some(name) = value.strip_prefix("env:") {
        return std::env::var(name).map_err(|_| missing(value));
    }
    if let Some(path) = value.strip_prefix("file:") {
        return std::fs::read_to_string(path).map(|s| s.trim_end().into()).map_err(|_| missing(value));
    }
    Ok(value.into())
}
