//! An alarm of the watchdog, and its two transitions.
//! In: what is wrong with whom, and the place in the log where it began. Out: an id that every watchdog gives the same
//! alarm, and the JSON body of a transition.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// An instance sends no heartbeats and has not said goodbye.
    #[serde(rename = "engine.dead")]
    Dead,
    /// An instance sends heartbeats, and its processing loop stands still.
    #[serde(rename = "engine.stuck")]
    Stuck,
    /// An instance lags further behind than allowed.
    #[serde(rename = "engine.lagging")]
    Lagging,
    /// An instance takes nothing in, since something behind it does not keep up.
    #[serde(rename = "engine.held")]
    Held,
    /// No live instance owns a partition.
    #[serde(rename = "partition.unowned")]
    Unowned,
    /// The broker does not answer.
    #[serde(rename = "broker.away")]
    BrokerAway,
}

/// Every kind: name, priority, what it says.
pub const KINDS: &[(Kind, &str, &str, &str)] = &[
    (Kind::Dead, "engine.dead", "high", "No heartbeat and no goodbye: killed, stopped, or cut off"),
    (Kind::Stuck, "engine.stuck", "high", "Alive, but the processing loop does not turn"),
    (Kind::Lagging, "engine.lagging", "medium", "A partition lags further behind than `--lag-limit`"),
    (
        Kind::Held,
        "engine.held",
        "high",
        "It takes nothing in: its archive, or its transactions, do not keep up",
    ),
    (Kind::Unowned, "partition.unowned", "high", "No live instance owns a partition of the frames"),
    (Kind::BrokerAway, "broker.away", "high", "The broker, or the leader of the heartbeats, does not answer"),
];

impl Kind {
    fn row(self) -> &'static (Kind, &'static str, &'static str, &'static str) {
        KINDS.iter().find(|k| k.0 == self).unwrap_or(&KINDS[0])
    }

    /// As it stands in bodies and labels.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// After IEC 60601-1-8.
    pub fn priority(self) -> &'static str {
        self.row().2
    }
}

/// Something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// The same from every watchdog, as far as the log says where it began.
    #[serde(rename = "alert_id")]
    pub id: String,
    /// What.
    pub kind: Kind,
    /// With whom: an instance, a partition, or `broker`.
    pub subject: String,
    /// In words, with figures.
    pub reason: String,
}

impl Alarm {
    pub(super) fn new(kind: Kind, subject: &str, origin: &str, reason: String) -> Self {
        let digest = Sha256::digest(format!("{}\n{subject}\n{origin}", kind.name()).as_bytes());
        let id = digest.iter().take(12).map(|b| format!("{b:02x}")).collect();
        Self { id, kind, subject: subject.into(), reason }
    }

    /// Key of its record in the watch topic: compaction keeps how each stands.
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind.name(), self.subject)
    }
}

/// An alarm begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub alarm: Alarm,
    /// Whether it begins.
    pub begins: bool,
}

impl Change {
    /// The body, with who tells it and when.
    pub fn body(&self, watcher: &str, time_us: i64) -> Value {
        let Alarm { id, kind, subject, reason } = &self.alarm;
        let (phase, state) = if self.begins { ("start", "active") } else { ("end", "inactive") };
        json!({
            "id": format!("{id}-{phase}"), "alert_id": id, "kind": kind, "subject": subject, "phase": phase,
            "state": state, "priority": kind.priority(), "category": "technical", "reason": reason,
            "watcher": watcher, "time_us": time_us,
        })
    }

    /// Reads a body: the alarm, if it says that it rings.
    pub fn active(body: &[u8]) -> Option<Alarm> {
        let body: Value = serde_json::from_slice(body).ok()?;
        (body["state"] == "active").then(|| serde_json::from_value(body).ok())?
    }
}
