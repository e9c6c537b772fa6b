//! The main job through a real broker: recordings of a hundred patients, hostile messages, doubled and late frames in;
//! risk events, scores, dead letters, heartbeats and the archive out, each read by somebody else's reader.
//! In: MIT-BIH. Out: every promise of `walk::main_job`. `cargo run --release -p auscult-tests --bin long_run` is the
//! longer form.

use auscult_tests::walk::{Load, main_job};
use auscult_tests::{kafka, recordings};

#[test]
fn a_hundred_patients_from_broker_to_archive() {
    let Some(mitdb) = recordings::folder("mitdb", "a_hundred_patients_from_broker_to_archive") else {
        return;
    };
    let load = Load { patients: 100, seconds: Some(60), roll_s: 20 };
    let figures = main_job(&kafka::shared(), &mitdb, load);
    assert!(figures.iter().any(|f| f.starts_with("events: ")), "{figures:?}");
}
