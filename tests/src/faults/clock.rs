//! Wrong clocks: of devices, and of the machine that the service runs on.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use auscult_operators::signal::Span;

use super::frames::{self, Arrival};
use super::{Fault, Run, options};
use crate::checker;
use crate::kafka;
use crate::poll;
use crate::trial::{Engine, LOUD, Measure, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "device_clock",
        rows: &["T15"],
        what: "clocks of six beds jump: 3 h ahead, 3 h back, 10 min back, to 1970, to 2100, and one second twice",
        proof: "the accounts, by the fate of each frame; the other beds are told as if those were not there",
        run: device_clock,
    },
    Fault {
        name: "machine_clock",
        rows: &["T15"],
        what: "the machine's clock jumps an hour ahead and two hours back while the service works",
        proof: "the time in the service's own heartbeats",
        run: machine_clock,
    },
];

fn device_clock(run: &mut Run) {
    let (beds, seconds) = run.pick((12, 200), (40, 900));
    let start = frames::start();
    let clean = frames::ward(run.seed, beds, seconds, start);
    let wrong_from = start + Span::from_seconds(100.0);
    let now_s = start.micros() as f64 / 1e6;
    let since_1970 = Span::from_seconds(-now_s);
    let to_2100 = Span::from_seconds(4_102_444_800.0 - now_s);
    let hours = |h: f64| Span::from_seconds(h * 3_600.0);
    let jumps = [hours(3.0), hours(-3.0), hours(-1.0 / 6.0), since_1970, to_2100, Span::from_seconds(-1.0)];
    let sick = |id: &str| (1..=jumps.len()).any(|n| id == format!("bed-{n:03}"));
    // Of each bed, frames with samples: a goodbye is taken in whatever its time.
    let mut jumped = vec![0_u64; jumps.len()];
    // And of those whose clock goes back by far, the ones whose time has not caught up with the past.
    let mut past = 0;
    let mut given = Vec::new();
    for Arrival { at, frame } in clean.clone() {
        let n = (1..=jumps.len()).find(|n| frame.patient.expose() == format!("bed-{n:03}"));
        match n.filter(|_| frame.time >= wrong_from) {
            None => given.push(Arrival { at, frame }),
            Some(n) => {
                let samples = u64::from(!frame.waves.is_empty());
                let frame = frames::shifted(frame, jumps[n - 1]);
                jumped[n - 1] += samples;
                past += if matches!(n, 2 | 3) && frame.time < wrong_from { samples } else { 0 };
                given.push(Arrival { at, frame });
            }
        }
    }
    let trial = Trial::new(&kafka::shared(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    trial.site.client.produce_with(&trial.site.topic("frames"), &frames::records(given), &LOUD);
    let healthy: Vec<Arrival> = clean.into_iter().filter(|a| !sick(a.frame.patient.expose())).collect();
    let alone = Measure::over(&trial, &frames::records(healthy));
    let measure = trial.verdict(&mut [engine], &mut run.report);
    run.report.prove("frames with a wrong clock", jumped.iter().sum(), 6);
    let (aside, late) = (measure.frames("rejected"), measure.frames("late"));
    run.report.note(format!("frames by bed {jumped:?}; put aside {aside}, late {late}"));
    let strange = jumped[0] + jumped[3] + jumped[4];
    // A goodbye of a strange time is put aside as well.
    run.report.expect((strange..=strange + 3).contains(&aside), || {
        format!("{strange} frames of strange times, {aside} were put aside")
    });
    run.report.expect(late == past, || format!("{past} frames of the past, {late} were late"));
    for topic in ["events", "scores"] {
        let findings = checker::compare(&alone.told(topic, |_| true), &measure.told(topic, |id| !sick(id)));
        run.report.expect(findings.is_empty(), || {
            format!("{topic}, beds with right clocks: {}", checker::summary(&findings))
        });
    }
}

/// A library that adds the seconds in a file to every reading of the wall clock.
fn shim(folder: &std::path::Path) -> PathBuf {
    let (source, library) = (folder.join("shift.c"), folder.join("shift.so"));
    std::fs::write(&source, include_str!("../../clock/shift.c")).expect("write");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let output = cc.output().unwrap_or_else(|e| panic!("cannot run cc, which rustc needs too: {e}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

fn machine_clock(run: &mut Run) {
    let mut trial = Trial::new(&kafka::shared(), &options());
    let file = trial.site.folder().join("clock");
    std::fs::write(&file, "0").expect("write");
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.env("LD_PRELOAD", &shim(trial.site.folder()).to_string_lossy());
    engine.env("AUSCULT_TEST_CLOCK", &file.to_string_lossy());
    engine.start();
    trial.send(run.load(30, 60), run.seed);
    assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
    let mut shown = 0;
    for offset in [3_600_i64, -3_600, 0] {
        std::fs::write(&file, offset.to_string()).expect("write");
        let seen = poll(Duration::from_secs(20), || {
            let beats = trial.site.messages("heartbeat");
            let told_s = beats.last()?.json()["time_us"].as_i64()? / 1_000_000;
            let now_s = jiff::Timestamp::now().as_second();
            ((told_s - now_s - offset).abs() < 60).then_some(())
        });
        shown += u64::from(seen.is_some());
        run.report.expect(!trial.sending() || trial.flows(1, Duration::from_secs(30)), || {
            format!("nothing is told with the clock at {offset} s")
        });
    }
    run.report.prove("jumps shown by the heartbeat", shown, 3);
    trial.verdict(&mut [engine], &mut run.report);
}
