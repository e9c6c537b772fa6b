//! What the commands ask of a broker before they work with it.
//! In: the `[kafka]` table. Out: topics there, or created with stated settings, or an error that names the missing one.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::info;

use crate::config::Kafka;
use crate::error::RunError;
use crate::guard::{Stand, Stands};
use crate::source::kafka::{client, frames_topic};
use crate::topics;

const TIMEOUT: Duration = Duration::from_secs(15);
/// How long a start may wait for what is only of use to the guard.
const SOON: Duration = Duration::from_secs(5);

/// A topic that Auscult works with, under its full name.
struct Topic {
    name: String,
    row: &'static topics::Topic,
}

fn topics(kafka: &Kafka) -> Vec<Topic> {
    let name = |row: &topics::Topic| match row.input {
        true => frames_topic(kafka),
        false => format!("{}{}", kafka.prefix, row.name),
    };
    topics::TOPICS.iter().map(|row| Topic { name: name(row), row }).collect()
}

/// Makes sure that every topic is there.
pub(super) fn ensure(kafka: &Kafka) -> Result<(), RunError> {
    let missing: Vec<Topic> = missing(kafka)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !kafka.create_topics {
        return Err(RunError::NoTopic { topic: missing[0].name.clone() });
    }
    let admin: AdminClient<DefaultClientContext> =
        client(kafka)?.create().map_err(RunError::kafka("create an admin client"))?;
    let new: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|t| {
            let partitions = if t.row.wide { kafka.partitions } else { 1 };
            let new = NewTopic::new(&t.name, partitions, TopicReplication::Fixed(kafka.replication));
            t.row.settings.iter().fold(new, |n, (k, v)| n.set(k, v))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::io("start", "the admin client"))?;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    let results =
        runtime.block_on(admin.create_topics(&new, &options)).map_err(RunError::kafka("create topics"))?;
    for (result, topic) in results.into_iter().zip(&missing) {
        match result {
            Ok(_) | Err((_, rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists)) => {
                info!(topic = topic.name, "created")
            }
            Err((_, code)) => {
                return Err(RunError::kafka("create a topic")(rdkafka::error::KafkaError::AdminOp(code)));
            }
        }
    }
    Ok(())
}

fn missing(kafka: &Kafka) -> Result<Vec<Topic>, RunError> {
    let asker: BaseProducer = client(kafka)?.create().map_err(RunError::kafka("create a client"))?;
    let metadata =
        asker.client().fetch_metadata(None, TIMEOUT).map_err(RunError::kafka("reach the broker"))?;
    let there: Vec<&str> = metadata.topics().iter().map(|t| t.name()).collect();
    Ok(topics(kafka).into_iter().filter(|t| !there.contains(&t.name.as_str())).collect())
}

/// Where the group stands in each partition of the frames; empty if the broker does not say so soon.
pub(super) fn stands(kafka: &Kafka) -> Stands {
    offsets(kafka).unwrap_or_else(|e| {
        tracing::warn!(code = "guard", error = %e, "the committed offsets are not known at this start");
        Stands::new()
    })
}

fn offsets(kafka: &Kafka) -> Result<Stands, RunError> {
    let asked = RunError::kafka("ask for the committed offsets");
    let topic = frames_topic(kafka);
    let consumer: BaseConsumer =
        client(kafka)?.set("group.id", &kafka.group).create().map_err(RunError::kafka("create a client"))?;
    let metadata = consumer.fetch_metadata(Some(&topic), SOON).map_err(&asked)?;
    let partitions = metadata.topics().first().map_or(0, |t| t.partitions().len());
    let mut list = TopicPartitionList::new();
    for p in 0..partitions {
        list.add_partition(&topic, p as i32);
    }
    let mut stands = Stands::new();
    for element in consumer.committed_offsets(list, SOON).map_err(&asked)?.elements() {
        let committed = if let Offset::Offset(at) = element.offset() { at } else { 0 };
        let (_, end) = consumer.fetch_watermarks(&topic, element.partition(), SOON).map_err(&asked)?;
        stands.insert(element.partition(), Stand { committed, end });
    }
    Ok(stands)
}

/// What `auscult check` says of the broker.
pub(super) fn check(kafka: &Kafka) -> Result<Vec<String>, RunError> {
    let missing = missing(kafka)?;
    let mut lines = vec![format!("{} answers", kafka.brokers)];
    for topic in &missing {
        if !kafka.create_topics {
            return Err(RunError::NoTopic { topic: topic.name.clone() });
        }
        lines.push(format!("topic {} is not there and will be created", topic.name));
    }
    Ok(lines)
}
