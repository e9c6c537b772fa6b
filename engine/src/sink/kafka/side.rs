//! What is written outside transactions: ticks and commands. Nothing here is waited for.
//! In: what the loop says. Out: records, dropped after five seconds without a broker.

use std::time::Duration;

use auscult_operators::signal::{EventTime, Frame};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use tracing::warn;

use crate::config;
use crate::error::RunError;
use crate::source::kafka::{client, frames_topic};

/// A producer for what stands outside transactions: ticks and commands.
pub struct SidePath {
    producer: BaseProducer,
    input_topic: String,
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
        Ok(Self { producer, input_topic: frames_topic(kafka) })
    }

    /// Lets time pass in an idle partition.
    pub fn tick(&self, partition: i32, time: EventTime) {
        let value = crate::decode::encode_tick(time);
        let record = BaseRecord::<(), [u8]>::to(&self.input_topic).partition(partition).payload(&value);
        if let Err((e, _)) = self.producer.send(record.timestamp(time.millis())) {
            warn!(code = "tick", partition, error = %e, "could not append a tick");
        }
        self.producer.poll(Duration::ZERO);
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
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until everything is sent, so long at most.
    pub fn flush(&self, wait: Duration) {
        if let Err(e) = self.producer.flush(Timeout::After(wait)) {
            warn!(code = "flush", error = %e, "could not send what was left");
        }
    }
}
