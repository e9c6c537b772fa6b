//! The hand-over between the loop and the committer: chunks one way, how it stands the other. Nobody waits for it but
//! who gives partitions up.
//! In: chunks, as they are stepped. Out: the same, in order, unless their partition is lost before they are told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::error::RunError;
use crate::limits;
use crate::sink::kafka::Output;

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
    pub(super) fn bytes(&self) -> usize {
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

/// How it stands. Behind one lock.
#[derive(Default)]
pub(super) struct State {
    pub(super) waiting: VecDeque<Chunk>,
    /// Of everything that is not committed.
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// Partitions whose chunks are to be dropped, each with the transaction that was the last when it was lost.
    pub(super) lost: BTreeMap<i32, u64>,
    pub(super) busy: bool,
    /// Transactions opened.
    opened: u64,
    pub(super) hurry: bool,
    pub(super) connected: bool,
    /// Until when what waits is still to be committed.
    pub(super) stop_by: Option<Instant>,
    pub(super) tally: Tally,
    pub(super) error: Option<RunError>,
    pub(super) ended: bool,
}

impl State {
    pub(super) fn half_full(&self) -> bool {
        let over = |n: usize, limit: limits::Limit| n as u64 > limit.max / 2;
        over(self.records, limits::IN_FLIGHT_RECORDS) || over(self.bytes, limits::IN_FLIGHT_BYTES)
    }

    /// A transaction is opened.
    pub(super) fn open(&mut self) {
        (self.busy, self.opened) = (true, self.opened + 1);
    }

    pub(super) fn drop_lost(&mut self) {
        let Self { waiting, lost, records, bytes, .. } = self;
        waiting.retain(|c| {
            let stays = !lost.contains_key(&c.partition);
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
    pub(super) changed: Condvar,
}

impl Handover {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something has changed, so long at most.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0
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
        let last = state.opened;
        state.lost.insert(partition, last);
        state.drop_lost();
        self.changed.notify_all();
    }

    /// A partition is ours again; false while something of its earlier ownership may still be told.
    pub(super) fn regain(&self, partition: i32) -> bool {
        let mut state = self.lock();
        // Only the transaction that was open when it was lost: one follows upon the other.
        let free = !(state.busy && state.lost.get(&partition) == Some(&state.opened));
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
            state = self.wait(state, wait);
            alive();
        }
    }

    /// Commits what waits, until then at most, and ends.
    pub(super) fn stop(&self, by: Instant) {
        self.lock().stop_by = Some(by);
        self.changed.notify_all();
    }

    /// Whether there is still time to commit.
    pub(super) fn goes_on(&self) -> bool {
        self.lock().stop_by.is_none_or(|by| clock::instant() < by)
    }

    /// Whether the committer has ended; waits so long for it at most.
    pub(super) fn ended(&self, by: Instant) -> bool {
        let mut state = self.lock();
        while !state.ended {
            let left = by.saturating_duration_since(clock::instant());
            if left.is_zero() {
                return false;
            }
            state = self.wait(state, left);
        }
        true
    }
}
