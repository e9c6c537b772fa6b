//! A plain client of a broker for tests: topics, writing, reading to the end, offsets, deleting.
//! In: a bootstrap address. Out: every message of a topic in order of partition and offset (times in ms since 1970).
//! Synchronous, and it fails by panic: a broker that does not answer is the test's failure.

use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::process::random_bytes;

const LIMIT: Duration = Duration::from_secs(60);

/// What a reader may see of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Only committed transactions, up to the first open one.
    ReadCommitted,
    /// Everything, aborted and open transactions too.
    ReadUncommitted,
}

/// A topic to create.
#[derive(Debug, Clone)]
pub struct Topic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Number of partitions.
    pub partitions: i32,
    /// Topic settings such as `cleanup.policy`.
    pub configs: &'a [(&'a str, &'a str)],
}

/// A message as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Timestamp, ms since 1970.
    pub timestamp_ms: Option<i64>,
}

impl Message {
    /// The first header of that name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// The key as text, empty when there is none.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// The value as JSON; panics with the message's place when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.value.as_deref().unwrap_or_default())
            .unwrap_or_else(|e| panic!("partition {} offset {}: no JSON: {e}", self.partition, self.offset))
    }
}

/// A message to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Partition number; by the murmur2 hash of the key (as Java clients do) when `None`.
    pub partition: Option<i32>,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Timestamp in ms since 1970; the time of sending when `None`.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// A record with key and value and nothing else.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }
}

/// A client of one cluster.
#[derive(Debug, Clone)]
pub struct Client {
    bootstrap: String,
}

impl Client {
    /// A client of the cluster that answers at `bootstrap`; connects when it is used.
    pub fn new(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned() }
    }

    /// The address, as `bootstrap.servers` takes it.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A librdkafka configuration with the address set, for clients of the test's own.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("reconnect.backoff.max.ms", "500");
        config
    }

    /// `name` with a suffix that no other call, process or run will yield: for topics, groups, transactional ids.
    pub fn unique(&self, name: &str) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let [a, b, c, d, ..] = random_bytes();
        format!("{name}-{a:02x}{b:02x}{c:02x}{d:02x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Creates one topic and waits until its partitions have leaders. Fails when it exists.
    pub fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        self.create_topics(&[Topic { name, partitions, configs }]);
    }

    /// Creates topics with the broker's default replication and waits until their partitions have leaders.
    pub fn create_topics(&self, topics: &[Topic<'_>]) {
        // -1 partitions of replicas: the broker's default.replication.factor.
        let new = topics.iter().map(|topic| {
            let new = NewTopic::new(topic.name, topic.partitions, TopicReplication::Fixed(-1));
            topic.configs.iter().fold(new, |new, (key, value)| new.set(key, value))
        });
        let new: Vec<NewTopic<'_>> = new.collect();
        let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
        let created = wait(self.admin().create_topics(&new, &options));
        for result in created.unwrap_or_else(|e| panic!("cannot create topics at {}: {e}", self.bootstrap)) {
            result.unwrap_or_else(|(name, code)| panic!("cannot create topic {name}: {code}"));
        }
        let consumer = self.consumer(Isolation::ReadUncommitted);
        for topic in topics {
            let led = crate::poll(LIMIT, || {
                let metadata = consumer.fetch_metadata(Some(topic.name), Duration::from_secs(2)).ok()?;
                let partitions = metadata.topics().first()?.partitions();
                let all = partitions.len() == topic.partitions as usize;
                (all && partitions.iter().all(|p| p.leader() >= 0)).then_some(())
            });
            assert!(led.is_some(), "topic {} has no leaders within {LIMIT:?}", topic.name);
        }
    }

    /// Deletes topics; one that does not exist is no fault.
    pub fn delete_topics(&self, names: &[&str]) {
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        for result in wait(self.admin().delete_topics(names, &options)).expect("a broker that answers") {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((name, code)) => panic!("cannot delete topic {name}: {code}"),
            }
        }
    }

    /// Writes records in order (acks from all replicas, no duplicates) and returns once all are acknowledged.
    pub fn produce(&self, topic: &str, records: &[Record]) {
        self.produce_with(topic, records, &[]);
    }

    /// As [`Client::produce`] with further settings of the producer.
    pub fn produce_with(&self, topic: &str, records: &[Record], settings: &[(&str, &str)]) {
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("partitioner", "murmur2_random").set("linger.ms", "2");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let context = Deliveries::default();
        let producer: ThreadedProducer<Deliveries> = config.create_with_context(context).expect("producer");
        for record in records {
            let mut next = base_record(topic, record);
            let start = Instant::now();
            while let Err((error, back)) = producer.send(next) {
                let full = error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert!(full && start.elapsed() < LIMIT, "cannot send to {topic}: {error}");
                std::thread::sleep(Duration::from_millis(5));
                next = back;
            }
        }
        producer.flush(LIMIT).unwrap_or_else(|e| panic!("cannot flush to {topic}: {e}"));
        let failed = producer.context().failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(failed.is_empty(), "{} records not delivered to {topic}: {}", failed.len(), failed[0]);
    }

    /// End offset of each partition, in order: the next offset to be written, or with
    /// [`Isolation::ReadCommitted`] the last stable offset.
    pub fn end_offsets(&self, topic: &str, isolation: Isolation) -> Vec<i64> {
        self.watermarks(&self.consumer(isolation), topic).into_iter().map(|(_, end)| end).collect()
    }

    /// What a group has committed for each partition, in order; `None` where it committed nothing.
    pub fn committed(&self, group: &str, topic: &str) -> Vec<Option<i64>> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().expect("consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, self.watermarks(&consumer, topic).len() as i32 - 1);
        let offsets = consumer.committed_offsets(list, LIMIT).expect("committed offsets");
        let mut found: Vec<_> = offsets.elements().iter().map(|e| (e.partition(), e.offset())).collect();
        found.sort_by_key(|(partition, _)| *partition);
        found.into_iter().map(|(_, offset)| offset.to_raw().filter(|raw| *raw >= 0)).collect()
    }

    /// Node that leads a partition, if it has a leader.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let metadata = self.metadata(topic)?;
        let partitions = metadata.topics().first()?.partitions();
        partitions.iter().find(|p| p.id() == partition).map(|p| p.leader()).filter(|n| *n >= 0)
    }

    /// Whether so many replicas of every partition of every topic are in step, those of the brokers' own topics too.
    pub fn in_sync(&self, replicas: usize) -> bool {
        let consumer = self.consumer(Isolation::ReadUncommitted);
        let metadata = consumer.fetch_metadata(None, Duration::from_secs(5)).ok();
        let topics = metadata.as_ref().map_or(&[][..], |m| m.topics());
        let mut partitions = topics.iter().flat_map(|t| t.partitions()).peekable();
        partitions.peek().is_some() && partitions.all(|p| p.isr().len() >= replicas)
    }

    /// The first answer of any broker to a question of [`super::raw`].
    pub fn ask_each(&self, question: impl Fn(&str) -> Option<i32>) -> Option<i32> {
        crate::poll(LIMIT, || self.bootstrap.split(',').find_map(&question))
    }

    fn metadata(&self, topic: &str) -> Option<rdkafka::metadata::Metadata> {
        let consumer = self.consumer(Isolation::ReadUncommitted);
        consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()
    }

    /// Every message from the beginning to the end as it was at the call, by partition and offset.
    pub fn consume_all(&self, topic: &str, isolation: Isolation) -> Vec<Message> {
        let consumer = self.consumer(isolation);
        let ends: Vec<i64> = self.watermarks(&consumer, topic).into_iter().map(|(_, end)| end).collect();
        let mut list = TopicPartitionList::new();
        for partition in 0..ends.len() as i32 {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("assignment");
        }
        consumer.assign(&list).expect("assign");
        let mut open: Vec<bool> = ends.iter().map(|end| *end > 0).collect();
        let mut messages = Vec::new();
        let start = Instant::now();
        while open.contains(&true) {
            assert!(start.elapsed() < LIMIT, "{topic} not read to {ends:?} within {LIMIT:?}");
            match consumer.poll(Duration::from_millis(200)) {
                None => {}
                // Markers of transactions have offsets but are never handed out, so the end may come as this alone.
                Some(Err(KafkaError::PartitionEOF(partition))) => open[partition as usize] = false,
                Some(Err(error)) => panic!("cannot read {topic}: {error}"),
                Some(Ok(found)) => {
                    let (partition, offset) = (found.partition() as usize, found.offset());
                    if offset < ends[partition] {
                        messages.push(own(&found));
                    }
                    open[partition] &= offset + 1 < ends[partition];
                }
            }
        }
        messages.sort_by_key(|m| (m.partition, m.offset));
        messages
    }

    fn watermarks(&self, consumer: &BaseConsumer, topic: &str) -> Vec<(i64, i64)> {
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT);
        let metadata =
            metadata.unwrap_or_else(|e| panic!("no metadata of {topic} from {}: {e}", self.bootstrap));
        let found = metadata.topics().first().filter(|t| t.error().is_none());
        let found = found.unwrap_or_else(|| panic!("no topic {topic}"));
        let mut partitions: Vec<i32> = found.partitions().iter().map(|p| p.id()).collect();
        partitions.sort_unstable();
        // Of a topic just created, or after a broker's death, the first answer may be that of no leader.
        let ask = |partition| {
            let found = crate::poll(LIMIT, || consumer.fetch_watermarks(topic, partition, LIMIT).ok());
            found.unwrap_or_else(|| panic!("no watermarks of {topic} {partition} within {LIMIT:?}"))
        };
        partitions.into_iter().map(ask).collect()
    }

    fn consumer(&self, isolation: Isolation) -> BaseConsumer {
        let level = match isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        let mut config = self.config();
        config.set("group.id", self.unique("reader")).set("enable.auto.commit", "false");
        config.set("isolation.level", level).set("enable.partition.eof", "true");
        config.set("fetch.wait.max.ms", "50").create().expect("consumer")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("admin client")
    }
}

/// Drives one future of the admin client, which is the only asynchronous part here.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    runtime.block_on(future)
}

#[derive(Default)]
struct Deliveries {
    failed: Mutex<Vec<String>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(error.to_string());
        }
    }
}

fn base_record<'a>(topic: &'a str, record: &'a Record) -> BaseRecord<'a, Vec<u8>, Vec<u8>> {
    let mut base = BaseRecord::to(topic);
    base.partition = record.partition;
    base.key = record.key.as_ref();
    base.payload = record.value.as_ref();
    base.timestamp = record.timestamp_ms;
    if !record.headers.is_empty() {
        let with = |all: OwnedHeaders, (key, value): &(String, Vec<u8>)| {
            all.insert(Header { key: key.as_str(), value: Some(value) })
        };
        base.headers = Some(record.headers.iter().fold(OwnedHeaders::new(), with));
    }
    base
}

/// A message of the client library as the tests keep it.
pub(crate) fn own(message: &rdkafka::message::BorrowedMessage<'_>) -> Message {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
    });
    Message {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp_ms: message.timestamp().to_millis(),
    }
}
