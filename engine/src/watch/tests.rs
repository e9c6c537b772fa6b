//! The watchdog's judgement in made-up time.
//! In: heartbeats, answers, and silence by table. Out: which alarms begin and end, and when.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use super::*;

/// A world in steps of 100 ms: instances that beat each second, a broker that answers, and what the watchdog said.
struct World {
    watch: Watch,
    now: u64,
    beating: BTreeMap<&'static str, Beat>,
    broker: bool,
    said: Vec<(u64, String)>,
}

impl World {
    fn new() -> Self {
        let mut watch = Watch::new(0, "w/1", 100);
        watch.caught_up(0);
        watch.partitions(2);
        Self { watch, now: 0, beating: BTreeMap::new(), broker: true, said: vec![] }
    }

    fn with(instances: &[(&'static str, &[i32])]) -> Self {
        let mut world = Self::new();
        for (name, partitions) in instances {
            let beat = Beat {
                instance: (*name).into(),
                state: "running".into(),
                started_us: 7,
                partitions: partitions.to_vec(),
                ..Beat::default()
            };
            world.beating.insert(name, beat);
        }
        world.pass(10.0);
        assert_eq!(world.said, [], "nothing is wrong");
        world
    }

    fn pass(&mut self, seconds: f64) {
        for _ in 0..(seconds * 10.0).round() as u64 {
            self.now += 100;
            if self.now.is_multiple_of(1000) && self.broker {
                for beat in self.beating.values_mut() {
                    beat.sequence += 1;
                    assert!(self.watch.heartbeat(self.now, beat.clone()));
                }
            }
            if self.now.is_multiple_of(500) {
                match self.broker {
                    true => self.watch.answered(self.now - 10, self.now),
                    false => self.watch.unanswered(self.now, "connection refused"),
                }
            }
            self.look();
        }
    }

    fn look(&mut self) {
        for change in self.watch.look(self.now) {
            let sign = if change.begins { '+' } else { '-' };
            self.said.push((self.now, format!("{sign}{}", change.alarm.key())));
        }
    }

    /// What was said since, and that the first of it came within the promise.
    fn said(&mut self, since: u64) -> Vec<String> {
        let said = std::mem::take(&mut self.said);
        assert!(
            said.first().is_none_or(|s| s.0.saturating_sub(since) <= PROMISE_MS),
            "{said:?} since {since}"
        );
        said.into_iter().map(|s| s.1).collect()
    }
}

#[test]
fn a_silent_instance_is_dead_and_may_come_back() {
    let mut world = World::with(&[("a", &[0, 1])]);
    // Killed at every phase of its heartbeat.
    for phase in 0..10 {
        world.pass(phase as f64 / 10.0);
        let killed = world.now;
        let mut gone = world.beating.remove("a").unwrap();
        world.pass(12.0);
        let said = world.said(killed);
        assert_eq!(said, ["+engine.dead/a", "+partition.unowned/0", "+partition.unowned/1"]);
        gone.started_us += 1;
        world.beating.insert("a", gone);
        world.pass(6.0);
        let said = world.said(world.now);
        assert_eq!(said, ["-engine.dead/a", "-partition.unowned/0", "-partition.unowned/1"]);
        world.pass(1.0 - phase as f64 / 10.0);
    }
}

#[test]
fn a_goodbye_rings_nothing() {
    let mut world = World::with(&[("a", &[0]), ("b", &[1])]);
    let mut last = world.beating.remove("b").unwrap();
    (last.state, last.sequence) = ("leaving".into(), last.sequence + 1);
    assert!(world.watch.heartbeat(world.now, last.clone()));
    // A heartbeat that a retry has put behind the goodbye does not call it back.
    (last.state, last.sequence) = ("running".into(), last.sequence - 1);
    assert!(world.watch.heartbeat(world.now, last));
    world.pass(29.0);
    assert_eq!(world.said, []);
    // But nobody has taken its partition over.
    let since = world.now;
    world.pass(3.0);
    assert_eq!(world.said(since), ["+partition.unowned/1"]);
    world.beating.get_mut("a").unwrap().partitions.push(1);
    world.pass(2.0);
    assert_eq!(world.said(since), ["-partition.unowned/1"]);
}

#[test]
fn a_stuck_loop_is_not_a_dead_process() {
    let mut world = World::with(&[("a", &[0, 1])]);
    let since = world.now;
    for _ in 0..6 {
        world.beating.get_mut("a").unwrap().since_turn_s += 1.0;
        world.pass(1.0);
    }
    assert_eq!(world.said(since), ["+engine.stuck/a"]);
    world.beating.get_mut("a").unwrap().since_turn_s = 0.0;
    world.pass(2.0);
    assert_eq!(world.said(world.now), ["-engine.stuck/a"]);
    // Stuck, then killed: one alarm takes the place of the other.
    world.beating.get_mut("a").unwrap().since_turn_s = 9.0;
    world.pass(2.0);
    world.said.clear();
    world.beating.clear();
    world.pass(4.0);
    assert_eq!(world.said(world.now - 4000), ["+engine.dead/a", "-engine.stuck/a"]);
}

#[test]
fn a_lag_must_last_and_half_of_it_ends_it() {
    let mut world = World::with(&[("a", &[0, 1])]);
    for (lag, seconds, said) in [
        (150, 2.5, vec![]),
        (90, 5.0, vec![]),
        (150, 5.0, vec!["+engine.lagging/a"]),
        (90, 5.0, vec![]),
        (50, 2.0, vec!["-engine.lagging/a"]),
    ] {
        let since = world.now;
        world.beating.get_mut("a").unwrap().lag_records = [("0".to_string(), 3), ("1".into(), lag)].into();
        world.pass(seconds);
        assert_eq!(world.said(since), said, "lag {lag}");
    }
}

#[test]
fn holding_back_must_last() {
    let mut world = World::with(&[("a", &[0, 1])]);
    // Catching up holds back by turns.
    for n in 0..10 {
        world.beating.get_mut("a").unwrap().held_s = f64::from(n % 3);
        world.pass(1.0);
    }
    assert_eq!(world.said, []);
    let since = world.now;
    let beat = world.beating.get_mut("a").unwrap();
    (beat.held_s, beat.why_not_ready) = (0.5, "held back: the archive is slower".into());
    world.pass(6.0);
    assert_eq!(world.said(since), ["+engine.held/a"]);
    assert!(world.watch.active().all(|a| a.reason.contains("the archive is slower")));
    world.beating.get_mut("a").unwrap().held_s = 0.0;
    world.pass(2.0);
    assert_eq!(world.said(world.now), ["-engine.held/a"]);
}

#[test]
fn while_the_broker_is_away_nobody_else_is_blamed() {
    let mut world = World::with(&[("a", &[0]), ("b", &[1])]);
    world.broker = false;
    let since = world.now;
    world.pass(60.0);
    assert_eq!(world.said(since), ["+broker.away/broker"]);
    // It is back: b has died meanwhile, a has not.
    world.broker = true;
    world.beating.remove("b");
    let since = world.now;
    world.pass(10.0);
    assert_eq!(world.said(since), ["-broker.away/broker", "+engine.dead/b", "+partition.unowned/1"]);
    // A broker that answers by turns does not hide a death for good.
    world.beating.clear();
    world.said.clear();
    for _ in 0..40 {
        world.broker = !world.broker;
        world.pass(1.0);
    }
    assert_eq!(world.said[0].1, "+engine.dead/a");
    // And one that is told to be dead stays so, whether the broker answers or not.
    world.said.clear();
    world.broker = false;
    world.pass(2.0);
    world.broker = true;
    world.pass(3.0);
    assert_eq!(world.said, []);
}

#[test]
fn a_watchdog_that_was_asleep_blames_nobody() {
    let mut world = World::with(&[("a", &[0, 1])]);
    world.now += 60_000;
    world.look();
    world.pass(5.0);
    assert_eq!(world.said, []);
}

#[test]
fn nothing_is_judged_before_everything_is_read() {
    let mut watch = Watch::new(0, "w/1", 100);
    watch.partitions(1);
    let beat = Beat { instance: "a".into(), ..Beat::default() };
    watch.heartbeat(0, beat);
    for now in (0..10_000).step_by(100) {
        watch.answered(now, now);
        assert_eq!(watch.look(now), []);
    }
    watch.caught_up(10_000);
    let mut said = Vec::new();
    for now in (10_000..20_000).step_by(100) {
        watch.answered(now, now);
        said.extend(watch.look(now).into_iter().map(|c| (now, c.alarm.key())));
    }
    let expected = [(13_500, "engine.dead/a".to_string()), (14_000, "partition.unowned/0".into())];
    assert_eq!(said, expected);
}

#[test]
fn two_watchdogs_give_one_alarm_one_id_and_a_third_goes_on() {
    let dead = |mut world: World| {
        world.beating.clear();
        world.pass(9.0);
        world.watch.active().cloned().collect::<Vec<_>>()
    };
    let (mut late, early) = (World::new(), World::with(&[("a", &[0, 1])]));
    // The second one has started later, in the middle of a second.
    (late.now, late.beating) = (4_300, early.beating.clone());
    late.watch = Watch::new(4_300, "other/2", 100);
    late.watch.caught_up(4_300);
    late.watch.partitions(2);
    late.look();
    late.pass(1.0);
    late.beating.values_mut().for_each(|b| b.sequence -= 1);
    let ids = |alarms: &[Alarm]| alarms.iter().map(|a| a.id.clone()).collect::<Vec<_>>();
    let (mut early, mut late) = (early, late);
    // Both see the same last heartbeat.
    let last = early.beating["a"].sequence.max(late.beating["a"].sequence) + 1;
    for world in [&mut early, &mut late] {
        world.beating.get_mut("a").unwrap().sequence = last;
        let beat = world.beating["a"].clone();
        world.watch.heartbeat(world.now, beat);
    }
    let (one, two) = (dead(early), dead(late));
    assert_eq!(ids(&one), ids(&two));
    assert_eq!(one.len(), 3);

    // A third starts when all is told: it says nothing again, and says when it is over.
    let mut third = World::new();
    one.iter().for_each(|alarm| {
        let body = Change { alarm: alarm.clone(), begins: true }.body("w", 5).to_string();
        third.watch.adopt(Change::active(body.as_bytes()).unwrap());
    });
    third.pass(20.0);
    assert_eq!(third.said, []);
    let beat = Beat { instance: "a".into(), partitions: vec![0, 1], sequence: 1, ..Beat::default() };
    third.beating.insert("a", beat);
    third.pass(2.0);
    let said = third.said(third.now);
    assert_eq!(said, ["-engine.dead/a", "-partition.unowned/0", "-partition.unowned/1"]);
}

#[test]
fn instances_have_a_limit() {
    let mut watch = Watch::new(0, "w/1", 100);
    for n in 0..INSTANCES_MAX {
        assert!(watch.heartbeat(0, Beat { instance: n.to_string(), ..Beat::default() }));
    }
    assert!(!watch.heartbeat(0, Beat { instance: "one more".into(), ..Beat::default() }));
    assert!(watch.heartbeat(0, Beat { instance: "0".into(), sequence: 2, ..Beat::default() }));
}
