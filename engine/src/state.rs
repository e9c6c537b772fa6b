//! State that outlives a process: snapshots of patients, and the mark from which a partition is taken over.
//! In: the state of one partition's worker. Out: records of the state topic, and from these a worker that goes on as if
//! it had never stopped.
//!
//! The state topic has the partitions of the frames topic. Its records are written in the transaction that commits the
//! offsets they stand for, so they never say more than what was told:
//!
//! * `PATIENT#0` and `PATIENT#1`: the two newest snapshots of a patient, by turns. A snapshot stands for every record
//!   below its offset. Two are kept so that one that cannot be read, or that is ahead of the archive, leaves another.
//! * `#mark`: where to start reading the frames again, what time it was there, and the accounts up to the mark.
//!
//! A patient is written about once in `state.every_s` of partition time, each in its own second. To take over, read the
//! partition's records ([`Restore`]), read the frames from [`Start`], pass over what each patient's snapshot already
//! contains, and tell nothing below the committed offset. The hops are pure functions of the log, and patients do not
//! know of each other: what is told from there on is the same to the bit.

mod envelope;
mod history;
mod keeper;
mod mark;
mod restore;
mod snapshot;

pub use envelope::{Unreadable, VERSION};
pub(crate) use keeper::{Found, Keeper};
pub use mark::Mark;
pub use restore::{Report, Restore, Start};
pub use snapshot::Standing;
pub(crate) use snapshot::print;

/// Key of the mark.
pub const MARK_KEY: &[u8] = b"#mark";

/// What the key of a state record says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// The mark of the partition.
    Mark,
    /// A snapshot of a patient: the patient's key, and which of the two.
    Patient(&'a [u8], usize),
}

/// Reads a key. `None` for one that Auscult did not write.
///
/// ```
/// use auscult::state::{Key, key_of, patient_key};
/// assert_eq!(key_of(&patient_key("bed-1", 1)), Some(Key::Patient(b"bed-1", 1)));
/// assert_eq!(key_of(b"#mark"), Some(Key::Mark));
/// assert_eq!(key_of(b"bed-1"), None);
/// ```
pub fn key_of(key: &[u8]) -> Option<Key<'_>> {
    match key {
        MARK_KEY => Some(Key::Mark),
        [patient @ .., b'#', slot @ (b'0' | b'1')] if !patient.is_empty() => {
            Some(Key::Patient(patient, usize::from(slot - b'0')))
        }
        _ => None,
    }
}

/// The key of one of a patient's two snapshots.
pub fn patient_key(patient: &str, slot: usize) -> Vec<u8> {
    format!("{patient}#{slot}").into_bytes()
}
