//! The service: carries records to the shards and effects to the sinks, turn by turn.
//! In: a checked configuration. Out: outputs and offsets in transactions, until told to stop.
//!
//! The loop polls, steps and hands over, and never waits: `committer` tells and commits on a thread of its own,
//! `archiver` writes files on another, `restore` takes partitions over on others. What they have not done yet is
//! bounded; at the bound partitions are paused.

mod archiver;
mod committer;
mod handover;
mod hold;
mod ready;
mod restore;
mod status;
mod steps;
mod unowned;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use self::archiver::Archiver;
use self::committer::Committer;
use self::handover::Handover;
use self::hold::Hold;
use self::ready::wait_for_topics;
use self::restore::{Refusals, Restorer, Site};
use self::steps::{Job, Stepped, step_all};
use self::unowned::Unowned;
use crate::accounts::Accounts;
use crate::align::SampleCounts;
use crate::clock;
use crate::commands::Desk;
use crate::config::Config;
use crate::effects::Effect;
use crate::error::RunError;
use crate::failpoint;
use crate::metrics::Status;
use crate::plan::Plan;
use crate::shard::Shard;
use crate::shared::Shared;
use crate::sink::kafka::{SidePath, Telling, Transactions};
use crate::source::kafka::{Change, KafkaSource, frames_topic};
use crate::worker::Event;

/// From one turn to the next, while there is no backlog: a few records of each partition at once cost less.
const TURN: Duration = Duration::from_millis(15);
/// A turn with a backlog is to take about so long.
const BACKLOG_TURN: Duration = Duration::from_millis(40);
/// Most records of one partition in one turn, and fewest while catching up.
const SHARE: (usize, usize) = (64, 4_000);
/// How long what is in flight may take before partitions are given up without it.
const SETTLE: Duration = Duration::from_millis(2_000);
/// How long files and transactions may take at the end.
const LEAVE: Duration = Duration::from_secs(7);

/// How an owned partition stands.
enum Owned {
    /// Something of its earlier ownership is still being told.
    Settling,
    /// Its state is being read; the flag abandons that.
    Restoring(Arc<AtomicBool>),
    /// Its state is there, and its records are not read yet.
    Seeking(Box<Shard>, i64),
    /// It is being read.
    Reading(Box<Shard>),
    /// It is not read, see the refusals.
    Refused,
}

/// The running service.
struct Service<'a> {
    config: &'a Config,
    shared: Arc<Shared>,
    source: KafkaSource,
    handover: Arc<Handover>,
    telling: Telling,
    side: SidePath,
    desk: Desk,
    restorer: Restorer,
    unowned: Unowned,
    archiver: Option<Archiver>,
    owned: BTreeMap<i32, Owned>,
    refused: Refusals,
    /// When the broker last took transactions.
    reached: Instant,
    hold: Hold,
    /// Records of a partition in one turn, while it catches up.
    share: usize,
    status: Status,
    published: Instant,
    /// Accounts of partitions given up, as they were then: the mark brings them back with the partition.
    retired: BTreeMap<i32, (Accounts, SampleCounts)>,
}

/// Runs until `stop` is set. `ready` makes sure that the topics are there; it is asked until the broker answers.
///
/// # Errors
/// [`RunError`] if the outside world does not heal; whatever was not committed is told by the next process.
pub fn run(
    config: &Config,
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    stop: &AtomicBool,
    ready: impl Fn() -> Result<(), RunError> + Send + 'static,
) -> Result<(), RunError> {
    if !wait_for_topics(&shared, stop, ready)? {
        return Ok(());
    }
    let kafka = &config.kafka;
    let side = SidePath::open(kafka)?;
    let go_on = || {
        shared.touch();
        !stop.load(Ordering::Relaxed)
    };
    let source = KafkaSource::join(kafka, &go_on)?;
    let handover = Arc::new(Handover::default());
    let transactions = Transactions::new(kafka, source.group())?;
    let every = Duration::from_millis(kafka.commit_ms);
    let committer = Committer::new(transactions, handover.clone(), every, source.session());
    let committing = thread::spawn(move || committer.run());
    let archive = config.archive.dir.as_deref().map(Path::new);
    let site =
        Site { kafka: kafka.clone(), plan, group: source.group(), archive: archive.map(Path::to_path_buf) };
    let (now, unowned) = (clock::instant(), Unowned::start(&source.group()));
    let mut service = Service {
        config,
        shared,
        source,
        handover,
        telling: Telling::new(kafka),
        side,
        desk: Desk::new(&kafka.instance, clock::now()),
        restorer: Restorer::new(site),
        unowned,
        archiver: archive.map(|root| Archiver::start(root, &frames_topic(kafka))),
        owned: BTreeMap::new(),
        refused: Refusals::new(),
        reached: now,
        hold: Hold::default(),
        share: SHARE.0,
        status: Status::default(),
        published: now,
        retired: Default::default(),
    };
    info!(instance = kafka.instance, topic = frames_topic(kafka), "running");
    let result = service.until(stop);
    let ended = service.leave();
    drop(service);
    // One that hangs in a request ends with the process; its transaction is aborted by whoever comes next.
    if ended {
        let _ = committing.join();
    }
    result
}

impl Service<'_> {
    fn until(&mut self, stop: &AtomicBool) -> Result<(), RunError> {
        while !stop.load(Ordering::Relaxed) {
            let began = clock::instant();
            failpoint::hit(failpoint::BEFORE_POLL);
            if self.unowned.asked() {
                self.source.rejoin();
            }
            for change in self.source.serve()? {
                self.change(change)?;
            }
            self.take_over();
            self.hear_archive();
            self.balance();
            let more = if self.hold.holds() { false } else { self.turn()? };
            self.pass_time();
            self.publish();
            if let Some(e) = self.handover.take_error() {
                return Err(e);
            }
            if !more {
                thread::sleep(TURN.saturating_sub(began.elapsed()));
            }
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> Result<(), RunError> {
        match change {
            Change::Gain(partitions) => {
                info!(?partitions, "partitions gained");
                self.source.adopt(&partitions)?;
                partitions.iter().for_each(|p| drop(self.owned.insert(*p, Owned::Settling)));
            }
            Change::Lose { partitions, gone } => {
                info!(?partitions, gone, "partitions lost");
                if !gone {
                    self.give_up(&partitions, clock::instant() + SETTLE);
                }
                for p in &partitions {
                    self.forget(*p);
                }
                self.source.release(&partitions)?;
            }
        }
        Ok(())
    }

    /// Brings what is in flight of these partitions to its end: files, last snapshots, transactions.
    fn give_up(&mut self, partitions: &[i32], by: Instant) {
        let mut rolled = BTreeMap::new();
        for p in partitions {
            let Some(Owned::Reading(shard)) = self.owned.get_mut(p) else { continue };
            let effects = shard.worker.step(Event::Stop).list;
            match &self.archiver {
                Some(archiver) => {
                    archiver.take(*p, effects, 0);
                    rolled.insert(*p, shard.next);
                }
                None => self.save(*p),
            }
        }
        // A snapshot may only stand for what the archive holds.
        while !rolled.is_empty() && clock::instant() < by {
            let Some(archiver) = &self.archiver else { break };
            if archiver.failed() {
                break;
            }
            let ended: Vec<i32> = archiver.ended().into_iter().filter(|p| rolled.contains_key(p)).collect();
            for p in ended {
                let Some(next) = rolled.remove(&p) else { continue };
                if let Some(Owned::Reading(shard)) = self.owned.get_mut(&p) {
                    shard.worker.step(Event::Archived(next));
                }
                self.save(p);
            }
            thread::sleep(Duration::from_millis(2));
            self.shared.touch();
        }
        let shared = self.shared.clone();
        if !self.handover.settle(by, &|| shared.touch()) {
            warn!(code = "not_settled", "partitions are given up with a transaction in flight");
        }
    }

    /// Hands the last snapshots of a partition over.
    fn save(&mut self, partition: i32) {
        let Some(Owned::Reading(shard)) = self.owned.get_mut(&partition) else { return };
        let effects = shard.worker.step(Event::Save(shard.next)).list;
        if let Some(chunk) = steps::chunk(partition, shard, &effects, &[], 0, &self.telling) {
            self.handover.push(chunk);
        }
    }

    fn forget(&mut self, partition: i32) {
        self.handover.forget(partition);
        self.refused.remove(&partition);
        match self.owned.remove(&partition) {
            Some(Owned::Restoring(abandoned)) => abandoned.store(true, Ordering::Relaxed),
            Some(Owned::Seeking(shard, _) | Owned::Reading(shard)) => {
                let last = (shard.worker.accounts.clone(), shard.worker.sample_counts());
                self.retired.insert(partition, last);
                if let Some(archiver) = &self.archiver {
                    archiver.lose(partition);
                }
            }
            _ => {}
        }
    }

    /// Takes gained partitions one step further.
    fn take_over(&mut self) {
        for (partition, outcome) in self.restorer.done() {
            match outcome {
                Ok((shard, start)) => {
                    if let Some(archiver) = &self.archiver {
                        archiver.gain(partition, start.archived_below);
                    }
                    self.owned.insert(partition, Owned::Seeking(shard, start.offset));
                }
                Err(refused) => self.refuse(partition, refused),
            }
        }
        for (partition, owned) in &mut self.owned {
            match owned {
                Owned::Settling if self.handover.regain(*partition) => {
                    *owned = Owned::Restoring(self.restorer.begin(*partition));
                }
                Owned::Seeking(_, from) if self.source.begin(*partition, *from) => {
                    let Owned::Seeking(shard, _) = std::mem::replace(owned, Owned::Settling) else {
                        continue;
                    };
                    *owned = Owned::Reading(shard);
                }
                _ => {}
            }
        }
    }

    fn refuse(&mut self, partition: i32, refused: restore::Refused) {
        error!(code = refused.code, partition, "the partition is not read: {}", refused.why);
        self.source.refuse(partition);
        self.refused.insert(partition, refused);
        self.owned.insert(partition, Owned::Refused);
    }

    /// Tells the workers how far the archive's files reach. What it could not write, it gets again from the log.
    fn hear_archive(&mut self) {
        let Some(archiver) = &self.archiver else { return };
        let (reached, mended) = (archiver.reached(), archiver.mended());
        for (partition, below) in reached {
            if let Some(Owned::Reading(shard) | Owned::Seeking(shard, _)) = self.owned.get_mut(&partition) {
                shard.worker.step(Event::Archived(below));
            }
        }
        for partition in mended {
            if matches!(self.owned.get(&partition), Some(Owned::Reading(_) | Owned::Seeking(..))) {
                info!(partition, "taken over anew, so that the archive gets what it has missed");
                self.source.refuse(partition);
                self.forget(partition);
                self.owned.insert(partition, Owned::Settling);
            }
        }
    }

    /// Holds back while too much is in flight, and lets go once half of it is done.
    fn balance(&mut self) {
        let archive = self.archiver.as_ref().map_or(0.0, Archiver::fill);
        if let Some(pause) = self.hold.weigh(self.handover.fill(), archive, clock::instant()) {
            let all: Vec<i32> = self.owned.keys().copied().collect();
            self.source.pause(&all, pause);
        }
    }

    /// One turn: every shard steps over its share and hands over what it yields. Whether there is more to read.
    fn turn(&mut self) -> Result<bool, RunError> {
        let (mut fresh, mut behind) = (BTreeMap::new(), BTreeMap::new());
        let mut out_of_range = Vec::new();
        for (partition, owned) in &self.owned {
            let Owned::Reading(shard) = owned else { continue };
            match self.source.take(*partition, self.share)? {
                Some(mut records) => {
                    let whole = records.len() < self.share;
                    // The client may hand out again what it had before a seek.
                    records.retain(|r| r.offset >= shard.next);
                    let batch = if whole { &mut fresh } else { &mut behind };
                    if !records.is_empty() {
                        batch.insert(*partition, records);
                    }
                }
                None => out_of_range.push((*partition, shard.next)),
            }
        }
        for (partition, next) in out_of_range {
            let why = format!(
                "offset {next} is not in the log any more: records were deleted before they were read"
            );
            self.refuse(partition, restore::Refused { code: "out_of_range", why });
        }
        failpoint::hit(failpoint::AFTER_POLL);
        // Whoever is at the end of its log first: what has just happened is told before what is being caught up with.
        self.step(fresh);
        let more = !behind.is_empty();
        let began = clock::instant();
        self.step(behind);
        if more {
            let pace = BACKLOG_TURN.as_secs_f64() / began.elapsed().as_secs_f64().max(1e-4);
            let next = self.share as f64 * pace.clamp(0.5, 2.0);
            self.share = (next as usize).clamp(SHARE.0, SHARE.1);
        }
        Ok(more)
    }

    fn step(&mut self, mut batch: BTreeMap<i32, Vec<crate::source::Record>>) {
        if batch.is_empty() {
            return;
        }
        let jobs = self.owned.iter_mut().filter_map(|(partition, owned)| {
            let Owned::Reading(shard) = owned else { return None };
            Some(Job { partition: *partition, shard, records: batch.remove(partition)? })
        });
        for stepped in step_all(jobs.collect(), &self.telling) {
            let Stepped { partition, effects, chunk, bytes, heard } = stepped;
            if let Some(chunk) = chunk {
                self.handover.push(chunk);
            }
            let mut rest = Vec::with_capacity(effects.len());
            {
                let mut ward = self.shared.ward();
                for (offset, effect) in effects {
                    match effect {
                        Effect::Glance(glance) => ward.take(glance, heard),
                        Effect::State(..) => {}
                        other => rest.push((offset, other)),
                    }
                }
            }
            if let Some(archiver) = &self.archiver {
                archiver.take(partition, rest, bytes);
            }
        }
    }

    /// Ends the files and tells what is to be told. Whether the committer has ended.
    fn leave(&mut self) -> bool {
        failpoint::hit(failpoint::IN_SHUTDOWN);
        let by = clock::instant() + LEAVE;
        let all: Vec<i32> = self.owned.keys().copied().collect();
        self.give_up(&all, by - SETTLE);
        self.handover.stop(by);
        if let Some(archiver) = self.archiver.take()
            && !archiver.end(by)
        {
            warn!(code = "archive", "files were not ended in time; the next start writes them from the log");
        }
        let ended = self.handover.ended(by);
        if self.config.kafka.leave_on_stop {
            self.source.leave();
        }
        failpoint::hit(failpoint::BEFORE_GOODBYE);
        self.side.flush(Duration::from_secs(1));
        info!("stopped");
        ended
    }
}
