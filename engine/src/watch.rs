//! The watchdog's judgement: which instances are dead, stuck, lagging or held back, which partitions nobody owns,
//! whether the broker is away.
//! In: heartbeats, answers of the broker, and the time, as milliseconds of a clock that never goes back. Out: alarms
//! that begin and end. No clock, no I/O: whoever drives it brings both.
//!
//! Silence is only held against an instance while the broker is seen to answer: a broker that is away, and a watchdog
//! that was itself asleep, start the wait anew.

mod alarm;
mod beat;

pub use alarm::{Alarm, Change, Kind};
pub use beat::Beat;

use std::collections::{BTreeMap, BTreeSet};

/// Within this time of the fault the alarm begins, on a machine that is not overloaded.
pub const PROMISE_MS: u64 = 5_000;
/// An instance is dead after so long without a heartbeat: three are missing, and what is left is for the way.
const SILENT_MS: u64 = 3_500;
/// The broker must have been asked this long after the last heartbeat, and have answered.
const ASKED_MS: u64 = 2_500;
/// A broker that answers only now and then does not put off a death for good: this much time in which it answered is
/// enough, whatever lay between.
const SILENT_IN_ALL_MS: u64 = 7_000;
/// The loop stands still when its last turn is this old, in seconds.
const STUCK_S: f64 = 3.0;
/// A lag must last this long.
const LAG_MS: u64 = 3_000;
/// Holding back must last this long.
const HELD_MS: u64 = 3_000;
/// A partition may change hands in this time.
const UNOWNED_MS: u64 = 4_000;
/// As above, after an instance has said goodbye: it may come back, and its partitions wait for it.
const HANDOVER_MS: u64 = 30_000;
/// The broker is away when it has not answered for this long.
const BROKER_MS: u64 = 3_000;
/// A watchdog that has not looked for this long was asleep itself.
const ASLEEP_MS: u64 = 1_500;
/// An instance that has been dead for this long is no longer waited for.
const FORGET_MS: u64 = 24 * 3_600_000;
/// Instances that are watched at most; those beyond are not, and the watchdog says so.
pub const INSTANCES_MAX: usize = 1_000;

/// One instance, as it was last heard.
#[derive(Clone, Debug)]
struct Instance {
    beat: Beat,
    heard: u64,
    /// How long the broker had answered then, in all.
    up: u64,
    left: bool,
    /// Told to be dead, and not heard since.
    dead: bool,
    /// Since when it lags, and its beat then.
    lagging: Option<(u64, String)>,
    /// Since when it takes nothing in, and its beat then.
    held: Option<(u64, String)>,
}

/// A partition that no live instance owns.
#[derive(Clone, Debug)]
struct Orphan {
    since: u64,
    patience: u64,
    origin: String,
}

/// All that a watchdog knows.
#[derive(Debug)]
pub struct Watch {
    lag_limit: i64,
    /// Makes the ids of alarms that stand in no log: unique to this start of this watchdog.
    name: String,
    instances: BTreeMap<String, Instance>,
    partitions: i32,
    orphans: BTreeMap<i32, Orphan>,
    owners: BTreeMap<i32, String>,
    active: BTreeMap<(Kind, String), Alarm>,
    /// Changes that were made outside of a look.
    changes: Vec<Change>,
    caught_up: bool,
    last_look: u64,
    /// No silence is older than this.
    floor: u64,
    /// When the newest question that was answered was asked.
    asked: u64,
    answered: u64,
    /// Whether the last question was answered, and how long the broker has answered in all.
    answers: bool,
    up: u64,
    why_away: String,
    outages: u64,
}

impl Watch {
    /// A watchdog that starts now. `name` must differ between starts.
    pub fn new(now: u64, name: &str, lag_limit: i64) -> Self {
        Self {
            lag_limit,
            name: name.into(),
            instances: BTreeMap::new(),
            partitions: 0,
            orphans: BTreeMap::new(),
            owners: BTreeMap::new(),
            active: BTreeMap::new(),
            changes: Vec::new(),
            caught_up: false,
            last_look: now,
            floor: now,
            asked: now,
            answered: now,
            answers: true,
            up: 0,
            why_away: String::new(),
            outages: 0,
        }
    }

    /// Goes on with an alarm that an earlier watchdog has told.
    pub fn adopt(&mut self, alarm: Alarm) {
        if matches!(alarm.kind, Kind::Dead | Kind::Stuck | Kind::Lagging | Kind::Held) {
            let beat = Beat { instance: alarm.subject.clone(), ..Beat::default() };
            let dead = alarm.kind == Kind::Dead;
            let instance = Instance {
                beat,
                heard: self.floor,
                up: self.up,
                left: false,
                dead,
                lagging: None,
                held: None,
            };
            self.instances.entry(alarm.subject.clone()).or_insert(instance);
        }
        // This watchdog asks the broker itself.
        if alarm.kind != Kind::BrokerAway {
            self.active.entry((alarm.kind, alarm.subject.clone())).or_insert(alarm);
        }
    }

    /// A heartbeat came. False if it belongs to one instance too many.
    pub fn heartbeat(&mut self, now: u64, beat: Beat) -> bool {
        if let Some(known) = self.instances.get(&beat.instance) {
            // What a retry has put behind its successor says nothing new.
            if known.beat.started_us == beat.started_us && known.beat.sequence >= beat.sequence {
                return true;
            }
        } else if self.instances.len() >= INSTANCES_MAX {
            return false;
        }
        let lag = beat.lag();
        let before = self.instances.remove(&beat.instance);
        let (lagged, was_held) = before.map_or((None, None), |i| (i.lagging, i.held));
        // Half the limit ends it, so that a lag at the limit does not ring by turns.
        let rings = self.active.contains_key(&(Kind::Lagging, beat.instance.clone()));
        let least = if rings { self.lag_limit / 2 } else { self.lag_limit };
        let lagging = (lag > least).then(|| lagged.unwrap_or_else(|| (now, beat.origin())));
        let held = (beat.held_s > 0.0).then(|| was_held.unwrap_or_else(|| (now, beat.origin())));
        let left = beat.state == "leaving";
        if !left {
            self.owners.extend(beat.partitions.iter().map(|p| (*p, beat.instance.clone())));
        }
        let instance = Instance { heard: now, up: self.up, left, dead: false, lagging, held, beat };
        self.instances.insert(instance.beat.instance.clone(), instance);
        true
    }

    /// All heartbeats that were there at the start are read: silence counts from here.
    pub fn caught_up(&mut self, now: u64) {
        if !self.caught_up {
            self.caught_up = true;
            self.floor = now;
            self.instances.values_mut().for_each(|i| i.up = self.up);
        }
    }

    /// The broker has answered a question that was asked at this time.
    pub fn answered(&mut self, asked: u64, now: u64) {
        if self.answers {
            self.up += now.saturating_sub(self.answered);
        }
        self.asked = self.asked.max(asked);
        (self.answers, self.answered) = (true, now);
    }

    /// The broker has not answered, and why.
    pub fn unanswered(&mut self, now: u64, why: &str) {
        // Nor could the heartbeats come.
        self.floor = self.floor.max(now);
        self.answers = false;
        self.why_away = why.into();
    }

    /// How many partitions the frames topic has.
    pub fn partitions(&mut self, count: i32) {
        self.partitions = count;
    }

    /// What has changed. To be called a few times a second, after all that has come was given in.
    pub fn look(&mut self, now: u64) -> Vec<Change> {
        if now.saturating_sub(self.last_look) > ASLEEP_MS {
            (self.floor, self.answered) = (now, now);
        }
        self.last_look = now;
        let away = now.saturating_sub(self.answered) >= BROKER_MS;
        self.broker(away);
        if away || !self.caught_up {
            // Who owns what cannot be known either.
            self.orphans.values_mut().for_each(|o| o.since = now);
        } else {
            self.instances(now);
            self.orphans(now);
        }
        std::mem::take(&mut self.changes)
    }

    fn broker(&mut self, away: bool) {
        let begins = away && !self.active.contains_key(&(Kind::BrokerAway, "broker".into()));
        self.outages += u64::from(begins);
        let origin = format!("{}/{}", self.name, self.outages);
        let why = format!("the broker has not answered for {} s: {}", BROKER_MS / 1000, self.why_away);
        self.set(Kind::BrokerAway, "broker", away.then_some((why, origin)));
    }

    fn instances(&mut self, now: u64) {
        let names: Vec<String> = self.instances.keys().cloned().collect();
        for name in names {
            let Some(i) = self.instances.get_mut(&name) else { continue };
            let silent = now.saturating_sub(i.heard);
            let waited = now.saturating_sub(i.heard.max(self.floor)) >= SILENT_MS;
            let asked = self.asked >= i.heard + ASKED_MS;
            i.dead |= !i.left && asked && (waited || self.up - i.up >= SILENT_IN_ALL_MS);
            let forgotten = i.dead && silent >= FORGET_MS;
            let Instance { beat, dead, left, lagging, held, .. } = i.clone();
            let why = format!(
                "no heartbeat for {:.1} s, and no goodbye: killed, stopped, or cut off",
                silent as f64 / 1e3
            );
            self.set(Kind::Dead, &name, (dead && !forgotten).then(|| (why, beat.origin())));
            let there = !dead && !left;
            let why = format!("alive, but its processing loop has not turned for {:.1} s", beat.since_turn_s);
            let stuck = there && beat.since_turn_s >= STUCK_S;
            self.set(
                Kind::Stuck,
                &name,
                stuck.then(|| (why, format!("{}/turn{}", beat.started_us, beat.turns))),
            );
            let why = format!("a partition lags {} records, the limit is {}", beat.lag(), self.lag_limit);
            let lasts = lagging.filter(|l| there && now.saturating_sub(l.0) >= LAG_MS);
            self.set(Kind::Lagging, &name, lasts.map(|l| (why, l.1)));
            let why = format!("it has taken nothing in for {:.1} s: {}", beat.held_s, beat.why_not_ready);
            let lasts = held.filter(|h| there && now.saturating_sub(h.0) >= HELD_MS);
            self.set(Kind::Held, &name, lasts.map(|h| (why, h.1)));
            if forgotten {
                self.instances.remove(&name);
            }
        }
    }

    fn orphans(&mut self, now: u64) {
        let alive = self.instances.values().filter(|i| !i.left && !i.dead);
        let owned: BTreeSet<i32> = alive.flat_map(|i| i.beat.partitions.iter().copied()).collect();
        for p in 0..self.partitions {
            let subject = p.to_string();
            if owned.contains(&p) {
                self.orphans.remove(&p);
                self.set(Kind::Unowned, &subject, None);
                continue;
            }
            let owner = self.owners.get(&p).and_then(|o| self.instances.get(o));
            let orphan = self.orphans.entry(p).or_insert_with(|| Orphan {
                since: now,
                patience: if owner.is_some_and(|o| o.left) { HANDOVER_MS } else { UNOWNED_MS },
                origin: owner.map_or_else(|| self.name.clone(), |o| o.beat.origin()),
            });
            if now.saturating_sub(orphan.since) >= orphan.patience {
                let why = format!(
                    "no live instance owns partition {p} of the frames: its patients are not watched"
                );
                let origin = orphan.origin.clone();
                self.set(Kind::Unowned, &subject, Some((why, origin)));
            }
        }
    }

    /// Begins or ends an alarm, if that is a change.
    fn set(&mut self, kind: Kind, subject: &str, why: Option<(String, String)>) {
        let key = (kind, subject.to_string());
        match (why, self.active.contains_key(&key)) {
            (Some((reason, origin)), false) => {
                let alarm = Alarm::new(kind, subject, &origin, reason);
                self.changes.push(Change { alarm: alarm.clone(), begins: true });
                self.active.insert(key, alarm);
            }
            (None, true) => {
                let ended = self.active.remove(&key);
                self.changes.extend(ended.map(|alarm| Change { alarm, begins: false }));
            }
            _ => {}
        }
    }

    /// Alarms that ring.
    pub fn active(&self) -> impl Iterator<Item = &Alarm> {
        self.active.values()
    }

    /// Instances that have not left, with the age of their last heartbeat in milliseconds.
    pub fn present(&self, now: u64) -> impl Iterator<Item = (&str, u64)> {
        let there = self.instances.iter().filter(|(_, i)| !i.left);
        there.map(move |(name, i)| (name.as_str(), now.saturating_sub(i.heard)))
    }
}

#[cfg(test)]
mod tests;
