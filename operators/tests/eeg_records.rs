//! The EEG family on two recordings of healthy people at rest: numbers that a neurologist would expect of them.
//! In: the shared data folder. Out: failures, or one line that says what was not run without data.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use std::collections::BTreeMap;

use auscult_operators::eeg::{aeeg, burst_suppression, eeg_spectrum};
use auscult_operators::operator::Spec;
use auscult_operators::quality::signal_quality;
use auscult_operators::signal::ChannelId;
use records::{Table, data};
use walk::{Wave, band_pass};

const CHAIN: [&Spec; 4] = [&signal_quality::SPEC, &eeg_spectrum::SPEC, &burst_suppression::SPEC, &aeeg::SPEC];

fn wave(channel: &str, rate: f64, raw: Vec<f32>) -> Wave {
    let clean = band_pass(&raw, rate, 0.5, 45.0);
    Wave { channel: ChannelId::named(channel).unwrap(), rate, raw, clean }
}

/// Median of all values of each reading, and the share of readings that have one.
fn said(waves: &[Wave]) -> BTreeMap<&'static str, (f64, f64)> {
    let mut all: BTreeMap<&'static str, (Vec<f64>, usize)> = BTreeMap::new();
    walk::walk(waves, &CHAIN, |_, out| {
        for r in out.items.iter().filter(|r| r.time.micros() > 60_000_000 && !r.name.contains("quality")) {
            let (values, count) = all.entry(r.name).or_default();
            values.extend(r.value.ok());
            *count += 1;
        }
    });
    let middle = |(name, (mut values, count)): (&'static str, (Vec<f64>, usize))| {
        values.sort_by(f64::total_cmp);
        let median = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
        eprintln!("{name}: median {median:.3}, {} of {count} readings", values.len());
        (name, (median, values.len() as f64 / count as f64))
    };
    all.into_iter().map(middle).collect()
}

fn inside(all: &BTreeMap<&'static str, (f64, f64)>, name: &str, range: std::ops::Range<f64>, share: f64) {
    let (median, present) = all[name];
    assert!(range.contains(&median), "{name}: {median}");
    assert!(present >= share, "{name}: present in {present} of readings");
}

#[test]
fn a_headband_over_both_sides_of_an_awake_head() {
    let Some(root) = data("a_headband_over_both_sides_of_an_awake_head") else { return };
    let table = Table::parse(&std::fs::read_to_string(root.join("eeg/eeg_muse_example.csv")).unwrap());
    let column = |name| -> Vec<f32> { table.column(name).unwrap().into_iter().map(|v| v as f32).collect() };
    let all = said(&[wave("eeg_1", 256.0, column("TP9")), wave("eeg_2", 256.0, column("TP10"))]);
    inside(&all, "eeg_spectral_edge", 10.0..30.0, 0.5);
    inside(&all, "eeg_median_frequency", 1.0..15.0, 0.5);
    inside(&all, "eeg_asymmetry", -0.5..0.5, 0.5);
    inside(&all, "burst_suppression_ratio", 0.0..0.05, 0.5);
    inside(&all, "aeeg_lower", 5.0..50.0, 0.5);
    inside(&all, "aeeg_upper", 10.0..100.0, 0.5);
}

#[test]
fn one_lead_with_eyes_closed() {
    let Some(root) = data("one_lead_with_eyes_closed") else { return };
    let text = std::fs::read_to_string(root.join("eeg/eeg_ec.txt")).unwrap();
    // Counts of ten bits of a sensor with 3.3 V and a gain of 41 782.
    let to_uv = |count: f32| (count / 1024.0 - 0.5) * 3.3e6 / 41_782.0;
    let raw: Vec<f32> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.trim().parse().ok())
        .map(to_uv)
        .collect();
    assert_eq!(raw.len(), 38_219);
    let all = said(&[wave("eeg_1", 125.0, raw)]);
    // scipy's Welch estimate of the whole recording after the same filters says 24.9 and 4.3 Hz.
    inside(&all, "eeg_spectral_edge", 23.9..25.9, 0.9);
    inside(&all, "eeg_median_frequency", 3.5..5.1, 0.9);
    inside(&all, "burst_suppression_ratio", 0.0..0.05, 0.5);
    inside(&all, "aeeg_lower", 5.0..60.0, 0.5);
    inside(&all, "aeeg_upper", 10.0..120.0, 0.5);
}
