//! Invariants I2 and I5: a patient's outputs depend on its own records and the partition's time only; the accounts
//! balance. In: the same beds with other company. Out: the same bodies; counts that equal what was injected.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test may stop, and its tables are wide")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use auscult::effects::Effect;
use auscult::local::Local;
use auscult_datasets::simulate::{FaultPlan, Faulty, ward};
use auscult_operators::signal::{EventTime, Frame, Span};
use common::{config, faulty_log, plan_of, t, tick, walk};

/// What is told of one patient, and what becomes of its frames, each in order: rows of frames stand in a table of their
/// own, and how far they are ahead of what is told changes with the company.
type Bodies = [Vec<String>; 2];

/// Bodies of one patient, without offsets and places: these change with the company.
fn bodies(effects: &[(i64, Effect)], of: &str, out: &mut Bodies) {
    for (_, effect) in effects {
        let body = match effect {
            Effect::Event(e, _) if e.patient == of => serde_json::to_string(e).unwrap(),
            Effect::Score(s, _) if s.patient == of => serde_json::to_string(s).unwrap(),
            Effect::Features(p, at, list) if p.expose() == of => format!("{at:?} {list:?}"),
            Effect::Predictions(p, at, list) if p.expose() == of => format!("{at:?} {list:?}"),
            Effect::Beats(p, list) if p.expose() == of => format!("{list:?}"),
            Effect::Frame(f, fate) if f.patient.expose() == of => format!("{} {fate:?}", f.sequence),
            _ => continue,
        };
        out[usize::from(matches!(effect, Effect::Frame(..)))].push(body);
    }
}

#[test]
fn other_patients_change_nothing() {
    let plan = plan_of(&config());
    let log = faulty_log(5, 6, 60);
    let patients: BTreeSet<String> = (1..=6).map(|i| format!("bed-{i:03}")).collect();
    let told = |log: &[auscult::source::Record], of: &str| {
        let mut out = Bodies::default();
        let mut worker = auscult::worker::Worker::new(plan.clone());
        for part in log.chunks(37) {
            bodies(&worker.step(auscult::worker::Event::Records(part)).list, of, &mut out);
        }
        out
    };
    for of in &patients {
        let all = told(&log, of);
        // The others' records become ticks: the partition's time passes as before, nothing else is left of them.
        let alone: Vec<_> = log
            .iter()
            .map(|r| if r.key == of.as_bytes() { r.clone() } else { tick(r.offset, r.timestamp) })
            .collect();
        assert!(all.iter().all(|of_kind| of_kind.len() > 50));
        assert_eq!(all, told(&alone, of), "{of} without the others");
        // And with company that sends rubbish.
        let hostile: Vec<_> = log
            .iter()
            .map(|r| {
                let mut r = r.clone();
                if r.key != of.as_bytes() {
                    r.value = r.value.slice(r.value.len() / 3..);
                }
                r
            })
            .collect();
        assert_eq!(all, told(&hostile, of), "{of} among rubbish");
    }
}

#[test]
fn the_number_of_partitions_and_the_batch_change_no_body() {
    let plan = plan_of(&config());
    let mut frames: Vec<Frame> = Vec::new();
    let mut beds = ward(3, 6, t(0.0));
    for _ in 0..120 {
        frames.extend(beds.iter_mut().filter_map(|b| b.next_second()));
        // One bed falls silent for a while.
        let gone = |f: &Frame| f.patient.expose() == "bed-002" && f.time > t(30.0) && f.time < t(60.0);
        frames.retain(|f| !gone(f));
    }
    let walk = |partitions: usize, batch: usize| {
        let mut local = Local::new(&plan, partitions, batch);
        let mut out: BTreeMap<String, Bodies> = BTreeMap::new();
        let mut take = |effects: &[(i64, Effect)]| {
            for i in 1..=6 {
                let of = format!("bed-{i:03}");
                bodies(effects, &of, out.entry(of.clone()).or_default());
            }
        };
        let mut last = t(0.0);
        for f in &frames {
            if f.time > last {
                last = f.time;
                local.tick(last).iter().for_each(|(_, e)| take(&e.list));
            }
            local.append(f).iter().for_each(|(_, e)| take(&e.list));
        }
        local.stop().iter().for_each(|(_, e)| take(&e.list));
        let a = local.status().accounts;
        assert_eq!(a.frames_in(), frames.len() as u64);
        out
    };
    let one = walk(1, 1);
    assert!(
        one.values().flatten().flatten().any(|l| l.contains("\"source_silent\"")),
        "a bed of this ward falls silent"
    );
    for (partitions, batch) in [(1, 500), (2, 7), (4, 64)] {
        assert!(one == walk(partitions, batch), "{partitions} partitions, batches of {batch}");
    }
}

#[test]
fn accounts_balance_and_equal_what_was_injected() {
    let mut config = config();
    (config.input.quiet_s, config.input.silent_s) = (3600.0, 3600.0);
    let plan = plan_of(&config);
    for seed in 1..5 {
        let faults =
            FaultPlan { duplicate: 0.1, reorder: 0.2, late: 0.05, late_s: 15.0, ..FaultPlan::default() };
        let (mut frames, mut doubled) = (Vec::new(), 0);
        for (b, bed) in ward(seed, 4, t(0.0)).into_iter().enumerate() {
            let mut faulty = Faulty::new(bed.take(80), faults, seed * 100 + b as u64);
            frames.extend(faulty.by_ref());
            doubled += faulty.counts().duplicated;
        }
        // What must be late, by the definition and nothing else: every sample before the newest end less lateness.
        let mut seen = BTreeSet::new();
        let mut newest: BTreeMap<_, EventTime> = BTreeMap::new();
        let mut late = 0;
        for f in &frames {
            if !seen.insert((f.patient.clone(), f.sequence)) {
                continue;
            }
            let newest = newest.entry(f.patient.clone()).or_insert(f.end());
            let sealed = (*newest - Span::from_seconds(2.0)).epoch_start();
            let first = frames.iter().find(|o| o.patient == f.patient).map(|o| o.time);
            if f.time < sealed && sealed > first.unwrap() {
                late += 1;
            } else {
                *newest = (*newest).max(f.end());
            }
        }
        let log = common::records(&frames);
        let (told, worker) = walk(&plan, &log, &[]);
        let a = &worker.accounts;
        assert_eq!(a.duplicate, doubled, "seed {seed}");
        assert_eq!(a.late, late, "seed {seed}");
        assert!(late > 5 && doubled > 10);
        assert_eq!(a.processed, frames.len() as u64 - doubled - late, "seed {seed}");
        assert_eq!(told.count("frame") as u64, a.frames_in());
    }
    // With everything that can happen, the sum still holds.
    for seed in 1..5 {
        let log = faulty_log(seed, 4, 50);
        let (told, worker) = walk(&plan, &log, &[]);
        let a = &worker.accounts;
        assert_eq!(a.frames_in() + a.ticks, log.len() as u64, "seed {seed}");
        assert_eq!(a.rejected_total(), told.count("aside") as u64, "seed {seed}");
        assert_eq!(a.processed + a.duplicate + a.late, told.count("frame") as u64, "seed {seed}");
        assert!(a.rejected_total() > 0);
    }
}
