//! Death, stalls and errors at named points of the walk: each point once in its turn.

use std::time::Duration;

use auscult::failpoint as at;

use super::{Fault, Run, options};
use crate::kafka;
use crate::poll;
use crate::trial::{Engine, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "points",
        rows: &["T1"],
        what: "the service dies at every named point of reading, computing, telling and archiving",
        proof: "the service's own log of failpoints names each planned one",
        run: points,
    },
    Fault {
        name: "leaving",
        rows: &["T1"],
        what: "the service dies at every named point of a graceful shutdown",
        proof: "the log of failpoints; the exit code of a process that aborted",
        run: leaving,
    },
    Fault {
        name: "stalls",
        rows: &["T1", "T5"],
        what: "the service stands still before and inside a transaction for longer than the transaction may live",
        proof: "the log of failpoints; a supervisor's restarts",
        run: stalls,
    },
    Fault {
        name: "archive_errors",
        rows: &["T9", "T13"],
        what: "opening, syncing and naming files of the archive fails, once (then it goes on by itself) and from then \
               on",
        proof: "the log of failpoints",
        run: archive_errors,
    },
];

/// Points that ordinary work passes, and up to which hit the fault may wait.
const IN_WORK: &[(&str, usize)] = &[
    (at::AFTER_SEND_OFFSETS, 4),
    (at::AFTER_COMMIT, 4),
    (at::ARCHIVE_SYNCED, 4),
    (at::IN_SNAPSHOT, 4),
    (at::IN_RESTORE, 3),
    (at::IN_RESTORE, 3),
    (at::BEFORE_SEND_OFFSETS, 4),
    (at::IN_PRODUCE, 10),
    (at::ARCHIVE_RENAMED, 4),
    (at::IN_ASSIGN, 1),
    (at::BEFORE_POLL, 9),
    (at::AFTER_POLL, 9),
    (at::IN_STEP, 9),
    (at::IN_CATCH_UP, 1),
    (at::BEFORE_PRODUCE, 4),
    (at::ARCHIVE_CREATE, 4),
    (at::ARCHIVE_WRITTEN, 4),
    (at::ARCHIVE_BEFORE_HELD, 2),
    (at::STATE_SYNCED, 2),
];

/// Lines of the log of failpoints.
fn acted(log: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A service whose failpoints write to a log of the site.
fn engine(trial: &Trial) -> (Engine, std::path::PathBuf) {
    let log = trial.site.folder().join("failpoints.log");
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.env("AUSCULT_FAILPOINTS_LOG", &log.to_string_lossy());
    (engine, log)
}

fn points(run: &mut Run) {
    let rounds = run.pick(1, 3);
    let points = run.pick(&IN_WORK[..9], IN_WORK);
    let mut trial = Trial::new(&kafka::shared(), &options());
    let (mut engine, log) = engine(&trial);
    trial.send(run.load(20, 200), run.seed);
    engine.start();
    assert!(trial.flows(5, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
    let mut died = 0;
    for (point, most) in points.iter().cycle().take(points.len() * rounds) {
        engine.kill();
        let n = 1 + run.draw.below(*most);
        engine.env("AUSCULT_FAILPOINTS", &format!("{point}=abort@{n}"));
        engine.launch();
        let ended = engine.ended(Duration::from_secs(60));
        let hit = acted(&log).last().is_some_and(|l| l.contains(&format!(" {point} Abort {n}")));
        run.report.expect(ended.is_some() && hit, || format!("{point}@{n} was not reached: {ended:?}"));
        died += u64::from(ended.is_some() && hit);
    }
    engine.env("AUSCULT_FAILPOINTS", "");
    engine.kill();
    engine.start();
    run.report.prove("deaths at named points", died, (points.len() * rounds) as u64);
    trial.verdict(&mut [engine], &mut run.report);
}

fn leaving(run: &mut Run) {
    let mut trial = Trial::new(&kafka::shared(), &options());
    let (mut engine, log) = engine(&trial);
    trial.send(run.load(12, 60), run.seed);
    let points = [at::IN_SHUTDOWN, at::BEFORE_GOODBYE, at::ARCHIVE_SYNCED, at::ARCHIVE_BEFORE_HELD];
    let mut died = 0;
    for point in points {
        // Points that ordinary work passes as well are waited for without being told to stop.
        engine.env("AUSCULT_FAILPOINTS", &format!("{point}=abort"));
        engine.start();
        poll(Duration::from_secs(2), || (!engine.alive()).then_some(()));
        if engine.alive() {
            engine.signal("TERM");
        }
        let code = engine.ended(Duration::from_secs(20));
        died += u64::from(code == Some(134) && acted(&log).last().is_some_and(|l| l.contains(point)));
        run.report.expect(code == Some(134), || format!("{point}: ended with {code:?}"));
    }
    engine.env("AUSCULT_FAILPOINTS", "");
    engine.start();
    run.report.prove("deaths while leaving", died, points.len() as u64);
    trial.verdict(&mut [engine], &mut run.report);
}

fn stalls(run: &mut Run) {
    let mut trial = Trial::new(&kafka::shared(), &options());
    let (mut engine, log) = engine(&trial);
    // Transactions live for ten seconds.
    let plan = format!("{}=sleep:15000@5;{}=sleep:12000@9", at::AFTER_SEND_OFFSETS, at::BEFORE_PRODUCE);
    engine.env("AUSCULT_FAILPOINTS", &plan);
    trial.send(run.load(45, 60), run.seed);
    engine.start();
    for stalls in 1..=2 {
        let stalled = poll(Duration::from_secs(60), || (acted(&log).len() >= stalls).then_some(()));
        run.report.expect(stalled.is_some(), || format!("no stall number {stalls}\n{}", engine.tail(10)));
        std::thread::sleep(Duration::from_secs(16));
        if !engine.alive() {
            run.report.note(format!("ended after its stall: {}", engine.tail(1)));
            // Only the other stall is left to its successor.
            engine.env("AUSCULT_FAILPOINTS", &format!("{}=sleep:12000@3", at::BEFORE_PRODUCE));
            engine.launch();
        }
    }
    engine.env("AUSCULT_FAILPOINTS", "");
    run.report.prove("stalls", acted(&log).len() as u64, 2);
    trial.verdict(&mut [engine], &mut run.report);
}

fn archive_errors(run: &mut Run) {
    let mut trial = Trial::new(&kafka::shared(), &options());
    let (mut engine, log) = engine(&trial);
    trial.send(run.load(45, 90), run.seed);
    let plans = [
        format!("{}=error@3", at::ARCHIVE_CREATE),
        format!("{}=error@2", at::ARCHIVE_WRITTEN),
        format!("{}=error@2-", at::ARCHIVE_SYNCED),
    ];
    for (n, plan) in plans.iter().enumerate() {
        engine.env("AUSCULT_FAILPOINTS", plan);
        engine.start();
        let failed = poll(Duration::from_secs(40), || (acted(&log).len() > n).then_some(()));
        run.report.expect(failed.is_some(), || format!("{plan} was not reached"));
        run.report.expect(!trial.sending() || trial.flows(3, Duration::from_secs(20)), || {
            format!("{plan}: nothing more is told while the archive fails")
        });
        run.report.expect(engine.alive(), || format!("{plan} ended the service"));
        run.report.expect(plan.ends_with('-') || engine.ready(Duration::from_secs(60)), || {
            format!("{plan}: the archive does not go on by itself")
        });
        engine.stop();
    }
    run.report.prove("errors of the archive", acted(&log).len() as u64, 3);
    engine.env("AUSCULT_FAILPOINTS", "");
    engine.start();
    trial.verdict(&mut [engine], &mut run.report);
}
