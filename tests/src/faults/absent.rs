//! Absence is not normal: each signal stops in its turn, and its last value must not live on.

use std::collections::BTreeSet;

use auscult_operators::signal::{ChannelId, Kind, Span};
use serde_json::Value;

use super::frames::{self, Arrival};
use super::{Fault, Run, options};
use crate::kafka;
use crate::trial::{Engine, LOUD, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[Fault {
    name: "absent",
    rows: &["A2"],
    what: "each channel of a bed stops in its turn, each in a bed of its own; the service is killed meanwhile",
    proof: "frames from which a channel was taken away",
    run: absent,
}];

/// Seconds after which the channels stop.
const STOP_S: f64 = 100.0;
/// Numerics that are held for longer would make the run longer than it is worth.
const HOLD_MOST_S: f64 = 60.0;

fn channels(clean: &[Arrival]) -> Vec<ChannelId> {
    let mut all = BTreeSet::new();
    for Arrival { frame, .. } in clean {
        all.extend(frame.waves.iter().map(|w| w.channel));
        all.extend(frame.observations.iter().map(|o| o.channel));
    }
    all.retain(|c| c.row().hold.seconds() <= HOLD_MOST_S);
    all.into_iter().collect()
}

fn absent(run: &mut Run) {
    let start = frames::start();
    let channels = channels(&frames::ward(run.seed, 1, 100, start));
    let clean = frames::ward(run.seed, channels.len(), 260, start);
    let stop = start + Span::from_seconds(STOP_S);
    let mut taken = 0;
    let mut given = clean;
    for Arrival { frame, .. } in given.iter_mut().filter(|a| a.frame.time >= stop) {
        let n = (1..=channels.len()).find(|n| frame.patient.expose() == format!("bed-{n:03}"));
        let channel = channels[n.expect("a bed of the ward") - 1];
        let before = frame.waves.len() + frame.observations.len();
        frame.waves.retain(|w| w.channel != channel);
        frame.observations.retain(|o| o.channel != channel);
        taken += u64::from(before > frame.waves.len() + frame.observations.len());
    }
    let trial = Trial::new(&kafka::shared(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    let records = frames::records(given);
    let (before, after) = records.split_at(records.len() / 2);
    trial.site.client.produce_with(&trial.site.topic("frames"), before, &LOUD);
    std::thread::sleep(std::time::Duration::from_millis(500));
    engine.kill();
    engine.start();
    trial.site.client.produce_with(&trial.site.topic("frames"), after, &LOUD);
    let measure = trial.verdict(&mut [engine], &mut run.report);
    run.report.prove("frames without their channel", taken, 100 * channels.len() as u64);

    let bodies =
        |topic: &str| -> Vec<Value> { measure.site.messages(topic).iter().map(|m| m.json()).collect() };
    let (scores, events) = (bodies("scores"), bodies("events"));
    let mut shown = 0;
    for (n, channel) in channels.iter().enumerate() {
        let row = channel.row();
        let bed = format!("bed-{:03}", n + 1);
        if row.kind == Kind::Numeric {
            let hold_s = row.hold.seconds();
            let until = (stop + Span::from_seconds(hold_s + 1.0)).micros();
            let (lived, outlived) = values(&scores, &bed, row.name, until);
            shown += lived;
            run.report
                .expect(outlived == 0, || format!("{} outlived its {hold_s} s {outlived} times", row.name));
        } else {
            let from = (stop + Span::from_seconds(4.0)).micros()..=(stop + Span::from_seconds(8.0)).micros();
            let told = events.iter().any(|e| {
                let at = e["event_time_us"].as_i64().is_some_and(|t| from.contains(&t));
                e["patient"] == bed.as_str() && e["rule"] == "signal_lost" && at
            });
            run.report.expect(told, || format!("{} is gone and no signal is told to be lost", row.name));
        }
    }
    run.report.prove("values of a numeric told before it stopped", shown, 3);
    for age in stale(&scores) {
        run.report.violations.push(age);
    }
}

/// How often a channel's value stands in scores of a bed up to a time, and after it.
fn values(scores: &[Value], bed: &str, channel: &str, until_us: i64) -> (u64, u64) {
    let (mut before, mut after) = (0, 0);
    for score in scores.iter().filter(|s| s["patient"] == bed) {
        let parts = score["result"]["parts"].as_array().into_iter().flatten();
        // What is derived from a waveform that goes on is no old value.
        let own = |p: &&Value| p["channel"] == channel && p["origin"] == "reported";
        let used = parts.filter(|p| own(p) && !p["value"].is_null()).count() as u64;
        let late = score["event_time_us"].as_i64().is_some_and(|t| t > until_us);
        *if late { &mut after } else { &mut before } += used;
    }
    (before, after)
}

/// Values in any score that are older than their channel may be held.
fn stale(scores: &[Value]) -> Vec<String> {
    let parts = scores.iter().flat_map(|s| s["result"]["parts"].as_array().into_iter().flatten());
    let old = parts.filter(|p| !p["value"].is_null()).filter_map(|p| {
        let (channel, age) = (p["channel"].as_str()?, p["age_s"].as_f64()?);
        let hold = ChannelId::named(channel)?.row().hold.seconds();
        (hold >= 1.0 && age > hold).then(|| format!("{channel} is used {age} s old, {hold} s are allowed"))
    });
    old.take(5).collect()
}
