//! Messages that a decent sender never sends, among good ones, thousands in a row, and one that swells up.

use std::thread;
use std::time::Duration;

use auscult_operators::signal::{EventTime, Span};

use super::frames;
use super::{Fault, Run, options};
use crate::hostile::Hostile;
use crate::kafka::{self, Record};
use crate::trial::{Engine, LOUD, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[Fault {
    name: "poison",
    rows: &["T18"],
    what: "frames that cannot be taken in stand among good ones, thousands of them in a row, and one of 64 MiB that \
           takes a few kilobytes on the line; the service is killed among them",
    proof: "the accounts, by the code of each reject; every dead letter once",
    run: poison,
}];

fn poison(run: &mut Run) {
    let (beds, seconds, row) = run.pick((10, 120, 3_000), (40, 600, 10_000));
    let start = frames::start();
    let clean = frames::records(frames::ward(run.seed, beds, seconds, start));
    let hostile = Hostile::new(start + Span::from_seconds(30.0), 3);
    let time = start + Span::from_seconds(60.0);
    let garbage = |n: usize| Record {
        timestamp_ms: Some(time.millis()),
        ..Record::new(format!("hostile-{:03}", n % 7), format!("\u{ff}\u{ff} no frame, number {n}"))
    };
    let bomb = Record { timestamp_ms: Some(time.millis()), ..Record::new("hostile-000", vec![0; 64 << 20]) };
    let at = |limit: EventTime| clean.partition_point(|r| r.timestamp_ms < Some(limit.millis()));
    let (first, second) = (at(start + Span::from_seconds(32.0)), at(time));
    let mut records = clean[..first].to_vec();
    records.extend(hostile.records.iter().cloned());
    records.extend_from_slice(&clean[first..second]);
    records.extend((0..row).map(garbage));
    records.push(bomb);
    records.extend_from_slice(&clean[second..]);

    let trial = Trial::new(&kafka::shared(), &options());
    // The broker's own limit is on what comes over the line.
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    let mut most = 0;
    for part in records.chunks(records.len().div_ceil(4)) {
        trial.site.client.produce_with(&trial.site.topic("frames"), part, &LOUD);
        thread::sleep(Duration::from_millis(300));
        most = most.max(engine.memory_mib());
        engine.kill();
        engine.start();
    }
    let measure = trial.verdict(&mut [engine], &mut run.report);
    run.report.note(format!("most memory seen: {most} MiB"));
    let rejected = hostile.rejects_total() + row as u64 + 1;
    run.report.prove("rejected", measure.frames("rejected"), rejected);
    let code = |c: &str| measure.metrics[&format!("auscult_rejects_total{{code=\"{c}\"}}")] as u64;
    for (name, count) in &hostile.rejected {
        let more = match *name {
            "not_protobuf" => row as u64,
            "frame_too_large" => 1,
            _ => 0,
        };
        run.report
            .expect(code(name) == count + more, || format!("{name}: {} of {}", code(name), count + more));
    }
    let good = clean.len() as u64 + hostile.processed;
    run.report.expect(measure.frames("processed") == good, || {
        format!("{good} good frames, {} were processed", measure.frames("processed"))
    });
    let letters = measure.site.messages("rejects").len() as u64;
    run.report.expect(letters == rejected, || format!("{rejected} rejects, {letters} dead letters"));
}
