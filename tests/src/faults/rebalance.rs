//! Several services of one group: joining, leaving, dying, rolled one after the other, fewer and more of them.

use std::thread;
use std::time::{Duration, Instant};

use auscult::failpoint as at;

use super::{Fault, Run, options};
use crate::kafka::Broker;
use crate::poll;
use crate::site::{Options, with_prefix};
use crate::trial::{Engine, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "rebalance",
        rows: &["T7"],
        what: "of three services one leaves, dies or joins every 3 s",
        proof: "rebalances in the broker's own log",
        run: |run| rebalance(run, &Broker::start(), "", "Preparing to rebalance group"),
    },
    Fault {
        name: "rebalance_new",
        rows: &["T7"],
        what: "the same with the newer group protocol, in which the broker shares the partitions out",
        proof: "epochs of the group in the broker's own log",
        run: |run| rebalance(run, &Broker::start_with(NEWER), NEWER_ASKED, "Bumped group epoch"),
    },
    Fault {
        name: "rolling",
        rows: &["T7"],
        what: "three services with static names are stopped and started one after the other",
        proof: "restarts; no rebalance in the broker's own log meanwhile",
        run: rolling,
    },
    Fault {
        name: "sigterm",
        rows: &["T7"],
        what: "SIGTERM again and again in full work",
        proof: "exits with code 0 within 10 s, each with its goodbye",
        run: sigterm,
    },
    Fault {
        name: "rescale",
        rows: &["T10"],
        what: "one service, then two, four, three",
        proof: "partitions that changed hands in the services' logs",
        run: rescale,
    },
    Fault {
        name: "hand_over",
        rows: &["T1", "T7"],
        what: "a service dies while it gives partitions up, and again while it gains some",
        proof: "the log of failpoints",
        run: hand_over,
    },
    Fault {
        name: "take_over",
        rows: &["T1", "T7"],
        what: "one of two services dies in the middle of a transaction and stays away",
        proof: "the log of failpoints; the other says that it ended the transaction",
        run: take_over,
    },
    Fault {
        name: "short_session",
        rows: &["T7"],
        what: "two services ask for a session of 2 s, of a broker that refuses it and one that takes it; one is killed",
        proof: "refusals in the services' logs; a kill of a living process",
        run: short_session,
    },
];

/// A broker of the newer group protocol that gives a silent member up as soon as ours do otherwise.
pub(super) const NEWER: &[(&str, &str)] = &[
    ("group.consumer.min.session.timeout.ms", "6000"),
    ("group.consumer.session.timeout.ms", "6000"),
    ("group.consumer.min.heartbeat.interval.ms", "1000"),
    ("group.consumer.heartbeat.interval.ms", "1000"),
];
/// How a service asks for it.
pub(super) const NEWER_ASKED: &str = "\"group.protocol\" = \"consumer\"\n";

/// The archive of a partition that wanders is in several places: it has checks of its own.
fn wandering() -> Options<'static> {
    Options { partitions: 6, roll_s: None, ..options() }
}

fn members(trial: &Trial, count: usize) -> Vec<Engine> {
    (1..=count).map(|n| Engine::new(&trial.site, &format!("ward-{n}"))).collect()
}

fn rebalance(run: &mut Run, broker: &Broker, properties: &str, shown_by: &str) {
    let mut trial = Trial::new(&broker.client(), &Options { properties, ..wandering() });
    let mut engines = members(&trial, 3);
    engines.iter_mut().for_each(Engine::start);
    let seconds = run.pick(24, 90);
    trial.send(run.load(seconds + 5, seconds + 5), run.seed);
    let begun = Instant::now();
    let mut turn = 0;
    while begun.elapsed() < Duration::from_secs(u64::from(seconds)) {
        let n = run.draw.below(engines.len());
        let alive: Vec<bool> = engines.iter_mut().map(Engine::alive).collect();
        if alive[n] && alive.iter().filter(|a| **a).count() > 1 {
            if turn % 2 == 0 {
                let (code, _) = engines[n].stop();
                run.report
                    .expect(code == 0, || format!("SIGTERM ended it with {code}\n{}", engines[n].tail(5)));
            } else {
                engines[n].kill();
            }
            turn += 1;
        } else {
            engines[n].launch();
        }
        thread::sleep(Duration::from_secs(3));
    }
    let longest = trial.watcher.longest_gap(begun, Instant::now());
    for engine in engines.iter_mut().filter(|e| e.running.is_none()) {
        engine.start();
    }
    run.report.note(format!("longest time without an output: {longest:.1?}"));
    // The broker has one group.
    run.report.prove("rebalances", broker.log_count(shown_by) as u64, run.pick(4, 15));
    for engine in &mut engines {
        run.report.expect(engine.alive(), || format!("{} ended: {}", engine.instance, engine.tail(3)));
    }
    trial.verdict(&mut engines, &mut run.report);
}

fn rolling(run: &mut Run) {
    let broker = Broker::start();
    let mut trial = Trial::new(&broker.client(), &wandering());
    let mut engines = members(&trial, 3);
    engines.iter_mut().for_each(Engine::start);
    trial.send(run.load(30, 90), run.seed);
    assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engines[0].tail(20));
    thread::sleep(Duration::from_secs(6));
    let group = format!("Preparing to rebalance group {}", trial.site.group());
    let before = broker.log_count(&group);
    let mut restarts = 0;
    for _ in 0..run.pick(1, 3) {
        for engine in &mut engines {
            let (code, _) = engine.stop();
            run.report.expect(code == 0, || format!("SIGTERM ended it with {code}\n{}", engine.tail(5)));
            engine.start();
            restarts += 1;
        }
    }
    thread::sleep(Duration::from_secs(3));
    let meanwhile = broker.log_count(&group) - before;
    run.report.prove("restarts", restarts, 3);
    run.report.note(format!("rebalances: {before} before, {meanwhile} meanwhile"));
    run.report.expect(before > 0 && meanwhile == 0, || "a rolling restart moved partitions".into());
    trial.verdict(&mut engines, &mut run.report);
}

fn sigterm(run: &mut Run) {
    let broker = Broker::start();
    let mut trial = Trial::new(&broker.client(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    trial.send(run.load(15, 60), run.seed);
    let times = run.pick(4, 10);
    let mut clean = 0;
    for _ in 0..times {
        engine.start();
        trial.flows(1, Duration::from_secs(10));
        let (code, took) = engine.stop();
        clean += u64::from(code == 0 && took <= Duration::from_secs(10));
        run.report.note(format!("SIGTERM: exit {code} after {took:.1?}"));
        let files = crate::site::files(&trial.site.archive());
        let aside = files.iter().find(|f| f.to_string_lossy().contains(".tmp"));
        run.report.expect(aside.is_none(), || format!("left aside: {aside:?}"));
    }
    run.report.prove("graceful ends", clean, times);
    let beats = trial.site.messages("heartbeat");
    let leaving = beats.iter().filter(|m| m.json()["state"] == "leaving").count();
    run.report.prove("goodbyes", leaving as u64, times);
    engine.start();
    trial.verdict(&mut [engine], &mut run.report);
}

fn rescale(run: &mut Run) {
    let broker = Broker::start();
    let mut trial = Trial::new(&broker.client(), &wandering());
    let mut engines = members(&trial, 4);
    engines[0].start();
    trial.send(run.load(40, 120), run.seed);
    let pause = Duration::from_secs(run.pick(8, 25));
    for count in [1, 2, 4, 3] {
        for (n, engine) in engines.iter_mut().enumerate() {
            match (n < count, engine.running.is_some()) {
                (true, false) => engine.start(),
                (false, true) => {
                    engine.stop();
                }
                _ => {}
            }
        }
        let flows = trial.flows(2, Duration::from_secs(40));
        run.report.expect(flows || !trial.sending(), || format!("nothing is told by {count} services"));
        thread::sleep(pause);
    }
    // The fourth stays away; its static name keeps its partitions until its session ends.
    let gained: usize = engines.iter().map(|e| gained(&e.log())).sum();
    run.report.prove("partitions gained", gained as u64, 9);
    trial.verdict(&mut engines, &mut run.report);
}

/// Partitions that a service says it gained.
fn gained(log: &str) -> usize {
    let lists = log.split("partitions gained partitions=[").skip(1).filter_map(|rest| rest.split(']').next());
    lists.map(|list| list.split(',').filter(|p| !p.trim().is_empty()).count()).sum()
}

fn hand_over(run: &mut Run) {
    let broker = Broker::start();
    let mut trial = Trial::new(&broker.client(), &wandering());
    let mut engines = members(&trial, 2);
    let log = trial.site.folder().join("failpoints.log");
    engines[0].env("AUSCULT_FAILPOINTS_LOG", &log.to_string_lossy());
    engines[0].env("AUSCULT_FAILPOINTS", &format!("{}=abort", at::IN_REVOKE));
    engines[0].start();
    trial.send(run.load(40, 90), run.seed);
    assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engines[0].tail(20));
    engines[1].start();
    let gave = engines[0].ended(Duration::from_secs(60));
    run.report.expect(gave == Some(134), || format!("giving up: ended with {gave:?}"));
    engines[0].env("AUSCULT_FAILPOINTS", &format!("{}=abort", at::IN_ASSIGN));
    engines[0].launch();
    let gained = engines[0].ended(Duration::from_secs(60));
    run.report.expect(gained == Some(134), || format!("gaining: ended with {gained:?}"));
    engines[0].env("AUSCULT_FAILPOINTS", "");
    engines[0].start();
    let hits = std::fs::read_to_string(&log).unwrap_or_default();
    run.report.prove("deaths while partitions change hands", hits.lines().count() as u64, 2);
    trial.verdict(&mut engines, &mut run.report);
}

fn take_over(run: &mut Run) {
    let broker = Broker::start();
    let mut trial = Trial::new(&broker.client(), &wandering());
    let mut engines = members(&trial, 2);
    let log = trial.site.folder().join("failpoints.log");
    engines[0].env("AUSCULT_FAILPOINTS_LOG", &log.to_string_lossy());
    engines[0].env("AUSCULT_FAILPOINTS", &format!("{}=abort@80", at::AFTER_SEND_OFFSETS));
    engines.iter_mut().for_each(Engine::start);
    trial.send(run.load(40, 90), run.seed);
    let died = engines[0].ended(Duration::from_secs(60));
    run.report.expect(died == Some(134), || format!("in a transaction: ended with {died:?}"));
    thread::sleep(Duration::from_secs(20));
    let hits = std::fs::read_to_string(&log).unwrap_or_default();
    run.report.prove("deaths in a transaction", hits.lines().count() as u64, 1);
    let ended = engines[1].log().matches("which is ended for it").count();
    run.report.prove("transactions ended for the dead", ended as u64, 1);
    let away = engines.remove(0);
    run.report.expect(!away.log().contains("panicked"), || away.tail(5));
    trial.verdict(&mut engines, &mut run.report);
}

fn short_session(run: &mut Run) {
    // The first is what brokers take by default.
    for (least, most_s) in [("6000", 9), ("2000", 5)] {
        let broker = Broker::start_with(&[("group.min.session.timeout.ms", least)]);
        let site = Options { kafka: "session_timeout_ms = 2000", ..wandering() };
        let mut trial = Trial::new(&broker.client(), &site);
        let mut engines = members(&trial, 2);
        engines.iter_mut().for_each(Engine::start);
        trial.send(run.load(25, 60), run.seed);
        assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engines[0].tail(20));
        assert!(engines.iter_mut().all(|e| e.ready(Duration::from_secs(30))), "{}", engines[1].tail(20));
        thread::sleep(Duration::from_secs(run.pick(3, 15)));
        let mut dead = engines.remove(0);
        let killed = dead.kill();
        let begun = Instant::now();
        // Of each partition there is a lag once it is read.
        let read = || with_prefix(&engines[0].metrics(), "auscult_partition_lag_records").len();
        let took = poll(Duration::from_secs(60), || (read() == 6).then(|| begun.elapsed()));
        run.report.note(format!("at least {least} ms: all partitions read by the other after {took:.1?}"));
        // A figure of the long form only: a busy machine may be slower than any limit.
        let soon = took.is_some_and(|t| !run.long || t <= Duration::from_secs(most_s));
        run.report.expect(soon, || format!("taken over after {took:?}"));
        let refused: usize =
            [&dead, &engines[0]].iter().map(|e| e.log().matches("session_refused").count()).sum();
        let expected = if least == "6000" { 2 } else { 0 };
        run.report.expect(refused == expected, || format!("{refused} refusals\n{}", dead.tail(20)));
        run.report.prove("kills of a living process", u64::from(killed), 1);
        trial.verdict(&mut engines, &mut run.report);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn gained_partitions_are_counted() {
        let log = "INFO partitions gained partitions=[2, 1, 0]\nINFO partitions gained partitions=[]\n\
                   INFO partitions lost partitions=[2] gone=false\nINFO partitions gained partitions=[7]\n";
        assert_eq!(super::gained(log), 4);
    }
}
