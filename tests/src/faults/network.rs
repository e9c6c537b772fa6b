//! The line between the service and the broker: cut, one-way, reset, slow, narrow, answers swallowed.

use std::thread;
use std::time::{Duration, Instant};

use auscult::failpoint;

use super::{Fault, Run, options};
use crate::kafka::Broker;
use crate::poll;
use crate::proxy::{Counts, END_TXN, Proxy};
use crate::site::Options;
use crate::trial::{Engine, Trial};
use crate::watcher::Watcher;

/// The family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "cut",
        rows: &["T6"],
        what: "the line is dead for 1 s, 5 s and, in the long form, 30 s and 90 s",
        proof: "frames that the proxy held back in each cut",
        run: cut,
    },
    Fault {
        name: "one_way",
        rows: &["T6"],
        what: "requests pass and answers do not, then the other way round",
        proof: "frames that the proxy held back each way",
        run: one_way,
    },
    Fault {
        name: "reset",
        rows: &["T6"],
        what: "all connections are reset every 2 s",
        proof: "connections that the proxy reset",
        run: reset,
    },
    Fault {
        name: "slow_line",
        rows: &["T6"],
        what: "200 ms each way, then 64 kbit/s",
        proof: "frames that the proxy delayed",
        run: slow,
    },
    Fault {
        name: "end_txn",
        rows: &["T5"],
        what: "the answer to the end of a transaction is swallowed: nobody knows whether it is committed",
        proof: "answers that the proxy swallowed",
        run: end_txn,
    },
    Fault {
        name: "end_txn_kill",
        rows: &["T1", "T5"],
        what: "the service is killed when the end of a transaction is sent and its answer is not read, and again \
               while the producer is made anew",
        proof: "answers that the proxy swallowed; kills; the log of failpoints",
        run: end_txn_kill,
    },
];

/// A broker behind a proxy, a service behind that, and a load on its way.
fn begin(run: &Run, short_s: u32, long_s: u32) -> (Broker, Trial, Engine) {
    let broker = Broker::start_proxied();
    let address = broker.proxy().address();
    let mut trial = Trial::new(&broker.client(), &Options { brokers: Some(&address), ..options() });
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    trial.send(run.load(short_s, long_s), run.seed);
    assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
    (broker, trial, engine)
}

/// Does something to the line for a while; counts before and after.
fn during(
    run: &mut Run,
    trial: &Trial,
    proxy: &Proxy,
    span: Duration,
    what: impl FnOnce(&Proxy),
) -> (Counts, Counts) {
    let before = proxy.counts();
    let begun = Instant::now();
    what(proxy);
    thread::sleep(span.saturating_sub(begun.elapsed()));
    proxy.flow();
    let healed = Instant::now();
    let flows = trial.flows(1, Duration::from_secs(60));
    let gap = trial.watcher.longest_gap(begun, Instant::now());
    let again = healed.elapsed();
    run.report
        .note(format!("{span:.0?}: told again {again:.1?} after; longest time without an output {gap:.1?}"));
    run.report.expect(flows, || format!("nothing is told after {span:?}"));
    // A figure of the long form only: a busy machine may be slower than any limit.
    let most = 2 * span.max(Duration::from_secs(5));
    run.report.expect(!run.long || again <= most, || format!("told again {again:?} after {span:?}"));
    (before, proxy.counts())
}

fn still_there(run: &mut Run, engine: &mut Engine) {
    if !engine.alive() {
        run.report.violations.push(format!("the service ended: {}", engine.tail(3)));
        engine.start();
    }
}

fn cut(run: &mut Run) {
    let (broker, trial, mut engine) = begin(run, 35, 260);
    for seconds in run.pick(&[1, 5][..], &[1, 5, 30, 90]) {
        let span = Duration::from_secs(*seconds);
        let (before, after) = during(run, &trial, broker.proxy(), span, |p| p.hold(true, true));
        run.report.prove("frames held back", after.held - before.held, 1);
        still_there(run, &mut engine);
    }
    trial.verdict(&mut [engine], &mut run.report);
}

fn one_way(run: &mut Run) {
    let (broker, trial, mut engine) = begin(run, 45, 150);
    let span = Duration::from_secs(run.pick(6, 20));
    for (up, down) in [(true, false), (false, true)] {
        let (before, after) = during(run, &trial, broker.proxy(), span, |p| p.hold(up, down));
        run.report.prove("frames held back one way", after.held - before.held, 1);
        still_there(run, &mut engine);
    }
    trial.verdict(&mut [engine], &mut run.report);
}

fn reset(run: &mut Run) {
    let (broker, trial, mut engine) = begin(run, 25, 60);
    let times = run.pick(5, 15);
    let span = Duration::from_secs(2 * times);
    let (before, after) = during(run, &trial, broker.proxy(), span, |proxy| {
        for _ in 0..times {
            proxy.reset();
            thread::sleep(Duration::from_secs(2));
        }
    });
    run.report.prove("connections reset", after.resets - before.resets, times);
    still_there(run, &mut engine);
    trial.verdict(&mut [engine], &mut run.report);
}

fn slow(run: &mut Run) {
    let (broker, trial, mut engine) = begin(run, 45, 150);
    let span = Duration::from_secs(run.pick(8, 30));
    let late = Duration::from_millis(200);
    for (latency, rate) in [(late, None), (Duration::ZERO, Some(8_000))] {
        let (before, after) = during(run, &trial, broker.proxy(), span, |p| p.slow(latency, rate));
        run.report.prove("frames delayed", after.slowed - before.slowed, 10);
        still_there(run, &mut engine);
    }
    trial.verdict(&mut [engine], &mut run.report);
}

/// Lets the answer to the next end of a transaction vanish, and waits until it has.
fn swallow(run: &mut Run, proxy: &Proxy) -> u64 {
    let before = proxy.counts().swallowed;
    proxy.swallow(END_TXN, 1);
    let gone = poll(Duration::from_secs(30), || (proxy.counts().swallowed > before).then_some(()));
    run.report.expect(gone.is_some(), || "no transaction ended within 30 s".into());
    proxy.counts().swallowed - before
}

fn end_txn(run: &mut Run) {
    let (broker, trial, mut engine) = begin(run, 60, 240);
    let times = run.pick(1, 5);
    let mut swallowed = 0;
    // An alarm display does not wait for the ends of transactions.
    let display = Watcher::start_as("read_uncommitted", &broker.client(), &[trial.site.topic("events")]);
    for _ in 0..times {
        let begun = Instant::now();
        swallowed += swallow(run, broker.proxy());
        let flows = trial.flows(2, Duration::from_secs(120));
        let now = Instant::now();
        let (gap, shown) = (trial.watcher.longest_gap(begun, now), display.longest_gap(begun, now));
        run.report.note(format!(
            "longest time without an output {gap:.1?}, without an event uncommitted {shown:.1?}"
        ));
        run.report.expect(flows, || "nothing is told after a swallowed answer".into());
        still_there(run, &mut engine);
    }
    run.report.prove("answers swallowed", swallowed, times);
    trial.verdict(&mut [engine], &mut run.report);
}

fn end_txn_kill(run: &mut Run) {
    let (broker, trial, mut engine) = begin(run, 60, 240);
    let times = run.pick(2, 5);
    let (mut swallowed, mut killed) = (0, 0);
    for _ in 0..times {
        swallowed += swallow(run, broker.proxy());
        killed += u64::from(engine.kill());
        engine.start();
        trial.flows(2, Duration::from_secs(60));
    }
    run.report.prove("answers swallowed", swallowed, times);
    run.report.prove("kills with the end of a transaction on its way", killed, times);
    engine.kill();
    let log = trial.site.folder().join("failpoints.log");
    engine.env("AUSCULT_FAILPOINTS_LOG", &log.to_string_lossy());
    engine.env("AUSCULT_FAILPOINTS", &format!("{}=abort", failpoint::BEFORE_RENEW));
    engine.start();
    assert!(trial.flows(1, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
    // One lost answer the client library heals by asking again: here it gets none, however often it asks.
    broker.proxy().swallow(END_TXN, u64::MAX);
    let ended = engine.ended(Duration::from_secs(120));
    broker.proxy().flow();
    run.report.expect(ended.is_some(), || "the producer was not made again within 120 s".into());
    let hits = std::fs::read_to_string(&log).unwrap_or_default();
    run.report.prove("deaths before the producer is made again", hits.lines().count() as u64, 1);
    engine.env("AUSCULT_FAILPOINTS", "");
    engine.kill();
    engine.start();
    trial.verdict(&mut [engine], &mut run.report);
}
