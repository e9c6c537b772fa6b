//! Three brokers, of which one dies or stands still: the leader, the controller, the coordinators.

use std::thread;
use std::time::{Duration, Instant};

use super::{Fault, Run, options};
use crate::kafka::raw::{self, Of};
use crate::kafka::{Client, Cluster};
use crate::poll;
use crate::site::Options;
use crate::trial::{Engine, Load, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "leader",
        rows: &["T4"],
        what: "of three brokers the leader of a partition of events is killed, and in the next round paused for 20 s",
        proof: "nodes killed and paused, each found by asking the cluster",
        run: |run| rounds(run, |trial, client| client.leader(&trial.site.topic("events"), 0)),
    },
    Fault {
        name: "controller",
        rows: &["T4"],
        what: "of three brokers the active controller is killed, and in the next round paused for 20 s",
        proof: "nodes killed and paused, each found by asking the cluster",
        run: |run| rounds(run, |_, client| client.ask_each(raw::controller)),
    },
    Fault {
        name: "coordinator",
        rows: &["T4"],
        what: "of three brokers the coordinator of the transactions is killed, in the next round that of the group \
               paused for 20 s",
        proof: "nodes killed and paused, each found by asking the cluster",
        run: |run| {
            let mut round = 0;
            rounds(run, move |trial, client| {
                let group = trial.site.group();
                round += 1;
                if round % 2 == 1 {
                    let id = format!("{group}-ward-1");
                    client.ask_each(|address| raw::coordinator(address, &id, Of::Transaction))
                } else {
                    client.ask_each(|address| raw::coordinator(address, &group, Of::Group))
                }
            });
        },
    },
];

fn rounds(run: &mut Run, mut find: impl FnMut(&Trial, &Client) -> Option<i32>) {
    // What `docs/reliability.md` says that brokers should be set to: when one that says nothing is given up.
    let given_up = [
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("controller.quorum.fetch.timeout.ms", "1000"),
        ("controller.quorum.election.timeout.ms", "500"),
        ("request.timeout.ms", "5000"),
    ];
    let mut cluster = Cluster::start_with(3, &given_up);
    let client = cluster.client();
    let mut trial = Trial::new(&client, &Options { replication: 3, ..options() });
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    let rounds = run.pick(2, 5);
    let load = Load { beds: 20, seconds: rounds * 350, speed: 10.0 };
    trial.send(load, run.seed);
    assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
    let mut done = 0;
    for round in 0..rounds {
        let Some(node) = find(&trial, &client) else {
            run.report.violations.push(format!("round {round}: no such node found"));
            continue;
        };
        let broker = &mut cluster[node as usize - 1];
        let begun = Instant::now();
        let how = if round % 2 == 0 {
            broker.kill();
            thread::sleep(Duration::from_secs(10));
            "killed"
        } else {
            broker.pause();
            thread::sleep(Duration::from_secs(20));
            broker.resume();
            "paused"
        };
        let gap = trial.watcher.longest_gap(begun, Instant::now());
        done += 1;
        run.report.note(format!("node {node} {how}: longest time without an output {gap:.1?}"));
        // A figure of the long form only: a busy machine may be slower than any limit.
        run.report.expect(!run.long || gap <= Duration::from_secs(10), || format!("a gap of {gap:?}"));
        if round % 2 == 0 {
            cluster[node as usize - 1].restart();
        }
        let synced = poll(Duration::from_secs(90), || client.in_sync(3).then_some(()));
        assert!(synced.is_some(), "the brokers do not get in step again");
        if !engine.alive() {
            run.report.violations.push(format!("the service ended: {}", engine.tail(3)));
            engine.start();
        }
    }
    run.report.prove("nodes killed or paused", done, u64::from(rounds));
    trial.verdict(&mut [engine], &mut run.report);
}
