//! The one broker stops, dies, stays away, or is not there at the start.

use std::thread;
use std::time::{Duration, Instant};

use super::rebalance::{NEWER, NEWER_ASKED};
use super::{Fault, Run, options};
use crate::kafka::Broker;
use crate::site::Options;
use crate::trial::{Engine, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "broker_restart",
        rows: &["T3"],
        what: "the broker is stopped and killed in turn, and started again; once it stays away for long",
        proof: "restarts of the broker; the service lives on",
        run: restart,
    },
    Fault {
        name: "broker_absent",
        rows: &["T3"],
        what: "the broker is not there when the service starts, and comes later",
        proof: "the service was started before the broker",
        run: absent,
    },
    Fault {
        name: "sigterm_alone",
        rows: &["T3", "T7"],
        what: "SIGTERM while the broker is killed or paused, to a service that leaves its group, by the older and the \
               newer protocol, and to one that still waits for the broker",
        proof: "exits with code 0 within 10 s while the broker did not answer",
        run: sigterm_alone,
    },
];

fn restart(run: &mut Run) {
    let mut broker = Broker::start();
    let mut trial = Trial::new(&broker.client(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    trial.send(run.load(30, 240), run.seed);
    assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
    let rounds = run.pick(2, 10);
    let mut restarts = 0;
    for round in 0..rounds {
        let before = engine.memory_mib();
        if round % 2 == 0 {
            broker.stop()
        } else {
            broker.kill()
        }
        let away = run.pick(2, if round == 3 { 70 } else { 3 });
        thread::sleep(Duration::from_secs(away));
        let grown = engine.memory_mib().saturating_sub(before);
        run.report.expect(grown <= 64, || format!("memory grew by {grown} MiB while the broker was away"));
        broker.restart();
        restarts += 1;
        let begun = Instant::now();
        let flows = trial.flows(1, Duration::from_secs(60));
        run.report
            .note(format!("away {away} s, memory +{grown} MiB, told again after {:.1?}", begun.elapsed()));
        run.report.expect(flows || !trial.sending(), || "nothing is told after a restart".into());
        // A figure of the long form only: a busy machine may be slower than any limit.
        let took = begun.elapsed();
        run.report
            .expect(!run.long || took <= Duration::from_secs(15), || format!("told again after {took:?}"));
        if !engine.alive() {
            run.report.violations.push(format!("the service ended: {}", engine.tail(3)));
            engine.start();
        }
    }
    run.report.prove("restarts of the broker", restarts, rounds);
    trial.verdict(&mut [engine], &mut run.report);
}

fn absent(run: &mut Run) {
    let mut broker = Broker::start();
    let mut trial = Trial::new(&broker.client(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    // Once, so that the topics are there.
    engine.start();
    trial.send(run.load(5, 20), run.seed);
    assert!(trial.flows(1, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
    engine.kill();
    trial.drain_sender();
    broker.kill();
    engine.launch();
    thread::sleep(Duration::from_secs(run.pick(5, 40)));
    let waits = engine.alive();
    run.report.expect(waits, || format!("the service did not wait for the broker: {}", engine.tail(3)));
    broker.restart();
    if !waits {
        engine.launch();
    }
    run.report.prove("starts before the broker", 1, 1);
    trial.verdict(&mut [engine], &mut run.report);
}

fn sigterm_alone(run: &mut Run) {
    let rounds = run.pick(1, 3);
    for (protocol, properties) in [("older", ""), ("newer", NEWER_ASKED)] {
        let mut broker = Broker::start_with(NEWER);
        let site = Options { kafka: "leave_on_stop = true", properties, ..options() };
        let mut trial = Trial::new(&broker.client(), &site);
        let mut engine = Engine::new(&trial.site, "ward-1");
        engine.start();
        trial.send(run.load(20, 60), run.seed);
        let mut ended = 0;
        for round in 0..rounds * 2 {
            assert!(trial.flows(1, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
            let killed = round % 2 == 0;
            if killed {
                // The sender has to get through; what it has not sent it sends later.
                broker.kill();
            } else {
                broker.pause();
            }
            thread::sleep(Duration::from_secs(run.pick(2, 4)));
            ended += u64::from(stops(run, &mut engine, protocol));
            engine.start();
            ended += u64::from(stops(run, &mut engine, "still waiting"));
            if killed {
                broker.restart();
            } else {
                broker.resume();
            }
            engine.start();
        }
        run.report.prove("graceful ends without a broker", ended, 4 * rounds);
        trial.verdict(&mut [engine], &mut run.report);
    }
}

/// Tells a service to stop; whether it ends well, and in time.
fn stops(run: &mut Run, engine: &mut Engine, which: &str) -> bool {
    let (code, took) = engine.stop();
    let well = code == 0 && took <= Duration::from_secs(10);
    run.report.note(format!("{which}: exit {code} after {took:.1?}"));
    run.report.expect(well, || format!("{which}: ended with {code} after {took:?}\n{}", engine.tail(5)));
    well
}
