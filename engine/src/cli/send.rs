//! `auscult send`: recordings or simulated beds as frames on Kafka.
//! In: recordings, or a number of beds. Out: records keyed by patient; timestamps as if each frame had left when its
//! last sample was taken.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use auscult_datasets::simulate::Ward;
use auscult_operators::signal::{EventTime, Frame, Span};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;

use super::feed::{Feed, FeedArgs, start_time};
use super::replay::progress;
use super::run::stop_flag;
use super::{broker, check};
use crate::clock;
use crate::config::Kafka;
use crate::decode::encode;
use crate::error::RunError;
use crate::source::kafka::{client, frames_topic};
use crate::source::recording::timestamp;

/// Arguments of `auscult send`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    feed: FeedArgs,
    /// Configuration, for its `[kafka]` table.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Bootstrap servers, instead of the configuration's.
    #[arg(long)]
    brokers: Option<String>,
    /// Topic, instead of the configuration's.
    #[arg(long)]
    topic: Option<String>,
    /// How many times real time; 0 is as fast as it goes.
    #[arg(long, default_value_t = 0.0)]
    speed: f64,
    /// Simulated beds instead of recordings.
    #[arg(long)]
    simulate: Option<usize>,
    /// Seconds of event time to simulate.
    #[arg(long = "for", default_value_t = 60.0)]
    for_s: f64,
    /// Seed of the simulation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write which patient plays which recording to this JSON file.
    #[arg(long)]
    map: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    let (mut config, _) = check::load(args.config.as_deref(), false)?;
    if let Some(brokers) = &args.brokers {
        config.kafka.brokers.clone_from(brokers);
    }
    let topic = args.topic.clone().unwrap_or_else(|| frames_topic(&config.kafka));
    if args.topic.is_none() {
        broker::ensure(&config.kafka)?;
    }
    let mut sender = Sender::open(&config.kafka, topic, args.speed)?;
    match args.simulate {
        Some(beds) => {
            let span = Span::from_seconds(args.for_s);
            // Paced, the beds live now; unpaced, they have just lived.
            let paced = if args.speed > 0.0 { Some("now") } else { None };
            let start = start_time(args.feed.start.as_deref().or(paced), span)?;
            let mut ward = Ward::new(args.seed, beds, start);
            let bar = progress((beds as f64 * args.for_s) as u64);
            let until = start + span;
            for frame in ward.by_ref().take_while(|f| f.time < until) {
                bar.inc(1);
                if !sender.send(&frame)? {
                    break;
                }
            }
            for frame in ward.end() {
                sender.send(&frame)?;
            }
        }
        None => {
            let feed = Feed::open(&args.feed)?;
            if let Some(path) = &args.map {
                std::fs::write(path, feed.map().to_string()).map_err(RunError::io("write", path))?;
            }
            let bar = progress(feed.expected());
            for frame in feed.frames() {
                bar.inc(1);
                if !sender.send(&frame)? {
                    break;
                }
            }
        }
    }
    sender.finish()
}

struct Sender {
    producer: BaseProducer,
    topic: String,
    speed: f64,
    began: Option<(EventTime, std::time::Instant)>,
    sent: u64,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Sender {
    fn open(kafka: &Kafka, topic: String, speed: f64) -> Result<Self, RunError> {
        let mut config = client(kafka)?;
        config
            .set("enable.idempotence", "true")
            .set("compression.codec", "lz4")
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "200000")
            .set("partitioner", "murmur2_random");
        let producer = config.create().map_err(RunError::kafka("create a producer"))?;
        Ok(Self { producer, topic, speed, began: None, sent: 0, stop: stop_flag()? })
    }

    /// Sends one frame when its time has come; false once told to stop.
    fn send(&mut self, frame: &Frame) -> Result<bool, RunError> {
        self.wait_for(frame.end());
        let value = encode(frame);
        let key = frame.patient.expose();
        let mut record =
            BaseRecord::to(&self.topic).key(key).payload(&value).timestamp(timestamp(frame).millis());
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(5));
                }
                Err((e, _)) => return Err(RunError::kafka("send a frame")(e)),
            }
        }
        self.sent += 1;
        if self.sent.is_multiple_of(256) {
            self.producer.poll(Duration::ZERO);
        }
        Ok(!self.stop.load(Ordering::Relaxed))
    }

    fn wait_for(&mut self, end: EventTime) {
        if self.speed <= 0.0 {
            return;
        }
        let (first, began) = *self.began.get_or_insert((end, clock::instant()));
        let due = began + Duration::from_secs_f64(((end - first).seconds() / self.speed).max(0.0));
        while !self.stop.load(Ordering::Relaxed) {
            let left = due.saturating_duration_since(clock::instant());
            if left.is_zero() {
                break;
            }
            self.producer.poll(left.min(Duration::from_millis(50)));
        }
    }

    fn finish(self) -> Result<(), RunError> {
        self.producer
            .flush(Timeout::After(Duration::from_secs(60)))
            .map_err(RunError::kafka("send the last frames"))?;
        println!("frames sent: {}", self.sent);
        Ok(())
    }
}
