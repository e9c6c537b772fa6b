//! Taking partitions over: their state records are read, on threads of their own, while other partitions go on.
//! In: gained partitions. Out: of each a shard and where to begin to read; or why it cannot be read.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use crate::clock;
use crate::config;
use crate::error::RunError;
use crate::failpoint;
use crate::plan::Plan;
use crate::shard::Shard;
use crate::sink::archive::last_held;
use crate::sink::kafka::{TOLD_BY, end_of};
use crate::source::kafka::{Group, heals, over, swift};
use crate::state::{Report, Restore, Start};

/// Partitions that are taken over at the same time.
const THREADS: usize = 4;
/// How long one request may take before it is asked again.
const WAIT: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(200);
/// Between two looks for an owner that has died.
const LOOK: Duration = Duration::from_secs(1);
/// So many of the last state records are asked who wrote them.
const TAIL: i64 = 500;
/// An open transaction of the last owner ends within its time limit of 10 s; one that is open for longer than this may
/// never end.
const HANGS: Duration = Duration::from_secs(25);

/// Why a partition is not read: nothing of it is told until somebody has looked.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// Stable code.
    pub(super) code: &'static str,
    /// For people.
    pub(super) why: String,
}

/// What came of a take-over.
pub(super) type Outcome = Result<(Box<Shard>, Start), Refused>;

/// What every take-over needs to know.
pub(super) struct Site {
    pub(super) kafka: config::Kafka,
    pub(super) plan: Arc<Plan>,
    pub(super) group: Group,
    pub(super) archive: Option<PathBuf>,
}

/// One partition to be taken over, unless its owner has given it up meanwhile.
struct Job {
    partition: i32,
    abandoned: Arc<AtomicBool>,
}

/// The take-overs.
pub(super) struct Restorer {
    site: Arc<Site>,
    jobs: Sender<Job>,
    /// Shared by the threads.
    waiting: Arc<Mutex<Receiver<Job>>>,
    threads: usize,
    done_to: Sender<(i32, Arc<AtomicBool>, Outcome)>,
    done: Receiver<(i32, Arc<AtomicBool>, Outcome)>,
}

impl Restorer {
    pub(super) fn new(site: Site) -> Self {
        let (jobs, waiting) = channel();
        let (done_to, done) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        Self { site: Arc::new(site), jobs, waiting, threads: 0, done_to, done }
    }

    /// Begins a take-over. The flag returned abandons it.
    pub(super) fn begin(&mut self, partition: i32) -> Arc<AtomicBool> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let _ = self.jobs.send(Job { partition, abandoned: abandoned.clone() });
        if self.threads < THREADS {
            self.threads += 1;
            let (site, waiting, to) = (self.site.clone(), self.waiting.clone(), self.done_to.clone());
            thread::spawn(move || {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = next else { return };
                    if let Some(outcome) = job.run(&site) {
                        let _ = to.send((job.partition, job.abandoned, outcome));
                    }
                }
            });
        }
        abandoned
    }

    /// Take-overs that have come to an end.
    pub(super) fn done(&self) -> Vec<(i32, Outcome)> {
        let wanted = |d: &(i32, Arc<AtomicBool>, Outcome)| !d.1.load(Ordering::Relaxed);
        self.done.try_iter().filter(wanted).map(|(p, _, outcome)| (p, outcome)).collect()
    }
}

impl Job {
    /// `None` once it is abandoned.
    fn run(&self, site: &Site) -> Option<Outcome> {
        let began = clock::instant();
        let (restore, told) = match self.settled_state(site)? {
            Ok(found) => found,
            Err(refused) => return Some(Err(refused)),
        };
        let (first, end) = self.ask(|| site.group.reach(self.partition, WAIT))?;
        let (worker, mut start, report) = restore.finish(told, site.archive.is_some());
        self.say(&report);
        if let Some(refused) = self.too_far(site, told.max(start.offset), end) {
            return Some(Err(refused));
        }
        if start.offset < first && told > 0 {
            let what =
                "the log no longer holds what the state is to be built from: it is built from what is left";
            warn!(code = "log_shortened", partition = self.partition, wanted = start.offset, first, "{what}");
        }
        start.offset = start.offset.max(first);
        let took_ms = began.elapsed().as_millis() as u64;
        info!(
            partition = self.partition,
            told_below = told,
            from = start.offset,
            to_read_again = told - start.offset,
            patients = report.restored,
            took_ms,
            "partition taken over"
        );
        let worker = worker.of_partition(self.partition);
        Some(Ok((Box::new(Shard::taken_over(worker, &start)), start)))
    }

    /// A topic that was deleted and made again has the old offsets behind its end: going on would pass over new
    /// records without a word.
    fn too_far(&self, site: &Site, told: i64, end: i64) -> Option<Refused> {
        let refused = |what: String| {
            let why = format!(
                "{what}, but the log of partition {} ends at {end}: the frames topic was made anew; use another \
                 `kafka.group` with empty state and archive, or set its offsets back",
                self.partition
            );
            Some(Refused { code: "topic_made_anew", why })
        };
        if told > end {
            return refused(format!("records below offset {told} were told"));
        }
        let root = site.archive.as_ref()?;
        match last_held(root, site.group.topic(), self.partition) {
            Ok(Some(to)) if to >= end => refused(format!("the archive holds records up to offset {to}")),
            Ok(_) => None,
            Err(e) => Some(Refused { code: "archive", why: e.to_string() }),
        }
    }

    fn say(&self, report: &Report) {
        for (code, (count, why)) in &report.unreadable {
            let what = "state records cannot be used; what they held is computed again from the log";
            warn!(code, partition = self.partition, count, why, "{what}");
        }
        if report.fell_back + report.lost + report.anew > 0 {
            let Report { fell_back, lost, anew, .. } = report;
            warn!(code = "state_incomplete", partition = self.partition, fell_back, lost, anew, "state");
        }
    }

    /// The state records and the committed offset, with no transaction open between them. A reader of committed
    /// records sees nothing behind an open transaction: a snapshot that stands there would be written over by somebody
    /// who has not seen it.
    fn settled_state(&self, site: &Site) -> Option<Result<(Restore, i64), Refused>> {
        let topic = format!("{}state", site.kafka.prefix);
        let readers = reader(&site.kafka, "read_committed")
            .and_then(|c| Ok((c, reader(&site.kafka, "read_uncommitted")?)));
        let (committed, all) = match readers {
            Ok(readers) => readers,
            Err(e) => return Some(Err(self.unread(&topic, &e.to_string()))),
        };
        let mut died = Died::default();
        loop {
            let end = self.wait_until_stable(site, &topic, (&committed, &all), &mut died)?;
            let mut restore = Restore::new(site.plan.clone());
            if let Err(refused) = self.read_state(&topic, &committed, &mut restore)? {
                return Some(Err(refused));
            }
            // After the state: its mark is then never ahead of what is committed.
            let told = self.told(site, &topic, &all, &mut died)?;
            // Somebody who was about to lose the partition may have committed meanwhile.
            if self.ask(|| all.fetch_watermarks(&topic, self.partition, WAIT))?.1 == end {
                return Some(Ok((restore, told.get(&self.partition).copied().unwrap_or(0))));
            }
        }
    }

    fn unread(&self, topic: &str, why: &str) -> Refused {
        let why = format!("cannot read partition {} of topic {topic}: {why}", self.partition);
        Refused { code: "state_topic", why }
    }

    /// Reads the state partition whole.
    fn read_state(
        &self,
        topic: &str,
        consumer: &BaseConsumer,
        restore: &mut Restore,
    ) -> Option<Result<(), Refused>> {
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(topic, self.partition, Offset::Beginning)
            .and_then(|()| consumer.assign(&list));
        if let Err(e) = assigned {
            return Some(Err(self.unread(topic, &e.to_string())));
        }
        loop {
            if self.abandoned.load(Ordering::Relaxed) {
                return None;
            }
            match consumer.poll(AGAIN) {
                None => {}
                Some(Ok(record)) => {
                    failpoint::hit(failpoint::IN_RESTORE);
                    restore.take(record.key().unwrap_or_default(), record.payload());
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Some(Ok(())),
                Some(Err(e)) if heals(&e) => {}
                Some(Err(e)) => return Some(Err(self.unread(topic, &e.to_string()))),
            }
        }
    }

    /// Waits until no transaction is open in the state partition: there may be more behind one. That of a predecessor
    /// that died is aborted once it times out. The end of the partition then.
    fn wait_until_stable(
        &self,
        site: &Site,
        topic: &str,
        (committed, all): (&BaseConsumer, &BaseConsumer),
        died: &mut Died,
    ) -> Option<i64> {
        let (began, mut said, mut warned) = (clock::instant(), false, false);
        loop {
            let end = self.ask(|| all.fetch_watermarks(topic, self.partition, WAIT))?.1;
            let stable = self.ask(|| committed.fetch_watermarks(topic, self.partition, WAIT))?.1;
            if stable >= end {
                return Some(end);
            }
            if !said {
                info!(partition = self.partition, "waiting for a transaction of the last owner to end");
                said = true;
            }
            died.end(site, || self.last_owner(topic, all));
            if !warned && began.elapsed() > HANGS {
                let what = "a transaction stays open in the state topic and nothing of the partition is told: \
                            `kafka-transactions.sh find-hanging` shows it, `abort` ends it";
                warn!(code = "transaction_hangs", topic, partition = self.partition, from = stable, "{what}");
                warned = true;
            }
            thread::sleep(AGAIN / 4);
        }
    }

    /// Below which offset everything is told. An open transaction holds that as well, and need not have a record in the
    /// state topic; the client then goes on asking until its time is over, which is short at first for that reason.
    fn told(
        &self,
        site: &Site,
        topic: &str,
        all: &BaseConsumer,
        died: &mut Died,
    ) -> Option<BTreeMap<i32, i64>> {
        let (died, wait) = (RefCell::new(died), Cell::new(WAIT / 3));
        self.ask(|| {
            let found = site.group.committed(&[self.partition], wait.replace(WAIT));
            if found.is_err() {
                died.borrow_mut().end(site, || self.last_owner(topic, all));
            }
            found
        })
    }

    /// The instance that wrote the last state record, committed or not.
    fn last_owner(&self, topic: &str, all: &BaseConsumer) -> Option<String> {
        let end = all.fetch_watermarks(topic, self.partition, WAIT).ok()?.1;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, self.partition, Offset::Offset((end - TAIL).max(0))).ok()?;
        all.assign(&list).ok()?;
        let (began, mut last) = (clock::instant(), None);
        while began.elapsed() < WAIT {
            match all.poll(AGAIN) {
                Some(Ok(record)) => {
                    let headers = record.headers().into_iter().flat_map(|h| h.iter());
                    let told_by = headers.filter(|h| h.key == TOLD_BY).find_map(|h| h.value);
                    last = told_by.map(|name| String::from_utf8_lossy(name).into_owned()).or(last);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                _ => {}
            }
        }
        all.unassign().ok()?;
        last
    }

    /// Asks until there is an answer.
    fn ask<T>(&self, question: impl Fn() -> Result<T, KafkaError>) -> Option<T> {
        let mut tries = 0u32;
        while !self.abandoned.load(Ordering::Relaxed) {
            match question() {
                Ok(answer) => return Some(answer),
                Err(e) => {
                    if tries.is_multiple_of(20) {
                        let partition = self.partition;
                        warn!(code = "take_over", partition, error = %e, "the take-over waits for the broker");
                    }
                    tries += 1;
                    thread::sleep(AGAIN);
                }
            }
        }
        None
    }
}

/// An owner that has died in a transaction. The broker ends that after its time limit, and looks for such only every
/// ten seconds; whoever takes over has no reason to wait for it once the group knows that the owner is gone.
#[derive(Default)]
struct Died {
    looked: Option<Instant>,
    ended: bool,
}

impl Died {
    /// Ends its transaction, once.
    fn end(&mut self, site: &Site, last_owner: impl Fn() -> Option<String>) {
        if self.ended || self.looked.is_some_and(|l| l.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(clock::instant());
        let Some(instance) = last_owner().filter(|i| *i != site.kafka.instance) else { return };
        match site.group.members(WAIT) {
            // One that does not find itself there does not know its members by these names.
            Ok(members) if members.instances.contains(&site.kafka.instance) => {
                if members.instances.contains(&instance) {
                    return;
                }
            }
            _ => return,
        }
        info!(instance, "the last owner has died in a transaction, which is ended for it");
        match end_of(&site.kafka, &instance) {
            Ok(()) => self.ended = true,
            Err(e) => debug!(error = ?e, "the transaction of the last owner is not ended yet"),
        }
    }
}

/// A consumer that reads one partition to its end, outside the group.
fn reader(kafka: &config::Kafka, isolation: &str) -> Result<BaseConsumer, RunError> {
    let mut config = ClientConfig::new();
    config.set("fetch.wait.max.ms", "10").set("fetch.message.max.bytes", "2097152");
    config.set("queued.max.messages.kbytes", "32768");
    swift(&mut config);
    let mut config = over(config, kafka)?;
    config
        .set("group.id", format!("{}.state", kafka.group))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", isolation);
    config.remove("group.instance.id");
    config.create().map_err(RunError::kafka("create a consumer of the state topic"))
}

/// Of partitions that are not read: why.
pub(super) type Refusals = BTreeMap<i32, Refused>;
