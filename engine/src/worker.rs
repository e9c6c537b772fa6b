//! The worker of one partition: [`Worker::step`] *is* hops 2 to 6.
//! In: one closed enum of everything that can wake it. Out: effects, a pure function of the log: however the log is
//! cut into steps, the effects are the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use auscult_operators::signal::{EventTime, Frame, PatientId, Span};

use crate::accounts::Accounts;
use crate::align::{Fate, SampleCounts, Sealed};
use crate::compute::{self, Chains, Computed};
use crate::decode::{self, Decoded, Reject};
use crate::effects::{Effect, Effects};
use crate::infer::{self, Models};
use crate::limits;
use crate::patient::Patient;
use crate::plan::Plan;
use crate::risk;
use crate::source::Record;

/// Everything that can wake a worker.
#[derive(Debug)]
pub enum Event<'a> {
    /// Records of its partition, in log order.
    Records(&'a [Record]),
    /// The log is at its end for good: close the archive's files.
    Stop,
}

/// One step's unit of work after alignment, in log order.
pub(crate) enum Item {
    /// A second of one patient.
    Epoch(Sealed),
    /// A patient has fallen silent.
    Silence {
        /// How long nothing came, by the log's own time.
        span: Span,
        /// Newest event time of the patient then.
        newest: EventTime,
    },
}

/// An item with its patient.
pub(crate) struct Work {
    /// Index of the patient.
    pub patient: usize,
    /// Offset of the record that caused it.
    pub offset: i64,
    /// What to do.
    pub item: Item,
}

/// Work handled at a time: enough to fill lanes, little enough to stay in cache.
const CHUNK: usize = 64;

/// The state of one partition. A patient that is not silent has exactly one deadline, a silent one has none.
pub struct Worker {
    plan: Arc<Plan>,
    models: Models,
    chains: Chains,
    patients: Vec<Patient>,
    /// Only looked up, never walked: its order is not defined.
    index: HashMap<PatientId, usize>,
    /// Largest broker timestamp seen.
    partition_time: Option<EventTime>,
    /// When to look whether a patient has gone quiet or silent.
    deadlines: BTreeSet<(EventTime, usize)>,
    rolled: Option<i64>,
    /// What became of every frame.
    pub accounts: Accounts,
    patients_max: u64,
    work: Vec<Work>,
    computed: Vec<Computed>,
    sealed: Vec<Sealed>,
}

impl Worker {
    /// A worker that has seen nothing.
    pub fn new(plan: Arc<Plan>) -> Self {
        let models = Models::of(&plan);
        Self {
            plan,
            models,
            chains: Chains::default(),
            patients: Vec::new(),
            index: HashMap::new(),
            partition_time: None,
            deadlines: BTreeSet::new(),
            rolled: None,
            accounts: Accounts::default(),
            patients_max: limits::SHARD_PATIENTS.max,
            work: Vec::new(),
            computed: Vec::new(),
            sealed: Vec::new(),
        }
    }

    /// Takes one event in and says what is to be done.
    pub fn step(&mut self, event: Event<'_>) -> Effects {
        let mut effects = Effects::default();
        match event {
            Event::Records(records) => {
                effects.list.reserve(records.len());
                for (at, record) in records.iter().enumerate() {
                    self.pass_time(record, &mut effects);
                    match decode::decode_as(&self.plan.form, record) {
                        Decoded::Frame(frame) => self.align(frame, at, record, &mut effects),
                        Decoded::Tick => self.accounts.ticks += 1,
                        Decoded::Reject(reject) => self.reject(at, record, reject, &mut effects),
                    }
                    if self.work.len() >= CHUNK {
                        self.walk(&mut effects);
                    }
                }
                self.walk(&mut effects);
            }
            Event::Stop => effects.push(i64::MAX, Effect::Roll),
        }
        effects
    }

    /// Hops 4 to 6 for all work at hand.
    fn walk(&mut self, effects: &mut Effects) {
        let Self { plan, chains, patients, work, computed, models, .. } = self;
        compute::condition(plan, chains, patients, work, computed);
        compute::compute(plan, patients, work, computed);
        infer::infer(models, computed);
        risk::judge(plan, patients, work, computed, effects);
        work.clear();
    }

    /// Hop 3: what the frame is, and the epochs it seals.
    fn align(&mut self, frame: Arc<Frame>, at: usize, record: &Record, effects: &mut Effects) {
        let patient = match self.patient(&frame) {
            Ok(patient) => patient,
            Err(reject) => return self.reject(at, record, reject, effects),
        };
        let p = &mut self.patients[patient];
        let fate = p.timeline.take(&frame, record.offset);
        self.accounts.count(fate);
        if fate == Fate::Processed {
            p.timeline.seal_due(self.plan.lateness, &mut self.sealed);
            self.queue(patient, record.offset);
            self.heard(patient);
        }
        effects.push(record.offset, Effect::Frame(frame, fate));
    }

    /// Lets the partition's time pass: archive files end, quiet patients are sealed, silent ones told.
    fn pass_time(&mut self, record: &Record, effects: &mut Effects) {
        let before = self.partition_time;
        let now = before.map_or(record.timestamp, |t| t.max(record.timestamp));
        self.partition_time = Some(now);
        let slot = now.micros().div_euclid(self.plan.archive_roll.micros());
        if self.rolled.is_some_and(|s| s != slot) {
            self.walk(effects);
            effects.push(record.offset, Effect::Roll);
        }
        self.rolled = Some(slot);
        if before == Some(now) {
            return;
        }
        while let Some((due, patient)) = self.deadlines.first().copied().filter(|d| d.0 <= now) {
            self.deadlines.remove(&(due, patient));
            self.fall_quiet(patient, now, record.offset);
        }
    }

    /// Looks at a patient not heard of for a while. What has arrived is sealed after the quiet time; after the silent
    /// time, the silence is told.
    fn fall_quiet(&mut self, patient: usize, now: EventTime, offset: i64) {
        let p = &mut self.patients[patient];
        let quiet_at = p.last_heard + self.plan.quiet;
        let silent_at = p.last_heard + self.plan.silent;
        if now >= quiet_at && !p.flushed {
            p.flushed = true;
            p.timeline.seal_all(&mut self.sealed);
            self.queue(patient, offset);
        }
        let p = &mut self.patients[patient];
        if now >= silent_at && !p.silent {
            p.silent = true;
            if let Some(newest) = p.timeline.newest().filter(|_| !p.timeline.ended()) {
                let span = self.plan.silent;
                self.work.push(Work { patient, offset, item: Item::Silence { span, newest } });
            }
        }
        if !p.silent {
            let next = if p.flushed { silent_at } else { quiet_at };
            self.deadlines.insert((next, patient));
        }
    }

    fn queue(&mut self, patient: usize, offset: i64) {
        let epochs = self.sealed.drain(..).map(|s| Work { patient, offset, item: Item::Epoch(s) });
        self.work.extend(epochs);
    }

    /// A patient has said something new. Frames that came before, or too late to be used, are no sign of life: a
    /// device whose clock has jumped back sends nothing that is computed. What counts is the partition's time, not
    /// the record's own: a producer whose clock is behind is not silent.
    fn heard(&mut self, patient: usize) {
        let Some(now) = self.partition_time else { return };
        let p = &mut self.patients[patient];
        if p.flushed && !p.silent {
            self.deadlines.remove(&(p.last_heard + self.plan.silent, patient));
        }
        if p.flushed || p.silent {
            self.deadlines.insert((now + self.plan.quiet, patient));
        }
        (p.last_heard, p.silent, p.flushed) = (now, false, false);
    }

    fn patient(&mut self, frame: &Frame) -> Result<usize, Reject> {
        if let Some(known) = self.index.get(&frame.patient) {
            return Ok(*known);
        }
        let at = self.patients.len();
        if at as u64 >= self.patients_max {
            return Err(Reject::over("too_many_patients", &limits::SHARD_PATIENTS, at + 1));
        }
        let now = self.partition_time.unwrap_or_default();
        let new = Patient::new(frame.patient.clone(), &self.plan, now);
        self.patients.push(new.map_err(|e| Reject::new("too_many_patients", e.to_string()))?);
        self.index.insert(frame.patient.clone(), at);
        Ok(at)
    }

    fn reject(&mut self, at: usize, record: &Record, reject: Reject, effects: &mut Effects) {
        self.accounts.rejected(reject.code);
        effects.push(record.offset, Effect::Aside(at, reject));
    }

    /// Patients known.
    pub fn patients(&self) -> &[Patient] {
        &self.patients
    }

    /// What became of every sample.
    pub fn sample_counts(&self) -> SampleCounts {
        let mut all = SampleCounts::default();
        self.patients.iter().for_each(|p| all.add(&p.timeline.counts));
        all
    }

    /// Largest broker timestamp seen.
    pub fn partition_time(&self) -> Option<EventTime> {
        self.partition_time
    }
}

#[cfg(test)]
mod tests;
