//! Every metric, in one table, in the Prometheus text format.
//! In: the status that the processing loop publishes. Out: text that `promtool check metrics` accepts. No label ever
//! holds a patient.

use std::collections::BTreeMap;

use auscult_operators::signal::EventTime;
use prometheus::{Encoder, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::accounts::Accounts;
use crate::align::SampleCounts;

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
    /// Whether every owned partition has caught up with what was told before.
    pub ready: bool,
    /// Why not, if not.
    pub why_not_ready: String,
    /// Turns of the processing loop.
    pub turns: u64,
}

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
    ("auscult_in_flight_records", "Records whose outputs are not committed yet"),
    ("auscult_partitions_paused", "Partitions that are paused until less is in flight"),
    ("auscult_patients", "Patients known"),
    ("auscult_partition_lag_records", "Records not yet read, by partition"),
    ("auscult_loop_turns_total", "Turns of the processing loop: a value that stands still is a dead engine"),
];

fn help(name: &str) -> &'static str {
    METRICS.iter().find(|m| m.0 == name).map_or("", |m| m.1)
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
        ("auscult_in_flight_records", status.in_flight),
        ("auscult_partitions_paused", status.paused),
    ] {
        if let Ok(g) = IntGauge::new(name, help(name)) {
            g.set(i64::try_from(n).unwrap_or(i64::MAX));
            let _ = registry.register(Box::new(g));
        }
    }
    let lag = "auscult_partition_lag_records";
    if let Ok(g) = IntGaugeVec::new(Opts::new(lag, help(lag)), &["partition"]) {
        for (partition, n) in &status.lag {
            g.with_label_values(&[&partition.to_string()]).set(*n);
        }
        let _ = registry.register(Box::new(g));
    }
    let mut out = Vec::new();
    let _ = TextEncoder::new().encode(&registry.gather(), &mut out);
    String::from_utf8(out).unwrap_or_default()
}
