//! One owned partition: its worker, and what of its effects was told before.
//! In: records of the partition from its start. Out: effects to be told, and effects for the archive.

use std::sync::Arc;
use std::time::Instant;

use auscult_operators::signal::EventTime;

use crate::clock;
use crate::effects::{Effect, Effects};
use crate::failpoint;
use crate::limits;
use crate::plan::Plan;
use crate::source::Record;
use crate::state::Start;
use crate::worker::{Event, Worker};

/// One owned partition.
pub struct Shard {
    /// Its state.
    pub worker: Worker,
    /// Outputs of records below this offset were told by whoever owned it before.
    told_below: i64,
    /// Offset after the last record taken.
    pub next: i64,
    /// When the last record came, by the wall clock.
    pub heard: Instant,
}

/// What one turn of a shard yielded.
pub struct Turn {
    /// Effects in log order; those below `told_below` are only for the archive and the live view.
    pub effects: Effects,
    /// Records of the turn, for the dead-letter topic.
    pub records: Vec<Record>,
}

impl Shard {
    /// A partition just gained.
    pub fn new(plan: Arc<Plan>, told_below: i64) -> Self {
        Self { worker: Worker::new(plan), told_below, next: 0, heard: clock::instant() }
    }

    /// A partition taken over from its state records, see [`crate::state::Restore`].
    pub fn taken_over(worker: Worker, start: &Start) -> Self {
        Self { worker, told_below: start.told_below, next: start.offset, heard: clock::instant() }
    }

    /// Takes records in.
    pub fn turn(&mut self, records: Vec<Record>) -> Turn {
        let mut effects = Effects::default();
        let most = limits::STEP_RECORDS.max as usize;
        for (n, part) in records.chunks(most).enumerate() {
            let mut told = self.worker.step(Event::Records(part)).list;
            for (_, effect) in &mut told {
                // The place among the records of the step becomes that among the records of the turn.
                if let Effect::Aside(at, _) = effect {
                    *at += n * most;
                }
            }
            effects.list.append(&mut told);
            failpoint::hit(failpoint::IN_STEP);
            if !self.caught_up() {
                failpoint::hit(failpoint::IN_CATCH_UP);
            }
        }
        if let Some(last) = records.last() {
            self.next = last.offset + 1;
            self.heard = clock::instant();
        }
        Turn { effects, records }
    }

    /// Whether an effect of this record is yet to be told.
    pub fn untold(&self, offset: i64) -> bool {
        offset >= self.told_below
    }

    /// The offset to commit, if there is anything new.
    pub fn to_commit(&self) -> Option<i64> {
        (self.next > self.told_below).then_some(self.next)
    }

    /// What was committed: it need not be committed again.
    pub fn committed(&mut self, offset: i64) {
        self.told_below = self.told_below.max(offset);
    }

    /// Whether the state has caught up with what was told before.
    pub fn caught_up(&self) -> bool {
        self.next >= self.told_below
    }

    /// The time of a tick, once the partition has been idle for over a second: its own last time, and the time that
    /// has passed since.
    pub fn tick_due(&self) -> Option<EventTime> {
        let idle = self.heard.elapsed();
        let due = idle.as_millis() >= 1000 && self.worker.beds() > 0;
        let passed = auscult_operators::signal::Span::from_seconds(idle.as_secs_f64());
        self.worker.partition_time().filter(|_| due).map(|t| t + passed)
    }
}
