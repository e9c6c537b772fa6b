//! Whose frames come next: their memory is asked for some frames ahead, as most beds' lies far away.
//! In: the ids of a batch, in order. Out: which patient each is, as far as it is known; beyond that nothing but time.

use std::hash::{DefaultHasher, Hash, Hasher};

use auscult_operators::filter::dispatch::fetch;

use crate::patient::Patient;

/// How many frames are in sight. Of each that comes nearer, one step more is asked for of what says where the rest lies.
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
    hashes: [u64; SIGHT],
    next: [Option<usize>; SIGHT],
}

fn hash_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
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

    fn look(&self, hash: u64) -> Option<usize> {
        let bucket = self.table.get(self.bucket(hash))?;
        let known = bucket.iter().find(|e| e.tag == (hash >> 32) as u32 && e.place > 0)?;
        Some(known.place as usize - 1)
    }

    /// Goes on to number `at` of a batch, and gives the patient of that one if it is known.
    pub(super) fn step<'a>(
        &mut self,
        at: usize,
        id_of: impl Fn(usize) -> Option<&'a str>,
        patients: &[Patient],
    ) -> Option<usize> {
        let hash = |at| id_of(at).map_or(0, hash_of);
        if at == 0 {
            self.hashes = std::array::from_fn(hash);
            self.next = self.hashes.map(|h| self.look(h));
        } else {
            self.hashes.rotate_left(1);
            self.hashes[SIGHT - 1] = hash(at + SIGHT - 1);
            self.next.rotate_left(1);
            self.next[SIGHT - 2] = self.look(self.hashes[SIGHT - 2]);
        }
        if let Some(bucket) = self.table.get(self.bucket(self.hashes[SIGHT - 1])) {
            fetch(bucket);
        }
        let known = |ahead: usize| self.next[ahead].and_then(|p| patients.get(p));
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
        self.next[0].filter(|p| patients.get(*p).map(|p| p.id.expose()) == id_of(at))
    }
}
