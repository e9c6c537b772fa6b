//! Invariant I1: however a log is cut into steps, the effects are the same, kind by kind, to the bit.
//! In: logs of simulated wards with faults. Out: no difference; and two broken walks that must be told apart.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test may stop, and its tables are wide")]

mod common;

use auscult::worker::{Event, Worker};
use auscult_datasets::simulate::Draw;
use common::{Told, config, difference, faulty_log, plan_of, walk};

#[test]
fn random_splits_of_faulty_logs_change_nothing() {
    let plan = plan_of(&config());
    for seed in [1, 2, 3, 4] {
        let log = faulty_log(seed, 5, 70);
        let (whole, worker) = walk(&plan, &log, &[]);
        for kind in ["event", "score", "aside", "frame", "features", "beats", "glance", "roll"] {
            assert!(
                kind == "roll" && !whole.of(kind).is_empty() || whole.count(kind) > 0,
                "seed {seed}: the log makes no {kind}"
            );
        }
        assert!(worker.accounts.late > 0 && worker.accounts.duplicate > 0 && worker.accounts.ticks > 0);
        let mut draw = Draw::new(seed, 78);
        for round in 0..4 {
            let mut cuts: Vec<usize> = (0..1 << (2 * round)).map(|_| draw.below(log.len())).collect();
            cuts.sort_unstable();
            let (cut, again) = walk(&plan, &log, &cuts);
            assert_eq!(difference(&whole, &cut), None, "seed {seed} cuts {cuts:?}");
            assert_eq!(worker.accounts, again.accounts, "seed {seed}");
            assert_eq!(worker.sample_counts(), again.sample_counts(), "seed {seed}");
        }
        let each: Vec<usize> = (1..log.len()).collect();
        assert_eq!(difference(&whole, &walk(&plan, &log, &each).0), None, "seed {seed}, record by record");
    }
}

#[test]
fn every_split_of_a_small_log_changes_nothing() {
    let plan = plan_of(&config());
    let log = faulty_log(11, 2, 16);
    let (whole, _) = walk(&plan, &log, &[]);
    for cut in 0..=log.len() {
        assert_eq!(difference(&whole, &walk(&plan, &log, &[cut]).0), None, "cut at {cut}");
    }
}

/// Canaries: the comparison must see a walk that forgets, and one that tells in another order.
#[test]
fn broken_walks_are_told_apart() {
    let plan = plan_of(&config());
    let log = faulty_log(1, 3, 40);
    let (whole, _) = walk(&plan, &log, &[]);
    let (head, tail) = log.split_at(log.len() / 2);

    let mut forgetful = Told::default();
    for (part, base) in [(head, 0), (tail, head.len())] {
        forgetful.take(&Worker::new(plan.clone()).step(Event::Records(part)).list, base);
    }
    assert!(difference(&whole, &forgetful).is_some());

    let mut sorted = Told::default();
    let mut effects = Worker::new(plan).step(Event::Records(&log)).list;
    effects.sort_by_key(|(_, e)| common::line(e, 0).1);
    sorted.take(&effects, 0);
    assert!(difference(&whole, &sorted).is_some());
}
