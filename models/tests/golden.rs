//! Our answers against those of Python's onnxruntime, row by row, before and after rounding.
//! In: tests/golden/*.csv, made by training/compare_onnx.py. Out: the worst difference, at most 1e-5.

#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod common;

use auscult_models::backend_onnx::OnnxNetwork;
use auscult_models::predict::Network;
use auscult_models::{Outcome, Predictor, Registry, Row};
use auscult_operators::signal::Missing;

/// Rows and answers of a golden file.
fn golden(name: &str) -> Vec<(Vec<f32>, f64)> {
    let text = std::fs::read_to_string(common::file("golden").join(name)).unwrap();
    let numbers = |line: &str| line.split(',').map(|c| c.parse().unwrap()).collect::<Vec<f32>>();
    let rows = text.lines().filter(|l| !l.starts_with('#')).map(numbers);
    rows.map(|mut r| (r.pop().map(f64::from).unwrap(), r)).map(|(answer, r)| (r, answer)).collect()
}

#[test]
fn every_row_agrees_with_python_to_1e_5() {
    let registry = Registry::embedded();
    let manifest = &registry.find("sepsis_vitals").unwrap().manifest;
    let weights = Registry::shipped()[0].2;
    let mut network = OnnxNetwork::open(common::runtime(), manifest, weights).unwrap();
    let rows = golden("sepsis_vitals.csv");
    assert!(rows.len() > 400, "{} rows", rows.len());
    assert!(rows.iter().filter(|(r, _)| r.iter().any(|v| v.is_nan())).count() > 50);
    let mut worst = 0.0_f64;
    for (row, expected) in &rows {
        let columns: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
        let found = network.run(&columns).unwrap();
        worst = worst.max((found - expected).abs());
        assert!((found - expected).abs() <= 1e-5, "{row:?}: {found}, expected {expected}");
    }
    // A canary: the tolerance must be far below what tells two rows apart.
    let (low, high) = rows.iter().fold((1.0_f64, 0.0_f64), |(l, h), (_, v)| (l.min(*v), h.max(*v)));
    assert!(high - low > 0.05 && worst < 1e-6, "{low} to {high}, worst difference {worst}");
}

#[test]
fn rounded_answers_agree_to_half_a_step() {
    let mut model = common::shipped();
    let mut answered = 0;
    for (row, expected) in golden("sepsis_vitals.csv") {
        // An infinite value never reaches the network: it counts as missing.
        if row.iter().any(|v| v.is_infinite()) {
            continue;
        }
        let input = |v: &f32| if v.is_nan() { Err(Missing::NoData) } else { Ok(f64::from(*v)) };
        match model.predict(&[Row { inputs: row.iter().map(input).collect() }]).remove(0) {
            Outcome::Probability(p) => {
                answered += 1;
                assert!((p.value - expected).abs() <= 0.5e-4 + 1e-5, "{row:?}: {} for {expected}", p.value);
            }
            Outcome::Refused { .. } => {
                let vitals = row[..6].iter().filter(|v| !v.is_nan()).count();
                assert!(row[6].is_nan() || vitals < 3, "{row:?} was refused");
            }
            Outcome::Failed { reason } => panic!("{row:?}: {reason}"),
        }
    }
    assert!(answered > 350, "{answered} answers");
}
