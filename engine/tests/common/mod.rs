//! What the tests of the pure walk share: plans, logs, and effects as lines that can be compared.
//! In: frames of simulated beds. Out: records, and one list of lines for each kind of effect.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use auscult::config::Config;
use auscult::decode::encode_tick;
use auscult::effects::Effect;
use auscult::plan::Plan;
use auscult::source::{Record, recording};
use auscult::worker::{Event, Worker};
use auscult_datasets::simulate::{Draw, FaultPlan, Faulty, ward};
use auscult_operators::signal::frame::{Action, Command, Observation};
use auscult_operators::signal::{ChannelId, EventTime, Frame, PatientId, SourceId, Span};

/// 2025-01-01T00:00:00Z.
pub const T0: i64 = 1_735_689_600;

pub fn t(s: f64) -> EventTime {
    EventTime::from_seconds(T0) + Span::from_seconds(s)
}

/// The shipped rules, without models, with every kind of output.
pub fn config() -> Config {
    let mut config = Config::default();
    config.models.run.clear();
    config.pipeline.features = true;
    config
}

pub fn plan_of(config: &Config) -> Arc<Plan> {
    let mut plan = auscult::check::plan(config, "", "test", true).unwrap_or_else(|e| panic!("{e}"));
    plan.beats = true;
    Arc::new(plan)
}

/// An empty frame.
pub fn frame(patient: &str, sequence: u64, at: EventTime) -> Frame {
    Frame {
        patient: PatientId::new(patient),
        source: SourceId("s".into()),
        session: 1,
        sequence,
        time: at,
        waves: vec![],
        observations: vec![],
        device: None,
        commands: vec![],
    }
}

/// A frame of one number.
pub fn number(patient: &str, sequence: u64, at: EventTime, channel: &str, value: Option<f64>) -> Frame {
    let channel = ChannelId::named(channel).unwrap();
    let o = Observation { channel, observed_at: at, value, quality: 1.0 };
    Frame { observations: vec![o], ..frame(patient, sequence, at) }
}

pub fn tick(offset: i64, at: EventTime) -> Record {
    Record { offset, timestamp: at, key: Default::default(), value: encode_tick(at).into(), json: false }
}

/// Records of frames in this order, one timestamp per record that never goes back.
pub fn records(frames: &[Frame]) -> Vec<Record> {
    let mut now = EventTime::from_micros(0);
    let mut record = |(i, f): (usize, &Frame)| {
        let mut r = recording::record(f, i as i64);
        now = now.max(r.timestamp);
        r.timestamp = now;
        r
    };
    frames.iter().enumerate().map(&mut record).collect()
}

/// A hostile log: beds with doubled, swapped, late and lost frames, silence, commands, ticks, bad messages.
pub fn faulty_log(seed: u64, beds: usize, seconds: usize) -> Vec<Record> {
    let mut draw = Draw::new(seed, 77);
    let faults = FaultPlan {
        duplicate: 0.05,
        reorder: 0.1,
        late: 0.02,
        late_s: 20.0,
        gap: 0.01,
        gap_s: 7.0,
        ..FaultPlan::default()
    };
    let mut arrivals: Vec<(EventTime, usize, Frame)> = Vec::new();
    for (b, bed) in ward(seed, beds, t(0.0)).into_iter().enumerate() {
        let patient = bed.patient().clone();
        let frames = bed.take(seconds);
        let mut now = t(0.0);
        for f in Faulty::new(frames, faults, seed + b as u64) {
            now = now.max(f.end());
            arrivals.push((now, b, f));
        }
        for n in 0..3 {
            let at = t(draw.between(1.0, seconds as f64).floor());
            let action = if n == 0 { Action::Pause } else { Action::Acknowledge };
            let rule = ["news2", "asystole", "signal_lost", "source_silent"][draw.below(4)].to_string();
            let commands = vec![Command { action, rule, actor: "nurse".into(), for_s: 20.0 }];
            let desk = SourceId("desk".into());
            arrivals.push((at, b, Frame { source: desk, commands, ..frame(patient.expose(), n, at) }));
        }
    }
    arrivals.sort_by_key(|a| (a.0, a.1));
    let mut out: Vec<Record> = Vec::new();
    let mut now = t(0.0);
    let mut push = |mut r: Record| {
        r.offset = out.len() as i64;
        out.push(r);
    };
    for (at, _, f) in arrivals {
        while now + Span::EPOCH < at {
            now = now + Span::EPOCH;
            push(tick(0, now));
        }
        now = now.max(at);
        let mut record = recording::record(&f, 0);
        record.timestamp = now;
        if draw.happens(0.02) {
            let cut = draw.below(record.value.len().max(1));
            let broken = Record { value: record.value.slice(..cut), ..record.clone() };
            push(broken);
        }
        push(record);
    }
    for _ in 0..15 {
        now = now + Span::EPOCH;
        push(tick(0, now));
    }
    out
}

/// Effects as lines by kind; the ends of archive files stand in every kind, so that their place is compared too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub by_kind: BTreeMap<&'static str, Vec<String>>,
}

impl Told {
    /// Adds the effects of one step. `base` is the number of records in the steps before.
    pub fn take(&mut self, effects: &[(i64, Effect)], base: usize) {
        const KINDS: [&str; 7] = ["event", "score", "aside", "frame", "features", "beats", "glance"];
        for (offset, effect) in effects {
            let (kind, body) = line(effect, base);
            let line = format!("{offset} {body}");
            if kind == "roll" {
                KINDS.iter().for_each(|k| self.by_kind.entry(k).or_default().push(line.clone()));
            }
            self.by_kind.entry(kind).or_default().push(line);
        }
    }

    pub fn of(&self, kind: &str) -> &[String] {
        self.by_kind.get(kind).map_or(&[], Vec::as_slice)
    }

    pub fn count(&self, kind: &str) -> usize {
        self.of(kind).iter().filter(|l| !l.ends_with(" roll")).count()
    }
}

/// One effect as a line; patients, bodies and evidence are in it.
pub fn line(effect: &Effect, base: usize) -> (&'static str, String) {
    match effect {
        Effect::Event(e, at) => ("event", format!("{} {at:?}", serde_json::to_string(e).unwrap())),
        Effect::Score(s, at) => ("score", format!("{} {at:?}", serde_json::to_string(s).unwrap())),
        Effect::Aside(at, r) => ("aside", format!("{} {r}", at + base)),
        Effect::Frame(f, fate) => ("frame", format!("{} {} {fate:?}", f.patient.expose(), f.sequence)),
        Effect::Features(p, at, list) => ("features", format!("{} {at:?} {list:?}", p.expose())),
        Effect::Predictions(p, at, list) => ("predictions", format!("{} {at:?} {list:?}", p.expose())),
        Effect::Beats(p, list) => ("beats", format!("{} {list:?}", p.expose())),
        Effect::Glance(g) => {
            let strips = serde_json::to_string(&g.strips).unwrap();
            let (p, at, news2, urgency) = (g.patient.expose(), g.event_time, &g.news2, g.urgency);
            ("glance", format!("{p} {at:?} {:?} {news2:?} {urgency} {:?} {strips}", g.values, g.alerts))
        }
        Effect::Roll => ("roll", "roll".into()),
        Effect::State(key, value) => ("state", format!("{key:?} {}", value.as_ref().map_or(0, Vec::len))),
    }
}

/// Walks a log in steps that end at these cuts.
pub fn walk(plan: &Arc<Plan>, log: &[Record], cuts: &[usize]) -> (Told, Worker) {
    let mut worker = Worker::new(plan.clone());
    let mut told = Told::default();
    let mut from = 0;
    for to in cuts.iter().copied().chain([log.len()]) {
        told.take(&worker.step(Event::Records(&log[from..to])).list, from);
        from = to;
    }
    (told, worker)
}

/// The first difference of two walks, if they differ.
pub fn difference(a: &Told, b: &Told) -> Option<String> {
    for kind in a.by_kind.keys().chain(b.by_kind.keys()) {
        let (x, y) = (a.of(kind), b.of(kind));
        if let Some(i) = (0..x.len().max(y.len())).find(|i| x.get(*i) != y.get(*i)) {
            return Some(format!("{kind} {i}:\n  {:?}\n  {:?}", x.get(i), y.get(i)));
        }
    }
    None
}
