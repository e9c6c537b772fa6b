//! An engine that dies of the same record again and again stops and says where it stands.
//! In: the real binary, which a failpoint lets die at its first step. Out: five deaths, a refusal with its exit code, a
//! forced start.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::time::Duration;

use auscult_tests::kafka;
use auscult_tests::process::{Running, Start};
use auscult_tests::site::{LIMIT, Options, Site};
use auscult_tests::{binary, http};

fn start(site: &Site, faults: &str, further: &[&str]) -> Running {
    let config = site.config().to_string_lossy().into_owned();
    let start = Start::new(binary::auscult()).args(["run", "-c", &config]).args(further);
    start.env("AUSCULT_FAILPOINTS", faults).spawn(site.folder(), "run")
}

#[test]
fn five_deaths_at_one_place_are_enough() {
    let dir = tempfile::tempdir().unwrap();
    let tables = format!("[state]\ndir = {:?}\n", dir.path());
    let options =
        Options { partitions: 1, roll_s: None, ticks: false, tables: &tables, ..Options::default() };
    let site = Site::new(&kafka::shared(), &options);
    // A clean life first: it makes the topics and is not held against anybody.
    let mut clean = site.run();
    http::wait_for_ok(site.listen(), "/readyz", LIMIT);
    assert_eq!(clean.terminate(Duration::from_secs(20)), 0, "{}", clean.tail(20));
    site.send(&["--simulate", "3", "--for", "20"]);

    for death in 1..=5 {
        let mut running = start(&site, "in_step=abort@1", &[]);
        assert_eq!(running.wait(LIMIT), 128 + 6, "death {death}\n{}", running.tail(20));
    }
    let mut refused = start(&site, "in_step=abort@1", &[]);
    assert_eq!(refused.wait(LIMIT), 69, "{}", refused.tail(20));
    let said = refused.stderr();
    for word in ["partition 0", "offset 0", "--force-start"] {
        assert!(said.contains(word), "{word}\n{}", refused.tail(5));
    }
    // With another build, or without the failpoint, it goes on where it stood.
    let mut forced = start(&site, "", &["--force-start"]);
    site.drained(&mut forced, 60);
    assert_eq!(forced.terminate(Duration::from_secs(20)), 0, "{}", forced.tail(20));
    let mut again = site.run();
    assert_eq!(again.terminate(Duration::from_secs(20)), 0, "{}", again.tail(20));
}
