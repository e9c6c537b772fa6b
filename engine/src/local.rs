//! The same walk without a broker: a local log in memory or in files, for the demo, replays and beats.
//! In: frames in order of arrival. Out: effects, to whoever asked; with files, all of them once, over any crash.

use std::path::Path;
use std::sync::Arc;

use auscult_operators::signal::{EventTime, Frame};
use bytes::Bytes;

use crate::accounts::Accounts;
use crate::align::SampleCounts;
use crate::effects::{Effect, Effects};
use crate::failpoint;
use crate::journal::{Entry, Journal, JournalError, Topic};
use crate::limits;
use crate::metrics::Status;
use crate::plan::Plan;
use crate::source::{Record, recording};
use crate::worker::{Event, Worker};

/// A local log of some partitions, and their workers.
pub struct Local {
    partitions: Vec<Partition>,
    batch: usize,
    /// Events and scores told.
    told: (u64, u64),
    /// How far the source has come, in its own measure.
    source: u64,
}

struct Partition {
    worker: Worker,
    waiting: Vec<Record>,
    next: i64,
    /// The log in files, if it is to outlive the process.
    journal: Option<Journal>,
    /// Outputs of records below this offset are in the journal.
    told_below: i64,
    /// What the source sent before it had come so far is in the journal.
    source: u64,
}

/// What a log in files held.
#[derive(Debug, Default)]
pub struct Resumed {
    /// From where the source goes on.
    pub source: u64,
    /// Patients taken over from their snapshots, over all partitions.
    pub restored: usize,
    /// Records that were taken in again.
    pub again: usize,
    /// What had to be cut off, by partition.
    pub cuts: Vec<(usize, String)>,
    /// What the records that were taken in again yield, for the live view; all of it was told before.
    pub effects: Vec<(usize, Effects)>,
}

impl Local {
    /// A log of so many partitions. `batch` records are handed to a worker at a time: any number gives the same.
    pub fn new(plan: &Arc<Plan>, partitions: usize, batch: usize) -> Self {
        let new = |_| Partition {
            worker: Worker::new(plan.clone()),
            waiting: Vec::new(),
            next: 0,
            journal: None,
            told_below: 0,
            source: 0,
        };
        let partitions = (0..partitions.max(1)).map(new).collect();
        Self { partitions, batch: batch.max(1), told: (0, 0), source: 0 }
    }

    /// A log in a folder, which goes on where the last commit of its predecessor stands. What the source sent before
    /// [`Resumed::source`] is there.
    ///
    /// # Errors
    /// [`JournalError`] if the folder cannot be used.
    pub fn durable(
        plan: &Arc<Plan>,
        partitions: usize,
        dir: &Path,
        segment_bytes: u64,
    ) -> Result<(Self, Resumed), JournalError> {
        let mut local = Self::new(plan, partitions, usize::MAX);
        let mut resumed = Resumed { source: u64::MAX, ..Resumed::default() };
        for (at, partition) in local.partitions.iter_mut().enumerate() {
            let opened = Journal::open(&dir.join(format!("partition-{at}")), plan, segment_bytes)?;
            resumed.source = resumed.source.min(opened.source);
            resumed.restored += opened.report.restored;
            resumed.again += opened.again.len();
            resumed.cuts.extend(opened.cut.map(|why| (at, why)));
            *partition = Partition {
                worker: opened.worker,
                waiting: Vec::new(),
                next: opened.next,
                journal: Some(opened.journal),
                told_below: opened.next,
                source: opened.source,
            };
            for part in opened.again.chunks(limits::STEP_RECORDS.max as usize) {
                resumed.effects.push((at, partition.worker.step(Event::Records(part))));
                failpoint::hit(failpoint::IN_CATCH_UP);
            }
        }
        local.source = resumed.source;
        Ok((local, resumed))
    }

    /// Says how far the source has come: what is appended from here on is sent then.
    pub fn source_at(&mut self, source: u64) {
        self.source = source;
    }

    /// Walks whatever waits and writes it down, with what was told because of it: all of it, or nothing. The source
    /// need not send again what it sent before it came to this place.
    ///
    /// # Errors
    /// [`JournalError`]: what was committed before stands, and the log must be opened again.
    pub fn commit(&mut self, source: u64) -> Result<Vec<(usize, Effects)>, JournalError> {
        let effects = self.flush();
        for partition in &mut self.partitions {
            if let Some(journal) = partition.journal.as_mut().filter(|_| partition.source < source) {
                journal.commit(partition.next, source)?;
                (partition.told_below, partition.source) = (partition.next, source);
            }
        }
        Ok(effects)
    }

    /// Appends a frame to its patient's partition. Effects come once a batch is full.
    pub fn append(&mut self, frame: &Frame) -> Option<(usize, Effects)> {
        let n = self.partitions.len();
        let at = place(frame.patient.expose().as_bytes(), n);
        let partition = &mut self.partitions[at];
        if partition.journal.is_some() && self.source < partition.source {
            return None;
        }
        partition.waiting.push(recording::record(frame, partition.next));
        partition.next += 1;
        (partition.waiting.len() >= self.batch).then(|| (at, self.step(at)))
    }

    /// Appends a record as it is to a partition. Effects come once a batch is full.
    pub fn append_record(
        &mut self,
        at: usize,
        timestamp: EventTime,
        key: Bytes,
        value: Bytes,
    ) -> Option<(usize, Effects)> {
        let partition = &mut self.partitions[at];
        partition.waiting.push(Record { offset: partition.next, timestamp, key, value, json: false });
        partition.next += 1;
        (partition.waiting.len() >= self.batch).then(|| (at, self.step(at)))
    }

    /// Lets time pass in every partition, as the owner of an idle one does.
    pub fn tick(&mut self, now: EventTime) -> Vec<(usize, Effects)> {
        let source = self.source;
        (0..self.partitions.len())
            .filter_map(|at| {
                let p = &mut self.partitions[at];
                if p.journal.is_some() && source < p.source {
                    return None;
                }
                let value = crate::decode::encode_tick(now).into();
                p.waiting.push(Record {
                    offset: p.next,
                    timestamp: now,
                    key: Default::default(),
                    value,
                    json: false,
                });
                p.next += 1;
                Some((at, self.step(at)))
            })
            .collect()
    }

    /// Walks whatever waits.
    pub fn flush(&mut self) -> Vec<(usize, Effects)> {
        (0..self.partitions.len()).map(|at| (at, self.step(at))).collect()
    }

    /// Ends the log.
    pub fn stop(&mut self) -> Vec<(usize, Effects)> {
        let mut all = self.flush();
        all.extend(self.partitions.iter_mut().enumerate().map(|(at, p)| (at, p.worker.step(Event::Stop))));
        all
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let mut status =
            Status { ready: true, events: self.told.0, scores: self.told.1, ..Status::default() };
        let (mut accounts, mut samples) = (Accounts::default(), SampleCounts::default());
        for p in &self.partitions {
            accounts.add(&p.worker.accounts);
            samples.add(&p.worker.sample_counts());
            status.patients += p.worker.patients().len() as u64;
            status.log_time = status.log_time.max(p.worker.partition_time());
        }
        (status.accounts, status.samples) = (accounts, samples);
        status
    }

    fn step(&mut self, at: usize) -> Effects {
        let partition = &mut self.partitions[at];
        let effects = partition.worker.step(Event::Records(&partition.waiting));
        if let Some(journal) = &mut partition.journal {
            partition.waiting.iter().for_each(|record| journal.add(Entry::of(record)));
            let new = effects.list.iter().filter(|(offset, _)| *offset >= partition.told_below);
            new.filter_map(|(offset, effect)| entry(*offset, effect)).for_each(|entry| journal.add(entry));
        }
        partition.waiting.clear();
        for (_, effect) in &effects.list {
            match effect {
                Effect::Event(..) => self.told.0 += 1,
                Effect::Score(..) => self.told.1 += 1,
                _ => {}
            }
        }
        effects
    }
}

/// What the journal keeps of an effect: the bodies are those that Kafka would carry.
fn entry(offset: i64, effect: &Effect) -> Option<Entry> {
    let output = |topic, body: Vec<u8>| Some(Entry::Output { offset, topic, body });
    match effect {
        Effect::Event(e, _) => output(Topic::Events, serde_json::to_vec(e).unwrap_or_default()),
        Effect::Score(s, _) => output(Topic::Scores, serde_json::to_vec(s).unwrap_or_default()),
        Effect::Aside(_, reject) => {
            let body = serde_json::json!({"offset": offset, "code": reject.code, "detail": reject.detail});
            output(Topic::Rejects, body.to_string().into_bytes())
        }
        Effect::State(key, value) => {
            failpoint::hit(failpoint::IN_SNAPSHOT);
            Some(Entry::State { key: key.clone(), value: value.clone() })
        }
        Effect::Features(..)
        | Effect::Predictions(..)
        | Effect::Frame(..)
        | Effect::Beats(..)
        | Effect::Glance(..)
        | Effect::Roll => None,
    }
}

/// The partition of a key: FNV-1a, so that it is the same everywhere.
fn place(key: &[u8], partitions: usize) -> usize {
    let hash =
        key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    (hash % partitions as u64) as usize
}
