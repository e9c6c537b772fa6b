//! The service: carries records to the shards and effects to the sinks, turn by turn.
//! In: a checked configuration. Out: outputs and offsets in one transaction a turn, until told to stop.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tracing::{error, info};

use crate::align::SampleCounts;
use crate::clock;
use crate::commands::Desk;
use crate::config::Config;
use crate::effects::Effect;
use crate::error::RunError;
use crate::failpoint;
use crate::metrics::Status;
use crate::plan::Plan;
use crate::shard::{Shard, Turn};
use crate::shared::Shared;
use crate::sink::archive::Archive;
use crate::sink::kafka::{KafkaSink, Output, SidePath};
use crate::source::Record;
use crate::source::kafka::{Change, KafkaSource, frames_topic};
use crate::worker::Event;

/// Records taken in one turn.
const TURN_RECORDS: usize = 5_000;
/// Turns of effects that may wait for the archive.
const ARCHIVE_QUEUE: usize = 64;

/// What the archive thread is told.
enum ToArchive {
    Effects(i32, Vec<(i64, Effect)>),
    Lose(i32),
}

/// The running service.
struct Service<'a> {
    config: &'a Config,
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    source: KafkaSource,
    sink: KafkaSink,
    side: SidePath,
    desk: Desk,
    shards: BTreeMap<i32, Shard>,
    archive: Option<SyncSender<ToArchive>>,
    archive_state: Arc<ArchiveState>,
    status: Status,
    beat: Instant,
    beats: u64,
    retired: crate::accounts::Accounts,
}

/// How the archive stands.
#[derive(Default)]
struct ArchiveState {
    files: std::sync::atomic::AtomicU64,
    failed: AtomicBool,
}

/// Runs until `stop` is set.
///
/// # Errors
/// [`RunError`] if the outside world does not heal; whatever was not committed is told by the next process.
pub fn run(config: &Config, plan: Arc<Plan>, shared: Arc<Shared>, stop: &AtomicBool) -> Result<(), RunError> {
    // The transactional id first: whatever a dead predecessor left open is aborted before its offsets are read.
    let sink = KafkaSink::open(&config.kafka)?;
    let side = SidePath::open(&config.kafka)?;
    let source = KafkaSource::join(&config.kafka)?;
    let archive_state = Arc::new(ArchiveState::default());
    let mut archive_thread = None;
    let archive = config.archive.dir.as_ref().map(|dir| {
        let (to, from) = sync_channel(ARCHIVE_QUEUE);
        let (dir, topic, state) = (dir.clone(), frames_topic(&config.kafka), archive_state.clone());
        archive_thread = Some(thread::spawn(move || archive_loop(Path::new(&dir), &topic, &from, &state)));
        to
    });
    let mut service = Service {
        config,
        plan,
        shared,
        source,
        sink,
        side,
        desk: Desk::new(&config.kafka.instance, clock::now()),
        shards: BTreeMap::new(),
        archive,
        archive_state,
        status: Status::default(),
        beat: clock::instant(),
        beats: 0,
        retired: Default::default(),
    };
    info!(instance = config.kafka.instance, topic = frames_topic(&config.kafka), "running");
    let result = service.until(stop);
    service.leave();
    drop(service);
    if let Some(thread) = archive_thread {
        let _ = thread.join();
    }
    result
}

impl Service<'_> {
    fn until(&mut self, stop: &AtomicBool) -> Result<(), RunError> {
        let wait = Duration::from_millis(self.config.kafka.commit_ms);
        while !stop.load(Ordering::Relaxed) {
            failpoint::hit(failpoint::BEFORE_POLL);
            let mut batch = BTreeMap::new();
            for change in self.source.poll(wait, TURN_RECORDS, &mut batch)? {
                self.change(&change);
            }
            failpoint::hit(failpoint::AFTER_POLL);
            self.turn(batch)?;
            self.pass_time();
            self.publish();
        }
        Ok(())
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Gain(p, told_below) => {
                self.shards.insert(*p, Shard::new(self.plan.clone(), *told_below));
            }
            Change::Lose(p) => {
                if let Some(shard) = self.shards.remove(p) {
                    self.retired.add(&shard.worker.accounts);
                }
                self.to_archive(ToArchive::Lose(*p));
            }
        }
    }

    /// One turn: every shard steps, then everything is told and committed at once.
    fn turn(&mut self, batch: BTreeMap<i32, Vec<Record>>) -> Result<(), RunError> {
        if batch.is_empty() {
            return Ok(());
        }
        let turns = step_all(&mut self.shards, batch);
        let mut outputs: Vec<Output> = Vec::new();
        for (partition, turn) in &turns {
            let Some(shard) = self.shards.get(partition) else { continue };
            for (_, effect) in turn.effects.list.iter().filter(|(o, _)| shard.untold(*o)) {
                if let Some(output) = self.sink.output(*partition, effect, &turn.records) {
                    match effect {
                        Effect::Event(..) => self.status.events += 1,
                        Effect::Score(..) => self.status.scores += 1,
                        _ => {}
                    }
                    outputs.push(output);
                }
            }
        }
        let next: BTreeMap<i32, i64> =
            turns.iter().filter_map(|(p, _)| Some((*p, self.shards.get(p)?.to_commit()?))).collect();
        if !next.is_empty() {
            self.sink.commit(&outputs, &next, &self.source)?;
        }
        for (partition, offset) in &next {
            if let Some(shard) = self.shards.get_mut(partition) {
                shard.committed(*offset);
            }
        }
        for (partition, turn) in turns {
            self.after(partition, turn);
        }
        Ok(())
    }

    /// What is told is told: now the live view and the archive.
    fn after(&mut self, partition: i32, turn: Turn) {
        let heard = self.shards.get(&partition).and_then(|s| s.worker.partition_time());
        let mut rest = Vec::with_capacity(turn.effects.list.len());
        {
            let mut ward = self.shared.ward();
            for (offset, effect) in turn.effects.list {
                match effect {
                    Effect::Glance(glance) => ward.take(*glance, heard.unwrap_or_default()),
                    other => rest.push((offset, other)),
                }
            }
        }
        self.to_archive(ToArchive::Effects(partition, rest));
    }

    fn to_archive(&self, what: ToArchive) {
        if let Some(archive) = &self.archive {
            // A full queue holds the loop back: nothing is lost, and the lag shows it.
            let _ = archive.send(what);
        }
    }

    /// Ticks for idle partitions, commands from the dashboard, the heartbeat.
    fn pass_time(&mut self) {
        if self.config.kafka.ticks {
            for (partition, shard) in &mut self.shards {
                if let Some(time) = shard.tick_due() {
                    self.side.tick(*partition, time);
                    // Not again before this one had time to come back.
                    shard.heard = clock::instant();
                }
            }
        }
        for command in self.shared.asked() {
            let at = self.shared.ward().event_time(&command.patient);
            if let Some(frame) = at.and_then(|t| self.desk.frame(&command, t)) {
                self.side.frame(&frame);
            }
        }
        if self.beat.elapsed() >= Duration::from_secs(1) {
            self.beat = clock::instant();
            self.measure_lag();
            self.heartbeat("running");
        }
    }

    fn measure_lag(&mut self) {
        self.status.lag.clear();
        for (partition, shard) in &self.shards {
            if let Some(end) = self.source.end_offset(*partition) {
                self.status.lag.insert(*partition, (end - shard.next).max(0));
            }
        }
    }

    fn heartbeat(&mut self, state: &str) {
        self.beats += 1;
        let models: Vec<_> = self
            .plan
            .models
            .iter()
            .map(|m| {
                json!({
                    "name": m.identity.name, "sha256": m.identity.sha256, "runtime": m.identity.runtime,
                    "state": if m.unavailable.is_some() { "unavailable" } else { "running" },
                })
            })
            .collect();
        let a = &self.status.accounts;
        let body = json!({
            "instance": self.config.kafka.instance, "sequence": self.beats, "state": state,
            "time_us": clock::now().micros(), "partitions": self.shards.keys().collect::<Vec<_>>(),
            "lag_records": self.status.lag, "frames_in": a.frames_in(), "processed": a.processed,
            "duplicate": a.duplicate, "late": a.late, "rejected": a.rejected_total(), "models": models,
            "ready": self.status.ready, "config_hash": self.plan.config_hash, "build": self.plan.build,
        });
        self.side.heartbeat(&self.config.kafka.instance, &body);
    }

    fn publish(&mut self) {
        let mut accounts = self.retired.clone();
        let mut samples = SampleCounts::default();
        let mut patients = 0;
        for shard in self.shards.values() {
            accounts.add(&shard.worker.accounts);
            samples.add(&shard.worker.sample_counts());
            patients += shard.worker.patients().len() as u64;
            self.status.log_time = self.status.log_time.max(shard.worker.partition_time());
        }
        let behind = self.shards.iter().find(|(_, s)| !s.caught_up()).map(|(p, _)| *p);
        let archive_failed = self.archive_state.failed.load(Ordering::Relaxed);
        self.status.why_not_ready = match (self.shards.is_empty(), behind, archive_failed) {
            (true, ..) => "no partition is owned yet".into(),
            (_, Some(p), _) => format!("partition {p} is rebuilding its state"),
            (_, _, true) => "the archive cannot be written, see the log".into(),
            _ => String::new(),
        };
        self.status.ready = self.status.why_not_ready.is_empty();
        (self.status.accounts, self.status.samples, self.status.patients) = (accounts, samples, patients);
        self.status.commits = self.sink.commits;
        self.status.archive_files = self.archive_state.files.load(Ordering::Relaxed);
        self.status.turns += 1;
        self.shared.publish(self.status.clone());
    }

    /// Ends the archive's files and says goodbye, so that no watchdog rings.
    fn leave(&mut self) {
        failpoint::hit(failpoint::IN_SHUTDOWN);
        let mut last = Vec::new();
        for (partition, shard) in &mut self.shards {
            last.push((*partition, shard.worker.step(Event::Stop).list));
        }
        for (partition, effects) in last {
            self.to_archive(ToArchive::Effects(partition, effects));
        }
        failpoint::hit(failpoint::BEFORE_GOODBYE);
        self.heartbeat("leaving");
        self.side.flush();
        info!("stopped");
    }
}

/// Steps every shard that has records, on as many threads as there are cores. Shards share nothing, so the threads
/// change no result.
fn step_all(shards: &mut BTreeMap<i32, Shard>, mut batch: BTreeMap<i32, Vec<Record>>) -> Vec<(i32, Turn)> {
    let mut jobs: Vec<(i32, &mut Shard, Vec<Record>)> =
        shards.iter_mut().filter_map(|(p, s)| Some((*p, s, batch.remove(p)?))).collect();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(jobs.len().max(1));
    if threads <= 1 {
        return jobs.into_iter().map(|(p, s, r)| (p, s.turn(r))).collect();
    }
    let mut piles: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
    jobs.sort_by_key(|j| std::cmp::Reverse(j.2.len()));
    for (i, job) in jobs.into_iter().enumerate() {
        piles[i % threads].push(job);
    }
    let mut done: Vec<(i32, Turn)> = thread::scope(|scope| {
        let handles: Vec<_> = piles
            .into_iter()
            .map(|pile| scope.spawn(|| pile.into_iter().map(|(p, s, r)| (p, s.turn(r))).collect::<Vec<_>>()))
            .collect();
        handles
            .into_iter()
            .flat_map(|h| h.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|d| d.0);
    done
}

/// The archive's own thread: a slow disk holds back the archive first.
fn archive_loop(root: &Path, topic: &str, from: &Receiver<ToArchive>, state: &ArchiveState) {
    let mut open: BTreeMap<i32, Option<Archive>> = BTreeMap::new();
    for message in from {
        match message {
            ToArchive::Lose(partition) => {
                open.remove(&partition);
            }
            ToArchive::Effects(partition, effects) => {
                if matches!(open.get(&partition), Some(None)) {
                    continue;
                }
                let taken = match open.remove(&partition).flatten() {
                    Some(archive) => Ok(archive),
                    None => Archive::open(root, topic, partition),
                };
                let taken = taken.and_then(|mut archive| {
                    let before = archive.files;
                    archive.take(&effects)?;
                    state.files.fetch_add(archive.files - before, Ordering::Relaxed);
                    Ok(archive)
                });
                if let Err(e) = &taken {
                    // What follows must not stand in files while this does not: the partition is archived again
                    // from the log by the next start.
                    error!(code = "archive", partition, error = %e, "archiving of the partition stops until a restart");
                    state.failed.store(true, Ordering::Relaxed);
                }
                open.insert(partition, taken.ok());
            }
        }
    }
}
