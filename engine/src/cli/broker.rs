//! What the commands ask of a broker before they work with it.
//! In: the `[kafka]` table. Out: topics there, or created with stated settings, or an error that names the missing one.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, Producer};
use tracing::info;

use crate::config::Kafka;
use crate::error::RunError;
use crate::source::kafka::{client, frames_topic};
use crate::topics;

const TIMEOUT: Duration = Duration::from_secs(15);

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
