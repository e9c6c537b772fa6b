//! Sink `kafka`: outputs and consumed offsets in one transaction.
//! In: effects of one turn over all owned partitions, and the offsets behind them. Out: told once, or not at all.
//!
//! After any commit whose end is not known the producer is made again under the same transactional id, which fences
//! the stale request, and the committed offsets say whether it went through. What is told again bears the same ids.

use std::collections::BTreeMap;
use std::time::Duration;

use auscult_operators::signal::{EventTime, Frame};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;
use tracing::{info, warn};

use crate::align::Evidence;
use crate::config;
use crate::decode::Reject;
use crate::effects::Effect;
use crate::error::RunError;
use crate::failpoint;
use crate::limits;
use crate::source::Record;
use crate::source::kafka::{KafkaSource, client, frames_topic};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Times a turn is told again before the process gives up and leaves it to its successor.
const ATTEMPTS: usize = 10;

/// One record to be told.
#[derive(Clone, Debug)]
pub struct Output {
    /// Topic, with its prefix.
    pub topic: String,
    /// Key: the patient.
    pub key: Vec<u8>,
    /// Body.
    pub value: Vec<u8>,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
}

/// The transactional producer.
pub struct KafkaSink {
    config: ClientConfig,
    producer: BaseProducer,
    input_topic: String,
    prefix: String,
    instance: String,
    /// Transactions committed.
    pub commits: u64,
}

impl KafkaSink {
    /// Takes the place of this instance: whatever a predecessor left open is aborted.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the coordinator does not answer.
    pub fn open(kafka: &config::Kafka) -> Result<Self, RunError> {
        let mut config = client(kafka)?;
        config
            .set("transactional.id", format!("{}-{}", kafka.group, kafka.instance))
            .set("transaction.timeout.ms", "10000")
            .set("enable.idempotence", "true")
            .set("compression.codec", "lz4")
            .set("linger.ms", "2")
            .set("queue.buffering.max.messages", "1000000")
            .set("partitioner", "murmur2_random");
        let producer = init(&config)?;
        Ok(Self {
            config,
            producer,
            input_topic: frames_topic(kafka),
            prefix: kafka.prefix.clone(),
            instance: kafka.instance.clone(),
            commits: 0,
        })
    }

    /// What an effect says on Kafka, if anything.
    pub fn output(&self, partition: i32, effect: &Effect, records: &[Record]) -> Option<Output> {
        match effect {
            Effect::Event(e, evidence) => Some(Output {
                topic: format!("{}events", self.prefix),
                key: e.patient.clone().into_bytes(),
                value: serde_json::to_vec(e).unwrap_or_default(),
                headers: cloud_event(
                    &e.id,
                    &format!("org.auscult.risk.{}", e.kind),
                    e.event_time_us,
                    &self.instance,
                )
                .chain(self.place(partition, evidence))
                .collect(),
            }),
            Effect::Score(s, evidence) => Some(Output {
                topic: format!("{}scores", self.prefix),
                key: s.patient.clone().into_bytes(),
                value: serde_json::to_vec(s).unwrap_or_default(),
                headers: cloud_event(
                    &s.id,
                    &format!("org.auscult.score.{}", s.result.score),
                    s.event_time_us,
                    &self.instance,
                )
                .chain(self.place(partition, evidence))
                .collect(),
            }),
            Effect::Aside(at, reject) => Some(self.aside(partition, records.get(*at)?, reject)),
            Effect::Features(patient, time, readings) => {
                let body: Vec<_> = readings.iter().map(feature).collect();
                let body = serde_json::json!({
                    "patient": patient.expose(), "event_time_us": time.micros(), "features": body
                });
                Some(Output {
                    topic: format!("{}features", self.prefix),
                    key: patient.expose().into(),
                    value: body.to_string().into_bytes(),
                    headers: vec![("content-type", "application/json".into())],
                })
            }
            Effect::Frame(..)
            | Effect::Predictions(..)
            | Effect::Beats(..)
            | Effect::Glance(..)
            | Effect::State(..)
            | Effect::Roll => None,
        }
    }

    /// The dead letter of a record: as it came, unless it is so large that it might not fit, which would hold up the
    /// partition for good. The rest of such a one stands in the frames topic, at the place that the headers name.
    fn aside(&self, partition: i32, record: &Record, reject: &Reject) -> Output {
        let mut headers = vec![
            ("auscult_reject_code", reject.code.into()),
            ("auscult_reject_detail", reject.detail.clone()),
            ("auscult_input_topic", self.input_topic.clone()),
            ("auscult_input_partition", partition.to_string()),
            ("auscult_input_offset", record.offset.to_string()),
        ];
        let most = |limit: limits::Limit| usize::try_from(limit.max).unwrap_or(usize::MAX);
        let (key, value) = (&record.key, &record.value);
        let (key_most, value_most) = (most(limits::TEXT_BYTES), most(limits::REJECT_BYTES));
        if key.len() > key_most {
            headers.push(("auscult_key_bytes", key.len().to_string()));
        }
        if value.len() > value_most {
            headers.push(("auscult_value_bytes", value.len().to_string()));
        }
        Output {
            topic: format!("{}rejects", self.prefix),
            key: key[..key.len().min(key_most)].to_vec(),
            value: value[..value.len().min(value_most)].to_vec(),
            headers,
        }
    }

    fn place(
        &self,
        partition: i32,
        evidence: &Evidence,
    ) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let (first, last) = evidence.offsets.unwrap_or((-1, -1));
        [
            ("auscult_input_topic", self.input_topic.clone()),
            ("auscult_input_partition", partition.to_string()),
            ("auscult_input_first_offset", first.to_string()),
            ("auscult_input_last_offset", last.to_string()),
        ]
        .into_iter()
    }

    /// Tells outputs and commits the next offsets, in one transaction.
    ///
    /// # Errors
    /// [`RunError::Fenced`] if another process has taken this instance's place; [`RunError::Kafka`] if the broker
    /// did not take the turn after many attempts.
    pub fn commit(
        &mut self,
        outputs: &[Output],
        next: &BTreeMap<i32, i64>,
        source: &KafkaSource,
    ) -> Result<(), RunError> {
        let mut last = KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue);
        for attempt in 1..=ATTEMPTS {
            let error = match self.attempt(outputs, next, source) {
                Ok(()) => {
                    failpoint::hit(failpoint::AFTER_COMMIT);
                    self.commits += 1;
                    return Ok(());
                }
                Err(e) => e,
            };
            if fenced(&error) {
                return Err(RunError::Fenced { instance: self.instance.clone() });
            }
            let what = "a transaction did not end well; the producer is made again";
            warn!(code = "transaction", attempt, error = %error, "{what}");
            failpoint::hit(failpoint::BEFORE_RENEW);
            self.producer = init(&self.config)?;
            let committed = source.committed(next)?;
            if next.iter().all(|(p, o)| committed.get(p).is_some_and(|c| c >= o)) {
                info!("the transaction had gone through");
                self.commits += 1;
                return Ok(());
            }
            last = error;
        }
        Err(RunError::Kafka { what: "commit a transaction", source: last })
    }

    fn attempt(
        &self,
        outputs: &[Output],
        next: &BTreeMap<i32, i64>,
        source: &KafkaSource,
    ) -> Result<(), KafkaError> {
        failpoint::hit(failpoint::BEFORE_PRODUCE);
        self.producer.begin_transaction()?;
        for output in outputs {
            self.send(output)?;
            failpoint::hit(failpoint::IN_PRODUCE);
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next {
            offsets.add_partition_offset(&self.input_topic, *partition, Offset::Offset(*offset))?;
        }
        let group = source.group().ok_or(KafkaError::MessageProduction(RDKafkaErrorCode::UnknownMemberId))?;
        failpoint::hit(failpoint::BEFORE_SEND_OFFSETS);
        self.producer.send_offsets_to_transaction(&offsets, &group, Timeout::After(TIMEOUT))?;
        failpoint::hit(failpoint::AFTER_SEND_OFFSETS);
        self.producer.commit_transaction(Timeout::After(TIMEOUT))
    }

    fn send(&self, output: &Output) -> Result<(), KafkaError> {
        let mut headers = OwnedHeaders::new_with_capacity(output.headers.len());
        for (key, value) in &output.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record =
            BaseRecord::to(&output.topic).key(&output.key).payload(&output.value).headers(headers);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((e, _)) => return Err(e),
            }
        }
    }
}

fn init(config: &ClientConfig) -> Result<BaseProducer, RunError> {
    let producer: BaseProducer = config.create().map_err(RunError::kafka("create a producer"))?;
    producer
        .init_transactions(Timeout::After(TIMEOUT))
        .map_err(RunError::kafka("take over the transactional id"))?;
    Ok(producer)
}

fn fenced(e: &KafkaError) -> bool {
    matches!(
        e.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::FencedInstanceId
        )
    )
}

/// CloudEvents 1.0 attributes in the binary mode of its Kafka binding.
fn cloud_event(
    id: &str,
    kind: &str,
    time_us: i64,
    instance: &str,
) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let time = jiff::Timestamp::from_microsecond(time_us).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    [
        ("ce_specversion", "1.0".into()),
        ("ce_id", id.into()),
        ("ce_source", format!("/auscult/{instance}")),
        ("ce_type", kind.into()),
        ("ce_time", time.to_string()),
        ("content-type", "application/json".into()),
    ]
    .into_iter()
}

fn feature(r: &auscult_operators::signal::Reading) -> serde_json::Value {
    serde_json::json!({
        "name": r.name, "channel": r.channel.map(|c| c.row().name), "time_us": r.time.micros(),
        "window_s": r.window.seconds(), "value": r.value.ok(), "missing": r.value.err(), "quality": r.quality,
    })
}

/// A producer for what stands outside transactions: ticks and heartbeats.
pub struct SidePath {
    producer: BaseProducer,
    input_topic: String,
    prefix: String,
}

impl SidePath {
    /// Opens it.
    ///
    /// # Errors
    /// [`RunError::Kafka`] if the client refuses its configuration.
    pub fn open(kafka: &config::Kafka) -> Result<Self, RunError> {
        let mut config = client(kafka)?;
        config.set("message.timeout.ms", "5000").set("linger.ms", "0").set("partitioner", "murmur2_random");
        let producer = config.create().map_err(RunError::kafka("create a producer"))?;
        Ok(Self { producer, input_topic: frames_topic(kafka), prefix: kafka.prefix.clone() })
    }

    /// Lets time pass in an idle partition.
    pub fn tick(&self, partition: i32, time: EventTime) {
        let value = crate::decode::encode_tick(time);
        let record = BaseRecord::<(), [u8]>::to(&self.input_topic).partition(partition).payload(&value);
        if let Err((e, _)) = self.producer.send(record.timestamp(time.millis())) {
            warn!(code = "tick", partition, error = %e, "could not append a tick");
        }
    }

    /// Lets a command into the log.
    pub fn frame(&self, frame: &Frame) {
        let value = crate::decode::encode(frame);
        let key = frame.patient.expose();
        let record = BaseRecord::to(&self.input_topic).key(key).payload(&value);
        let timestamp = crate::source::recording::timestamp(frame).millis();
        if let Err((e, _)) = self.producer.send(record.timestamp(timestamp)) {
            warn!(code = "command", error = %e, "could not append a command");
        }
    }

    /// Says that this instance is alive.
    pub fn heartbeat(&self, instance: &str, body: &serde_json::Value) {
        let topic = format!("{}heartbeat", self.prefix);
        let value = body.to_string();
        if let Err((e, _)) = self.producer.send(BaseRecord::to(&topic).key(instance).payload(&value)) {
            warn!(code = "heartbeat", error = %e, "could not send a heartbeat");
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until everything is sent.
    pub fn flush(&self) {
        if let Err(e) = self.producer.flush(Timeout::After(Duration::from_secs(5))) {
            warn!(code = "flush", error = %e, "could not send the last heartbeat");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests;
