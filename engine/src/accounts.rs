//! The accounts of frames: `frames in = processed + duplicate + late + rejected` (invariant I5).
//! In: the fate of each frame. Out: counts that add up, for metrics and for every end-to-end test.

use std::collections::BTreeMap;

use crate::align::Fate;

/// What became of every frame of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Frames taken in.
    pub processed: u64,
    /// Frames seen before.
    pub duplicate: u64,
    /// Frames after their epochs were sealed.
    pub late: u64,
    /// Frames put aside, by code.
    pub rejects: BTreeMap<&'static str, u64>,
    /// Ticks: records that are not frames.
    pub ticks: u64,
}

impl Accounts {
    /// Counts the fate of a frame.
    pub fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Processed => self.processed += 1,
            Fate::Duplicate => self.duplicate += 1,
            Fate::Late => self.late += 1,
        }
    }
    /// Counts a reject.
    pub fn rejected(&mut self, code: &'static str) {
        *self.rejects.entry(code).or_default() += 1;
    }
    /// All rejects.
    pub fn rejected_total(&self) -> u64 {
        self.rejects.values().sum()
    }
    /// All frames.
    pub fn frames_in(&self) -> u64 {
        self.processed + self.duplicate + self.late + self.rejected_total()
    }
    /// Adds another partition's accounts.
    pub fn add(&mut self, other: &Accounts) {
        self.processed += other.processed;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.ticks += other.ticks;
        for (code, n) in &other.rejects {
            *self.rejects.entry(code).or_default() += n;
        }
    }
}
