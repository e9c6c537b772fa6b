//! The same walk without a broker: a local log in memory, for the demo, replays and beats.
//! In: frames in order of arrival. Out: effects, to whoever asked.

use std::sync::Arc;

use auscult_operators::signal::{EventTime, Frame};
use bytes::Bytes;

use crate::accounts::Accounts;
use crate::align::SampleCounts;
use crate::effects::Effects;
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
}

struct Partition {
    worker: Worker,
    waiting: Vec<Record>,
    next: i64,
}

impl Local {
    /// A log of so many partitions. `batch` records are handed to a worker at a time: any number gives the same.
    pub fn new(plan: &Arc<Plan>, partitions: usize, batch: usize) -> Self {
        let new = |_| Partition { worker: Worker::new(plan.clone()), waiting: Vec::new(), next: 0 };
        Self { partitions: (0..partitions.max(1)).map(new).collect(), batch: batch.max(1), told: (0, 0) }
    }

    /// Appends a frame to its patient's partition. Effects come once a batch is full.
    pub fn append(&mut self, frame: &Frame) -> Option<(usize, Effects)> {
        let n = self.partitions.len();
        let at = place(frame.patient.expose().as_bytes(), n);
        let partition = &mut self.partitions[at];
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
        (0..self.partitions.len())
            .map(|at| {
                let p = &mut self.partitions[at];
                let value = crate::decode::encode_tick(now).into();
                p.waiting.push(Record {
                    offset: p.next,
                    timestamp: now,
                    key: Default::default(),
                    value,
                    json: false,
                });
                p.next += 1;
                (at, self.step(at))
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
        partition.waiting.clear();
        for (_, effect) in &effects.list {
            match effect {
                crate::effects::Effect::Event(..) => self.told.0 += 1,
                crate::effects::Effect::Score(..) => self.told.1 += 1,
                _ => {}
            }
        }
        effects
    }
}

/// The partition of a key: FNV-1a, so that it is the same everywhere.
fn place(key: &[u8], partitions: usize) -> usize {
    let hash =
        key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    (hash % partitions as u64) as usize
}
