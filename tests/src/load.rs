//! A load on the real broker, measured: beds of `auscult send --simulate`, the service, a reader that waits for what
//! is told. In: a site. Out: latencies, processor time, memory and lag, as figures to print.
//!
//! A score of event time E is sealed by the frame of its bed that ends at E plus the allowed lateness. That frame
//! leaves at its end plus the bed's place in the second: from there on every millisecond is the engine's and the
//! broker's, and the sender's if it is late. Beds that fall silent for a while are left out: their last seconds are
//! sealed by the frame that comes when they are back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auscult::source::crowd::Crowd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::Client;

/// The lateness that the site's configuration allows.
const LATENESS_MS: i64 = 2_000;

/// The seed of `auscult send --simulate`.
const SEED: u64 = 1;

/// Wall-clock time in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock of this age")
}

/// One score or event as a waiting reader saw it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Partition of the frames behind it.
    pub input: i32,
    /// When its sealing frame left, ms since 1970.
    pub sealed_ms: i64,
    /// When the broker wrote it.
    pub written_ms: i64,
    /// When a reader of committed records had it.
    pub visible_ms: i64,
}

/// A reader of committed scores and events, from where they end now.
#[derive(Debug)]
pub struct Reader {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Begins to read. `beds` tells each bed's place in the second.
    pub fn start(client: &Client, topics: &[&str], partitions: i32, beds: usize) -> Self {
        let mut config = client.config();
        config.set("group.id", client.unique("load")).set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("fetch.wait.max.ms", "5");
        let consumer: BaseConsumer = config.create().expect("consumer");
        let mut list = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..partitions {
                list.add_partition_offset(topic, partition, Offset::End).expect("assignment");
            }
        }
        consumer.assign(&list).expect("assign");
        let silent = Crowd::falling_silent(SEED, beds);
        let (seen, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (into, until) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
                if let Some(one) = look(&message, &silent) {
                    let mut all: std::sync::MutexGuard<'_, Vec<Seen>> =
                        into.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(one);
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look<M: Message>(message: &M, silent: &[bool]) -> Option<Seen> {
    let visible_ms = now_ms();
    let header = |name: &str| {
        let found = message.headers()?.iter().find(|h| h.key == name)?.value?;
        std::str::from_utf8(found).ok().map(str::to_owned)
    };
    let event: jiff::Timestamp = header("ce_time")?.parse().ok()?;
    let bed: i64 = std::str::from_utf8(message.key()?).ok()?.strip_prefix("bed-")?.parse().ok()?;
    if *silent.get(usize::try_from(bed - 1).ok()?)? {
        return None;
    }
    let phase_ms = (bed - 1) * 1000 / i64::try_from(silent.len()).ok()?;
    Some(Seen {
        input: header("auscult_input_partition")?.parse().ok()?,
        sealed_ms: event.as_millisecond() + LATENESS_MS + phase_ms,
        written_ms: message.timestamp().to_millis()?,
        visible_ms,
    })
}

/// The part `q` of sorted numbers lies at or below this one.
pub fn quantile(sorted: &[i64], q: f64) -> i64 {
    let at = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

/// How late things were, in ms: how many, p50, p99, most.
pub fn spread(mut late: Vec<i64>) -> String {
    late.sort_unstable();
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|q| quantile(&late, q));
    format!("n {} p50 {p50} p99 {p99} max {most} ms", late.len())
}

/// Processor time and memory of processes, by name.
#[derive(Debug, Default)]
pub struct Meter {
    before: BTreeMap<String, (f64, i64)>,
}

impl Meter {
    /// Processor time of a process since the last call, in parts of a core, and its memory in MiB.
    pub fn read(&mut self, name: &str, pid: u32) -> (f64, u64) {
        let (cpu, at) = (cpu_seconds(pid), now_ms());
        let (was, then) = self.before.insert(name.to_owned(), (cpu, at)).unwrap_or((cpu, at));
        let cores = (cpu - was) / ((at - then) as f64 / 1000.0).max(0.001);
        (cores, memory_mib(pid))
    }
}

/// Processor seconds of a process so far; 0 once it is gone.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
    // Linux counts in hundredths of a second.
    ticks.iter().sum::<f64>() / 100.0
}

/// Resident memory of a process in MiB.
pub fn memory_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_own_memory() {
        let sorted: Vec<i64> = (1..=100).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| quantile(&sorted, q)), [1, 50, 99, 100]);
        assert_eq!(quantile(&[], 0.5), 0);
        assert!(memory_mib(std::process::id()) > 0);
        let mut meter = Meter::default();
        meter.read("me", std::process::id());
        let begun = std::time::Instant::now();
        let mut n = 0u64;
        while begun.elapsed() < Duration::from_millis(200) {
            n = n.wrapping_mul(31).wrapping_add(1);
        }
        assert!(meter.read("me", std::process::id()).0 > 0.05, "{n}");
    }
}
