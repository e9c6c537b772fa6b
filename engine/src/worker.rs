//! The worker of one partition: [`Worker::step`] *is* hops 2 to 6.
//! In: one closed enum of everything that can wake it. Out: effects, a pure function of the log: however the log is
//! cut into steps, the effects are the same.

mod foresee;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use auscult_operators::signal::{EventTime, Frame, PatientId, Span};

use crate::accounts::Accounts;
use crate::align::{Epochs, Fate, SampleCounts, Sealed};
use crate::compute::{self, Chains, Computed};
use crate::decode::{self, Decoded, Form, Reject};
use crate::effects::{Effect, Effects};
use crate::infer::Models;
use crate::limits;
use crate::patient::Patient;
use crate::plan::Plan;
use crate::risk;
use crate::source::Record;
use crate::state::{self, Found, Keeper, Start};
use foresee::Foreseen;

/// Everything that can wake a worker.
#[derive(Debug)]
pub enum Event<'a> {
    /// Records of its partition, in log order.
    Records(&'a [Record]),
    /// Records that were decoded elsewhere, in log order.
    Frames(&'a [Placed]),
    /// Archive files on disk hold every record below this offset.
    Archived(i64),
    /// The owner gives the partition up: close the archive's files.
    Stop,
    /// The owner gives the partition up, and the archive's files are closed: write down what has changed. All records
    /// below this offset have been taken in.
    Save(i64),
}

/// A decoded frame and the place of its record in the log.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Offset of the record.
    pub offset: i64,
    /// Broker time of the record.
    pub timestamp: EventTime,
    /// What it said.
    pub frame: Arc<Frame>,
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

/// Work handled at a time: enough to fill lanes, little enough that samples raw and clean stay in the second cache.
const CHUNK: usize = 32;

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
    roll_phase: Span,
    /// Snapshots, if the worker is to be recovered.
    keeper: Option<Keeper>,
    /// What became of every frame.
    pub accounts: Accounts,
    samples: SampleCounts,
    patients_max: u64,
    work: Vec<Work>,
    computed: Vec<Computed>,
    sealed: Epochs,
    foreseen: Foreseen,
}

impl Worker {
    /// A worker that has seen nothing.
    pub fn new(plan: Arc<Plan>) -> Self {
        let (models, chains) = (Models::of(&plan), Chains::of(&plan));
        Self {
            plan,
            models,
            chains,
            patients: Vec::new(),
            index: HashMap::new(),
            partition_time: None,
            deadlines: BTreeSet::new(),
            rolled: None,
            roll_phase: Span::default(),
            keeper: None,
            accounts: Accounts::default(),
            samples: SampleCounts::default(),
            patients_max: limits::SHARD_PATIENTS.max,
            work: Vec::new(),
            computed: Vec::new(),
            sealed: Epochs::default(),
            foreseen: Foreseen::default(),
        }
    }

    /// A worker that goes on where a predecessor stood, see [`crate::state`].
    pub(crate) fn resume(plan: Arc<Plan>, start: &Start, found: Found, accounts: Accounts) -> Self {
        let keeper = Keeper::resume(&plan, start, found);
        Self { partition_time: start.time, keeper: Some(keeper), accounts, ..Self::new(plan) }.of_partition(0)
    }

    /// The same, of this partition: its archive files end at moments of its own, so that not all are closed at once.
    pub fn of_partition(mut self, partition: i32) -> Self {
        self.roll_phase = phase(partition, self.plan.archive_roll);
        self.rolled = self.partition_time.map(|t| self.slot(t));
        self
    }

    /// Takes one event in and says what is to be done.
    pub fn step(&mut self, event: Event<'_>) -> Effects {
        let mut effects = Effects::default();
        match event {
            Event::Records(records) => {
                effects.list.reserve(records.len());
                let plan = self.plan.clone();
                let id_of = |at: usize| records.get(at).and_then(|r| id_of(&plan.form, r));
                for (at, record) in records.iter().enumerate() {
                    let foreseen = self.foreseen.step(at, id_of, &self.patients);
                    self.record(at, record, foreseen, &mut effects);
                    self.walk_if_full(&mut effects);
                }
                self.walk(&mut effects);
            }
            Event::Frames(frames) => {
                effects.list.reserve(frames.len());
                let id_of = |at: usize| frames.get(at).map(|p| p.frame.patient.expose());
                for (at, Placed { offset, timestamp, frame }) in frames.iter().enumerate() {
                    let foreseen = self.foreseen.step(at, id_of, &self.patients);
                    self.install(*offset);
                    self.pass_time(*timestamp, *offset, &mut effects);
                    self.align(frame.clone(), foreseen, (at, *offset), &mut effects);
                    self.walk_if_full(&mut effects);
                }
                self.walk(&mut effects);
            }
            Event::Archived(below) => {
                if let Some(keeper) = &mut self.keeper {
                    keeper.archived(below);
                }
            }
            Event::Stop => effects.push(i64::MAX, Effect::Roll),
            Event::Save(offset) => self.save_all(offset, &mut effects),
        }
        effects
    }

    fn record(&mut self, at: usize, record: &Record, foreseen: Option<usize>, effects: &mut Effects) {
        self.install(record.offset);
        self.pass_time(record.timestamp, record.offset, effects);
        if self.keeper.as_ref().is_some_and(|k| k.contains(self.plan.form.patient(&record.key))) {
            // The snapshot that its patient waits for holds it.
            return;
        }
        match decode::decode_as(&self.plan.form, record) {
            Decoded::Frame(frame) => self.align(frame, foreseen, (at, record.offset), effects),
            Decoded::Tick => self.accounts.ticks += u64::from(self.counts(record.offset)),
            Decoded::Reject(reject) => self.reject(at, record.offset, reject, effects),
        }
    }

    fn walk_if_full(&mut self, effects: &mut Effects) {
        if self.work.len() >= CHUNK {
            self.walk(effects);
        }
    }

    /// Hops 4 to 6 for all work at hand.
    fn walk(&mut self, effects: &mut Effects) {
        let Self { plan, chains, patients, work, computed, models, sealed, .. } = self;
        compute::condition(plan, chains, patients, work, computed);
        let judge = |p: &mut Patient, w: &mut Work, c: &mut Computed| risk::judge(plan, p, w, c, effects);
        compute::compute(plan, (chains, models), patients, work, computed, judge);
        for used in work.drain(..) {
            if let Item::Epoch(epoch) = used.item {
                sealed.give_back(epoch);
            }
        }
    }

    /// Hop 3: what the frame is, and the epochs it seals. Its patient may have been foreseen.
    fn align(
        &mut self,
        frame: Arc<Frame>,
        foreseen: Option<usize>,
        (at, offset): (usize, i64),
        effects: &mut Effects,
    ) {
        let known = foreseen.filter(|p| self.patients.get(*p).is_some_and(|p| p.id == frame.patient));
        let patient = match known.map_or_else(|| self.patient(&frame, offset), Ok) {
            Ok(patient) => patient,
            Err(reject) => return self.reject(at, offset, reject, effects),
        };
        let counted = self.counts(offset);
        let p = &mut self.patients[patient];
        let before = p.timeline.counts;
        p.place.touch(offset);
        let fate = p.timeline.take(&frame, offset);
        if counted {
            self.accounts.count(fate);
        }
        if fate == Fate::Processed {
            p.timeline.seal_due(self.plan.lateness, &mut self.sealed);
        }
        self.samples.add(&p.timeline.counts.since(&before));
        if fate == Fate::Processed {
            self.queue(patient, offset);
            self.heard(patient);
        }
        effects.push(offset, Effect::Frame(frame, fate));
    }

    /// Lets the partition's time pass: archive files end, quiet patients are sealed, silent ones told.
    fn pass_time(&mut self, timestamp: EventTime, offset: i64, effects: &mut Effects) {
        let before = self.partition_time;
        let now = before.map_or(timestamp, |t| t.max(timestamp));
        if before == Some(now) {
            return;
        }
        self.save_due(offset, before, now, effects);
        self.partition_time = Some(now);
        let slot = self.slot(now);
        if self.rolled.is_some_and(|s| s != slot) {
            self.walk(effects);
            effects.push(offset, Effect::Roll);
        }
        self.rolled = Some(slot);
        let mut due = Vec::new();
        while let Some(next) = self.deadlines.first().copied().filter(|d| d.0 <= now) {
            self.deadlines.remove(&next);
            due.push(next.1);
        }
        // By their place in the log, which a worker that was recovered knows too.
        due.sort_by_key(|p| self.patients[*p].place.first);
        due.into_iter().for_each(|patient| self.fall_quiet(patient, now, offset));
    }

    /// Writes down the patients whose turn it is, and the mark: what stood before this record.
    fn save_due(&mut self, offset: i64, before: Option<EventTime>, now: EventTime, effects: &mut Effects) {
        let Some(due) = self.keeper.as_mut().and_then(|k| k.turn(offset, before, now)) else { return };
        self.walk(effects);
        self.save(offset, due, effects);
    }

    /// Writes down every patient that has changed.
    fn save_all(&mut self, offset: i64, effects: &mut Effects) {
        self.install(offset);
        if self.keeper.as_ref().is_some_and(|k| k.may_save(offset)) {
            self.save(offset, (0..self.patients.len()).collect(), effects);
        }
    }

    fn save(&mut self, offset: i64, due: Vec<usize>, effects: &mut Effects) {
        let Self { keeper: Some(keeper), patients, partition_time, accounts, .. } = self else { return };
        for at in due {
            let patient = &mut patients[at];
            if let Some((slot, bytes)) = keeper.save(offset, *partition_time, patient) {
                let key = state::patient_key(patient.id.expose(), slot);
                effects.push(offset, Effect::State(key, Some(bytes)));
            }
        }
        let mark = keeper.mark((offset, *partition_time), patients, accounts);
        effects.push(offset, Effect::State(state::MARK_KEY.to_vec(), Some(mark.save())));
    }

    /// Patients whose snapshot the log has reached take their place.
    fn install(&mut self, offset: i64) {
        while let Some(loaded) = self.keeper.as_mut().and_then(|k| k.reached(offset)) {
            let (at, mut patient) = (self.patients.len(), loaded.patient);
            self.index.insert(patient.id.clone(), at);
            self.samples.add(&patient.timeline.counts);
            self.deadlines.extend(patient.deadline(&self.plan).map(|due| (due, at)));
            if let Some(keeper) = &mut self.keeper {
                keeper.met(at, &mut patient);
            }
            self.patients.push(patient);
            self.foreseen.learn(&self.patients);
        }
    }

    /// Whether a record is to be counted: what a predecessor counted is in the accounts already.
    fn counts(&self, offset: i64) -> bool {
        self.keeper.as_ref().is_none_or(|k| k.counts(offset))
    }

    /// Looks at a patient not heard of for a while. What has arrived is sealed after the quiet time; after the silent
    /// time, the silence is told.
    fn fall_quiet(&mut self, patient: usize, now: EventTime, offset: i64) {
        let p = &mut self.patients[patient];
        let quiet_at = p.last_heard + self.plan.quiet;
        let silent_at = p.last_heard + self.plan.silent;
        if now >= quiet_at && !p.flushed {
            let before = p.timeline.counts;
            p.flushed = true;
            p.place.touch(offset);
            p.timeline.seal_all(&mut self.sealed);
            self.samples.add(&p.timeline.counts.since(&before));
            self.queue(patient, offset);
        }
        let p = &mut self.patients[patient];
        if now >= silent_at && !p.silent {
            p.silent = true;
            p.place.touch(offset);
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

    fn patient(&mut self, frame: &Frame, offset: i64) -> Result<usize, Reject> {
        if let Some(known) = self.index.get(&frame.patient) {
            return Ok(*known);
        }
        let at = self.patients.len();
        let known = at + self.keeper.as_ref().map_or(0, |k| k.waiting_since(offset));
        if known as u64 >= self.patients_max {
            return Err(Reject::over("too_many_patients", &limits::SHARD_PATIENTS, known + 1));
        }
        let now = self.partition_time.unwrap_or_default();
        let new = Patient::new(frame.patient.clone(), &self.plan, now, offset);
        self.patients.push(new.map_err(|e| Reject::new("too_many_patients", e.to_string()))?);
        self.index.insert(frame.patient.clone(), at);
        self.foreseen.learn(&self.patients);
        if let Some(keeper) = &mut self.keeper {
            keeper.met(at, &mut self.patients[at]);
        }
        Ok(at)
    }

    fn reject(&mut self, at: usize, offset: i64, reject: Reject, effects: &mut Effects) {
        if self.counts(offset) {
            self.accounts.rejected(reject.code);
        }
        effects.push(offset, Effect::Aside(at, reject));
    }

    /// The span of the archive that a time falls into.
    fn slot(&self, time: EventTime) -> i64 {
        (time - self.roll_phase).micros().div_euclid(self.plan.archive_roll.micros())
    }

    /// Patients known.
    pub fn patients(&self) -> &[Patient] {
        &self.patients
    }

    /// How many patients are known: also those whose snapshot the log has not reached yet.
    pub fn beds(&self) -> usize {
        self.patients.len() + self.keeper.as_ref().map_or(0, Keeper::waiting)
    }

    /// Snapshots that were not written because they exceeded `STATE_BYTES`.
    pub fn oversized_snapshots(&self) -> u64 {
        self.keeper.as_ref().map_or(0, |k| k.oversized)
    }

    /// What became of every sample.
    pub fn sample_counts(&self) -> SampleCounts {
        self.samples
    }

    /// Largest broker timestamp seen.
    pub fn partition_time(&self) -> Option<EventTime> {
        self.partition_time
    }
}

/// The patient that the key of a record names.
fn id_of<'a>(form: &Form, record: &'a Record) -> Option<&'a str> {
    std::str::from_utf8(form.patient(&record.key)).ok()
}

/// Where in the span of an archive file a partition's files end: far from those of its neighbours, however many there
/// are (the multiples of the golden ratio).
fn phase(partition: i32, roll: Span) -> Span {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let turn = u128::from(GOLDEN.wrapping_mul(partition.unsigned_abs().into()));
    let micros = (turn * u128::from(roll.micros().unsigned_abs())) >> 64;
    Span::from_micros(i64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests;
