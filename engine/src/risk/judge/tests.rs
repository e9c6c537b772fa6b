//! Every kind of rule on looks made by hand: what is missing, stale or poor is unknown, never "not met".
//! In: a value, a score or a model outcome. Out: the verdict.

use auscult_models::predict::Failure;
use auscult_models::{ModelIdentity, Outcome, Probability};
use auscult_operators::score::{self, ScoreSpec};
use auscult_operators::signal::{EventTime, Observed, Origin, Reading};
use serde_json::{Value, json};

use super::super::RULES;
use super::*;

struct Room {
    now: EventTime,
    values: Values,
    readings: Readings,
    scores: Vec<ScoreResult>,
    models: Vec<ModelResult>,
    waves: Vec<(ChannelId, EventTime)>,
    silent: Option<Span>,
    standby: bool,
}

fn s(s: f64) -> EventTime {
    EventTime::from_seconds(1_000_000_000) + Span::from_seconds(s)
}

fn room() -> Room {
    Room {
        now: s(0.0),
        values: Values::default(),
        readings: Readings::default(),
        scores: vec![],
        models: vec![],
        waves: vec![],
        silent: None,
        standby: false,
    }
}

impl Room {
    fn put(&mut self, channel: &str, value: f64, quality: f32, age_s: f64) -> &mut Self {
        let channel = ChannelId::named(channel).unwrap();
        let observed_at = s(-age_s);
        let valid_until = observed_at + channel.row().hold;
        self.values
            .store(channel, Observed { value, observed_at, valid_until, quality, origin: Origin::Reported });
        self
    }
    fn judge(&self, kind: &str, params: Value, active: bool) -> Verdict {
        let spec = RULES.iter().find(|r| r.name == kind).unwrap();
        let look = Look {
            now: self.now,
            values: &self.values,
            readings: &self.readings,
            scores: &self.scores,
            models: &self.models,
            waves: &self.waves,
            silent: self.silent,
            standby: self.standby,
        };
        (spec.build)(&params).unwrap_or_else(|e| panic!("{e}")).judge(&look, active)
    }
    fn word(&self, kind: &str, params: Value, active: bool) -> String {
        match self.judge(kind, params, active) {
            Verdict::Met(f) => format!("met {}", f.rank),
            Verdict::NotMet => "not".into(),
            Verdict::Unknown(why) => format!("{why:?}"),
        }
    }
}

#[test]
fn a_threshold_knows_what_it_does_not_know() {
    let high = || json!({"input": "heart_rate", "above": 150.0, "clear": 140.0});
    let low = || json!({"input": "heart_rate", "below": 40.0, "clear": 45.0});
    let at = |v, q, age| {
        let mut r = room();
        r.put("heart_rate", v, q, age);
        [
            r.word("threshold", high(), false),
            r.word("threshold", high(), true),
            r.word("threshold", low(), false),
            r.word("threshold", low(), true),
        ]
    };
    let unknown = |why: &str| [why; 4].map(String::from);
    assert_eq!(at(150.0, 1.0, 0.0), ["met 1", "met 1", "not", "not"]);
    assert_eq!(at(149.9, 1.0, 0.0), ["not", "met 1", "not", "not"]);
    assert_eq!(at(140.0, 1.0, 0.0)[1], "met 1");
    assert_eq!(at(139.9, 1.0, 0.0), ["not", "not", "not", "not"]);
    assert_eq!(at(45.0, 1.0, 0.0), ["not", "not", "not", "met 1"]);
    assert_eq!(at(40.0, 1.0, 9.9), ["not", "not", "met 1", "met 1"]);
    assert_eq!(at(40.0, 0.5, 0.0)[2], "met 1");
    assert_eq!(at(40.0, 0.49, 0.0), unknown("LowQuality"));
    assert_eq!(at(200.0, f32::NAN, 0.0), unknown("LowQuality"));
    assert_eq!(at(40.0, 1.0, 10.0), unknown("Stale"));
    assert_eq!(at(400.0, 1.0, 0.0), unknown("Implausible"));
    assert_eq!(at(f64::NAN, 1.0, 0.0), unknown("Implausible"));
    assert_eq!(room().word("threshold", high(), true), "NoData");
}

#[test]
fn a_threshold_on_a_reading() {
    let rule = || json!({"input": "since_last_qrs", "above": 4.0});
    let with = |value| {
        let mut r = room();
        let (name, time, window) = ("since_last_qrs", s(0.0), Span::EPOCH);
        r.readings.push(Reading { name, channel: None, time, window, value, quality: 1.0 });
        r.word("threshold", rule(), true)
    };
    assert_eq!(with(Ok(4.0)), "met 1");
    assert_eq!(with(Ok(3.9)), "not");
    assert_eq!(with(Ok(f64::NAN)), "Implausible");
    assert_eq!(with(Ok(f64::INFINITY)), "Implausible");
    assert_eq!(with(Err(Missing::LowQuality)), "LowQuality");
    assert_eq!(room().word("threshold", rule(), true), "NoData");
}

#[test]
fn a_signal_is_lost_after_a_while_and_forgotten_after_long() {
    let [ecg, ppg] = ["ecg_ii", "ppg"].map(|n| ChannelId::named(n).unwrap());
    let with = |ages: &[(ChannelId, f64)]| {
        let mut r = room();
        r.waves = ages.iter().map(|(c, age)| (*c, s(-age))).collect();
        r
    };
    let word = |r: &Room| r.word("signal_lost", json!({}), false);
    assert_eq!(word(&room()), "not");
    assert_eq!(word(&with(&[(ecg, 4.9), (ppg, 0.0)])), "not");
    assert_eq!(word(&with(&[(ecg, 5.0), (ppg, 0.0)])), "met 1");
    assert_eq!(word(&with(&[(ecg, 5.0), (ppg, 3599.0)])), "met 2");
    assert_eq!(word(&with(&[(ecg, 5.0), (ppg, 3600.0)])), "met 1");
    let mut standby = with(&[(ecg, 100.0)]);
    standby.standby = true;
    assert_eq!(word(&standby), "not");
}

#[test]
fn silence_is_met_only_when_told() {
    let mut r = room();
    assert_eq!(r.word("source_silent", json!({}), true), "not");
    r.silent = Some(Span::seconds_const(10));
    assert_eq!(r.word("source_silent", json!({}), false), "met 1");
}

fn news2(r: &Room) -> ScoreResult {
    let spec: &ScoreSpec = score::SCORES.iter().find(|s| s.name == "news2").unwrap();
    (spec.evaluate)(&r.values, s(0.0))
}

fn charted(r: &mut Room, rate: f64) {
    for (name, value) in [
        ("resp_rate", rate),
        ("spo2", 97.0),
        ("on_oxygen", 0.0),
        ("nibp_sys", 120.0),
        ("heart_rate", 70.0),
        ("consciousness", 0.0),
        ("temperature", 37.0),
        ("age", 60.0),
    ] {
        r.put(name, value, 1.0, 0.0);
    }
}

#[test]
fn a_score_alerts_by_what_is_certain() {
    let word = |r: &Room| r.word("score_level", json!({"score": "news2", "level": "medium"}), false);
    let mut r = room();
    assert_eq!(word(&r), "NoData", "not evaluated");
    charted(&mut r, 16.0);
    r.scores = vec![news2(&r)];
    assert_eq!(word(&r), "not");
    // Nothing known: anything from 0 up is possible.
    r.scores = vec![news2(&room())];
    assert_eq!(word(&r), "NoData");
    // Enough is known to be sure of the level, though the rest is missing.
    let mut ill = room();
    ill.put("resp_rate", 30.0, 1.0, 0.0).put("spo2", 85.0, 1.0, 0.0).put("consciousness", 3.0, 1.0, 0.0);
    r.scores = vec![news2(&ill)];
    assert!(word(&r).starts_with("met"), "{}", word(&r));
    // One part absent, and an old value of it that comes late: its points are open, the level cannot be excluded.
    let mut stale = room();
    charted(&mut stale, 24.0);
    stale.values.clear(ChannelId::named("spo2").unwrap(), EventTime::from_micros(i64::MAX));
    stale.put("spo2", 97.0, 1.0, 61.0);
    r.scores = vec![news2(&stale)];
    assert_eq!(word(&r), "NoData");
    // A child is not scored.
    let mut child = room();
    charted(&mut child, 16.0);
    child.put("age", 5.0, 1.0, 0.0);
    r.scores = vec![news2(&child)];
    assert_eq!(word(&r), "NoData");
}

fn model(outcome: Option<Outcome>, age_s: f64) -> ModelResult {
    let identity =
        ModelIdentity { name: "m".into(), version: "1".into(), sha256: "0".into(), runtime: "none".into() };
    ModelResult {
        identity,
        at: Some(s(-age_s)),
        valid: Span::seconds_const(60),
        outcome,
        unavailable: None,
        threshold: Some(0.5),
        inputs: 4,
    }
}

fn probability(value: f64) -> Option<Outcome> {
    Some(Outcome::Probability(Probability { value, interval: None, drivers: vec![], missing_inputs: vec![] }))
}

#[test]
fn no_probability_is_no_low_probability() {
    let word = |m: Vec<ModelResult>, active| {
        let r = Room { models: m, ..room() };
        [
            r.word("model_probability", json!({"model": "m"}), active),
            r.word("model_failed", json!({}), active),
        ]
    };
    assert_eq!(word(vec![], true), ["NoData", "not"]);
    assert_eq!(word(vec![model(None, 0.0)], true), ["NoData", "not"]);
    assert_eq!(word(vec![model(probability(0.5), 0.0)], false), ["met 1", "not"]);
    assert_eq!(word(vec![model(probability(0.46), 0.0)], false), ["not", "not"]);
    assert_eq!(word(vec![model(probability(0.46), 0.0)], true), ["met 1", "not"]);
    assert_eq!(word(vec![model(probability(0.44), 0.0)], true), ["not", "not"]);
    assert_eq!(word(vec![model(probability(0.9), 59.0)], true), ["met 1", "not"]);
    assert_eq!(word(vec![model(probability(0.1), 60.0)], true), ["NoData", "not"]);
    let failed = Some(Outcome::Failed { reason: Failure::Runtime("broken".into()) });
    assert_eq!(word(vec![model(failed, 0.0)], true), ["NoData", "met 1"]);
    let unset = ModelResult { threshold: None, ..model(probability(0.9), 0.0) };
    assert_eq!(word(vec![unset], true), ["NoData", "not"]);
}
