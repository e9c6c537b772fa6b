//! A heartbeat, as far as the watchdog reads it.
//! In: JSON of the heartbeat topic. Out: who, in which state, how the loop and the partitions stand.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A heartbeat. What it does not say is nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Beat {
    /// Who.
    pub instance: String,
    /// `starting`, `running` or `leaving`.
    pub state: String,
    /// When the process started, by its own clock: tells two lives of an instance apart.
    pub started_us: i64,
    /// From 1 in each life.
    pub sequence: u64,
    /// Turns of the processing loop.
    pub turns: u64,
    /// Age of the last turn.
    pub since_turn_s: f64,
    /// For how long it has taken nothing in, if it does not.
    pub held_s: f64,
    /// Why it is not ready, if it is not.
    pub why_not_ready: String,
    /// Partitions owned.
    pub partitions: Vec<i32>,
    /// Records not yet read, by partition.
    pub lag_records: BTreeMap<String, i64>,
}

impl Beat {
    /// Reads one; nothing if it is none.
    pub fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|b| !b.instance.is_empty())
    }

    /// The largest lag.
    pub fn lag(&self) -> i64 {
        self.lag_records.values().copied().max().unwrap_or(0)
    }

    /// Its place in the life of its instance, the same for whoever reads it.
    pub(super) fn origin(&self) -> String {
        format!("{}/{}", self.started_us, self.sequence)
    }
}
