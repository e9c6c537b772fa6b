//! `auscult send`: recordings or simulated beds as frames on Kafka.
//! In: recordings, or a number of beds. Out: records keyed by patient; timestamps of what is sent live are true, those
//! of anything else are as if each frame had left when its last sample was taken.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use auscult_operators::signal::{EventTime, Frame, Span};
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;
use serde_json::json;

use super::feed::{Feed, FeedArgs, start_time};
use super::replay::progress;
use super::run::stop_flag;
use super::{broker, check, say};
use crate::clock;
use crate::config::Kafka;
use crate::decode::encode;
use crate::error::RunError;
use crate::source::crowd::Crowd;
use crate::source::kafka::{client, frames_topic};
use crate::source::recording::timestamp;

/// Paced frames leave in groups at most so far apart: nobody sees the difference, and the sender sleeps.
const PACE: Duration = Duration::from_millis(2);

/// After the last frame, how long the broker is waited for: longer than the client itself waits for a single message
/// (`message.timeout.ms`, five minutes unless set); and once told to stop.
const GIVEN_UP: Duration = Duration::from_secs(310);
const STOPPED: Duration = Duration::from_secs(8);

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
    /// How many times real time; `max` (or 0) is as fast as it goes.
    #[arg(long, default_value = "max", value_parser = speed)]
    speed: f64,
    /// Simulated beds instead of recordings, spread evenly over each second.
    #[arg(long)]
    simulate: Option<usize>,
    /// Seconds of event time to simulate.
    #[arg(long = "for", default_value_t = 60.0)]
    for_s: f64,
    /// Seed of the simulation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Do not say at the end that the simulated beds are gone.
    #[arg(long)]
    open_end: bool,
    /// Write what was simulated to this JSON file: with it, the same bytes can be sent again.
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Write which patient plays which recording to this JSON file.
    #[arg(long)]
    map: Option<PathBuf>,
}

fn speed(text: &str) -> Result<f64, String> {
    match text {
        "max" => Ok(0.0),
        _ => text
            .parse()
            .ok()
            .filter(|s: &f64| s.is_finite() && *s >= 0.0)
            .ok_or_else(|| "expected `max` or how many times real time, for example 1 or 2.5".into()),
    }
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
        Some(beds) => simulate(args, beds, &mut sender)?,
        None => {
            let feed = Feed::open(&args.feed)?;
            if let Some(path) = &args.map {
                std::fs::write(path, feed.map().to_string()).map_err(RunError::io("write", path))?;
            }
            let bar = progress(feed.expected());
            for frame in feed.frames() {
                bar.inc(1);
                sender.wait_for(frame.end());
                if !sender.frame(&frame, timestamp(&frame))? {
                    break;
                }
            }
        }
    }
    sender.finish()
}

/// Simulated beds: every second, one bed after the other.
fn simulate(args: &Args, beds: usize, sender: &mut Sender) -> Result<(), RunError> {
    let span = Span::from_seconds(args.for_s);
    // Paced, the beds live now; unpaced, they have just lived.
    let now = (args.speed > 0.0).then_some("now");
    let asked = args.feed.start.as_deref().or(now);
    let seconds = args.for_s.ceil().max(0.0) as u64;
    let mut crowd = Crowd::draw(args.seed, beds, start_time(asked, span)?, seconds);
    let bar = progress(beds as u64 * seconds);
    let live = asked == Some("now") && args.speed == 1.0;
    if live {
        // What is sent live leaves when it is whole, and bears the time at which it left. Drawing took a while.
        crowd = crowd.starting(clock::now() + Span::EPOCH);
        let left = (crowd.start() - clock::now()).seconds().max(0.0);
        sender.began = Some((crowd.start(), clock::instant() + Duration::from_secs_f64(left)));
    }
    let start = crowd.start();
    let (mut message, mut second, mut stopped) = (Vec::with_capacity(4096), 0, false);
    while second < seconds && !stopped {
        let end = start + Span::from_seconds((second + 1) as f64);
        for bed in 0..crowd.beds() {
            let sent_at = end + crowd.phase(bed);
            sender.wait_for(sent_at);
            if crowd.frame(bed, second, &mut message) {
                let time = if live { clock::now() } else { sent_at };
                stopped |= !sender.message(crowd.patient(bed), &message, time)?;
            }
        }
        bar.inc(crowd.beds() as u64);
        second += 1;
    }
    if live {
        let by_ms = sender.late.as_millis() as u64;
        tracing::info!(by_ms, "the latest frame left late by this much");
    }
    if !args.open_end {
        let time = start + Span::from_seconds((second + 1) as f64);
        for bed in 0..crowd.beds() {
            sender.frame(&crowd.end(bed, second), if live { clock::now() } else { time })?;
        }
    }
    if let Some(path) = &args.manifest {
        let body = json!({
            "seed": args.seed, "beds": beds, "start_us": start.micros(), "seconds": seconds, "frames": sender.sent,
            "sent_seconds": second, "live": live, "open_end": args.open_end,
        });
        std::fs::write(path, body.to_string()).map_err(RunError::io("write", path))?;
    }
    Ok(())
}

/// Counts what could not be delivered.
struct Deliveries {
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Sender {
    producer: BaseProducer<Deliveries>,
    topic: String,
    speed: f64,
    began: Option<(EventTime, Instant)>,
    sent: u64,
    /// By how much the latest frame left after its time.
    late: Duration,
    stop: Arc<AtomicBool>,
}

impl Sender {
    fn open(kafka: &Kafka, topic: String, speed: f64) -> Result<Self, RunError> {
        let mut config = client(kafka)?;
        config
            .set("enable.idempotence", "true")
            .set("compression.codec", "lz4")
            .set("linger.ms", "5")
            .set("batch.size", "262144")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "262144")
            .set("partitioner", "murmur2_random");
        let deliveries = Deliveries { failed: AtomicU64::new(0) };
        let producer =
            config.create_with_context(deliveries).map_err(RunError::kafka("create a producer"))?;
        Ok(Self { producer, topic, speed, began: None, sent: 0, late: Duration::ZERO, stop: stop_flag()? })
    }

    /// Sends a frame; false once told to stop.
    fn frame(&mut self, frame: &Frame, time: EventTime) -> Result<bool, RunError> {
        self.message(frame.patient.expose(), &encode(frame), time)
    }

    /// Sends a message; false once told to stop.
    fn message(&mut self, key: &str, value: &[u8], time: EventTime) -> Result<bool, RunError> {
        let mut record = BaseRecord::to(&self.topic).key(key).payload(value).timestamp(time.millis());
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

    /// Waits until what ends then is due.
    fn wait_for(&mut self, end: EventTime) {
        if self.speed <= 0.0 {
            return;
        }
        let (first, began) = *self.began.get_or_insert((end, clock::instant()));
        let due = began + Duration::from_secs_f64(((end - first).seconds() / self.speed).max(0.0));
        while !self.stop.load(Ordering::Relaxed) {
            let now = clock::instant();
            let left = due.saturating_duration_since(now);
            if left.is_zero() {
                self.late = self.late.max(now - due);
                break;
            }
            // A sleep, not a poll: the client rounds shorter times down to none, and would spin.
            std::thread::sleep(left.clamp(PACE, Duration::from_millis(50)));
            self.producer.poll(Duration::ZERO);
        }
    }

    /// Waits until each frame is taken, or given up by the client, which takes a broker's absence of five minutes.
    fn finish(self) -> Result<(), RunError> {
        let began = clock::instant();
        let mut told = began;
        let limit = || if self.stop.load(Ordering::Relaxed) { STOPPED } else { GIVEN_UP };
        while let Err(e) = self.producer.flush(Timeout::After(Duration::from_secs(1))) {
            if began.elapsed() > limit() {
                return Err(RunError::kafka("send the last frames")(e));
            }
            if told.elapsed() > Duration::from_secs(10) {
                told = clock::instant();
                let frames = self.producer.in_flight_count();
                tracing::warn!(code = "send_waits", frames, "the broker has not taken the last frames yet");
            }
        }
        let failed = self.producer.context().failed.load(Ordering::Relaxed);
        if failed > 0 {
            let code = RDKafkaErrorCode::MessageTimedOut;
            tracing::error!(code = "not_sent", frames = failed, "frames were not taken by the broker");
            return Err(RunError::kafka("send every frame")(KafkaError::MessageProduction(code)));
        }
        say::line(format_args!("frames sent: {}", self.sent))
    }
}
