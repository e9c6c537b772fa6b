//! The short form of the fault suite: nothing lost, nothing doubled, whatever befalls service, broker, line and disk.
//! In: a real broker; nothing else. Out: per fault a proof that it happened, and equality with an uninterrupted run.
//! The long form: `cargo run --release -p auscult-tests --bin faults -- --long`.

use std::collections::BTreeSet;

use auscult_tests::faults::{all, must_pass};

#[test]
fn killed_at_random_moments() {
    must_pass("kills");
}

#[test]
fn dead_at_named_points() {
    must_pass("points");
}

#[test]
fn the_broker_restarts() {
    must_pass("broker_restart");
}

#[test]
fn the_line_is_cut() {
    must_pass("cut");
}

#[test]
fn services_join_and_leave() {
    must_pass("rebalance");
}

#[test]
fn the_producer_takes_no_more() {
    must_pass("producer_full");
}

#[test]
fn the_disk_is_full() {
    must_pass("disk_full");
}

#[test]
fn the_state_is_damaged() {
    must_pass("state");
}

#[test]
fn frames_come_late_and_twice() {
    must_pass("late");
}

#[test]
fn poison_among_good_frames() {
    must_pass("poison");
}

#[test]
fn signals_stop() {
    must_pass("absent");
}

/// Rows of the table of checks that this suite is there for.
const ROWS: [&str; 14] =
    ["A2", "T1", "T10", "T11", "T13", "T15", "T18", "T3", "T4", "T5", "T6", "T7", "T8", "T9"];

#[test]
fn every_fault_is_told_and_every_row_is_covered() {
    let readme = include_str!("../README.md");
    let mut names = BTreeSet::new();
    for fault in all() {
        assert!(names.insert(fault.name), "{} stands twice", fault.name);
        assert!(
            readme.contains(&format!("| `{}` |", fault.name)),
            "{} is not in tests/README.md",
            fault.name
        );
        assert!(!fault.what.is_empty() && !fault.proof.is_empty() && !fault.rows.is_empty());
    }
    let rows: BTreeSet<&str> = all().flat_map(|f| f.rows.iter().copied()).collect();
    let lacking: Vec<_> = ROWS.iter().filter(|r| !rows.contains(**r)).collect();
    assert!(lacking.is_empty(), "no fault covers {lacking:?}");
    assert!(!rows.contains("T0"), "canary");
}
