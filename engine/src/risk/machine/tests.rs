//! Every transition of the alert state machine, and random histories against a reference that looks back.
//! In: histories as words. Out: what was told, as words.

use auscult_datasets::simulate::Draw;
use auscult_operators::signal::Missing;

use super::super::event::{Completeness, Decider};
use super::super::judge::Look;
use super::*;

struct Never;

impl Condition for Never {
    fn judge(&self, _: &Look<'_>, _: bool) -> Verdict {
        Verdict::NotMet
    }
}

fn rule(persist_s: i64, keep_s: i64, latch: bool) -> Rule {
    Rule {
        name: "r".into(),
        condition: Box::new(Never),
        persist: Span::seconds_const(persist_s),
        keep: Span::seconds_const(keep_s),
        latch,
        priority: Priority::High,
        category: Category::Physiological,
        on_silence: false,
    }
}

fn met(rank: u8) -> Verdict {
    Verdict::Met(Box::new(Facts {
        rank,
        kind: "k".into(),
        text: format!("rank {rank}"),
        value: None,
        unit: "1".into(),
        threshold: None,
        probability: None,
        interval: None,
        confidence: 1.0,
        completeness: Completeness::default(),
        drivers: vec![],
        recommendation: String::new(),
        inputs: vec![],
        decider: Decider::threshold("t"),
        window: Span::EPOCH,
    }))
}

fn told(t: &Transition) -> String {
    let state = match t.state {
        AlertState::Active => "active",
        AlertState::Latched => "latched",
        AlertState::Inactive => "off",
    };
    let ack = if t.alert.acknowledged { " ack" } else { "" };
    format!("{}:{:?} {state} {}{ack}", t.at.micros() / 1_000_000, t.phase, t.alert.facts.rank)
}

/// A history: `5m2` met at rank 2 at 5 s, `n` not met, `u` unknown, `a` acknowledged, `p30` paused for 30 s,
/// `e` monitoring ended; what is told of it.
fn run(rule: &Rule, history: &str) -> Vec<String> {
    let mut state = RuleState::default();
    let mut out = Vec::new();
    for word in history.split_whitespace() {
        let at = word.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        let now = EventTime::from_seconds(word[..at].parse().unwrap());
        let number = word[at + 1..].parse().unwrap_or(1.0);
        let t = match &word[at..=at] {
            "m" => state.advance(rule, met(number as u8), now),
            "n" => state.advance(rule, Verdict::NotMet, now),
            "u" => state.advance(rule, Verdict::Unknown(Missing::Stale), now),
            "a" => state.command(Action::Acknowledge, 0.0, now),
            "p" => state.command(Action::Pause, number, now),
            _ => state.end(now),
        };
        out.extend(t.as_ref().map(told));
    }
    out
}

#[test]
fn every_transition() {
    let plain = rule(5, 10, false);
    let latching = rule(0, 10, true);
    let cases: &[(&Rule, &str, &[&str])] = &[
        // It must persist, and one second without the condition begins anew.
        (&plain, "0m 4m", &[]),
        (&plain, "0m 5m", &["5:Start active 1"]),
        (&plain, "0m 3n 4m 8m", &[]),
        (&plain, "0m 3n 4m 9m", &["9:Start active 1"]),
        (&rule(0, 0, false), "0m 1n", &["0:Start active 1", "1:End off 1"]),
        // It must be gone for a while.
        (&plain, "0m 5m 6n 15n", &["5:Start active 1"]),
        (&plain, "0m 5m 6n 16n", &["5:Start active 1", "16:End off 1"]),
        (&plain, "0m 5m 6n 15n 16m 17n 26n", &["5:Start active 1"]),
        (&plain, "0m 5m 6n 15n 16m 17n 27n", &["5:Start active 1", "27:End off 1"]),
        // A sign of life each minute.
        (
            &plain,
            "0m 5m 64m 65m 66m 125m",
            &["5:Start active 1", "65:Continue active 1", "125:Continue active 1"],
        ),
        // Worse is told at once and clears the acknowledgement; better after a while.
        (&plain, "0m 5m 6a 7m 8m2", &["5:Start active 1", "6:Update active 1 ack", "8:Escalate active 2"]),
        (&plain, "0m3 5m3 6m1 15m1", &["5:Start active 3"]),
        (&plain, "0m3 5m3 6m1 16m2", &["5:Start active 3", "16:Deescalate active 2"]),
        (&plain, "0m3 5m3 6m1 15m3 16m1 25m1", &["5:Start active 3"]),
        (
            &plain,
            "0m2 5m2 6a 7m1 17m1",
            &["5:Start active 2", "6:Update active 2 ack", "17:Deescalate active 1 ack"],
        ),
        // Acknowledged until the end; asked twice, told once; nothing to acknowledge, nothing told.
        (
            &plain,
            "0a 0m 5m 6a 7a 8n 18n 18a",
            &["5:Start active 1", "6:Update active 1 ack", "18:End off 1 ack"],
        ),
        // A latched alert waits for a person, for ever, whatever becomes of its input.
        (&latching, "0m 1n 11n 99n", &["0:Start active 1", "11:Update latched 1"]),
        (&latching, "0m 1n 11n 20u 9999u", &["0:Start active 1", "11:Update latched 1"]),
        (&latching, "0m 1n 11n 12a 13n", &["0:Start active 1", "11:Update latched 1", "12:End off 1 ack"]),
        (&latching, "0m 1a 2n 12n", &["0:Start active 1", "1:Update active 1 ack", "12:End off 1 ack"]),
        (&latching, "0m 1n 11n 12m", &["0:Start active 1", "11:Update latched 1", "12:Update active 1"]),
        (&latching, "0m 1n 11n 12m2", &["0:Start active 1", "11:Update latched 1", "12:Escalate active 2"]),
        (&latching, "0m2 1n 11n 12m1", &["0:Start active 2", "11:Update latched 2", "12:Update active 1"]),
        // A pause holds back the start, expires, and leaves an alert that is on alone.
        (&plain, "0p30 0m 10m 29m 30m", &["30:Start active 1"]),
        (&plain, "0p30 20m 29n 30m 34m 35m", &["35:Start active 1"]),
        (&plain, "0m 5m 6p30 7n 17n", &["5:Start active 1", "17:End off 1"]),
        (&plain, "0p30 1p5 1m 6m", &["6:Start active 1"]),
        // Unknown neither starts nor ends, until the alert means nothing any more.
        (&plain, "0u 100u", &[]),
        (&plain, "0m 5u 9u", &[]),
        (&plain, "0m 5m 6u 605u", &["5:Start active 1"]),
        (&plain, "0m 5m 6u 606u", &["5:Start active 1", "606:End off 1"]),
        (&plain, "0m 5m 6u 300m 301u 605u", &["5:Start active 1", "300:Continue active 1"]),
        (&plain, "0m 5m 6u 300n 301u 605u", &["5:Start active 1"]),
        // Monitoring ended.
        (&plain, "0m 5m 6e 7m", &["5:Start active 1", "6:End off 1"]),
        (&plain, "0m 4e 5m 9m", &[]),
        (&latching, "0m 1n 11n 12e", &["0:Start active 1", "11:Update latched 1", "12:End off 1"]),
        // Told ahead of the last epoch (silence): what follows is not told at an earlier time.
        (&rule(0, 0, false), "10m 3n", &["10:Start active 1", "10:End off 1"]),
    ];
    for (rule, history, expected) in cases {
        assert_eq!(run(rule, history), *expected, "{history}");
    }
}

#[test]
fn revisions_count_and_notes_say_why() {
    let r = rule(0, 1, false);
    let mut state = RuleState::default();
    let t = EventTime::from_seconds;
    let start = state.advance(&r, met(1), t(0)).unwrap();
    assert_eq!((start.alert.revision, start.alert.started, start.note), (1, t(0), ""));
    assert!(state.active());
    let seen = state.command(Action::Acknowledge, 0.0, t(1)).unwrap();
    assert_eq!((seen.alert.revision, seen.note), (2, "acknowledged"));
    let end = state.end(t(2)).unwrap();
    assert_eq!((end.alert.revision, end.alert.started, end.note), (3, t(0), "monitoring ended"));
    assert!(!state.active() && state.end(t(3)).is_none());
    let latch = rule(0, 0, true);
    state.advance(&latch, met(1), t(4));
    let kept = state.advance(&latch, Verdict::NotMet, t(5)).unwrap();
    assert_eq!(kept.note, "the condition is over");
    assert!(!state.active(), "a latched alert is judged by the limit of a new one");
}

/// The same machine without memory of its own: it keeps the history and looks back.
#[derive(Default)]
struct Reference {
    history: Vec<(i64, i32)>,
    /// Index of the first verdict that counts.
    from: usize,
    paused: i64,
    on: Option<On>,
}

struct On {
    rank: i32,
    ack: bool,
    latched: bool,
    told: i64,
    /// Index of the first verdict of the present rank.
    ranked: usize,
}

const NOT: i32 = 0;
const UNKNOWN: i32 = -1;

impl Reference {
    /// Time of the first entry that is `this`, after the last entry that is `breaks`.
    fn since(&self, from: usize, this: impl Fn(i32) -> bool, breaks: impl Fn(i32) -> bool) -> i64 {
        let part = &self.history[from..];
        let start = part.iter().rposition(|h| breaks(h.1)).map_or(0, |i| i + 1);
        part[start..].iter().find(|h| this(h.1)).unwrap().0
    }

    fn verdict(&mut self, rule: (i64, i64, bool), now: i64, v: i32) -> Option<String> {
        self.history.push((now, v));
        let last = self.history.len() - 1;
        let Some(on) = &self.on else {
            let held = v > 0 && now - self.since(self.from, |x| x > 0, |x| x == NOT) >= rule.0;
            if !held || now < self.paused {
                return None;
            }
            self.on = Some(On { rank: v, ack: false, latched: false, told: now, ranked: last });
            self.from = last;
            return self.tell("Start", now);
        };
        let (rank, ack, latched, ranked) = (on.rank, on.ack, on.latched, on.ranked);
        let phase = match v {
            NOT if latched || now - self.since(self.from, |x| x == NOT, |x| x > 0) < rule.1 => return None,
            NOT if rule.2 && !ack => {
                self.on.as_mut().unwrap().latched = true;
                return self.tell("Update", now);
            }
            NOT => "End",
            UNKNOWN if latched || now - self.since(self.from, |x| x == UNKNOWN, |x| x != UNKNOWN) < 600 => {
                return None;
            }
            UNKNOWN => "End",
            v if v > rank => "Escalate",
            _ if latched => "Update",
            v if v < rank => {
                if now - self.since(ranked, |x| x > 0 && x < rank, |x| x >= rank) < rule.1 {
                    return None;
                }
                "Deescalate"
            }
            _ if now - on.told >= 60 => "Continue",
            _ => return None,
        };
        if phase == "End" {
            let line = self.tell(phase, now);
            (self.on, self.from) = (None, last + 1);
            return line;
        }
        let on = self.on.as_mut().unwrap();
        if v != on.rank {
            // The verdict that changed the rank is of the new rank.
            on.ranked = last;
        }
        (on.rank, on.latched) = (v, false);
        on.ack &= phase != "Escalate";
        self.tell(phase, now)
    }

    fn acknowledge(&mut self, now: i64) -> Option<String> {
        let on = self.on.as_mut().filter(|on| !on.ack)?;
        on.ack = true;
        let phase = if on.latched { "End" } else { "Update" };
        let line = self.tell(phase, now);
        if phase == "End" {
            (self.on, self.from) = (None, self.history.len());
        }
        line
    }

    fn end(&mut self, now: i64) -> Option<String> {
        self.from = self.history.len();
        let line = self.on.is_some().then(|| self.tell("End", now)).flatten();
        self.on = None;
        line
    }

    fn tell(&mut self, phase: &str, now: i64) -> Option<String> {
        let on = self.on.as_mut()?;
        on.told = now;
        let state = if phase == "End" {
            "off"
        } else if on.latched {
            "latched"
        } else {
            "active"
        };
        Some(format!("{now}:{phase} {state} {}{}", on.rank, if on.ack { " ack" } else { "" }))
    }
}

#[test]
fn random_histories_equal_the_reference() {
    let mut phases = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..2_000 {
        let mut draw = Draw::new(seed, 9);
        let (persist, keep) = ([0, 0, 3, 10][draw.below(4)], [0, 5, 10, 40][draw.below(4)]);
        let latch = draw.happens(0.4);
        let r = rule(persist, keep, latch);
        let (mut state, mut reference) = (RuleState::default(), Reference::default());
        let (mut now, mut mood) = (0, NOT);
        for step in 0..150 {
            now += if draw.happens(0.03) { draw.below(400) as i64 } else { 1 + draw.below(4) as i64 };
            let time = EventTime::from_seconds(now);
            if draw.happens(0.25) {
                mood = draw.below(5) as i32 - 1;
            }
            let (got, want) = match draw.below(30) {
                0 => (state.command(Action::Acknowledge, 0.0, time), reference.acknowledge(now)),
                1 => {
                    reference.paused = now + 30;
                    (state.command(Action::Pause, 30.0, time), None)
                }
                2 if step % 3 == 0 => (state.end(time), reference.end(now)),
                _ => {
                    let verdict = match mood {
                        UNKNOWN => Verdict::Unknown(Missing::NoData),
                        NOT => Verdict::NotMet,
                        rank => met(rank as u8),
                    };
                    (state.advance(&r, verdict, time), reference.verdict((persist, keep, latch), now, mood))
                }
            };
            let got = got.as_ref().map(told);
            assert_eq!(got, want, "seed {seed}, step {step}: persist {persist} keep {keep} latch {latch}");
            if let Some(line) = got {
                let phase = line.split([':', ' ']).nth(1).unwrap().to_string();
                *phases.entry(phase).or_default() += 1;
            }
        }
    }
    // The histories go everywhere.
    for phase in ["Start", "Continue", "Update", "Escalate", "Deescalate", "End"] {
        assert!(phases.get(phase).is_some_and(|n| *n > 500), "{phases:?}");
    }
}
