//! One process of the group, phase by phase: what a kill, a pause or a lost answer can come between.
//! In: a broker, an archive folder, and leave to go one phase further. Out: outputs, offsets and files, told the way
//! the service tells them; or, with a [`Bug`], not quite.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use auscult::effects::Effect;
use auscult::plan::Plan;
use auscult::shard::{Shard, Turn};
use auscult::source::Record;
use auscult::state::Restore;
use auscult::worker::Event;

use super::broker::{Broker, Refused, Wire};
use super::folder::{Folder, Writer};
use crate::common::line;

/// A mistake that a service could make, and that the simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// After a commit without an answer it goes on with the same producer.
    KeepsProducer,
    /// It does not show its generation of the group.
    NoGeneration,
    /// A partition gained is read from the committed offset, without what led there.
    NoState,
    /// Outputs told before are told again after a take-over.
    TellsAgain,
    /// Offsets go out in a transaction of their own, after the outputs.
    TwoTransactions,
    /// It waits for no transaction that may still change an offset or the state.
    UnstableOffsets,
    /// It takes the part of the state topic before an open transaction for the whole.
    PartOfState,
    /// Archive rows of a stretch that a predecessor had open are not written again.
    ForgetsOpenFiles,
}

/// Where a process stands. A kill can come between any two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Start,
    Poll,
    Step,
    ProduceFirst,
    ProduceRest,
    SendOffsets,
    Commit,
    Renew,
    After,
    Goodbye,
}

struct Told {
    partition: usize,
    what: Effect,
    offset: i64,
    base: usize,
}

pub struct Process {
    pub name: usize,
    pub phase: Phase,
    pub paused_until: i64,
    pub leaving: bool,
    plan: Arc<Plan>,
    bug: Option<Bug>,
    epoch: u64,
    generation: u64,
    shards: BTreeMap<usize, (Shard, Option<Writer>)>,
    batch: BTreeMap<usize, Vec<Record>>,
    turns: Vec<(usize, Turn)>,
    told: Vec<Told>,
    next: BTreeMap<usize, i64>,
    /// Partitions written down, to be given up.
    giving: BTreeSet<usize>,
    pub restored: usize,
}

/// What a process wants of the world after a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    GoOn,
    /// It has ended, by itself.
    Ended,
}

impl Process {
    pub fn new(name: usize, plan: &Arc<Plan>, bug: Option<Bug>) -> Self {
        Self {
            name,
            phase: Phase::Start,
            paused_until: 0,
            leaving: false,
            plan: plan.clone(),
            bug,
            epoch: 0,
            generation: 0,
            shards: BTreeMap::new(),
            batch: BTreeMap::new(),
            turns: Vec::new(),
            told: Vec::new(),
            next: BTreeMap::new(),
            giving: BTreeSet::new(),
            restored: 0,
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// One phase further. `most` records are read at a time; `wire` is what happens to a request to commit.
    pub fn advance(&mut self, broker: &mut Broker, folder: &mut Folder, most: usize, wire: Wire) -> Then {
        match self.phase {
            Phase::Start => {
                self.epoch = broker.init(self.name);
                broker.join(self.name);
                self.phase = Phase::Poll;
            }
            Phase::Poll => self.poll(broker, folder, most),
            Phase::Step => self.step(),
            Phase::ProduceFirst | Phase::ProduceRest => return self.produce(broker),
            Phase::SendOffsets => return self.send_offsets(broker),
            Phase::Commit => return self.commit(broker, wire),
            Phase::Renew => self.renew(broker),
            Phase::After => self.after(folder),
            Phase::Goodbye => {
                broker.leave(self.name);
                return Then::Ended;
            }
        }
        Then::GoOn
    }

    fn poll(&mut self, broker: &mut Broker, folder: &mut Folder, most: usize) {
        let (owns, gives_up, generation) = broker.heartbeat(self.name);
        self.generation = generation;
        let given = std::mem::take(&mut self.giving);
        self.shards.retain(|p, _| owns.contains(p) && !given.contains(p));
        if !given.is_empty() {
            broker.gave_up(self.name, &given);
            self.phase = if self.leaving { Phase::Goodbye } else { Phase::Poll };
            return;
        }
        if !gives_up.is_empty() || self.leaving {
            // Everything is committed here: what is given up is written down first, and given up at the next poll
            // whatever the group wants by then, for its files are closed.
            self.giving = if self.leaving { self.shards.keys().copied().collect() } else { gives_up };
            self.write_down(folder);
            self.phase = if self.told.is_empty() { Phase::Poll } else { Phase::ProduceFirst };
            if self.giving.is_empty() {
                self.phase = Phase::Goodbye;
            }
            return;
        }
        for p in owns {
            if !self.shards.contains_key(&p) {
                self.gain(broker, folder, p);
            }
        }
        for (p, (shard, _)) in &self.shards {
            let from = usize::try_from(shard.next).unwrap().min(broker.frames[*p].len());
            let to = (from + most).min(broker.frames[*p].len());
            if from < to {
                self.batch.insert(*p, broker.frames[*p][from..to].to_vec());
            }
        }
        if !self.batch.is_empty() {
            self.phase = Phase::Step;
        }
    }

    /// Closes the files of what is given up, and writes its last snapshots.
    fn write_down(&mut self, folder: &mut Folder) {
        for p in &self.giving {
            let Some((shard, writer)) = self.shards.get_mut(p) else { continue };
            if !shard.caught_up() {
                continue;
            }
            if let Some(writer) = writer.take() {
                writer.close(folder, shard.next);
            }
            shard.worker.step(Event::Archived(folder.held(*p)));
            for (offset, what) in shard.worker.step(Event::Save(shard.next)).list {
                self.told.push(Told { partition: *p, what, offset, base: 0 });
            }
            self.next.insert(*p, shard.next);
        }
    }

    fn gain(&mut self, broker: &Broker, folder: &mut Folder, p: usize) {
        let Some(committed) = broker.committed(p, !self.has(Bug::UnstableOffsets)) else { return };
        let mut restore = Restore::new(self.plan.clone());
        let (records, seen) = broker.read(&broker.state[p], 0);
        // Behind a transaction that is still open there may be more: a snapshot that stands there would be written
        // over, or lost, by someone who has not seen it.
        let waits = !self.has(Bug::PartOfState) && !self.has(Bug::UnstableOffsets);
        if seen < broker.state[p].len() && waits {
            return;
        }
        records.into_iter().for_each(|(k, v)| restore.take(k, Some(v)));
        let (worker, mut start, report) = restore.finish(committed, folder.on);
        assert!(report.unreadable.is_empty(), "{report:?}");
        if self.has(Bug::NoState) {
            let (worker, _, _) = Restore::new(self.plan.clone()).finish(committed, folder.on);
            start.offset = committed;
            self.shards.insert(p, (Shard::taken_over(worker.of_partition(p as i32), &start), None));
            return;
        }
        if self.has(Bug::TellsAgain) {
            start.told_below = start.offset;
        }
        self.restored += report.restored;
        let from = if self.has(Bug::ForgetsOpenFiles) { committed } else { start.archived_below };
        let writer = folder.on.then(|| folder.writer(p, from));
        self.shards.insert(p, (Shard::taken_over(worker.of_partition(p as i32), &start), writer));
    }

    fn step(&mut self) {
        for (p, records) in std::mem::take(&mut self.batch) {
            let Some((shard, _)) = self.shards.get_mut(&p) else { continue };
            let base = usize::try_from(records[0].offset).unwrap();
            let mut turn = shard.turn(records);
            let untold = |o: i64| shard.untold(o);
            let effects = std::mem::take(&mut turn.effects.list);
            for (offset, what) in effects {
                if archived(&what) {
                    if untold(offset) && !matches!(what, Effect::Roll | Effect::Frame(..)) {
                        self.told.push(Told { partition: p, what: copy(&what), offset, base });
                    }
                    turn.effects.push(offset, what);
                } else if untold(offset) {
                    self.told.push(Told { partition: p, what, offset, base });
                }
            }
            self.next.extend(shard.to_commit().map(|o| (p, o)));
            self.turns.push((p, turn));
        }
        self.phase = if self.next.is_empty() { Phase::After } else { Phase::ProduceFirst };
    }

    fn produce(&mut self, broker: &mut Broker) -> Then {
        let half = self.told.len() / 2;
        let (part, then) = match self.phase {
            Phase::ProduceFirst => (&self.told[..half], Phase::ProduceRest),
            _ => (&self.told[half..], Phase::SendOffsets),
        };
        for t in part {
            let sent = match &t.what {
                Effect::State(k, Some(v)) => {
                    broker.keep(self.name, self.epoch, t.partition, (k.clone(), v.clone()))
                }
                other => {
                    let (kind, body) = line(other, t.base);
                    let patient = patient(other);
                    let body = format!("{} {kind} {body}", t.offset);
                    broker.tell(self.name, self.epoch, t.partition, (t.offset, patient, body))
                }
            };
            if let Err(refused) = sent {
                return self.refused(refused, broker);
            }
        }
        self.phase = then;
        Then::GoOn
    }

    fn send_offsets(&mut self, broker: &mut Broker) -> Then {
        if self.has(Bug::TwoTransactions)
            && let Err(refused) = broker.commit(self.name, self.epoch, Wire::Good)
            && refused != Refused::NotOpen
        {
            return self.refused(refused, broker);
        }
        let generation = (!self.has(Bug::NoGeneration)).then_some(self.generation);
        match broker.send_offsets(self.name, self.epoch, generation, &self.next) {
            Ok(()) => self.phase = Phase::Commit,
            Err(refused) => return self.refused(refused, broker),
        }
        Then::GoOn
    }

    fn commit(&mut self, broker: &mut Broker, wire: Wire) -> Then {
        match broker.commit(self.name, self.epoch, wire) {
            Ok(()) => self.phase = Phase::After,
            Err(refused) => return self.refused(refused, broker),
        }
        Then::GoOn
    }

    fn refused(&mut self, refused: Refused, broker: &mut Broker) -> Then {
        match refused {
            // Another process bears this name, or the transaction took too long: a fresh start sorts it out.
            Refused::Fenced => return Then::Ended,
            Refused::Generation => {
                broker.abort(self.name, self.epoch);
                self.forget();
            }
            Refused::NoAnswer if self.has(Bug::KeepsProducer) => self.phase = Phase::ProduceFirst,
            Refused::NoAnswer | Refused::NotOpen => self.phase = Phase::Renew,
        }
        Then::GoOn
    }

    /// The end of the last transaction is not known: the producer is made again, and the offsets say how it ended.
    fn renew(&mut self, broker: &mut Broker) {
        self.epoch = broker.init(self.name);
        let committed = |p: &usize| broker.committed(*p, true);
        let stands = |(p, _): (&usize, &i64)| {
            let told = |c: i64| self.shards.get(p).is_some_and(|s| s.0.untold(c) && !s.0.untold(c - 1));
            committed(p).is_some_and(told)
        };
        self.phase = if self.next.iter().all(|(p, o)| committed(p).is_some_and(|c| c >= *o)) {
            Phase::After
        } else if self.next.iter().all(stands) {
            Phase::ProduceFirst
        } else {
            return self.forget();
        };
    }

    /// Takes everything over again: what is not committed is computed again from the log.
    fn forget(&mut self) {
        self.shards.clear();
        self.batch.clear();
        self.turns.clear();
        self.told.clear();
        self.next.clear();
        self.phase = Phase::Poll;
    }

    fn after(&mut self, folder: &mut Folder) {
        for (p, offset) in std::mem::take(&mut self.next) {
            if let Some((shard, _)) = self.shards.get_mut(&p) {
                shard.committed(offset);
            }
        }
        self.told.clear();
        for (p, turn) in std::mem::take(&mut self.turns) {
            let Some((shard, Some(writer))) = self.shards.get_mut(&p) else { continue };
            writer.take(folder, &turn.effects.list);
            if let Some(below) = folder.heard(p) {
                shard.worker.step(Event::Archived(below));
            }
        }
        self.phase = Phase::Poll;
    }
}

/// Whether the archive takes an effect.
pub fn archived(effect: &Effect) -> bool {
    matches!(effect, Effect::Event(..) | Effect::Score(..) | Effect::Frame(..) | Effect::Roll)
}

fn copy(effect: &Effect) -> Effect {
    match effect {
        Effect::Event(e, at) => Effect::Event(e.clone(), at.clone()),
        Effect::Score(s, at) => Effect::Score(s.clone(), at.clone()),
        _ => unreachable!("only what is told and archived is copied"),
    }
}

/// The patient of an output, as its key.
pub fn patient(effect: &Effect) -> String {
    match effect {
        Effect::Event(e, _) => e.patient.clone(),
        Effect::Score(s, _) => s.patient.clone(),
        Effect::Features(p, ..) | Effect::Beats(p, _) => p.expose().into(),
        _ => String::new(),
    }
}
