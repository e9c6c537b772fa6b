//! Whose frames come next: their memory is asked for some frames ahead, as most beds' lies far away.
//! In: the ids of a batch, in order. Out: which patient each is, as far as it is known; beyond that nothing but time.

use auscult_operators::filter::dispatch::fetch;

use crate::patient::Patient;

/// How many frames are in sight. As one comes nearer, one step more is asked for of what says where the rest lies.
const SIGHT: usize = 7;
/// Patients that one bucket remembers.
const WAYS: usize = 4;

/// One patient in a bucket: the upper half of its id's hash, and its place plus one; zero if there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    tag: u32,
    place: u32,
}

/// The patients of the frames in sight, and a table by which they are found that can be asked for before it is read.
/// What it does not know is looked up elsewhere: of ids made to collide it forgets most, and nothing worse comes of it.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    table: Vec<[Entry; WAYS]>,
    /// Of the id that comes into sight last, whose bucket is on its way.
    hash: u64,
    /// Of those before it: place plus one, zero if it is not known.
    next: [u32; SIGHT - 1],
}

/// Eight bytes at a time are multiplied, and both halves of the product folded into one.
fn hash_of(id: &str) -> u64 {
    const GOLDEN: u128 = 0x9E37_79B9_7F4A_7C15;
    let fold = |hash: u64, eight: [u8; 8]| {
        let product = u128::from(hash ^ u64::from_le_bytes(eight)) * GOLDEN;
        (product >> 64) as u64 ^ product as u64
    };
    let (eights, rest) = id.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(eights.iter().fold(id.len() as u64, |hash, e| fold(hash, *e)), last)
}

impl Foreseen {
    /// Remembers the patient that was added last.
    pub(super) fn learn(&mut self, patients: &[Patient]) {
        let new = if patients.len() > self.table.len() {
            self.table = vec![Default::default(); (2 * patients.len()).next_power_of_two()];
            0
        } else {
            patients.len() - 1
        };
        for (at, patient) in patients.iter().enumerate().skip(new) {
            let hash = hash_of(patient.id.expose());
            let bucket = self.bucket(hash);
            if let Some(free) = self.table[bucket].iter_mut().find(|e| e.place == 0) {
                *free = Entry { tag: (hash >> 32) as u32, place: at as u32 + 1 };
            }
        }
    }

    fn bucket(&self, hash: u64) -> usize {
        hash as usize & self.table.len().wrapping_sub(1)
    }

    fn look(&self, hash: u64) -> u32 {
        let Some(bucket) = self.table.get(self.bucket(hash)) else { return 0 };
        bucket.iter().find(|e| e.tag == (hash >> 32) as u32).map_or(0, |e| e.place)
    }

    /// Goes on to number `at` of a batch, and gives the patient that this one may be of: whether it is, only the ids
    /// can tell.
    pub(super) fn step<'a>(
        &mut self,
        at: usize,
        id_of: impl Fn(usize) -> Option<&'a str>,
        patients: &[Patient],
    ) -> Option<usize> {
        let hash = |at| id_of(at).map_or(0, hash_of);
        if at == 0 {
            self.next = std::array::from_fn(|ahead| self.look(hash(ahead)));
        } else {
            self.next.rotate_left(1);
            self.next[SIGHT - 2] = self.look(self.hash);
        }
        self.hash = hash(at + SIGHT - 1);
        if let Some(bucket) = self.table.get(self.bucket(self.hash)) {
            fetch(bucket);
        }
        let known = |ahead: usize| patients.get((self.next[ahead] as usize).wrapping_sub(1));
        if let Some(p) = known(5) {
            fetch(p);
        }
        if let Some(p) = known(4) {
            fetch(p.id.expose());
            p.far.fetch_notes();
        }
        if let Some(p) = known(2) {
            p.far.fetch_from(0);
        }
        if let Some(p) = known(1) {
            p.timeline.fetch_oldest();
        }
        self.next[0].checked_sub(1).map(|place| place as usize)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use auscult_operators::signal::{EventTime, PatientId};

    use super::*;

    #[test]
    fn known_patients_are_found_and_others_are_not() {
        let plan = crate::check::default_plan().unwrap();
        let (mut foreseen, mut patients) = (Foreseen::default(), Vec::new());
        for n in 0..50 {
            let id = PatientId::new(&format!("p{n}"));
            patients.push(Patient::new(id, &plan, EventTime::default(), n).unwrap());
            foreseen.learn(&patients);
        }
        // Also from one batch to the next, which may be shorter than what is in sight.
        for (batch, length) in [(0, 200), (1, 3), (2, 1), (3, 40)] {
            let ids: Vec<String> = (0..length).map(|i| format!("p{}", (i * 31 + batch * 7) % 60)).collect();
            let id_of = |at: usize| ids.get(at).map(String::as_str);
            for (at, id) in ids.iter().enumerate() {
                let found = foreseen.step(at, id_of, &patients);
                let there = patients.iter().position(|p| p.id.expose() == id);
                assert_eq!(found, there, "{at} of {batch}");
            }
        }
    }
}
