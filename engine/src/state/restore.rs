//! Taking a partition over: from the records of its state partition to a worker, and the offset to read from.
//! In: records in the order of the state topic, the newest of each key last. Out: a [`Worker`] and a [`Start`], and a
//! report of what could not be used and why.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use auscult_operators::signal::{EventTime, PatientId};

use super::Found;
use super::snapshot::{Header, Sections, Standing, print};
use super::{Key, Mark, Unreadable, key_of};
use crate::accounts::Accounts;
use crate::patient::Kept;
use crate::plan::Plan;
use crate::worker::Worker;

/// From where a partition is read, and what was told of it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Read the frames from here; 0 stands for the beginning of the log.
    pub offset: i64,
    /// Partition time before the record there.
    pub time: Option<EventTime>,
    /// Outputs of records below this offset were told.
    pub told_below: i64,
    /// Frames below this offset are in the accounts.
    pub counted_below: i64,
    /// Archive files hold every record below this offset; the archive goes on from here.
    pub archived_below: i64,
}

/// What came of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Patients taken over from their snapshots.
    pub restored: usize,
    /// Of these, patients for whom an older snapshot had to be used.
    pub fell_back: usize,
    /// Patients with no snapshot that can be used: their state is computed again from the beginning of the log.
    pub lost: usize,
    /// Sections that start anew because their configuration has changed.
    pub anew: usize,
    /// Records that could not be used, by code, with one reason each. No reason names a patient.
    pub unreadable: BTreeMap<&'static str, (u64, String)>,
}

/// One of a patient's two snapshots: the last that can be read, and whether one came after it that cannot.
#[derive(Default)]
struct Slot {
    good: Option<(Header, Vec<u8>)>,
    damaged: bool,
}

/// Collects the records of one state partition.
pub struct Restore {
    plan: Arc<Plan>,
    mark: Option<Mark>,
    /// Only looked up, and sorted before use.
    patients: HashMap<Vec<u8>, [Slot; 2]>,
    report: Report,
}

impl Restore {
    /// Nothing read yet.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self { plan, mark: None, patients: HashMap::new(), report: Report::default() }
    }

    /// Takes in one record. One that cannot be read does not replace an older one that can.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        match (key_of(key), value) {
            (Some(Key::Mark), Some(value)) => match Mark::load(value) {
                Ok(mark) => self.mark = Some(mark),
                Err(e) => self.unreadable(&e),
            },
            (Some(Key::Mark), None) => self.mark = None,
            (Some(Key::Patient(patient, slot)), Some(value)) => {
                let seen = Sections::header(patient, value);
                let slot = &mut self.patients.entry(patient.to_vec()).or_default()[slot];
                slot.damaged = seen.is_err();
                match seen {
                    Ok(header) => slot.good = Some((header, value.to_vec())),
                    Err(e) => self.unreadable(&e),
                }
            }
            (Some(Key::Patient(patient, slot)), None) => {
                if let Some(slots) = self.patients.get_mut(patient) {
                    slots[slot] = Slot::default();
                }
            }
            (None, _) => self.unreadable(&Unreadable::Foreign),
        }
    }

    fn unreadable(&mut self, why: &Unreadable) {
        self.report.unreadable.entry(why.code()).or_insert_with(|| (0, why.to_string())).0 += 1;
    }

    /// The worker, the place to read from, and what could not be used. `told_below` is the offset committed for the
    /// frames; `archive` says whether there is an archive.
    pub fn finish(mut self, told_below: i64, archive: bool) -> (Worker, Start, Report) {
        let mut start = Start {
            offset: 0,
            time: None,
            told_below,
            counted_below: 0,
            archived_below: if archive { 0 } else { i64::MAX },
        };
        let patients = std::mem::take(&mut self.patients);
        let (mut found, mut accounts) = (Found::default(), Accounts::default());
        // Without a mark nobody knows how far back to read: everything is read again, and no snapshot is needed.
        if let Some(mark) = self.usable_mark(told_below, !patients.is_empty()) {
            (start.offset, start.time, start.counted_below) = (mark.start, mark.start_time, mark.offset);
            if archive {
                // An archive that is new here begins where this process begins to tell.
                start.archived_below = mark.archived_below.min(told_below);
            }
            accounts = mark.accounts.clone();
            let sections = Sections::of(&self.plan);
            let trusted = self.trusted(&mark, &patients, &mut start);
            for (id, slots) in patients {
                let most = mark.archived_below.min(told_below);
                self.patient(&sections, (&id, &slots), (trusted, most), &mut start, &mut found);
            }
        }
        self.report.restored = found.patients.len();
        found.patients.sort_by_key(|p| (p.header.offset, p.header.first));
        let worker = Worker::resume(self.plan, &start, found, accounts);
        (worker, start, self.report)
    }

    /// Whether the snapshots are those that the mark knows. Of a damaged one nobody knows which it was: then any other
    /// may be an older one than it should be. Of one that is not there at all nothing tells where to begin: the log is
    /// read from its beginning.
    fn trusted(&mut self, mark: &Mark, patients: &HashMap<Vec<u8>, [Slot; 2]>, start: &mut Start) -> bool {
        let (mut here, mut damaged) = (Standing::default(), false);
        for (id, slots) in patients {
            let id = print(id);
            for (slot, found) in slots.iter().enumerate() {
                match &found.good {
                    Some((header, _)) if !found.damaged => here.add(id, slot, header.offset),
                    _ if found.damaged => {
                        damaged = true;
                        here.add(id, slot, 0);
                    }
                    _ => {}
                }
            }
        }
        let exact = !damaged && here == mark.kept;
        if !(exact || damaged && here.same_slots(&mark.kept)) {
            let why =
                format!("there are {} snapshots, the mark knows of {} others", here.count, mark.kept.count);
            self.missing(why);
            (start.offset, start.time) = (0, None);
        }
        exact
    }

    fn missing(&mut self, why: String) {
        self.report.unreadable.insert("state_missing", (1, why));
    }

    /// The mark, unless it is ahead of what the group has committed: then the group is new, or its offsets were set
    /// back, and everything is told again.
    fn usable_mark(&mut self, told_below: i64, snapshots: bool) -> Option<Mark> {
        let Some(mark) = self.mark.take() else {
            if snapshots {
                self.missing("there are snapshots and no mark".into());
            }
            return None;
        };
        if mark.offset > told_below {
            let why = format!("it stands for offset {}, the group has committed {told_below}", mark.offset);
            self.report.unreadable.insert("state_ahead", (1, why));
            return None;
        }
        Some(mark)
    }

    /// One patient from the newest snapshot at or below `most` that can be read whole. If a newer one could not, or it
    /// is not known whether there was one, the log is read from further back.
    fn patient(
        &mut self,
        sections: &Sections,
        (id, slots): (&[u8], &[Slot; 2]),
        (trusted, most): (bool, i64),
        start: &mut Start,
        found: &mut Found,
    ) {
        let Ok(name) = std::str::from_utf8(id) else { return };
        let kept = [0, 1].map(|s| slots[s].good.as_ref().map(|g| Kept { offset: g.0.offset, since: None }));
        let mut order: Vec<&(Header, Vec<u8>)> =
            slots.iter().filter_map(|s| s.good.as_ref()).filter(|g| g.0.offset <= most).collect();
        order.sort_by_key(|g| std::cmp::Reverse(g.0.offset));
        let mut failed = slots.iter().any(|s| s.damaged);
        for (header, bytes) in order {
            match sections.load(name, bytes, &self.plan) {
                Ok(mut loaded) => {
                    loaded.patient.place.kept = kept;
                    self.report.fell_back += usize::from(failed);
                    if (failed || !trusted) && header.offset < start.offset {
                        (start.offset, start.time) = (header.offset, header.time);
                    }
                    self.report.anew += loaded.anew;
                    return found.patients.push(loaded);
                }
                Err(e) => {
                    failed = true;
                    self.unreadable(&e);
                }
            }
        }
        // Otherwise there are only snapshots ahead of the archive, and the mark starts at the patient's first record;
        // unless it is an older mark than these snapshots.
        let met_before = slots.iter().flat_map(|s| &s.good).any(|g| g.0.first < start.offset);
        if failed || met_before {
            self.report.lost += 1;
            (start.offset, start.time) = (0, None);
        }
        found.standing.insert(PatientId::new(name), kept);
    }
}
