//! Deterministic simulation: the very worker, shard and restore under a seeded scheduler, a mock clock, a broker and an
//! archive in memory; processes are killed between any two phases, paused, doubled, rebalanced; answers get lost and
//! requests come late.
//! In: seeds; `AUSCULT_SEED=N` runs one of them and says what happened, `AUSCULT_SEEDS=N` so many. Out: no broken
//! promise in any; and every known mistake of a service found.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and says what it saw")]

#[path = "simulation/broker.rs"]
mod broker;
mod common;
#[path = "simulation/folder.rs"]
mod folder;
#[path = "simulation/process.rs"]
mod process;
#[path = "simulation/world.rs"]
mod world;

use std::thread;

use process::Bug;
use world::{Outcome, run};

/// Seeds of a test run.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is {v}, expected a number")))
}

/// Runs seeds on all cores, in an order that changes nothing.
fn all(seeds: std::ops::RangeInclusive<u64>, bug: Option<Bug>) -> Vec<(u64, Outcome)> {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut done: Vec<(u64, Outcome)> = thread::scope(|scope| {
        let part = |n: u64| seeds.clone().filter(move |s| s % threads == n).map(move |s| (s, run(s, bug)));
        let handles: Vec<_> =
            (0..threads).map(|n| scope.spawn(move || part(n).collect::<Vec<_>>())).collect();
        handles.into_iter().flat_map(|h| h.join().unwrap()).collect()
    });
    done.sort_by_key(|d| d.0);
    done
}

#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = number("AUSCULT_SEED") {
        let outcome = run(seed, None);
        println!("seed {seed}: {outcome:#?}");
        assert_eq!(outcome.broken, None);
        return;
    }
    let seeds = number("AUSCULT_SEEDS").unwrap_or(SEEDS);
    let done = all(1..=seeds, None);
    let broken: Vec<_> = done.iter().filter_map(|(s, o)| Some((s, o.broken.as_ref()?))).take(5).collect();
    assert!(broken.is_empty(), "run one again with AUSCULT_SEED=N: {broken:#?}");
    let sum = |f: fn(&Outcome) -> u64| done.iter().map(|(_, o)| f(o)).sum::<u64>();
    let mut killed_in = std::collections::BTreeMap::<&str, u64>::new();
    for (_, o) in &done {
        o.killed_in.iter().for_each(|(phase, n)| *killed_in.entry(phase).or_default() += n);
    }
    let seconds: f64 = done.iter().map(|(_, o)| o.seconds).sum();
    let counts = [
        ("kills", sum(|o| o.kills)),
        ("pauses", sum(|o| o.pauses)),
        ("doubled instances", sum(|o| o.usurped)),
        ("rebalances", sum(|o| o.rebalances)),
        ("unanswered commits", sum(|o| o.unanswered)),
        ("fenced requests", sum(|o| o.fenced)),
        ("patients taken over", sum(|o| o.restored as u64)),
        ("archive files", sum(|o| o.files as u64)),
        ("outputs", sum(|o| o.outputs as u64)),
    ];
    println!("{seeds} seeds, {seconds:.0} s simulated, {counts:?}, killed in {killed_in:?}");
    // The faults happened, each of them, and in every phase.
    assert!(counts.iter().all(|(_, n)| *n >= seeds / 50), "{counts:?}");
    assert!(killed_in.len() >= 9 || seeds < 500, "{killed_in:?}");
}

#[test]
fn the_same_seed_takes_the_same_course() {
    for seed in [3, 77, 1234] {
        let (a, b) = (run(seed, None), run(seed, None));
        assert_eq!((a.hash, a.outputs), (b.hash, b.outputs));
    }
    assert_ne!(run(1, None).hash, run(2, None).hash);
}

/// Canaries: a service that makes one of these mistakes is found out.
#[test]
fn every_known_mistake_is_found() {
    for bug in [
        Bug::KeepsProducer,
        Bug::NoGeneration,
        Bug::NoState,
        Bug::TellsAgain,
        Bug::TwoTransactions,
        Bug::UnstableOffsets,
        Bug::PartOfState,
        Bug::ForgetsOpenFiles,
    ] {
        // A promise may also break as an assertion inside.
        let breaks = |seed: &u64| {
            std::panic::catch_unwind(|| run(*seed, Some(bug)).broken).map_or(true, |b| b.is_some())
        };
        let found = (1..=2_000).find(breaks);
        println!("{bug:?}: found by seed {found:?}");
        assert!(found.is_some(), "{bug:?} is not found in 2,000 seeds");
    }
}
