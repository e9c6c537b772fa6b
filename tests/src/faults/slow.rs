//! More comes in than goes out: transactions, the archive, the producer's own queue are slower than the input.

use std::path::Path;
use std::time::{Duration, Instant};

use auscult::{failpoint as at, limits};

use super::frames::{self, Arrival};
use super::{Fault, Run, options};
use crate::kafka::{self, Broker};
use crate::poll;
use crate::site::{LIMIT, Options};
use crate::trial::{Engine, LOUD, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "slow_commits",
        rows: &["T8"],
        what: "a backlog of more records than may be in flight, and each output takes milliseconds to be handed over",
        proof: "outputs held up, as the log of failpoints says; partitions paused and seconds held back, as the \
                service's pages say",
        run: commits,
    },
    Fault {
        name: "slow_archive",
        rows: &["T8"],
        what: "a backlog of more bytes than may wait for the archive, and each of its files takes a while",
        proof: "files held up, as the log of failpoints says; partitions paused and seconds held back, as the \
                service's pages say",
        run: archive,
    },
    Fault {
        name: "producer_full",
        rows: &["T8"],
        what: "the producer may keep five records, and the broker answers late, then on a narrow line",
        proof: "times that the producer took no more, as the log of failpoints says",
        run: producer_full,
    },
];

/// Records of one partition that one turn may add to what is in flight.
const TURN_MOST: u64 = 4_000;
/// What a service may grow by while partitions are paused: what is in flight, what waits for the archive in rows, what
/// the client reads ahead, and one turn of all partitions.
const GROWTH_MIB: u64 = 256;

/// What the pages said while there was a backlog.
#[derive(Default)]
struct Seen {
    paused: f64,
    /// Seconds in which nothing was taken in, and the most bytes that waited for the archive.
    held_s: f64,
    waiting: f64,
    /// What `/readyz` said of it.
    told: bool,
    in_flight: f64,
    memory_mib: u64,
}

/// Lines of the log of failpoints.
fn acted(log: &Path) -> u64 {
    std::fs::read_to_string(log).unwrap_or_default().lines().count() as u64
}

/// A ward that has long been sending when the service starts.
fn backlog(run: &Run, trial: &Trial, beds: usize, seconds: u32, change: impl Fn(&mut Arrival)) -> u64 {
    let mut arrivals = frames::ward(run.seed, beds, seconds, frames::start());
    arrivals.iter_mut().for_each(change);
    let records = frames::records(arrivals);
    trial.site.client.produce_with(&trial.site.topic("frames"), &records, &LOUD);
    records.len() as u64
}

/// Looks at the pages until the backlog is read, or time is up. `behind` is what cannot keep up.
fn look(engine: &Engine, records: u64, behind: &str, limit: Duration) -> Seen {
    let held = format!("auscult_held_seconds_total{{behind=\"{behind}\"}}");
    let (mut seen, begun) = (Seen::default(), Instant::now());
    poll(limit, || {
        let metrics = engine.metrics();
        let of = |name: &str| metrics.get(name).copied().unwrap_or(0.0);
        seen.paused = seen.paused.max(of("auscult_partitions_paused"));
        seen.in_flight = seen.in_flight.max(of("auscult_in_flight_records"));
        seen.waiting = seen.waiting.max(of("auscult_archive_waiting_bytes"));
        seen.held_s = of(&held).max(seen.held_s);
        seen.told |= engine.readiness().contains("held back");
        seen.memory_mib = seen.memory_mib.max(engine.memory_mib());
        let taken: f64 = crate::site::with_prefix(&metrics, "auscult_frames_total").iter().sum();
        // Pages of a service that has just started say nothing of its frames.
        (begun.elapsed() > Duration::from_secs(2) && taken >= records as f64).then_some(())
    });
    seen
}

/// A service with this plan of failpoints; the topics are there, nothing is read yet.
fn planned(trial: &Trial, plan: &str) -> (Engine, std::path::PathBuf) {
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    let ready = engine.ready(LIMIT);
    assert!(ready, "not ready\n{}", engine.tail(20));
    engine.stop();
    let log = trial.site.folder().join("failpoints.log");
    engine.env("AUSCULT_FAILPOINTS_LOG", &log.to_string_lossy());
    engine.env("AUSCULT_FAILPOINTS", plan);
    (engine, log)
}

fn judge(run: &mut Run, engine: &Engine, seen: &Seen, before_mib: u64, partitions: u64) {
    let Seen { paused, held_s, waiting, told, in_flight, memory_mib } = *seen;
    let grown = memory_mib.saturating_sub(before_mib);
    run.report.note(format!("most records in flight: {in_flight}; memory +{grown} MiB"));
    run.report
        .note(format!("held back for {held_s:.1} s; most that waited for the archive: {waiting} bytes"));
    run.report.prove("partitions paused at once", paused as u64, 1);
    run.report.prove("tenths of a second held back", (held_s * 10.0) as u64, 5);
    run.report.expect(told, || "held back, and /readyz does not say so".into());
    run.report.expect(engine.log().contains("held_back"), || "held back, and the log does not say so".into());
    let most = limits::IN_FLIGHT_RECORDS.max + partitions * TURN_MOST;
    run.report
        .expect(in_flight as u64 <= most, || format!("{in_flight} records in flight, {most} are allowed"));
    run.report
        .expect(grown <= GROWTH_MIB, || format!("memory grew by {grown} MiB, {GROWTH_MIB} are allowed"));
    run.report.expect(!engine.log().contains("panicked"), || engine.tail(5));
}

fn commits(run: &mut Run) {
    let options = options();
    let trial = Trial::new(&kafka::shared(), &options);
    let (mut engine, log) = planned(&trial, &format!("{}=sleep:4", at::IN_PRODUCE));
    // Without samples: it is the number of records that counts here.
    let (beds, seconds) = run.pick((150, 800), (300, 2_000));
    let records = backlog(run, &trial, beds, seconds, |a| a.frame.waves.clear());
    engine.start();
    let before = engine.memory_mib();
    let seen = look(&engine, records, "transactions", LIMIT);
    run.report.prove("outputs held up", acted(&log), 1_000);
    run.report.note(format!("records in the backlog: {records}"));
    judge(run, &engine, &seen, before, options.partitions as u64);
    engine.env("AUSCULT_FAILPOINTS", "");
    engine.kill();
    engine.start();
    trial.verdict(&mut [engine], &mut run.report);
}

fn archive(run: &mut Run) {
    let options = options();
    let trial = Trial::new(&kafka::shared(), &options);
    let (mut engine, log) = planned(&trial, &format!("{}=sleep:500", at::ARCHIVE_WRITTEN));
    let (beds, seconds) = run.pick((60, 900), (100, 2_000));
    let records = backlog(run, &trial, beds, seconds, |_| ());
    engine.start();
    let before = engine.memory_mib();
    let seen = look(&engine, records, "archive", Duration::from_secs(run.pick(30, 120)));
    run.report.prove("files held up", acted(&log), 10);
    run.report.note(format!("records in the backlog: {records}"));
    judge(run, &engine, &seen, before, options.partitions as u64);
    let (code, took) = engine.stop();
    run.report.note(format!("SIGTERM: exit {code} after {took:.1?}"));
    run.report
        .expect(code == 0 && took <= Duration::from_secs(10), || "a slow archive holds up SIGTERM".into());
    engine.env("AUSCULT_FAILPOINTS", "");
    engine.start();
    trial.verdict(&mut [engine], &mut run.report);
}

fn producer_full(run: &mut Run) {
    let broker = Broker::start_proxied();
    let (proxy, small) = (broker.proxy().address(), "\"queue.buffering.max.messages\" = \"5\"\n");
    let options = Options { brokers: Some(&proxy), properties: small, ..options() };
    let mut trial = Trial::new(&broker.client(), &options);
    let (mut engine, log) = planned(&trial, &format!("{}=sleep:0", at::PRODUCER_FULL));
    engine.start();
    trial.send(run.load(30, 120), run.seed);
    assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
    let before = engine.memory_mib();
    let span = Duration::from_secs(run.pick(6, 30));
    for (latency_ms, rate) in [(50, None), (0, Some(32_000))] {
        broker.proxy().slow(Duration::from_millis(latency_ms), rate);
        let begun = Instant::now();
        std::thread::sleep(span);
        let gap = trial.watcher.longest_gap(begun, Instant::now());
        broker.proxy().flow();
        let grown = engine.memory_mib().saturating_sub(before);
        run.report.note(format!("longest time without an output {gap:.1?}, memory +{grown} MiB"));
        run.report.expect(grown <= 64, || format!("memory grew by {grown} MiB while the broker was slow"));
        let flows = !trial.sending() || trial.flows(2, Duration::from_secs(60));
        run.report.expect(flows, || format!("nothing is told\n{}", engine.tail(5)));
    }
    run.report.prove("times that the producer took no more", acted(&log), 50);
    run.report.expect(engine.alive(), || format!("a full producer ended the service: {}", engine.tail(3)));
    trial.verdict(&mut [engine], &mut run.report);
}
