//! The transactional producer: outputs and consumed offsets go through together, or not at all.
//! In: outputs as they come, then the offsets behind them. Out: told once, or an error after which nothing is known.
//!
//! librdkafka speaks the transaction protocol without KIP-890: after a commit or an offset send whose end is not known,
//! the stale request may still arrive. So the producer is made again under the same transactional id, which fences it,
//! and the committed offsets say whether it went through. What is told again bears the same ids.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;
use tracing::debug;

use super::Output;
use crate::clock;
use crate::config;
use crate::error::RunError;
use crate::failpoint;
use crate::source::kafka::{Group, over, swift};

/// Between two looks at what was delivered.
const MOMENT: Duration = Duration::from_millis(1);
/// How long one request to the coordinator may take before it is asked whether to go on.
const SLICE: Duration = Duration::from_millis(500);
/// How long the group may take to say what it has committed, before it is asked again.
const COMMITTED: Duration = Duration::from_secs(1);
/// How long outputs, offsets or a commit may take before the producer is given up: a broker that says nothing is asked
/// for so long, and a new producer speaks to the others only. A little longer than brokers that are set up for it need
/// to give a silent one of theirs up: then most of what waited goes through, and a new producer is sent the right way.
const PATIENCE: Duration = Duration::from_secs(4);
/// The same for a producer whose predecessor was given up before it had committed anything: the line may just be slow.
/// Less than the transaction's own timeout.
const LONG_PATIENCE: Duration = Duration::from_secs(6);
/// How long a new producer may take to get its id at first, and at most; twice as long each time. A client goes on
/// asking a coordinator that says nothing, and only a new one asks the others who coordinates now.
const GET_ID: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// A client gives a request up, and may ask again, so much later than we give the client up.
const LATER: Duration = Duration::from_secs(1);

/// Why a transaction, or taking over its id, did not end well.
#[derive(Debug)]
pub enum Failure {
    /// It may go better with a new producer.
    Heals(KafkaError),
    /// The id was taken by another process, or its transaction had timed out.
    Fenced,
    /// It will never go well.
    Broken(RunError),
}

impl From<KafkaError> for Failure {
    fn from(e: KafkaError) -> Self {
        match e.rdkafka_error_code() {
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => Self::Fenced,
            Some(
                Code::TransactionalIdAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::InvalidTransactionTimeout,
            ) => Self::Broken(RunError::kafka("commit transactions")(e)),
            _ => Self::Heals(e),
        }
    }
}

/// The transactional producer of this instance.
pub struct Transactions {
    config: ClientConfig,
    /// Shared with a request for offsets that hangs, until that ends.
    producer: Option<Arc<BaseProducer>>,
    group: Group,
    patience: Duration,
    /// When it was made, and how long it may take to get its id.
    made: Instant,
    get_id: Duration,
    /// Of this producer's transactions: whether one was opened, and whether one was brought to its end.
    tried: Cell<(bool, bool)>,
}

impl Transactions {
    /// Configured, not connected.
    ///
    /// # Errors
    /// [`RunError::Secret`] if the configuration refers to a secret that is not there.
    pub fn new(kafka: &config::Kafka, group: Group) -> Result<Self, RunError> {
        let config = settings(kafka, &kafka.instance)?;
        let (made, get_id) = (clock::instant(), GET_ID.0);
        Ok(Self { config, producer: None, group, patience: PATIENCE, made, get_id, tried: Cell::default() })
    }

    /// Lets go of the producer, and with it of all it has not sent.
    pub fn let_go(&mut self) {
        self.producer = None;
    }

    /// Takes the place of this instance: whatever was left open under its id is aborted. May be called again after
    /// [`Failure::Heals`], and then goes on where it was, or begins anew if that has taken long.
    ///
    /// # Errors
    /// [`Failure`], after half a second at most.
    pub fn connect(&mut self) -> Result<(), Failure> {
        if self.producer.is_none() {
            self.patience = if self.tried.take() == (true, false) { LONG_PATIENCE } else { PATIENCE };
            let made = patient(&self.config, self.patience).create();
            let made = made.map_err(|e| Failure::Broken(RunError::kafka("create a producer")(e)))?;
            (self.producer, self.made) = (Some(Arc::new(made)), clock::instant());
        }
        let result = self.producer()?.init_transactions(Timeout::After(SLICE));
        match &result {
            Ok(()) => self.get_id = GET_ID.0,
            Err(KafkaError::Transaction(t)) if t.is_retriable() => {
                if self.made.elapsed() > self.get_id {
                    self.get_id = (self.get_id * 2).min(GET_ID.1);
                    self.let_go();
                }
            }
            Err(_) => self.let_go(),
        }
        Ok(result?)
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// [`Failure`]
    pub fn begin(&self) -> Result<(), Failure> {
        self.producer()?.begin_transaction()?;
        self.tried.set((true, self.tried.get().1));
        Ok(())
    }

    /// Hands one output to the client, which sends it soon.
    ///
    /// # Errors
    /// [`Failure`]
    pub fn tell(&self, output: &Output) -> Result<(), Failure> {
        let producer = self.producer()?;
        let mut headers = OwnedHeaders::new_with_capacity(output.headers.len());
        for (key, value) in &output.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record = BaseRecord::to(&output.topic).key(&output.key).headers(headers);
        if let Some(value) = &output.value {
            record = record.payload(value);
        }
        if let Some(partition) = output.partition {
            record = record.partition(partition);
        }
        let began = clock::instant();
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((e @ KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    if began.elapsed() > self.patience {
                        return Err(e.into());
                    }
                    record = back;
                    failpoint::hit(failpoint::PRODUCER_FULL);
                    producer.poll(Duration::from_millis(10));
                }
                Err((e, _)) => return Err(e.into()),
            }
        }
    }

    /// Lets the client take note of what was delivered.
    pub fn poll(&self) {
        if let Some(producer) = &self.producer {
            producer.poll(Duration::ZERO);
        }
    }

    /// Brings what was told since [`Transactions::begin`] to the broker, with the offsets behind it. Gives up early
    /// once `go_on` says no.
    ///
    /// # Errors
    /// [`Failure`]: then the transaction will not go through.
    pub fn deliver(&self, next: &BTreeMap<i32, i64>, go_on: &dyn Fn() -> bool) -> Result<(), Failure> {
        failpoint::hit(failpoint::BEFORE_SEND_OFFSETS);
        self.send_offsets(next)?;
        failpoint::hit(failpoint::AFTER_SEND_OFFSETS);
        self.flush(go_on)
    }

    fn send_offsets(&self, next: &BTreeMap<i32, i64>) -> Result<(), Failure> {
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next {
            offsets.add_partition_offset(self.group.topic(), *partition, Offset::Offset(*offset))?;
        }
        let metadata = self.group.metadata().ok_or(KafkaError::MessageProduction(Code::UnknownMemberId))?;
        let (producer, wait) = (self.producer()?.clone(), self.patience);
        // On a thread of its own: however short the time that it is given, the client waits for the first of its
        // requests until the socket's is over. What hangs ends with a producer that is let go, and fenced by the next.
        let (to, answer) = channel();
        let ask = move || {
            let sent = producer.send_offsets_to_transaction(&offsets, &metadata, Timeout::After(wait));
            // Before the answer: whoever has it may let go of the producer, and that is then the end of it.
            drop(producer);
            let _ = to.send(sent);
        };
        let asked = thread::Builder::new().name("offsets".into()).spawn(ask);
        asked.map_err(|_| KafkaError::MessageProduction(Code::CriticalSystemResource))?;
        Ok(answer.recv_timeout(wait).unwrap_or(Err(KafkaError::Flush(Code::OperationTimedOut)))?)
    }

    fn flush(&self, go_on: &dyn Fn() -> bool) -> Result<(), Failure> {
        let producer = self.producer()?;
        // The wrapper's own flush listens for a tenth of a second each time, however soon all is delivered; and where
        // it is to listen for a millisecond, it spins.
        patiently(self.patience, go_on, || {
            let began = clock::instant();
            while producer.in_flight_count() > 0 {
                if began.elapsed() > SLICE {
                    return Err(KafkaError::Flush(Code::OperationTimedOut));
                }
                thread::sleep(MOMENT);
                producer.poll(Duration::ZERO);
            }
            Ok(())
        })
    }

    /// Commits what was delivered. Gives up early once `go_on` says no.
    ///
    /// # Errors
    /// [`Failure`]: then nothing is known, unless [`Transactions::committed`] says so.
    pub fn commit(&self, go_on: &dyn Fn() -> bool) -> Result<(), Failure> {
        let producer = self.producer()?;
        patiently(self.patience, go_on, || producer.commit_transaction(Timeout::After(SLICE)))?;
        self.tried.set((true, true));
        Ok(())
    }

    /// Aborts what was told since [`Transactions::begin`], in every partition that it has reached, and offsets of these
    /// partitions. Gives up early once `go_on` says no.
    ///
    /// # Errors
    /// [`Failure`]: then it may still be open.
    pub fn abort(&self, next: &BTreeMap<i32, i64>, go_on: &dyn Fn() -> bool) -> Result<(), Failure> {
        if let Err(e) = self.send_offsets(next) {
            // They are to be aborted as well: that the transaction has asked for their place is enough.
            debug!(error = ?e, "offsets of a transaction that is aborted");
        }
        // An abort drops what was not sent yet, and then nothing would be aborted where it was to go.
        self.flush(go_on)?;
        let producer = self.producer()?;
        patiently(self.patience, go_on, || producer.abort_transaction(Timeout::After(SLICE)))?;
        self.tried.set((true, true));
        Ok(())
    }

    /// Offsets committed for these partitions.
    ///
    /// # Errors
    /// [`Failure`] if the coordinator does not answer within a second.
    pub fn committed(&self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, Failure> {
        Ok(self.group.committed(partitions, COMMITTED)?)
    }

    fn producer(&self) -> Result<&Arc<BaseProducer>, KafkaError> {
        self.producer.as_ref().ok_or(KafkaError::MessageProduction(Code::State))
    }
}

/// Ends what another instance has left open, by taking its transactional id for a moment. Only for one that has died: a
/// living one takes its id back, and tells again what it was telling.
///
/// # Errors
/// [`Failure`]: then it may still be open.
pub fn end_of(kafka: &config::Kafka, instance: &str) -> Result<(), Failure> {
    let made: Result<BaseProducer, _> = settings(kafka, instance).map_err(Failure::Broken)?.create();
    let producer = made.map_err(|e| Failure::Broken(RunError::kafka("create a producer")(e)))?;
    patiently(LONG_PATIENCE, &|| true, || producer.init_transactions(Timeout::After(SLICE)))
}

fn settings(kafka: &config::Kafka, instance: &str) -> Result<ClientConfig, RunError> {
    let mut config = ClientConfig::new();
    config
        .set("compression.codec", "lz4")
        .set("linger.ms", "2")
        .set("retry.backoff.ms", "20")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("partitioner", "murmur2_random")
        .set("transaction.timeout.ms", "10000");
    swift(&mut config);
    config = over(config, kafka)?;
    let lives_ms = config.get("transaction.timeout.ms").and_then(|t| t.parse::<u64>().ok()).unwrap_or(10_000);
    config
        .set("transactional.id", format!("{}-{instance}", kafka.group))
        .set("enable.idempotence", "true")
        .set("socket.timeout.ms", lives_ms.saturating_sub(1_000).max(500).to_string());
    Ok(config)
}

/// The settings of a producer that is given up after so long.
///
/// Its requests last longer than a commit is waited for: a client that asks for the end of a transaction a second time,
/// because the first answer was late, may find that the first ends the next transaction, in its middle. And a
/// transaction must outlive its requests.
fn patient(config: &ClientConfig, patience: Duration) -> ClientConfig {
    let mut config = config.clone();
    let lives = config.get("socket.timeout.ms").and_then(|t| t.parse().ok()).map(Duration::from_millis);
    let wait = (patience + SLICE + LATER).min(lives.unwrap_or(Duration::MAX));
    config.set("socket.timeout.ms", wait.as_millis().to_string());
    config
}

/// Asks after a request again while it goes on, for so long at most.
fn patiently(
    patience: Duration,
    go_on: &dyn Fn() -> bool,
    ask: impl Fn() -> Result<(), KafkaError>,
) -> Result<(), Failure> {
    let began = clock::instant();
    loop {
        match ask() {
            Ok(()) => return Ok(()),
            Err(e) if slow(&e) && began.elapsed() < patience && go_on() => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Whether the request goes on and may be asked after again.
fn slow(e: &KafkaError) -> bool {
    match e {
        KafkaError::Transaction(t) => t.is_retriable(),
        KafkaError::Flush(code) => *code == Code::OperationTimedOut,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests;
