//! What every client of the brokers is told: our settings first, the user's librdkafka keys over them.
//! In: the configuration. Out: a client configuration; secrets are fetched here and show nowhere.

use rdkafka::config::ClientConfig;

use crate::config;
use crate::error::RunError;

/// Name of the frames topic.
pub fn frames_topic(kafka: &config::Kafka) -> String {
    format!("{}{}", kafka.prefix, kafka.frames)
}

/// What makes a client notice soon that a broker is gone or silent, and who leads its partitions then: a silent one is
/// not asked for long, and the others are asked all the time. A broker that takes connections and says nothing is tried
/// for as long as the setup may take, again and again, until the others call it gone: so that is short.
pub(crate) fn swift(config: &mut ClientConfig) {
    config
        .set("reconnect.backoff.max.ms", "500")
        .set("topic.metadata.refresh.interval.ms", "500")
        .set("socket.connection.setup.timeout.ms", "1500")
        .set("socket.timeout.ms", "4000");
}

/// Keys that Auscult must set itself, and where what they mean stands: a client of another name, group or way of
/// committing would tell things twice, or not at all.
const OWN: &[(&str, &str)] = &[
    ("bootstrap.servers", "set `kafka.brokers`"),
    ("metadata.broker.list", "set `kafka.brokers`"),
    // By it the members of the group know each other's instances.
    ("client.id", "set `kafka.instance`"),
    ("group.instance.id", "set `kafka.instance`"),
    ("group.id", "set `kafka.group`"),
    ("transactional.id", "it is made of `kafka.group` and `kafka.instance`"),
    ("session.timeout.ms", "set `kafka.session_timeout_ms`"),
    ("enable.auto.commit", "offsets are committed with the outputs"),
    ("enable.auto.offset.store", "offsets are committed with the outputs"),
    ("enable.idempotence", "outputs are told in transactions"),
    ("auto.offset.reset", "a partition begins where its group stands"),
    ("isolation.level", "what was taken back is never read"),
];

/// Why a user's key is refused, if it is one that Auscult must set itself: what to do instead.
pub(crate) fn refused(key: &str) -> Option<&'static str> {
    OWN.iter().find(|own| own.0 == key).map(|own| own.1)
}

/// A client configuration: our settings first, the user's librdkafka keys over them.
///
/// # Errors
/// [`RunError::Secret`] if a value refers to a variable or file that is not there.
pub fn client(kafka: &config::Kafka) -> Result<ClientConfig, RunError> {
    over(ClientConfig::new(), kafka)
}

/// The user's librdkafka keys over ours.
pub(crate) fn over(mut config: ClientConfig, kafka: &config::Kafka) -> Result<ClientConfig, RunError> {
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
