//! What a worker does for its own recovery: which patient is written when, the mark, and what waits to be installed.
//! In: offsets and partition time, never a clock. Out: who is due, and the mark.

use std::collections::{HashMap, HashSet, VecDeque};

use auscult_operators::signal::{EventTime, PatientId, Span};

use super::history::{History, Point};
use super::snapshot::{Header, Loaded, Sections, Standing};
use super::{Mark, Start};
use crate::accounts::Accounts;
use crate::limits;
use crate::patient::{Kept, Patient};
use crate::plan::Plan;

/// What a predecessor left of its patients.
#[derive(Default)]
pub(crate) struct Found {
    /// Those that are taken over, in the order of their snapshots.
    pub patients: Vec<Loaded>,
    /// Snapshots of the others.
    pub standing: HashMap<PatientId, [Option<Kept>; 2]>,
}

/// The recovery side of a worker.
pub(crate) struct Keeper {
    sections: Sections,
    /// Patients by the second, within the interval, in which they are written.
    phases: Vec<Vec<usize>>,
    history: History,
    /// Archive files hold every record below this offset.
    archived_below: i64,
    /// Nothing is written for records below this offset: whoever owned the partition before has done so.
    told_below: i64,
    /// Records below this offset are in the accounts already.
    counted_below: i64,
    /// Patients that are installed when the log reaches their snapshot, in this order.
    waiting: VecDeque<Loaded>,
    /// Their keys.
    waiting_keys: HashSet<Vec<u8>>,
    /// Snapshots of patients that are computed anew, since none of them can be used yet.
    standing: HashMap<PatientId, [Option<Kept>; 2]>,
    /// The last second of partition time that was dealt with.
    second: Option<i64>,
    /// Snapshots left out because they were too large.
    pub(crate) oversized: u64,
}

impl Keeper {
    /// One that begins at a place in the log.
    pub(crate) fn new(plan: &Plan, start: Point, told_below: i64, archived_below: i64) -> Self {
        let seconds = (plan.state_every.micros() / Span::EPOCH.micros()).max(1) as usize;
        Self {
            sections: Sections::of(plan),
            phases: vec![Vec::new(); seconds],
            history: History::new(start),
            archived_below,
            told_below,
            counted_below: 0,
            waiting: VecDeque::new(),
            waiting_keys: HashSet::new(),
            standing: HashMap::new(),
            second: start.1.map(second),
            oversized: 0,
        }
    }

    /// Takes over what a predecessor left, patients in the order of their snapshots.
    pub(crate) fn resume(plan: &Plan, start: &Start, found: Found) -> Self {
        let Found { patients, standing } = found;
        let mut keeper = Self::new(plan, (start.offset, start.time), start.told_below, start.archived_below);
        (keeper.counted_below, keeper.standing) = (start.counted_below, standing);
        keeper.waiting_keys = patients.iter().map(|p| p.patient.id.expose().into()).collect();
        keeper.waiting = patients.into();
        keeper
    }

    /// Whether a record is to be counted.
    pub(crate) fn counts(&self, offset: i64) -> bool {
        offset >= self.counted_below
    }

    /// Patients whose snapshot the log has reached.
    pub(crate) fn reached(&mut self, offset: i64) -> Option<Loaded> {
        let loaded = self.waiting.pop_front_if(|w| w.header.offset <= offset)?;
        self.waiting_keys.remove(loaded.patient.id.expose().as_bytes());
        Some(loaded)
    }

    /// Whether a record stands in the snapshot of a patient that is still waiting.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        !self.waiting.is_empty() && self.waiting_keys.contains(key)
    }

    /// Patients whose snapshot the log has not reached.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Patients that wait and had been met by this offset.
    pub(crate) fn waiting_since(&self, offset: i64) -> usize {
        self.waiting.iter().filter(|w| w.header.first <= offset).count()
    }

    /// A patient has been met, or installed.
    pub(crate) fn met(&mut self, at: usize, patient: &mut Patient) {
        if let Some(kept) = self.standing.remove(&patient.id) {
            patient.place.kept = kept;
        }
        let turn = patient.place.turn(self.phases.len() as u64);
        self.phases[turn as usize].push(at);
    }

    /// The archive has come so far.
    pub(crate) fn archived(&mut self, below: i64) {
        self.archived_below = self.archived_below.max(below);
    }

    /// Notes that partition time passes from `before` to `now` at a record. Patients whose turn it is, if any second
    /// has passed.
    pub(crate) fn turn(
        &mut self,
        offset: i64,
        before: Option<EventTime>,
        now: EventTime,
    ) -> Option<Vec<usize>> {
        let last = self.second.replace(second(now));
        if last == self.second {
            return None;
        }
        self.history.push((offset, before));
        if offset < self.told_below {
            return None;
        }
        let every = self.phases.len() as i64;
        let (from, to) = (last.map_or(second(now), |l| l + 1), second(now));
        let phases = (from.max(to - every + 1)..=to).map(|s| s.rem_euclid(every) as usize);
        Some(phases.flat_map(|p| self.phases[p].iter().copied()).collect())
    }

    /// Whether everything may be written: the log has come to where the predecessor was.
    pub(crate) fn may_save(&self, offset: i64) -> bool {
        offset >= self.told_below
    }

    /// A snapshot of a patient at this place, if it has changed since the last one, and if the archive has come as far
    /// as the last one: else the only snapshot that the archive could go on from would be lost.
    pub(crate) fn save(
        &mut self,
        offset: i64,
        time: Option<EventTime>,
        patient: &mut Patient,
    ) -> Option<(usize, Vec<u8>)> {
        if patient.place.newest().is_some_and(|n| n.since.is_none() || n.offset > self.archived_below) {
            return None;
        }
        let header = Header { offset, time, first: patient.place.first, patient: patient.place.print };
        let bytes = self.sections.save(header, patient);
        if bytes.len() as u64 > limits::STATE_BYTES.max {
            self.oversized += 1;
            return None;
        }
        let slot = patient.place.next_slot();
        patient.place.kept[slot] = Some(Kept { offset, since: None });
        Some((slot, bytes))
    }

    /// The mark at this place, where it is this time.
    pub(crate) fn mark(&mut self, (offset, time): Point, patients: &[Patient], accounts: &Accounts) -> Mark {
        self.history.push((offset, time));
        let most = self.archived_below.min(offset);
        let needs = patients.iter().filter_map(|p| p.place.needs(most));
        let (start, start_time) = self.history.at(needs.min().unwrap_or(most).min(most));
        let mut kept = Standing::default();
        for place in patients.iter().map(|p| &p.place) {
            let slots = place.kept.iter().enumerate().filter_map(|(slot, k)| Some((slot, (*k)?.offset)));
            slots.for_each(|(slot, offset)| kept.add(place.print, slot, offset));
        }
        let (archived_below, accounts) = (self.archived_below, accounts.clone());
        Mark { offset, start, start_time, archived_below, kept, accounts }
    }
}

fn second(t: EventTime) -> i64 {
    t.micros().div_euclid(Span::EPOCH.micros())
}
