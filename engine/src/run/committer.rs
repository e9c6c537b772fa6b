//! The committer: one thread that tells what the shards yielded and commits the offsets behind it, transaction after
//! transaction, while the next records are being read and stepped.
//! In: chunks, each the outputs of a stretch of one partition. Out: each told once, in order; or dropped, because
//! somebody else owns its partition and tells it.
//!
//! After a transaction whose end is not known, the committed offsets say which chunks went through; the others are
//! taken back and told again, by a producer made anew. Nothing is forgotten while the broker is away, and nothing more
//! is taken in than `IN_FLIGHT_RECORDS` and `IN_FLIGHT_BYTES` allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::handover::{Chunk, Handover};
use crate::clock;
use crate::error::RunError;
use crate::failpoint;
use crate::sink::kafka::{Failure, Output, Transactions};

/// Between two attempts to reach the broker.
const AGAIN: Duration = Duration::from_millis(200);
/// A fenced producer waits so many times the session for the group to say whether another process has joined as this
/// instance; if none has, it was only its transaction that had timed out.
const SESSIONS: f64 = 0.5;
/// Offsets that nobody tells for longer than a transaction may live may be held by one that nobody will end. (The
/// client asks again by itself where they are unstable, so that this looks like a broker that does not answer.)
const UNSTABLE: Duration = Duration::from_secs(12);

/// What the committer needs of the outside: [`Transactions`], or a broker of a test.
pub(super) trait Teller: Send {
    fn let_go(&mut self);
    fn connect(&mut self) -> Result<(), Failure>;
    fn begin(&self) -> Result<(), Failure>;
    fn tell(&self, output: &Output) -> Result<(), Failure>;
    fn poll(&self);
    fn deliver(&self, next: &BTreeMap<i32, i64>, go_on: &dyn Fn() -> bool) -> Result<(), Failure>;
    fn commit(&self, go_on: &dyn Fn() -> bool) -> Result<(), Failure>;
    fn abort(&self, next: &BTreeMap<i32, i64>, go_on: &dyn Fn() -> bool) -> Result<(), Failure>;
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
    fn deliver(&self, next: &BTreeMap<i32, i64>, go_on: &dyn Fn() -> bool) -> Result<(), Failure> {
        Transactions::deliver(self, next, go_on)
    }
    fn commit(&self, go_on: &dyn Fn() -> bool) -> Result<(), Failure> {
        Transactions::commit(self, go_on)
    }
    fn abort(&self, next: &BTreeMap<i32, i64>, go_on: &dyn Fn() -> bool) -> Result<(), Failure> {
        Transactions::abort(self, next, go_on)
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
    /// Whether its commit was asked for: until then it has certainly not gone through.
    asked: bool,
    unstable: Duration,
}

/// Why the committer's work is at an end.
enum End {
    Stopped,
    Error(RunError),
}

impl<T: Teller> Committer<T> {
    pub(super) fn new(teller: T, handover: Arc<Handover>, every: Duration, session: Duration) -> Self {
        Self { teller, handover, every, session, told: Vec::new(), asked: false, unstable: UNSTABLE }
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
            if !self.wait_for_work(last) {
                return End::Stopped;
            }
            last = clock::instant();
            let Err(failure) = self.transaction() else { continue };
            if let Err(end) = self.recover(failure) {
                return end;
            }
        }
    }

    /// Waits until there is something to tell and it is due; false if there will be nothing more.
    ///
    /// Only then is the transaction opened: while one is open, readers of committed records see nothing behind it, and
    /// if this process dies in one, its successor waits for it to time out.
    fn wait_for_work(&self, last: Instant) -> bool {
        let due = last + self.every;
        let mut state = self.handover.lock();
        loop {
            let left = due.saturating_duration_since(clock::instant());
            let now = left.is_zero() || state.hurry || state.stop_by.is_some() || state.half_full();
            if now && !state.waiting.is_empty() {
                state.open();
                return true;
            }
            if state.stop_by.is_some() {
                return false;
            }
            let wait = if state.waiting.is_empty() { Duration::from_secs(1) } else { left };
            state = self.handover.wait(state, wait);
        }
    }

    /// One transaction with what waits.
    fn transaction(&mut self) -> Result<(), Failure> {
        failpoint::hit(failpoint::BEFORE_PRODUCE);
        self.asked = false;
        self.teller.begin()?;
        let until = clock::instant() + self.every;
        while let Some(chunk) = self.next(until) {
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
        let next = self.offsets();
        if next.keys().any(|p| self.handover.lock().lost.contains_key(p)) {
            return Err(Failure::Heals(rdkafka::error::KafkaError::Canceled));
        }
        let handover = self.handover.clone();
        let go_on = || handover.goes_on();
        self.teller.deliver(&next, &go_on)?;
        self.asked = true;
        self.teller.commit(&go_on)?;
        failpoint::hit(failpoint::AFTER_COMMIT);
        let told = std::mem::take(&mut self.told);
        self.done(&told);
        let mut state = self.handover.lock();
        state.tally.commits += 1;
        state.busy = false;
        self.handover.changed.notify_all();
        Ok(())
    }

    /// Of each partition of the open transaction, the offset behind what was told.
    fn offsets(&self) -> BTreeMap<i32, i64> {
        let mut next = BTreeMap::new();
        for chunk in &self.told {
            let to: &mut i64 = next.entry(chunk.partition).or_default();
            *to = chunk.next.max(*to);
        }
        next
    }

    /// The next chunk of the open transaction. What waits goes with it; but where more and more comes, it ends.
    fn next(&self, until: Instant) -> Option<Chunk> {
        let late = clock::instant() > until && !self.told.is_empty();
        self.handover.lock().waiting.pop_front_if(|_| !late)
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
        let committed = if self.asked { self.committed()? } else { BTreeMap::new() };
        let through = |c: &Chunk| committed.get(&c.partition).is_some_and(|o| *o >= c.next);
        let ours = |c: &Chunk| !self.handover.lock().lost.contains_key(&c.partition);
        if !self.told.iter().any(|c| ours(c) && through(c)) {
            self.take_back()?;
        }
        let told = std::mem::take(&mut self.told);
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

    /// What is committed, once nothing is open any more.
    fn committed(&mut self) -> Result<BTreeMap<i32, i64>, End> {
        let partitions: Vec<i32> = self.offsets().into_keys().collect();
        let mut since = clock::instant();
        loop {
            match self.teller.committed(&partitions) {
                Ok(found) => return Ok(found),
                Err(Failure::Broken(e)) => return Err(End::Error(e)),
                Err(_) if since.elapsed() > self.unstable => {
                    let what = "the committed offsets are not told: what may hold them is aborted by hand";
                    warn!(code = "transaction_hangs", "{what}");
                    self.take_back()?;
                    since = clock::instant();
                }
                Err(_) => {}
            }
            self.pause(AGAIN)?;
        }
    }

    /// Takes back what was told and did not go through. Taking the transactional id has aborted it; but a broker may
    /// have left that out of some partitions, and there it would go through with the next commit. So a transaction
    /// that touches each place once more is opened and aborted before anything else is told.
    fn take_back(&mut self) -> Result<(), End> {
        while let Err(failure) = self.told_and_aborted() {
            match failure {
                Failure::Broken(e) => return Err(End::Error(e)),
                Failure::Heals(e) => debug!(error = %e, "a transaction is not taken back yet"),
                Failure::Fenced => {
                    self.teller.let_go();
                    self.wait_as_fenced()?;
                }
            }
            self.teller.let_go();
            self.pause(AGAIN)?;
            self.connect()?;
        }
        Ok(())
    }

    fn told_and_aborted(&self) -> Result<(), Failure> {
        if self.told.is_empty() {
            return Ok(());
        }
        self.teller.begin()?;
        let mut places = BTreeSet::new();
        for output in self.told.iter().flat_map(|c| &c.outputs) {
            // A key stands for the partition that it chooses.
            let key = output.partition.is_none().then_some(&output.key);
            if places.insert((&output.topic, output.partition, key)) {
                self.teller.tell(output)?;
            }
        }
        let handover = &self.handover;
        let go_on = || handover.goes_on();
        self.teller.abort(&self.offsets(), &go_on)
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
            state = self.handover.wait(state, left);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests;
