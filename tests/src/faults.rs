//! The faults, one card each: what is done to the services, and how the run proves that it was done.
//! In: a card and a seed. Out: a report; the verdict is that of [`crate::trial`], for every fault the same.

pub mod absent;
pub mod broker;
pub mod cable;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod failpoints;
pub mod frames;
pub mod io;
pub mod kills;
pub mod late;
pub mod network;
pub mod poison;
pub mod rebalance;
pub mod slow;
pub mod state;
pub mod zombie;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use auscult_datasets::simulate::Draw;

use crate::site::{Options, SENSITIVE};
use crate::trial::{Load, Report};

/// One fault.
#[derive(Debug)]
pub struct Fault {
    /// Its name, by which it is run.
    pub name: &'static str,
    /// The rows of the table of checks that it covers.
    pub rows: &'static [&'static str],
    /// What is done.
    pub what: &'static str,
    /// How it is shown to have happened.
    pub proof: &'static str,
    /// Does it.
    pub run: fn(&mut Run),
}

/// Every fault, family by family.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    [
        kills::FAULTS,
        failpoints::FAULTS,
        broker::FAULTS,
        cluster::FAULTS,
        network::FAULTS,
        cable::FAULTS,
        rebalance::FAULTS,
        zombie::FAULTS,
        slow::FAULTS,
        disk::FAULTS,
        io::FAULTS,
        state::FAULTS,
        clock::FAULTS,
        late::FAULTS,
        absent::FAULTS,
        poison::FAULTS,
    ]
    .into_iter()
    .flatten()
}

/// One run of a fault.
#[derive(Debug)]
pub struct Run {
    /// Whether there is time for the long form.
    pub long: bool,
    /// What the seed gives out.
    pub draw: Draw,
    /// The seed.
    pub seed: u64,
    /// What is found.
    pub report: Report,
}

impl Run {
    /// One of two values, by the form.
    pub fn pick<T>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }

    /// A load of so many seconds of the wall clock.
    pub fn load(&self, short_s: u32, long_s: u32) -> Load {
        let (beds, speed) = self.pick((20, 10.0), (100, 10.0));
        Load { beds, seconds: self.pick(short_s, long_s) * speed as u32, speed }
    }
}

/// The site that most faults befall: rules that fire often, an archive whose files end often, fresh snapshots.
pub fn options() -> Options<'static> {
    static TABLES: OnceLock<String> = OnceLock::new();
    let tables = TABLES.get_or_init(|| format!("{SENSITIVE}\n[state]\nevery_s = 10.0\n"));
    Options { roll_s: Some(20), tables, ..Options::default() }
}

/// What came of a fault.
#[derive(Debug)]
pub struct Outcome {
    /// Its card.
    pub fault: &'static Fault,
    /// Its report.
    pub report: Report,
    /// How long it took.
    pub took: Duration,
}

/// Runs one fault to its end; a panic of the harness is a violation like others.
pub fn run(fault: &'static Fault, long: bool, seed: u64) -> Outcome {
    let begun = Instant::now();
    let mut run = Run { long, draw: Draw::new(seed, 1), seed, report: Report::default() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (fault.run)(&mut run))) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        run.report.violations.push(text.to_owned());
    }
    Outcome { fault, report: run.report, took: begun.elapsed() }
}

/// As [`run`], for a test: fails with all that was found. What this machine cannot do is told in one line.
#[allow(clippy::print_stderr, reason = "the reader of a test run must see what was not run")]
pub fn must_pass(name: &str) {
    let fault = all().find(|f| f.name == name).unwrap_or_else(|| panic!("no fault {name}"));
    let outcome = run(fault, false, 1);
    let Report { notes, violations, not_run } = &outcome.report;
    if let Some(why) = not_run {
        eprintln!("not run: {name}: {why}");
    }
    assert!(violations.is_empty(), "{name}, seed 1:\n{}\n{}", violations.join("\n"), notes.join("\n"));
}
