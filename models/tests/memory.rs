//! Memory does not grow with the answers given: a service answers millions of rows between restarts.
//! In: one row again and again. Out: the memory of this process, as Linux counts it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod common;

use auscult_models::{Outcome, Predictor, Row};

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn answers_take_no_memory_with_them() {
    let mut model = common::shipped();
    let row = Row { inputs: [88.0, 97.0, 37.2, 118.0, 80.0, 17.0, 64.0].map(Ok).to_vec() };
    let mut answer = |rows: usize| {
        for _ in 0..rows {
            let outcome = model.predict(std::slice::from_ref(&row));
            assert!(matches!(outcome[..], [Outcome::Probability(_)]), "{outcome:?}");
        }
        resident_kib()
    };
    let before = answer(2_000);
    let after = answer(8_000);
    // A loss of 300 bytes for each of a row's runs would be 16 MiB and more.
    assert!(after < before + 4_096, "{before} kB before 8,000 answers, {after} kB after them");
}
