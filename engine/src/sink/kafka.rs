//! Sink `kafka`: what is told, and to which topic.
//! In: an effect of one partition. Out: the record that tells it; [`Transactions`] carries it, [`SidePath`] what
//! stands outside transactions.

mod side;
mod transactions;

pub use side::SidePath;
pub use transactions::{Failure, Transactions, end_of};

use crate::align::Evidence;
use crate::config;
use crate::decode::Reject;
use crate::effects::Effect;
use crate::limits;
use crate::source::Record;
use crate::source::kafka::frames_topic;

/// Header of a state record: the instance that told it.
pub const TOLD_BY: &str = "auscult_instance";

/// One record to be told.
#[derive(Clone, Debug)]
pub struct Output {
    /// Topic, with its prefix.
    pub topic: String,
    /// Key: the patient.
    pub key: Vec<u8>,
    /// Partition, if it is not chosen by the key.
    pub partition: Option<i32>,
    /// Body; without one the key's earlier records are to be forgotten.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
}

/// How effects are put into words for Kafka.
#[derive(Clone, Debug)]
pub struct Telling {
    input_topic: String,
    prefix: String,
    instance: String,
}

impl Telling {
    /// As this instance tells them.
    pub fn new(kafka: &config::Kafka) -> Self {
        Self {
            input_topic: frames_topic(kafka),
            prefix: kafka.prefix.clone(),
            instance: kafka.instance.clone(),
        }
    }

    /// What an effect says on Kafka, if anything.
    pub fn output(&self, partition: i32, effect: &Effect, records: &[Record]) -> Option<Output> {
        match effect {
            Effect::Event(e, evidence) => Some(Output {
                topic: format!("{}events", self.prefix),
                key: e.patient.clone().into_bytes(),
                partition: None,
                value: Some(serde_json::to_vec(e).unwrap_or_default()),
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
                partition: None,
                value: Some(serde_json::to_vec(s).unwrap_or_default()),
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
                    partition: None,
                    value: Some(body.to_string().into_bytes()),
                    headers: vec![("content-type", "application/json".into())],
                })
            }
            Effect::State(key, value) => Some(Output {
                topic: format!("{}state", self.prefix),
                key: key.clone(),
                partition: Some(partition),
                value: value.clone(),
                headers: vec![(TOLD_BY, self.instance.clone())],
            }),
            Effect::Frame(..)
            | Effect::Predictions(..)
            | Effect::Beats(..)
            | Effect::Glance(..)
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
            partition: None,
            value: Some(value[..value.len().min(value_most)].to_vec()),
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests;
