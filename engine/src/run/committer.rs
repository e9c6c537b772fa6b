//! The committer: one thread that tells what the shards yielded and commits the offsets behind it, transaction after
//! transaction, while the next records are being read and stepped.
//! In: chunks, each the outputs of a stretch of one partition. Out: each told once, in order; or dropped, because
//! somebody else owns its partition and tells it.
//!
//! After a transaction whose end is not known, the committed offsets say which chunks went through; the others are
//! told again, by a producer made anew. Nothing is forgotten while the broker is away, and nothing more is taken in
//! than [`limits::IN_FLIGHT_RECORDS`] and [`limits::IN_FLIGHT_BYTES`] allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::clock;
use crate::error::RunError;
use crate::failpoint;
use crate::limits;
use crate::sink::kafka::{Failure, Output, Transactions};

/// Between two attempts to reach the broker.
const AGAIN: Duration = Duration::from_millis(200);
/// A fenced producer waits so many times the session for the group to say whether another process has joined as this
/// instance; if none has, it was only its transaction that had timed out.
const SESSIONS: f64 = 0.75;

/// The outputs of a stretch of one partition, up to an offset.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) partition: i32,
    /// Offset after its last record.
    pub(super) next: i64,
    pub(super) outputs: Vec<Output>,
    /// Records it stands for.
    pub(super) records: usize,
    /// Scores and events among the outputs, for the metrics.
    pub(super) told: (u64, u64),
}

impl Chunk {
    fn bytes(&self) -> usize {
        let one = |o: &Output| {
            let headers: usize = o.headers.iter().map(|h| h.0.len() + h.1.len()).sum();
            headers + o.key.len() + o.value.as_ref().map_or(0, Vec::len)
        };
        self.outputs.iter().map(one).sum()
    }
}

/// What the committer has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) commits: u64,
    /// Transactions whose end was not known.
    pub(super) failures: u64,
    pub(super) events: u64,
    pub(super) scores: u64,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Chunk>,
    /// Of everything that is not committed.
    records: usize,
    bytes: usize,
    /// Partitions whose chunks are to be dropped.
    lost: BTreeSet<i32>,
    busy: bool,
    hurry: bool,
    connected: bool,
    /// Until when what waits is still to be committed.
    stop_by: Option<Instant>,
    tally: Tally,
    error: Option<RunError>,
    ended: bool,
}

impl State {
    fn drop_lost(&mut self) {
        let Self { waiting, lost, records, bytes, .. } = self;
        waiting.retain(|c| {
            let stays = !lost.contains(&c.partition);
            if !stays {
                *records -= c.records;
                *bytes -= c.bytes();
            }
            stays
        });
    }
}

/// The hand-over between the loop and the committer.
#[derive(Default)]
pub(super) struct Handover {
    state: Mutex<State>,
    changed: Condvar,
}

impl Handover {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a chunk over; never waits.
    pub(super) fn push(&self, chunk: Chunk) {
        let mut state = self.lock();
        state.records += chunk.records;
        state.bytes += chunk.bytes();
        state.waiting.push_back(chunk);
        self.changed.notify_all();
    }

    /// How full it is: 1 is as full as it may get.
    pub(super) fn fill(&self) -> f64 {
        let state = self.lock();
        let part = |n: usize, limit: limits::Limit| n as f64 / limit.max as f64;
        part(state.records, limits::IN_FLIGHT_RECORDS).max(part(state.bytes, limits::IN_FLIGHT_BYTES))
    }

    /// Records that are not committed.
    pub(super) fn records(&self) -> usize {
        self.lock().records
    }

    /// Whether the broker takes transactions.
    pub(super) fn connected(&self) -> bool {
        self.lock().connected
    }

    /// What was done so far.
    pub(super) fn tally(&self) -> Tally {
        self.lock().tally
    }

    /// Why the committer has given up, if it has.
    pub(super) fn take_error(&self) -> Option<RunError> {
        self.lock().error.take()
    }

    /// Drops what is not told of a partition: it is somebody else's.
    pub(super) fn forget(&self, partition: i32) {
        let mut state = self.lock();
        state.lost.insert(partition);
        state.drop_lost();
        self.changed.notify_all();
    }

    /// A partition is ours again; false while something of its earlier ownership may still be told.
    pub(super) fn regain(&self, partition: i32) -> bool {
        let mut state = self.lock();
        let free = !(state.busy && state.lost.contains(&partition));
        if free {
            state.lost.remove(&partition);
        }
        free
    }

    /// Waits until everything handed over is committed, or the deadline; whether it was. Calls `alive` meanwhile.
    pub(super) fn settle(&self, deadline: Instant, alive: &dyn Fn()) -> bool {
        let mut state = self.lock();
        loop {
            if state.waiting.is_empty() && !state.busy {
                state.hurry = false;
                return true;
            }
            let left = deadline.saturating_duration_since(clock::instant());
            if left.is_zero() || state.ended || !state.connected {
                state.hurry = false;
                return false;
            }
            state.hurry = true;
            self.changed.notify_all();
            let wait = left.min(Duration::from_millis(100));
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            alive();
        }
    }

    /// Commits what waits, until then at most, and ends.
    pub(super) fn stop(&self, by: Instant) {
        self.lock().stop_by = Some(by);
        self.changed.notify_all();
    }

    /// Whether the committer has ended; waits so long for it at most.
    pub(super) fn ended(&self, by: Instant) -> bool {
        let mut state = self.lock();
        while !state.ended {
            let left = by.saturating_duration_since(clock::instant());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// What the committer needs of the outside: [`Transactions`], or a broker of a test.
pub(super) trait Teller: Send {
    fn let_go(&mut self);
    fn connect(&mut self) -> Result<(), Failure>;
    fn begin(&self) -> Result<(), Failure>;
    fn tell(&self, output: &Output) -> Result<(), Failure>;
    fn poll(&self);
    fn commit(&self, next: &BTreeMap<i32, i64>, go_on: &dyn Fn() -> bool) -> Result<(), Failure>;
    fn committed(&self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, Failure>;
}

impl Teller for Transactions {
    fn let_go(&mut self) {
        Transactions::let_go(self);
    }
    fn connect(&mut self) -> Result<(), Failure> {
        Transactions::connect(self)
    }
    fn begin(&self) -> Result<(), Failure> {
        Transactions::begin(self)
    }
    fn tell(&self, output: &Output) -> Result<(), Failure> {
        Transactions::tell(self, output)
    }
    fn poll(&self) {
        Transactions::poll(self);
    }
    fn commit(&self, next: &BTreeMap<i32, i64>, go_on: &dyn Fn() -> bool) -> Result<(), Failure> {
        Transactions::commit(self, next, go_on)
    }
    fn committed(&self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, Failure> {
        Transactions::committed(self, partitions)
    }
}

/// The committer's own side.
pub(super) struct Committer<T> {
    teller: T,
    handover: Arc<Handover>,
    every: Duration,
    session: Duration,
    /// Of the open transaction.
    told: Vec<Chunk>,
}

/// Why the committer's work is at an end.
enum End {
    Stopped,
    Error(RunError),
}

impl<T: Teller> Committer<T> {
    pub(super) fn new(teller: T, handover: Arc<Handover>, every: Duration, session: Duration) -> Self {
        Self { teller, handover, every, session, told: Vec::new() }
    }

    /// Works until told to stop.
    pub(super) fn run(mut self) {
        let end = self.work();
        // Only now: dropping the producer may take a moment, and somebody waits for it.
        self.teller.let_go();
        let mut state = self.handover.lock();
        if let End::Error(e) = end {
            state.error = Some(e);
        }
        (state.ended, state.connected) = (true, false);
        self.handover.changed.notify_all();
    }

    fn work(&mut self) -> End {
        if let Err(end) = self.connect() {
            return end;
        }
        let mut last = clock::instant();
        loop {
            let Some(due) = self.wait_for_work(last) else { return End::Stopped };
            last = clock::instant();
            let Err(failure) = self.transaction(due) else { continue };
            if let Err(end) = self.recover(failure) {
                return end;
            }
        }
    }

    /// Waits for the first chunk; until when to gather more, or `None` if there will be none.
    fn wait_for_work(&self, last: Instant) -> Option<Instant> {
        let mut state = self.handover.lock();
        loop {
            if !state.waiting.is_empty() {
                state.busy = true;
                return Some(last + self.every);
            }
            if state.stop_by.is_some() {
                return None;
            }
            let wait = Duration::from_secs(1);
            state = self.handover.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One transaction: what waits, and what comes until it is due.
    fn transaction(&mut self, due: Instant) -> Result<(), Failure> {
        failpoint::hit(failpoint::BEFORE_PRODUCE);
        self.teller.begin()?;
        while let Some(chunk) = self.next(due) {
            // First noted, then told: what fails half-way is told again as a whole.
            self.told.push(chunk);
            let Some(chunk) = self.told.last() else { continue };
            for output in &chunk.outputs {
                self.teller.tell(output)?;
                failpoint::hit(failpoint::IN_PRODUCE);
                // Only snapshots have a partition of their own.
                if output.partition.is_some() {
                    failpoint::hit(failpoint::IN_SNAPSHOT);
                }
            }
            self.teller.poll();
        }
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        {
            let state = self.handover.lock();
            for chunk in &self.told {
                if state.lost.contains(&chunk.partition) {
                    return Err(Failure::Heals(rdkafka::error::KafkaError::Canceled));
                }
                let to = next.entry(chunk.partition).or_default();
                *to = chunk.next.max(*to);
            }
        }
        let handover = &self.handover;
        self.teller.commit(&next, &|| handover.lock().stop_by.is_none_or(|by| clock::instant() < by))?;
        failpoint::hit(failpoint::AFTER_COMMIT);
        let told = std::mem::take(&mut self.told);
        self.done(&told);
        let mut state = self.handover.lock();
        state.tally.commits += 1;
        state.busy = false;
        self.handover.changed.notify_all();
        Ok(())
    }

    /// The next chunk of the open transaction; `None` once it is to be committed.
    fn next(&self, due: Instant) -> Option<Chunk> {
        let mut state = self.handover.lock();
        loop {
            let now = clock::instant();
            let left = due.saturating_duration_since(now);
            // What waits goes with it; but where more and more comes, it ends.
            let overdue = now > due + self.every && !self.told.is_empty();
            if let Some(chunk) = state.waiting.pop_front_if(|_| !overdue) {
                return Some(chunk);
            }
            if left.is_zero() || state.hurry || state.stop_by.is_some() {
                return None;
            }
            state = self.handover.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// These chunks are told.
    fn done(&self, told: &[Chunk]) {
        let mut state = self.handover.lock();
        for chunk in told {
            state.records -= chunk.records;
            state.bytes -= chunk.bytes();
            state.tally.events += chunk.told.0;
            state.tally.scores += chunk.told.1;
        }
    }

    /// Takes the transactional id, however long the broker is away.
    fn connect(&mut self) -> Result<(), End> {
        self.handover.lock().connected = false;
        let mut tries = 0u32;
        loop {
            match self.teller.connect() {
                Ok(()) => break,
                Err(Failure::Broken(e)) => return Err(End::Error(e)),
                Err(Failure::Fenced) => self.wait_as_fenced()?,
                Err(Failure::Heals(e)) => {
                    // Once at first, and then about every half minute.
                    if tries.is_multiple_of(30) {
                        warn!(code = "waiting_for_broker", error = %e, "waiting for the broker");
                    }
                }
            }
            tries += 1;
            self.pause(AGAIN)?;
        }
        if tries > 0 {
            info!("the broker is there");
        }
        self.handover.lock().connected = true;
        self.handover.changed.notify_all();
        Ok(())
    }

    /// After a transaction whose end is not known.
    fn recover(&mut self, failure: Failure) -> Result<(), End> {
        {
            let mut state = self.handover.lock();
            state.connected = false;
            state.tally.failures += 1;
            self.handover.changed.notify_all();
        }
        match failure {
            Failure::Broken(e) => return Err(End::Error(e)),
            Failure::Heals(e) => {
                let what = "a transaction did not end well; the producer is made again";
                warn!(code = "transaction", error = %e, "{what}");
            }
            Failure::Fenced => {
                warn!(
                    code = "transaction",
                    "the transaction has timed out, or another process has taken over"
                );
                self.teller.let_go();
                self.wait_as_fenced()?;
            }
        }
        failpoint::hit(failpoint::BEFORE_RENEW);
        self.teller.let_go();
        self.connect()?;
        let committed = self.committed()?;
        let told = std::mem::take(&mut self.told);
        let through = |c: &Chunk| committed.get(&c.partition).is_some_and(|o| *o >= c.next);
        let (done, again): (Vec<_>, Vec<_>) = told.into_iter().partition(through);
        if !done.is_empty() {
            info!(partitions = committed.len(), "the transaction had gone through");
        }
        self.done(&done);
        {
            let mut state = self.handover.lock();
            state.tally.commits += u64::from(!done.is_empty());
            again.into_iter().rev().for_each(|c| state.waiting.push_front(c));
            state.drop_lost();
            state.busy = false;
        }
        Ok(())
    }

    fn committed(&mut self) -> Result<BTreeMap<i32, i64>, End> {
        let mut partitions: Vec<i32> = self.told.iter().map(|c| c.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        loop {
            match self.teller.committed(&partitions) {
                Ok(found) => return Ok(found),
                Err(Failure::Broken(e)) => return Err(End::Error(e)),
                Err(_) => self.pause(AGAIN)?,
            }
        }
    }

    /// A fenced producer does not come back at once: if another process runs as this instance, the group says so, and
    /// that ends the loop and this.
    fn wait_as_fenced(&self) -> Result<(), End> {
        self.pause(self.session.mul_f64(SESSIONS))
    }

    /// Waits, or ends if that is asked for.
    fn pause(&self, wait: Duration) -> Result<(), End> {
        let until = clock::instant() + wait;
        let mut state = self.handover.lock();
        loop {
            let now = clock::instant();
            if state.stop_by.is_some_and(|by| now >= by) {
                return Err(End::Stopped);
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return Ok(());
            }
            let left = state.stop_by.map_or(left, |by| left.min(by.saturating_duration_since(now)));
            state = self.handover.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests;
