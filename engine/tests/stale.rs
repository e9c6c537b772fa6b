//! Absence is not normal (I4), and silence is told by the log's own time (I3).
//! In: a simulated bed whose signals stop one after another; ticks. Out: values that expire, scores that say so.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test may stop, and its tables are wide")]

mod common;

use std::sync::Arc;

use auscult::effects::Effect;
use auscult::plan::Plan;
use auscult::risk::{Phase, RiskEvent};
use auscult::source::Record;
use auscult::worker::{Event, Worker};
use auscult_datasets::simulate::{Profile, SimulatedBed};
use auscult_operators::signal::{Frame, Span};
use common::{T0, config, number, plan_of, records, t, tick};
use serde_json::Value;

/// What was told, each with the seconds since the start at which it was told for.
#[derive(Default)]
struct Heard {
    glances: Vec<(i64, auscult::live::Glance)>,
    scores: Vec<(i64, Value)>,
    events: Vec<RiskEvent>,
}

fn walk(plan: &Arc<Plan>, log: &[Record]) -> Heard {
    let mut heard = Heard::default();
    let since = |us: i64| us.div_euclid(1_000_000) - T0;
    for (_, effect) in Worker::new(plan.clone()).step(Event::Records(log)).list {
        match effect {
            Effect::Glance(g) => heard.glances.push((since(g.event_time.micros()), *g)),
            Effect::Score(s, _) => {
                heard.scores.push((since(s.event_time_us), serde_json::to_value(&s.result).unwrap()))
            }
            Effect::Event(e, _) => heard.events.push(*e),
            _ => {}
        }
    }
    heard
}

/// Two minutes of a bed; from second 60 on `change` may take things away.
fn bed(change: impl Fn(&mut Frame)) -> Vec<Frame> {
    let bed = SimulatedBed::new(5, Profile::default());
    let mut frames: Vec<Frame> = bed.take(120).collect();
    frames[60..].iter_mut().for_each(change);
    frames
}

/// Stops a quantity in every form: the waves and the numbers it may come from.
fn stop<'a>(waves: &'a [&str], numbers: &'a [&str]) -> impl Fn(&mut Frame) + 'a {
    move |f| {
        f.waves.retain(|w| !waves.contains(&w.channel.row().name));
        f.observations.retain(|o| !numbers.contains(&o.channel.row().name));
    }
}

#[test]
fn a_value_is_gone_once_its_hold_has_passed() {
    let plan = plan_of(&config());
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], i64);
    // What is shown, what stops, and how long its last value may be held, with a second or two to detect.
    let cases: [Case<'_>; 5] = [
        ("heart_rate", &["ecg_ii", "ecg_v5", "ppg"], &["heart_rate", "pulse_rate"], 10),
        ("pulse_rate", &["ppg"], &["pulse_rate"], 10),
        ("spo2", &[], &["spo2"], 60),
        ("resp_rate", &["resp"], &["resp_rate"], 60),
        ("blood_pressure_sys", &["abp"], &["abp_sys", "abp_dia", "abp_mean", "nibp_sys"], 10),
    ];
    for (shown, waves, numbers, hold) in cases {
        let mut frames = bed(stop(waves, numbers));
        if shown == "blood_pressure_sys" {
            // Without a cuff pressure that would hold for an hour.
            frames.iter_mut().for_each(|f| f.observations.retain(|o| o.channel.row().name != "nibp_sys"));
        }
        let heard = walk(&plan, &records(&frames));
        let valid = |g: &auscult::live::Glance| g.values.get(shown).unwrap().state == "valid";
        let before = heard.glances.iter().find(|g| g.0 == 60).map(|g| valid(&g.1));
        assert_eq!(before, Some(true), "{shown} before");
        let last = heard.glances.iter().filter(|g| valid(&g.1)).map(|g| g.0).max().unwrap();
        assert!((60..60 + hold + 1).contains(&last), "{shown} was valid until {last}");
        for (at, g) in heard.glances.iter().filter(|g| g.0 > last) {
            let number = g.values.get(shown).unwrap();
            assert_eq!((number.value, number.state), (None, "stale"), "{at}");
        }
        let parts = ["heart_rate", "spo2", "resp_rate", "blood_pressure_sys"];
        if hold == 10 && shown != "pulse_rate" || shown == "spo2" && parts.contains(&shown) {
            let (at, score) = heard.scores.iter().rfind(|s| s.0 > last).expect("the score changes");
            assert_eq!(
                (score["status"].as_str(), &score["total"]),
                (Some("partial"), &Value::Null),
                "{shown} {at}"
            );
            let missing = score["missing"].to_string();
            assert!(
                heard.scores.iter().any(|s| s.1["status"] == "complete" && s.0 <= 60),
                "{shown}: {missing}"
            );
            assert!(heard.scores.iter().all(|s| s.1["status"] == "partial" || s.0 <= last), "{shown}");
        }
    }
}

#[test]
fn silence_is_told_by_ticks_alone_and_ends_with_data() {
    let plan = plan_of(&config());
    let all = bed(|_| {});
    let head = records(&all[..40]);
    let tail: Vec<Frame> = all[80..120].to_vec();
    let mut bodies = Vec::new();
    // Ticks each second, every 300 ms, and one after half a minute: the event is the same.
    for step_s in [1.0, 0.3, 30.0] {
        let mut log = head.clone();
        let mut now = log.last().unwrap().timestamp;
        while now < t(79.0) {
            now = now + Span::from_seconds(step_s);
            log.push(tick(log.len() as i64, now));
        }
        let silent_from = log.len();
        for mut r in records(&tail) {
            (r.offset, r.timestamp) = (log.len() as i64, r.timestamp.max(now));
            log.push(r);
        }
        let heard = walk(&plan, &log);
        let silent: Vec<&RiskEvent> = heard.events.iter().filter(|e| e.rule == "source_silent").collect();
        let phases: Vec<Phase> = silent.iter().map(|e| e.phase).collect();
        assert_eq!(phases, [Phase::Start, Phase::End], "ticks of {step_s} s");
        let told = |e: &RiskEvent| e.event_time_us as f64 / 1e6 - T0 as f64;
        // The last sample ended at 40 s (the impedance a few ms later); silent_s is 10.
        assert!((50.0..50.02).contains(&told(silent[0])), "{}", told(silent[0]));
        // Data is back at 80 s; the alert is kept for 10 s.
        assert_eq!(told(silent[1]), 91.0);
        bodies.push(serde_json::to_string(&silent).unwrap());
        // It is told by the first tick at or after 50 s, not by the data that ends it.
        let started = walk(&plan, &log[..silent_from]).events;
        assert!(started.iter().any(|e| e.rule == "source_silent"));
        let early = log.iter().take_while(|r| r.timestamp < t(50.0)).count();
        assert!(walk(&plan, &log[..early]).events.iter().all(|e| e.rule != "source_silent"));
    }
    assert!(bodies.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn frames_that_are_not_used_are_no_sign_of_life() {
    let plan = plan_of(&config());
    let all = bed(|_| {});
    let mut frames = all[..40].to_vec();
    // The clock jumps back by half a minute, with new numbers; and a stuck gateway repeats the last frame.
    for i in 0..20u64 {
        frames.push(Frame { sequence: 1000 + i, ..all[10 + i as usize].clone() });
        frames.push(all[39].clone());
    }
    let mut log = records(&frames);
    let last = log[39].timestamp;
    for (i, r) in log.iter_mut().enumerate().skip(40) {
        r.timestamp = last + Span::from_seconds((i - 39) as f64 * 0.5);
    }
    let heard = walk(&plan, &log);
    assert!(heard.events.iter().any(|e| e.rule == "source_silent" && e.phase == Phase::Start));
}

#[test]
fn a_producer_whose_clock_is_behind_is_not_silent() {
    let plan = plan_of(&config());
    let beds = [SimulatedBed::new(1, Profile::default()), SimulatedBed::new(2, Profile::default())];
    let mut log = Vec::new();
    let [mut a, mut b] = beds;
    for _ in 0..60 {
        log.extend(records(&[a.next_second().unwrap()]));
        let mut behind = records(&[b.next_second().unwrap()]).remove(0);
        behind.timestamp = behind.timestamp - Span::seconds_const(90);
        log.push(behind);
    }
    let heard = walk(&plan, &log);
    assert!(heard.events.iter().all(|e| e.rule != "source_silent"), "{:?}", heard.events);
}

#[test]
fn an_absence_told_late_does_not_undo_what_came_since() {
    let plan = plan_of(&config());
    let at = |n: u64| t(n as f64);
    let mut frames: Vec<Frame> = (0..8).map(|n| number("p", n, at(n), "spo2", Some(97.0))).collect();
    frames.extend((8..12).map(|n| number("p", n, at(n), "pulse_rate", Some(70.0))));
    // Said of second 3, when the value of second 7 has been computed with.
    frames.push(number("p", 20, at(3), "spo2", None));
    frames.extend((12..14).map(|n| number("p", n, at(n), "pulse_rate", Some(70.0))));
    // Said of second 15, newer than any value: it is absent.
    frames.push(number("p", 21, at(15), "spo2", None));
    frames.extend((16..22).map(|n| number("p", n, at(n), "pulse_rate", Some(70.0))));
    let heard = walk(&plan, &records(&frames));
    for (second, g) in &heard.glances {
        let expected = if *second <= 15 { "valid" } else { "absent" };
        assert_eq!(g.values.get("spo2").unwrap().state, expected, "{second}");
    }
    assert!(heard.glances.iter().any(|g| g.0 > 16));
}

#[test]
fn a_value_from_before_an_absence_does_not_count_when_it_comes_late() {
    let plan = plan_of(&config());
    let at = |n: u64| t(n as f64);
    let walked = |frames: &[Frame]| -> Vec<(i64, String)> {
        let heard = walk(&plan, &records(frames));
        heard.glances.iter().map(|(s, g)| (*s, g.values.get("spo2").unwrap().state.to_owned())).collect()
    };
    let others = |from: u64, to: u64| (from..to).map(|n| number("p", n, at(n), "pulse_rate", Some(70.0)));
    let mut frames: Vec<Frame> = others(0, 8).collect();
    // The probe was looked for in second 7 and not there. The value of second 3 was held up on its way.
    frames.push(number("p", 20, at(7), "spo2", None));
    frames.extend(others(8, 12));
    let late = frames.len();
    frames.push(number("p", 21, at(3), "spo2", Some(97.0)));
    frames.extend(others(12, 20));
    assert!(walked(&frames).iter().all(|(_, state)| state == "absent"), "{:?}", walked(&frames));
    // Without the absence it counts: the case is a true one.
    frames.remove(8);
    let counts = |(s, state): &(i64, String)| *s >= 12 && state == "valid";
    assert!(walked(&frames).iter().any(counts), "{late}: {:?}", walked(&frames));
}
