//! Records of the state topic, damaged while nobody runs: the next service must notice, say so, and tell the same.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::{Fault, Run, options};
use crate::kafka::{self, Isolation, Message, Record};
use crate::poll;
use crate::trial::{Engine, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[Fault {
    name: "state",
    rows: &["T11"],
    what: "snapshots and marks in the state topic get bits flipped, are cut, emptied, swapped, of a future version, \
           deleted, strange; first some of them, then all",
    proof: "records damaged; the code that the next service names in its log",
    run: state,
}];

/// One way to damage a value: the newest value of another key is at hand.
type Damage = fn(&mut Run, &[u8], &[u8]) -> Option<Vec<u8>>;

/// Name, damage, and the code that must be named; none where nothing is there to be seen.
const WAYS: &[(&str, Damage, Option<&str>)] = &[
    ("bits flipped", flip, Some("state_damaged")),
    ("future version", future, Some("state_version")),
    ("cut", cut, Some("state_")),
    ("emptied", |_, _, _| Some(Vec::new()), Some("state_foreign")),
    ("swapped", |_, _, other| Some(other.to_vec()), Some("state_")),
    ("deleted", |_, _, _| None, None),
    (
        "strange",
        |run, value, _| Some((0..value.len()).map(|_| run.draw.bits() as u8).collect()),
        Some("state_foreign"),
    ),
];

fn flip(run: &mut Run, value: &[u8], _: &[u8]) -> Option<Vec<u8>> {
    let mut value = value.to_vec();
    // Past magic and version, which have codes of their own.
    let at = 6 + run.draw.below(value.len().saturating_sub(6));
    value[at] ^= 1 << run.draw.below(8);
    Some(value)
}

fn future(_: &mut Run, value: &[u8], _: &[u8]) -> Option<Vec<u8>> {
    let mut value = value.to_vec();
    value[4..6].copy_from_slice(&999_u16.to_le_bytes());
    Some(value)
}

fn cut(run: &mut Run, value: &[u8], _: &[u8]) -> Option<Vec<u8>> {
    Some(value[..run.draw.below(value.len())].to_vec())
}

/// The newest record of every key of the state topic.
fn newest(trial: &Trial) -> Vec<Message> {
    let mut found = BTreeMap::new();
    for message in trial.site.client.consume_all(&trial.site.topic("state"), Isolation::ReadCommitted) {
        found.insert((message.partition, message.key.clone()), message);
    }
    found.into_values().filter(|m| m.value.as_ref().is_some_and(|v| v.len() > 30)).collect()
}

/// Writes damaged records over a part of the newest ones; how many.
fn damage(run: &mut Run, trial: &Trial, damage: Damage, part: f64) -> u64 {
    let all = newest(trial);
    let mut records = Vec::new();
    for (n, message) in all.iter().enumerate() {
        if !run.draw.happens(part) {
            continue;
        }
        let value = message.value.clone().unwrap_or_default();
        let others = &all[(n + 1) % all.len()];
        let value = damage(run, &value, others.value.as_deref().unwrap_or_default());
        let (partition, key) = (Some(message.partition), message.key.clone());
        records.push(Record { partition, key, value, ..Record::default() });
    }
    trial.site.client.produce(&trial.site.topic("state"), &records);
    records.len() as u64
}

fn state(run: &mut Run) {
    let mut trial = Trial::new(&kafka::shared(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    trial.send(run.load(45, 200), run.seed);
    let topic = trial.site.topic("state");
    let there = poll(Duration::from_secs(60), || {
        let made = trial.site.client.leader(&topic, 0).is_some();
        (made && newest(&trial).len() > 10).then_some(())
    });
    assert!(there.is_some(), "no state is written\n{}", engine.tail(10));
    let mut damaged = 0;
    for part in run.pick(&[0.5][..], &[0.3, 1.0]) {
        for (name, way, code) in WAYS {
            // Both ends of a service: told to stop, and dead.
            if run.draw.happens(0.5) {
                engine.stop();
            } else {
                engine.kill();
            }
            let count = damage(run, &trial, *way, *part);
            damaged += count;
            let before = engine.log().len();
            engine.start();
            let said = |engine: &Engine| code.is_none_or(|code| engine.log()[before..].contains(code));
            let told = poll(Duration::from_secs(20), || said(&engine).then_some(()));
            run.report.note(format!("{name}: {count} records"));
            run.report.expect(told.is_some() || count == 0, || {
                format!("{name}: the service says nothing of {code:?}\n{}", engine.tail(5))
            });
            thread::sleep(Duration::from_secs(1));
        }
    }
    run.report.prove("records damaged", damaged, 50);
    trial.verdict(&mut [engine], &mut run.report);
}
