//! The main job at full length: eight whole records of MIT-BIH as a hundred patients, half an hour each.
//! In: `AUSCULT_DATA`; a number of patients if not a hundred. Out: the figures, one a line; a panic at the first
//! promise that does not hold. Run it with `--release`.

#![allow(clippy::print_stdout, reason = "the figures are its output")]

use auscult_tests::walk::{Load, main_job};
use auscult_tests::{kafka, recordings};

fn main() {
    let Some(mitdb) = recordings::folder("mitdb", "long_run") else { std::process::exit(1) };
    let patients = std::env::args().nth(1).map_or(Ok(100), |n| n.parse()).expect("a number of patients");
    let broker = kafka::Broker::start();
    for figure in main_job(&broker.client(), &mitdb, Load { patients, seconds: None, roll_s: 60 }) {
        println!("{figure}");
    }
}
