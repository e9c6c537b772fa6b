//! A broker in memory: partitions, a consumer group, transactions as the older protocol has them (no KIP-890).
//! In: requests of processes, at virtual times. Out: answers, lost answers and late requests, as a network gives them.

use std::collections::{BTreeMap, BTreeSet};

use auscult::source::Record;

/// Microseconds of virtual time.
pub type Micros = i64;

const SESSION: Micros = 6_000_000;
const TRANSACTION: Micros = 10_000_000;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another producer of the same transactional id has been started.
    Fenced,
    /// The member is not of this generation of the group.
    Generation,
    /// No answer: it may have been carried out, or may still be.
    NoAnswer,
    /// There is no such transaction any more.
    NotOpen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Default)]
struct Producer {
    epoch: u64,
    /// Serial of the open transaction, when it began, and its offsets.
    open: Option<(usize, Micros, BTreeMap<usize, i64>)>,
}

/// What the network does with one request to end a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Good,
    /// Carried out, the answer is lost.
    AnswerLost,
    /// Never arrives.
    RequestLost,
    /// Arrives after this time; the client has given up by then.
    Late(Micros),
}

#[derive(Default)]
struct Member {
    seen: Micros,
    /// The generation it has been told.
    generation: u64,
    owns: BTreeSet<usize>,
}

/// Entries of one topic partition, each with the transaction that wrote it.
pub struct Log<T> {
    entries: Vec<(usize, T)>,
}

impl<T> Log<T> {
    /// Entries, also those of open and aborted transactions.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The broker.
pub struct Broker {
    pub now: Micros,
    pub frames: Vec<Vec<Record>>,
    pub outputs: Vec<Log<(i64, String, String)>>,
    pub state: Vec<Log<(Vec<u8>, Vec<u8>)>>,
    committed: Vec<i64>,
    fates: Vec<Fate>,
    producers: BTreeMap<usize, Producer>,
    late: Vec<(Micros, usize, u64)>,
    members: BTreeMap<usize, Member>,
    generation: u64,
    /// Of requests to end a transaction, how many got no answer.
    pub unanswered: u64,
    pub rebalances: u64,
    pub fenced: u64,
}

impl Broker {
    pub fn new(partitions: usize) -> Self {
        let log = || Log { entries: Vec::new() };
        Self {
            now: 0,
            frames: vec![Vec::new(); partitions],
            outputs: (0..partitions).map(|_| log()).collect(),
            state: (0..partitions).map(|_| Log { entries: Vec::new() }).collect(),
            committed: vec![0; partitions],
            fates: Vec::new(),
            producers: BTreeMap::new(),
            late: Vec::new(),
            members: BTreeMap::new(),
            generation: 0,
            unanswered: 0,
            rebalances: 0,
            fenced: 0,
        }
    }

    /// Lets time pass: late requests arrive, old transactions are aborted, silent members are put out.
    pub fn pass(&mut self, by: Micros) {
        self.now += by;
        let now = self.now;
        let due: Vec<_> = self.late.extract_if(.., |l| l.0 <= now).collect();
        for (_, id, epoch) in due {
            // An old protocol: whatever transaction of this epoch is open now is the one that ends.
            let _ = self.end(id, epoch);
        }
        for p in self.producers.values_mut() {
            if let Some((serial, ..)) = p.open.take_if(|o| now - o.1 > TRANSACTION) {
                p.epoch += 1;
                self.fates[serial] = Fate::Aborted;
            }
        }
        let gone: Vec<usize> =
            self.members.iter().filter(|m| now - m.1.seen > SESSION).map(|m| *m.0).collect();
        gone.into_iter().for_each(|m| self.leave(m));
    }

    /// Takes the place of whoever had this transactional id: what it left open is aborted.
    pub fn init(&mut self, id: usize) -> u64 {
        let p = self.producers.entry(id).or_default();
        p.epoch += 1;
        if let Some((serial, ..)) = p.open.take() {
            self.fates[serial] = Fate::Aborted;
        }
        p.epoch
    }

    fn producer(&mut self, id: usize, epoch: u64) -> Result<&mut Producer, Refused> {
        match self.producers.get_mut(&id) {
            Some(p) if p.epoch == epoch => Ok(p),
            _ => {
                self.fenced += 1;
                Err(Refused::Fenced)
            }
        }
    }

    /// The transaction that a producer writes in, begun if need be.
    fn serial(&mut self, id: usize, epoch: u64) -> Result<usize, Refused> {
        let (now, next) = (self.now, self.fates.len());
        let p = self.producer(id, epoch)?;
        let serial = p.open.get_or_insert((next, now, BTreeMap::new())).0;
        if serial == next {
            self.fates.push(Fate::Open);
        }
        Ok(serial)
    }

    pub fn tell(
        &mut self,
        id: usize,
        epoch: u64,
        at: usize,
        what: (i64, String, String),
    ) -> Result<(), Refused> {
        let serial = self.serial(id, epoch)?;
        self.outputs[at].entries.push((serial, what));
        Ok(())
    }

    pub fn keep(
        &mut self,
        id: usize,
        epoch: u64,
        at: usize,
        what: (Vec<u8>, Vec<u8>),
    ) -> Result<(), Refused> {
        let serial = self.serial(id, epoch)?;
        self.state[at].entries.push((serial, what));
        Ok(())
    }

    /// Puts offsets into the transaction, if the member is of this generation of the group.
    pub fn send_offsets(
        &mut self,
        id: usize,
        epoch: u64,
        generation: Option<u64>,
        next: &BTreeMap<usize, i64>,
    ) -> Result<(), Refused> {
        if let Some(generation) = generation {
            let known = self.members.get(&id).is_some_and(|m| m.generation == generation);
            if !known || generation != self.generation {
                return Err(Refused::Generation);
            }
        }
        self.serial(id, epoch)?;
        let p = self.producer(id, epoch)?;
        p.open.as_mut().ok_or(Refused::NotOpen)?.2.extend(next);
        Ok(())
    }

    /// Commits, as far as the network lets the request through.
    pub fn commit(&mut self, id: usize, epoch: u64, wire: Wire) -> Result<(), Refused> {
        match wire {
            Wire::Good => self.end(id, epoch),
            Wire::AnswerLost => {
                self.unanswered += 1;
                let _ = self.end(id, epoch);
                Err(Refused::NoAnswer)
            }
            Wire::RequestLost => {
                self.unanswered += 1;
                Err(Refused::NoAnswer)
            }
            Wire::Late(by) => {
                self.unanswered += 1;
                self.late.push((self.now + by, id, epoch));
                Err(Refused::NoAnswer)
            }
        }
    }

    fn end(&mut self, id: usize, epoch: u64) -> Result<(), Refused> {
        let p = self.producer(id, epoch)?;
        let (serial, _, offsets) = p.open.take().ok_or(Refused::NotOpen)?;
        self.fates[serial] = Fate::Committed;
        offsets.into_iter().for_each(|(p, o)| self.committed[p] = o);
        Ok(())
    }

    pub fn abort(&mut self, id: usize, epoch: u64) {
        if let Ok(Some((serial, ..))) = self.producer(id, epoch).map(|p| p.open.take()) {
            self.fates[serial] = Fate::Aborted;
        }
    }

    /// The committed offset; `None` while a transaction that may change it is open.
    pub fn committed(&self, at: usize, stable: bool) -> Option<i64> {
        let pending = self.producers.values().any(|p| p.open.as_ref().is_some_and(|o| o.2.contains_key(&at)));
        (!stable || !pending).then_some(self.committed[at])
    }

    /// Entries that a reader of committed data sees from a position on, and its next position.
    pub fn read<'a, T>(&self, log: &'a Log<T>, from: usize) -> (Vec<&'a T>, usize) {
        let stable =
            log.entries.iter().position(|e| self.fates[e.0] == Fate::Open).unwrap_or(log.entries.len());
        let seen = log.entries[from.min(stable)..stable].iter();
        (seen.filter(|e| self.fates[e.0] == Fate::Committed).map(|e| &e.1).collect(), stable.max(from))
    }

    /// A member joins, or comes back under its name: a static member keeps what it owns.
    pub fn join(&mut self, id: usize) {
        let now = self.now;
        if let Some(m) = self.members.get_mut(&id) {
            (m.seen, m.generation) = (now, 0);
            return;
        }
        self.members.insert(id, Member { seen: now, ..Member::default() });
        self.next_generation();
    }

    pub fn leave(&mut self, id: usize) {
        if self.members.remove(&id).is_some() {
            self.next_generation();
        }
    }

    fn next_generation(&mut self) {
        self.generation += 1;
        self.rebalances += 1;
    }

    /// A member asks what it owns. It must give up first what is to be another's: `(owns, gives up, generation)`.
    /// A member that was put out meanwhile joins anew, and owns nothing.
    pub fn heartbeat(&mut self, id: usize) -> (BTreeSet<usize>, BTreeSet<usize>, u64) {
        let was_out = !self.members.contains_key(&id);
        self.join(id);
        let target = self.target(id);
        let taken: BTreeSet<usize> =
            self.members.iter().filter(|m| *m.0 != id).flat_map(|m| m.1.owns.iter().copied()).collect();
        let (now, generation) = (self.now, self.generation);
        let Some(m) = self.members.get_mut(&id) else { return Default::default() };
        (m.seen, m.generation) = (now, generation);
        let gives_up: BTreeSet<usize> = m.owns.difference(&target).copied().collect();
        if !was_out {
            m.owns.extend(target.iter().filter(|p| !taken.contains(p)));
        }
        (m.owns.clone(), gives_up, generation)
    }

    /// A member has given partitions up.
    pub fn gave_up(&mut self, id: usize, what: &BTreeSet<usize>) {
        if let Some(m) = self.members.get_mut(&id) {
            m.owns.retain(|p| !what.contains(p));
            self.next_generation();
        }
    }

    /// Partitions a member should own: even shares, in order of name.
    fn target(&self, id: usize) -> BTreeSet<usize> {
        let place = self.members.keys().position(|m| *m == id).unwrap_or(0);
        (0..self.frames.len()).filter(|p| p % self.members.len().max(1) == place).collect()
    }
}
