//! What networks do to frames: doubled, out of order, hours late, a whole stretch sent again.

use auscult_operators::signal::Span;

use super::frames::{self, Arrival};
use super::{Fault, Run, options};
use crate::checker;
use crate::kafka;
use crate::trial::{Engine, LOUD, Measure, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[Fault {
    name: "late",
    rows: &["T15"],
    what: "of all frames 5 % come twice, 20 % out of order within the allowance, 1 % three hours late, and in the end \
           a stretch is sent again; the service is killed twice",
    proof: "the accounts, to the unit",
    run: late,
}];

fn late(run: &mut Run) {
    let (beds, seconds) = run.pick((12, 240), (60, 1_200));
    let clean = frames::ward(run.seed, beds, seconds, frames::start());
    let (mut given, mut doubled, mut old) = (Vec::new(), 0_u64, 0_u64);
    let end = clean.iter().map(|a| a.at).max().expect("frames");
    for arrival in &clean {
        // What comes after a bed's goodbye is late: the last seconds are left as they are.
        let ends = arrival.at + Span::from_seconds(3.0) > end;
        let mut one = arrival.clone();
        if !ends && run.draw.happens(0.2) {
            // A frame bears a second, and two are allowed: later by less than one stays in time.
            one.at = one.at + Span::from_seconds(run.draw.between(0.0, 0.9));
        }
        if !ends && run.draw.happens(0.05) {
            let at = one.at + Span::from_seconds(run.draw.between(0.0, 20.0));
            given.push(Arrival { at, frame: one.frame.clone() });
            doubled += 1;
        }
        if run.draw.happens(0.01) {
            let mut frame = frames::shifted(one.frame.clone(), Span::from_seconds(-10_800.0));
            // A device that starts again has a new session; what it still had in store bears the old one.
            frame.session -= 1;
            frame.device = None;
            // After the bed's first seconds, which make its time.
            given.push(Arrival { at: one.at + Span::from_seconds(10.0), frame });
            old += 1;
        }
        given.push(one);
    }
    let last = given.iter().map(|a| a.at).max().expect("frames");
    let again: Vec<Arrival> =
        clean.iter().filter(|a| !a.frame.waves.is_empty()).take(beds * 60).cloned().collect();
    let again_count = again.len() as u64;
    given.extend(again.into_iter().map(|a| Arrival { at: last, ..a }));

    let trial = Trial::new(&kafka::shared(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    let records = frames::records(given);
    for part in records.chunks(records.len().div_ceil(3)) {
        trial.site.client.produce_with(&trial.site.topic("frames"), part, &LOUD);
        std::thread::sleep(std::time::Duration::from_millis(400));
        engine.kill();
        engine.start();
    }
    let in_order = Measure::over(&trial, &frames::records(clean.clone()));
    let measure = trial.verdict(&mut [engine], &mut run.report);
    let [processed, duplicate, late] = ["processed", "duplicate", "late"].map(|o| measure.frames(o));
    run.report.prove("doubled", doubled, 10);
    run.report.prove("hours late", old, 3);
    run.report.note(format!("processed {processed}, duplicate {duplicate}, late {late}"));
    run.report.expect(processed == clean.len() as u64, || {
        format!("{} frames came, {processed} were processed", clean.len())
    });
    // What lies further back than the numbers remembered cannot be told from late.
    run.report.expect(
        duplicate + late == doubled + old + again_count && duplicate >= doubled && late >= old,
        || format!("{doubled} doubled, {old} late, {again_count} again: {duplicate} duplicate, {late} late"),
    );
    for topic in ["events", "scores"] {
        let findings = checker::compare(&in_order.told(topic, |_| true), &measure.told(topic, |_| true));
        run.report.expect(findings.is_empty(), || {
            format!("{topic}, against the frames in order: {}", checker::summary(&findings))
        });
    }
}
