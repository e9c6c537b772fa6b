//! A reader that is there while the faults happen, from the beginning to the end: of committed data, as a rule.
//! In: a broker and topics (they may not be there yet). Out: every message in the order it was handed out, and when.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::{self, Client, Message};
use crate::poll;

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    messages: BTreeMap<String, Vec<Message>>,
    arrivals: Vec<Instant>,
    /// Next offset to be read, by topic and partition: markers of transactions count.
    next: BTreeMap<(String, i32), i64>,
    errors: u64,
}

/// A running reader; dropping it ends it.
#[derive(Debug)]
pub struct Watcher {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts to read what is committed; it waits for its topics.
    pub fn start(client: &Client, topics: &[String]) -> Self {
        Self::start_as("read_committed", client, topics)
    }

    /// As [`Watcher::start`], with this isolation level of the client.
    pub fn start_as(level: &'static str, client: &Client, topics: &[String]) -> Self {
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (inner, halt, client, topics) = (seen.clone(), stop.clone(), client.clone(), topics.to_vec());
        let thread = thread::spawn(move || watch(level, &client, &topics, &inner, &halt));
        Self { seen, stop, thread: Some(thread) }
    }

    fn with<T>(&self, f: impl FnOnce(&Seen) -> T) -> T {
        f(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Messages seen so far, of all topics.
    pub fn count(&self) -> usize {
        self.with(|s| s.arrivals.len())
    }

    /// The longest time between two messages that came within this span.
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let inside: Vec<Instant> =
            self.with(|s| s.arrivals.iter().copied().filter(|a| (from..=to).contains(a)).collect());
        let edges = [&[from][..], &inside, &[to]].concat();
        edges.windows(2).map(|w| w[1] - w[0]).max().unwrap_or_default()
    }

    /// Errors that it read over.
    pub fn errors(&self) -> u64 {
        self.with(|s| s.errors)
    }

    /// Waits until it has read a topic to these ends; what it saw, in the order in which it came.
    pub fn to_end(&self, topic: &str, ends: &[i64]) -> Result<Vec<Message>, String> {
        let next = |p: usize| self.with(|s| s.next.get(&(topic.to_owned(), p as i32)).copied().unwrap_or(0));
        let reached =
            poll(Duration::from_secs(60), || (0..ends.len()).all(|p| next(p) >= ends[p]).then_some(()));
        let at: Vec<i64> = (0..ends.len()).map(next).collect();
        reached.ok_or_else(|| format!("the reader of {topic} stands at {at:?}, the ends are {ends:?}"))?;
        Ok(self.with(|s| s.messages.get(topic).cloned().unwrap_or_default()))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(level: &str, client: &Client, topics: &[String], seen: &Mutex<Seen>, stop: &AtomicBool) {
    let mut config = client.config();
    config.set("group.id", client.unique("watcher")).set("enable.auto.commit", "false");
    config.set("isolation.level", level).set("fetch.wait.max.ms", "50");
    // As `docs/reliability.md` says that readers of alarms should: by default they ask every five minutes.
    config.set("topic.metadata.refresh.interval.ms", "1000");
    let consumer: BaseConsumer = config.create().expect("consumer");
    let mut list = TopicPartitionList::new();
    for topic in topics {
        while !stop.load(Ordering::Relaxed) {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(1)).ok();
            let count = metadata.and_then(|m| Some(m.topics().first()?.partitions().len() as i32));
            if let Some(count) = count.filter(|n| *n > 0) {
                for p in 0..count {
                    list.add_partition_offset(topic, p, Offset::Beginning).expect("assignment");
                }
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    consumer.assign(&list).expect("assign");
    let mut looked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let message = consumer.poll(Duration::from_millis(50));
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match message {
            None => {}
            Some(Err(_)) => seen.errors += 1,
            Some(Ok(m)) => {
                seen.arrivals.push(Instant::now());
                seen.messages.entry(m.topic().to_owned()).or_default().push(kafka::own(&m));
            }
        }
        if looked.elapsed() > Duration::from_millis(100) {
            looked = Instant::now();
            let position = consumer.position().map(|p| p.to_topic_map()).unwrap_or_default();
            let known = position.into_iter().filter_map(|(place, o)| Some((place, o.to_raw()?)));
            seen.next.extend(known.filter(|(_, o)| *o >= 0));
        }
    }
}
