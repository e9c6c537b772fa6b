//! Every metric, in one table, in the Prometheus text format.
//! In: the status that the processing loop publishes. Out: text that `promtool check metrics` accepts. No label ever
//! holds a patient.

use std::collections::BTreeMap;

use auscult_operators::signal::EventTime;
use prometheus::{
    CounterVec, Encoder, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::accounts::Accounts;
use crate::align::SampleCounts;
use crate::watch::Kind;

/// What the processing loop says of itself, once a turn.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What became of every frame.
    pub accounts: Accounts,
    /// What became of every sample.
    pub samples: SampleCounts,
    /// Events told, by kind of phase.
    pub events: u64,
    /// Scores told.
    pub scores: u64,
    /// The latest broker time of all owned partitions.
    pub log_time: Option<EventTime>,
    /// Patients known.
    pub patients: u64,
    /// Owned partitions, without those that are refused.
    pub owned: Vec<i32>,
    /// Records not yet read, by partition.
    pub lag: BTreeMap<i32, i64>,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions whose end was not known; what they held was told again unless it had gone through.
    pub failed_transactions: u64,
    /// Records whose outputs are not committed yet.
    pub in_flight: u64,
    /// Partitions that are paused until less is in flight.
    pub paused: u64,
    /// Archive files ended.
    pub archive_files: u64,
    /// Bytes of log whose rows wait for the archive.
    pub archive_waiting: u64,
    /// For how long nothing has been taken in, if that lasts, in seconds.
    pub held_s: f64,
    /// Seconds in which nothing was taken in, one of [`BEHIND`] each.
    pub held: Vec<(&'static str, f64)>,
    /// Whether every owned partition has caught up with what was told before.
    pub ready: bool,
    /// Why not, if not.
    pub why_not_ready: String,
    /// Turns of the processing loop.
    pub turns: u64,
}

/// What may not keep up with what comes in, as a label names it.
pub const BEHIND: [&str; 2] = ["transactions", "archive"];

/// One metric: name, help.
pub const METRICS: &[(&str, &str)] = &[
    ("auscult_frames_total", "Frames by what became of them; their sum is the number of frames in"),
    ("auscult_rejects_total", "Rejected frames by code"),
    ("auscult_samples_total", "Waveform samples by what became of them"),
    ("auscult_events_total", "Risk events told"),
    ("auscult_scores_total", "Score evaluations told"),
    ("auscult_ticks_total", "Ticks read"),
    ("auscult_commits_total", "Transactions committed"),
    ("auscult_transactions_failed_total", "Transactions whose end was not known and that were looked after"),
    ("auscult_archive_files_total", "Archive files ended"),
    (
        "auscult_archive_waiting_bytes",
        "Bytes of log whose rows wait for the archive; at `ARCHIVE_WAITING_BYTES` nothing is taken in",
    ),
    (
        "auscult_held_seconds_total",
        "Seconds in which nothing was taken in, by what did not keep up: alerts wait as long",
    ),
    ("auscult_in_flight_records", "Records whose outputs are not committed yet"),
    ("auscult_partitions_paused", "Partitions that are paused until less is in flight"),
    ("auscult_patients", "Patients known"),
    ("auscult_ready", "1 once every owned partition has caught up with what was told before"),
    ("auscult_partition_lag_records", "Records not yet read, by partition"),
    ("auscult_loop_turns_total", "Turns of the processing loop: a value that stands still is a dead engine"),
];

/// What `auscult watch` serves: name, help.
pub const WATCH_METRICS: &[(&str, &str)] = &[
    ("auscult_watch_looks_total", "Turns of the watchdog: a value that stands still is a dead watchdog"),
    ("auscult_watch_heartbeats_total", "Heartbeats read"),
    ("auscult_watch_alarm", "1 for each alarm that rings, by kind and subject"),
    (
        "auscult_watch_silence_seconds",
        "Time since the last heartbeat of each instance that has not said goodbye",
    ),
];

/// What the watchdog says of itself.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Turns.
    pub looks: u64,
    /// Heartbeats read.
    pub heartbeats: u64,
    /// Alarms that ring: kind and subject.
    pub alarms: Vec<(Kind, String)>,
    /// Instances, and how long each has been silent, in seconds.
    pub silence: Vec<(String, f64)>,
}

fn help(name: &str) -> &'static str {
    METRICS.iter().chain(WATCH_METRICS).find(|m| m.0 == name).map_or("", |m| m.1)
}

/// The metrics page.
///
/// ```
/// let page = auscult::metrics::page(&auscult::metrics::Status::default());
/// assert!(page.contains("auscult_frames_total{outcome=\"processed\"} 0"));
/// ```
pub fn page(status: &Status) -> String {
    let registry = Registry::new();
    let counters = |name: &str, label: &str, values: &[(&str, u64)]| {
        if let Ok(c) = IntCounterVec::new(Opts::new(name, help(name)), &[label]) {
            for (value, n) in values {
                c.with_label_values(&[*value]).inc_by(*n);
            }
            let _ = registry.register(Box::new(c));
        }
    };
    let a = &status.accounts;
    let frames = [
        ("processed", a.processed),
        ("duplicate", a.duplicate),
        ("late", a.late),
        ("rejected", a.rejected_total()),
    ];
    counters("auscult_frames_total", "outcome", &frames);
    let rejects: Vec<(&str, u64)> = a.rejects.iter().map(|(c, n)| (*c, *n)).collect();
    counters("auscult_rejects_total", "code", &rejects);
    let s = &status.samples;
    let samples =
        [("taken", s.taken), ("bridged", s.bridged), ("late", s.late), ("overlapping", s.overlapping)];
    counters("auscult_samples_total", "outcome", &samples);
    for (name, n) in [
        ("auscult_events_total", status.events),
        ("auscult_scores_total", status.scores),
        ("auscult_ticks_total", a.ticks),
        ("auscult_commits_total", status.commits),
        ("auscult_transactions_failed_total", status.failed_transactions),
        ("auscult_archive_files_total", status.archive_files),
        ("auscult_loop_turns_total", status.turns),
    ] {
        if let Ok(c) = prometheus::IntCounter::new(name, help(name)) {
            c.inc_by(n);
            let _ = registry.register(Box::new(c));
        }
    }
    for (name, n) in [
        ("auscult_patients", status.patients),
        ("auscult_ready", u64::from(status.ready)),
        ("auscult_archive_waiting_bytes", status.archive_waiting),
        ("auscult_in_flight_records", status.in_flight),
        ("auscult_partitions_paused", status.paused),
    ] {
        if let Ok(g) = IntGauge::new(name, help(name)) {
            g.set(i64::try_from(n).unwrap_or(i64::MAX));
            let _ = registry.register(Box::new(g));
        }
    }
    let held = "auscult_held_seconds_total";
    if let Ok(c) = CounterVec::new(Opts::new(held, help(held)), &["behind"]) {
        for (behind, seconds) in &status.held {
            c.with_label_values(&[*behind]).inc_by(*seconds);
        }
        let _ = registry.register(Box::new(c));
    }
    let lag = "auscult_partition_lag_records";
    if let Ok(g) = IntGaugeVec::new(Opts::new(lag, help(lag)), &["partition"]) {
        for (partition, n) in &status.lag {
            g.with_label_values(&[&partition.to_string()]).set(*n);
        }
        let _ = registry.register(Box::new(g));
    }
    text(&registry)
}

fn text(registry: &Registry) -> String {
    let mut out = Vec::new();
    let _ = TextEncoder::new().encode(&registry.gather(), &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The metrics page of the watchdog.
///
/// ```
/// use auscult::metrics::{Watched, watch_page};
/// assert!(watch_page(&Watched::default()).contains("auscult_watch_looks_total 0"));
/// ```
pub fn watch_page(watched: &Watched) -> String {
    let registry = Registry::new();
    let counts = [
        ("auscult_watch_looks_total", watched.looks),
        ("auscult_watch_heartbeats_total", watched.heartbeats),
    ];
    for (name, n) in counts {
        if let Ok(c) = prometheus::IntCounter::new(name, help(name)) {
            c.inc_by(n);
            let _ = registry.register(Box::new(c));
        }
    }
    let alarm = "auscult_watch_alarm";
    if let Ok(g) = IntGaugeVec::new(Opts::new(alarm, help(alarm)), &["kind", "subject"]) {
        for (kind, subject) in &watched.alarms {
            g.with_label_values(&[kind.name(), subject.as_str()]).set(1);
        }
        let _ = registry.register(Box::new(g));
    }
    let silence = "auscult_watch_silence_seconds";
    if let Ok(g) = GaugeVec::new(Opts::new(silence, help(silence)), &["instance"]) {
        for (instance, seconds) in &watched.silence {
            g.with_label_values(&[instance]).set(*seconds);
        }
        let _ = registry.register(Box::new(g));
    }
    text(&registry)
}
