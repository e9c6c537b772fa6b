//! Whose frames come next: their memory is asked for some frames ahead, as most beds' lies far away.
//! In: the ids of a batch, in order. Out: which patient each is, as far as it is known; beyond that nothing but time.

use std::collections::HashMap;

use auscult_operators::filter::dispatch::fetch;
use auscult_operators::signal::PatientId;

use crate::patient::Patient;

/// How many frames are in sight. Of each that comes nearer, one step more is asked for of what says where the rest lies.
const SIGHT: usize = 5;

/// The patients of the frames in sight.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    next: [Option<usize>; SIGHT],
}

impl Foreseen {
    /// Goes on to number `at` of a batch, and gives the patient of that one if it was known.
    pub(super) fn step<'a>(
        &mut self,
        at: usize,
        id_of: impl Fn(usize) -> Option<&'a str>,
        index: &HashMap<PatientId, usize>,
        patients: &[Patient],
    ) -> Option<usize> {
        let look = |at| id_of(at).and_then(|id| index.get(id)).copied();
        if at == 0 {
            self.next = std::array::from_fn(look);
        } else {
            self.next.rotate_left(1);
            self.next[SIGHT - 1] = look(at + SIGHT - 1);
        }
        let known = |ahead: usize| self.next[ahead].and_then(|p| patients.get(p));
        if let Some(p) = known(4) {
            fetch(p);
        }
        if let Some(p) = known(3) {
            p.far.fetch_notes();
        }
        if let Some(p) = known(2) {
            p.far.fetch_from(0);
        }
        if let Some(p) = known(1) {
            p.timeline.fetch_oldest();
        }
        self.next[0]
    }
}
