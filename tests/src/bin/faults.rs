//! The fault suite: `faults [--list] [--long] [--seed N] [NAME...]`.
//! In: names of faults, all by default. Out: one line a fault, its proofs and violations; exit 1 on any violation.

#![allow(clippy::print_stdout, reason = "the summary is its output")]

use std::process::ExitCode;

use auscult_tests::faults::{self, Outcome};

fn main() -> ExitCode {
    let (mut long, mut list, mut seed, mut names) = (false, false, 1, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--long" => long = true,
            "--list" => list = true,
            "--seed" => seed = args.next().and_then(|n| n.parse().ok()).expect("--seed N"),
            name => names.push(name.to_owned()),
        }
    }
    if list {
        for f in faults::all() {
            println!("{:<16} {:<10} {}; shown by {}", f.name, f.rows.join(" "), f.what, f.proof);
        }
        return ExitCode::SUCCESS;
    }
    for name in &names {
        assert!(faults::all().any(|f| f.name == name), "no fault {name}: see --list");
    }
    let chosen = faults::all().filter(|f| names.is_empty() || names.iter().any(|n| n == f.name));
    // A panic of the harness is told as a violation; its trace would only hide it.
    std::panic::set_hook(Box::new(|_| {}));
    let outcomes: Vec<Outcome> = chosen
        .map(|fault| {
            println!("=== {} (seed {seed}): {}", fault.name, fault.what);
            let outcome = faults::run(fault, long, seed);
            outcome.report.notes.iter().for_each(|n| println!("    {n}"));
            outcome.report.violations.iter().for_each(|v| println!("  ! {v}"));
            outcome
        })
        .collect();
    println!("\n{:<16} {:<10} {:>7}  result", "fault", "rows", "s");
    for o in &outcomes {
        let result = match (&o.report.not_run, o.report.violations.is_empty()) {
            (_, false) => "VIOLATED".to_owned(),
            (Some(why), _) => format!("NOT RUN: {why}"),
            (None, true) => "held".to_owned(),
        };
        println!(
            "{:<16} {:<10} {:>7.1}  {result}",
            o.fault.name,
            o.fault.rows.join(" "),
            o.took.as_secs_f64()
        );
    }
    let bad = outcomes.iter().filter(|o| !o.report.violations.is_empty()).count();
    let not_run = outcomes.iter().filter(|o| o.report.not_run.is_some()).count();
    let held = outcomes.len() - bad - not_run;
    println!("{held} of {} held, {bad} violated, {not_run} not run, seed {seed}", outcomes.len());
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
