//! Variability of intervals between beats against neurokit2, on simulated series of five minutes: the worst value.
//! In: golden values made by reference/make_hrv_reference.py. Out: failures that name the series and the number.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use auscult_operators::ecg::hrv::bands::Rhythm;
use auscult_operators::ecg::hrv::series::{Series, mark_normal};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    made: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    rr_ms: Vec<f64>,
    mean: f64,
    sdnn: f64,
    rmssd: f64,
    pnn50: f64,
    sd1: f64,
    sd2: f64,
    sample_entropy: f64,
    /// With the grid of 100 Hz that neurokit2 uses unless told otherwise, and with that of 4 Hz.
    lf: [f64; 2],
    hf: [f64; 2],
    lf_hf: [f64; 2],
}

fn rows() -> Vec<Row> {
    let all: Reference = serde_json::from_str(include_str!("reference/hrv_reference.json")).unwrap();
    assert!(all.made.contains("neurokit2"));
    assert!(all.rows.len() >= 6);
    all.rows
}

fn ends_s(ms: &[f64]) -> Vec<f64> {
    let mut end = 0.0;
    ms.iter()
        .map(|ms| {
            end += ms / 1000.0;
            end
        })
        .collect()
}

fn follows(n: usize) -> Vec<bool> {
    (0..n).map(|i| i > 0).collect()
}

fn near(row: &Row, what: &str, found: f64, expected: f64, share: f64) {
    let off = (found - expected).abs();
    assert!(off <= share * expected.abs(), "{}: {what}: {found} instead of {expected}", row.name);
}

#[test]
fn variability_in_time_and_entropy_equal_those_of_neurokit() {
    for row in rows() {
        let (ends, follows) = (ends_s(&row.rr_ms), follows(row.rr_ms.len()));
        let series = Series { ends_s: &ends, ms: &row.rr_ms, follows: &follows };
        let t = series.time_domain().unwrap();
        let all = [
            ("mean", t.mean_ms, row.mean),
            ("SDNN", t.sdnn_ms, row.sdnn),
            ("RMSSD", t.rmssd_ms, row.rmssd),
            ("pNN50", t.pnn50_percent, row.pnn50),
            ("SD1", t.sd1_ms, row.sd1),
            ("SD2", t.sd2_ms, row.sd2),
            ("entropy", series.sample_entropy().unwrap(), row.sample_entropy),
        ];
        for (what, found, expected) in all {
            near(&row, what, found, expected, 1e-6);
        }
    }
}

#[test]
fn rhythms_equal_those_of_neurokit() {
    let mut rhythm = Rhythm::new().unwrap();
    for row in rows() {
        let (ends, follows) = (ends_s(&row.rr_ms), follows(row.rr_ms.len()));
        let bands = rhythm.bands(&Series { ends_s: &ends, ms: &row.rr_ms, follows: &follows }).unwrap();
        for k in 0..2 {
            near(&row, "LF", bands.low_ms2, row.lf[k], 0.01);
            near(&row, "HF", bands.high_ms2, row.hf[k], 0.01);
            near(&row, "LF/HF", bands.low_ms2 / bands.high_ms2, row.lf_hf[k], 0.01);
        }
    }
}

#[test]
fn no_simulated_interval_is_taken_for_ectopic() {
    for row in rows() {
        let mut normal = vec![false; row.rr_ms.len()];
        mark_normal(&row.rr_ms, &mut normal);
        assert!(normal.iter().all(|n| *n), "{}", row.name);
    }
}
