//! A service that stands still, is replaced under its own name, and wakes up again.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{Fault, Run, options};
use crate::kafka::{self, Broker};
use crate::poll;
use crate::site::Options;
use crate::trial::{Engine, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "zombie",
        rows: &["T5"],
        what: "the service is paused by SIGSTOP in full work, another takes its name, then it goes on",
        proof: "the first ends by itself with a code and says why",
        run: zombie,
    },
    Fault {
        name: "paused",
        rows: &["T5"],
        what: "the service is paused by SIGSTOP for longer than its session and its transaction may live, then goes on",
        proof: "pauses",
        run: paused,
    },
    Fault {
        name: "echo",
        rows: &["T5"],
        what: "the broker is paused for longer than a session; then another takes the name for a moment, as a request \
               of the member's own that comes late would, and once more",
        proof: "the first time the service joins anew, the second time it ends and says why",
        run: echo,
    },
];

fn zombie(run: &mut Run) {
    // Two processes of one name on one machine would share the archive's folder: that is not the fault meant here.
    let options = Options { roll_s: None, ..options() };
    let mut trial = Trial::new(&kafka::shared(), &options);
    let mut first = Engine::new(&trial.site, "ward-1");
    first.start();
    trial.send(run.load(40, 90), run.seed);
    let mut ended = 0;
    let rounds = run.pick(1, 3);
    for _ in 0..rounds {
        assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", first.tail(20));
        first.signal("STOP");
        let mut second = first.twin();
        second.start();
        let flows = trial.flows(2, Duration::from_secs(40));
        run.report.expect(flows, || format!("its successor tells nothing\n{}", second.tail(5)));
        thread::sleep(Duration::from_secs(run.pick(5, 15)));
        first.signal("CONT");
        let code = first.ended(Duration::from_secs(60));
        let log = first.log();
        let said = log.lines().rev().find(|l| l.contains("another process runs as instance"));
        run.report.expect(code.is_some_and(|c| c > 0 && c < 128) && said.is_some(), || {
            format!("the first did not end by its fence: {code:?}\n{}", first.tail(5))
        });
        ended += u64::from(code.is_some());
        first.kill();
        first = second;
    }
    run.report.prove("zombies that ended by themselves", ended, rounds);
    trial.verdict(&mut [first], &mut run.report);
}

fn paused(run: &mut Run) {
    let mut trial = Trial::new(&kafka::shared(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    trial.send(run.load(35, 90), run.seed);
    let rounds = run.pick(1, 3);
    let mut restarts = 0;
    for _ in 0..rounds {
        assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
        engine.signal("STOP");
        thread::sleep(Duration::from_secs(run.pick(14, 30)));
        engine.signal("CONT");
        thread::sleep(Duration::from_secs(3));
        if engine.ended(Duration::from_millis(1)).is_some() {
            restarts += 1;
            engine.kill();
            engine.start();
        }
    }
    run.report.note(format!("restarts: {restarts}"));
    run.report.prove("pauses", rounds, rounds);
    trial.verdict(&mut [engine], &mut run.report);
}

fn echo(run: &mut Run) {
    let mut broker = Broker::start();
    let mut trial = Trial::new(&broker.client(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    trial.send(run.load(75, 150), run.seed);
    let (rounds, mut joined_anew) = (run.pick(1, 2), 0);
    for _ in 0..rounds {
        assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
        broker.pause();
        thread::sleep(Duration::from_secs(9));
        broker.resume();
        assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
        take_name(&trial);
        let before = joined_anew;
        poll(Duration::from_secs(10), || {
            joined_anew = engine.log().matches("fenced_by_echo").count() as u64;
            (joined_anew > before).then_some(())
        });
        let flows = trial.flows(3, Duration::from_secs(30));
        run.report.expect(flows && engine.alive(), || format!("it does not go on\n{}", engine.tail(5)));
    }
    run.report.prove("times it joined anew", joined_anew, rounds);
    take_name(&trial);
    let code = engine.ended(Duration::from_secs(30));
    let said = engine.log().contains("another process runs as instance");
    run.report.expect(code.is_some() && said, || format!("it did not end: {code:?}\n{}", engine.tail(5)));
    run.report.prove("times it ended", u64::from(code.is_some()), 1);
    engine.kill();
    engine.start();
    trial.verdict(&mut [engine], &mut run.report);
}

/// Joins the group under the name of the service, and is gone again without leaving it.
fn take_name(trial: &Trial) {
    let mut config = trial.site.client.config();
    config
        .set("group.id", trial.site.group())
        .set("group.instance.id", "ward-1")
        .set("partition.assignment.strategy", "cooperative-sticky");
    let member: BaseConsumer = config.create().expect("a consumer");
    member.subscribe(&[&trial.site.topic("frames")]).expect("subscribing begins");
    let owns = || member.assignment().is_ok_and(|a| a.count() > 0);
    poll(Duration::from_secs(20), || {
        member.poll(Duration::from_millis(100));
        owns().then_some(())
    });
    assert!(owns(), "the name is not taken");
}
