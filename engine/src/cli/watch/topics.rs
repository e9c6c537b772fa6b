//! The watchdog's Kafka: it reads heartbeats and what was told before, asks the broker, and tells.
//! In: the heartbeat and watch topics. Out: heartbeats in order, answers with the time of their question, records.

use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;
use tracing::warn;

use super::Told;
use crate::config::Kafka;
use crate::error::RunError;
use crate::source::kafka::{client, frames_topic};
use crate::watch::{Beat, Change, Watch};

/// Heartbeats read at the start: ten minutes of sixteen instances.
const BACKLOG: i64 = 10_000;
/// Between two questions to the broker, and how long each may take.
const ASK: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(1500));
/// The number of partitions is asked for each so many questions.
const PARTITIONS_EVERY: u64 = 10;

/// A client that comes back at once when the broker does.
fn eager(kafka: &Kafka) -> Result<ClientConfig, RunError> {
    let mut config = client(kafka)?;
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
    config.set("socket.timeout.ms", "3000").set("fetch.wait.max.ms", "200");
    Ok(config)
}

fn consumer(kafka: &Kafka) -> Result<BaseConsumer, RunError> {
    eager(kafka)?
        .set("group.id", "auscult-watch")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .create()
        .map_err(RunError::kafka("create a consumer"))
}

/// What came from the topics.
pub(super) enum Heard {
    /// A heartbeat.
    Beat(Beat),
    /// Alarms that ring, as earlier watchdogs have told.
    Told(Told),
    /// Everything that was there is read.
    All,
    /// Something that says nothing.
    Other,
    /// No record is waiting.
    Nothing,
}

/// Reads heartbeats for good, and at first what earlier watchdogs have told.
pub(super) struct Heartbeats {
    consumer: BaseConsumer,
    /// Until the watch topic is read to its end.
    told: Option<(BaseConsumer, Told)>,
}

impl Heartbeats {
    pub(super) fn open(kafka: &Kafka) -> Result<Self, RunError> {
        let open = |topic: &str, offset: Offset| {
            let consumer = consumer(kafka)?;
            let mut list = TopicPartitionList::new();
            let topic = format!("{}{topic}", kafka.prefix);
            list.add_partition_offset(&topic, 0, offset)
                .and_then(|()| consumer.assign(&list))
                .map_err(RunError::kafka("read the heartbeats"))?;
            Ok::<_, RunError>(consumer)
        };
        let told = Some((open("watch", Offset::Beginning)?, Told::new()));
        Ok(Self { consumer: open("heartbeat", Offset::OffsetTail(BACKLOG))?, told })
    }

    pub(super) fn poll(&mut self, wait: Duration) -> Heard {
        if let Some(told) = self.told() {
            return Heard::Told(told);
        }
        match self.consumer.poll(wait) {
            None => Heard::Nothing,
            Some(Ok(message)) => message.payload().and_then(Beat::read).map_or(Heard::Other, Heard::Beat),
            Some(Err(KafkaError::PartitionEOF(_))) => Heard::All,
            // Whether the broker answers is asked elsewhere; the client tries again by itself.
            Some(Err(_)) => Heard::Other,
        }
    }

    /// What was told, once it is read whole.
    fn told(&mut self) -> Option<Told> {
        let (consumer, told) = self.told.as_mut()?;
        while let Some(polled) = consumer.poll(Duration::ZERO) {
            match polled {
                Ok(message) => {
                    let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                    match message.payload().and_then(Change::active) {
                        Some(alarm) => drop(told.insert(key, alarm)),
                        None => drop(told.remove(&key)),
                    }
                }
                Err(KafkaError::PartitionEOF(_)) => return self.told.take().map(|(_, told)| told),
                Err(_) => break,
            }
        }
        None
    }
}

/// An answer of the broker, or none.
pub(super) struct Answer {
    asked: u64,
    now: u64,
    /// Why there is none.
    failed: Option<String>,
    partitions: Option<i32>,
}

impl Answer {
    /// Tells the watchdog.
    pub(super) fn give(self, watch: &mut Watch) {
        if let Some(partitions) = self.partitions {
            watch.partitions(partitions);
        }
        match self.failed {
            None => watch.answered(self.asked, self.now),
            Some(why) => watch.unanswered(self.now, &why),
        }
    }
}

/// Asks the leader of the heartbeats, again and again, on a thread of its own: a question blocks.
pub(super) struct Prober {
    answers: Receiver<Answer>,
}

impl Prober {
    pub(super) fn start(kafka: &Kafka, began: Instant) -> Result<Self, RunError> {
        let consumer = consumer(kafka)?;
        let (heartbeats, frames) = (format!("{}heartbeat", kafka.prefix), frames_topic(kafka));
        let (to, answers) = sync_channel(64);
        let ask = move || {
            let now = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            for n in 0u64.. {
                let asked = now();
                let failed = consumer.fetch_watermarks(&heartbeats, 0, ASK.1).err().map(|e| e.to_string());
                let due = failed.is_none() && n.is_multiple_of(PARTITIONS_EVERY);
                let partitions = due.then(|| partitions(&consumer, &frames)).flatten();
                let answer = Answer { asked, now: now(), failed, partitions };
                if matches!(to.try_send(answer), Err(TrySendError::Disconnected(_))) {
                    return;
                }
                thread::sleep(ASK.0);
            }
        };
        thread::Builder::new().name("ask".into()).spawn(ask).map_err(RunError::io("start", "the prober"))?;
        Ok(Self { answers })
    }

    pub(super) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

fn partitions(consumer: &BaseConsumer, frames: &str) -> Option<i32> {
    let metadata = consumer.fetch_metadata(Some(frames), ASK.1).ok()?;
    let count = metadata.topics().first().map(|t| t.partitions().len())?;
    i32::try_from(count).ok().filter(|n| *n > 0)
}

/// Writes the watch topic. What is told while the broker is away is sent when it is back.
pub(super) struct Teller {
    producer: BaseProducer,
    topic: String,
}

impl Teller {
    pub(super) fn open(kafka: &Kafka) -> Result<Self, RunError> {
        let mut config = eager(kafka)?;
        config.set("message.timeout.ms", "600000").set("linger.ms", "0").set("enable.idempotence", "true");
        let producer = config.create().map_err(RunError::kafka("create a producer"))?;
        Ok(Self { producer, topic: format!("{}watch", kafka.prefix) })
    }

    pub(super) fn tell(&self, key: &str, body: &str) {
        if let Err((e, _)) = self.producer.send(BaseRecord::to(&self.topic).key(key).payload(body)) {
            warn!(code = "watch", error = %e, "could not write an alarm to its topic");
        }
        self.poll();
    }

    pub(super) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    pub(super) fn flush(&self) {
        let _ = self.producer.flush(Timeout::After(Duration::from_secs(3)));
    }
}
