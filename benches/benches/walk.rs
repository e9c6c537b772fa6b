//! How fast the whole walk is: hops 2 to 6 on one core, with the shipped plan.
//! In: the ward's frames, decoded and as encoded records, whose first seconds warm the worker up. Out: samples a second
//! of both, and the digest of all effects.
#![allow(clippy::print_stdout, reason = "a bench says what it found")]

use std::time::Duration;

use auscult::source::Record;
use auscult::worker::{Event, Placed, Worker};
use auscult_benches::core_time::core_time;
use auscult_benches::digest::Digest;
use auscult_benches::workload::{Size, frames, measuring, placed, plan, records, samples, size};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Seconds before the measurement: windows fill, filters settle.
const WARM_S: usize = 30;
/// Records handed over at a time, as a poll of a busy broker gives them.
const BATCH: usize = 500;

fn walk(worker: &mut Worker, log: &[Record], mut told: impl FnMut(auscult::effects::Effects)) {
    log.chunks(BATCH).for_each(|batch| told(worker.step(Event::Records(batch))));
}

fn walk_frames(worker: &mut Worker, log: &[Placed], mut told: impl FnMut(auscult::effects::Effects)) {
    log.chunks(BATCH).for_each(|batch| told(worker.step(Event::Frames(batch))));
}

/// Samples a second of the core's time, in millions, of the best of some runs.
fn rate(samples: u64, once: impl Fn() -> Duration) -> f64 {
    let best = (0..7).map(|_| once()).min().unwrap_or_default().as_secs_f64();
    samples as f64 / best / 1e6
}

fn whole(c: &mut Criterion) {
    let Size { beds, seconds } = size(64, 90);
    let ward = frames(Size { beds, seconds });
    let log = records(&ward, 0);
    let warm = (seconds / 2).min(WARM_S) * beds;
    let measured = samples(&ward[warm..]);
    let decoded = placed(ward, 0);

    let (mut digest, mut of_frames) = (Digest::default(), Digest::default());
    walk(&mut Worker::new(plan(true)), &log, |effects| digest.take(&effects));
    walk_frames(&mut Worker::new(plan(true)), &decoded, |effects| of_frames.take(&effects));
    println!("walk: digest {digest} of {} frames", log.len());
    assert_eq!(digest, of_frames, "records and their frames tell the same");

    let plan = plan(false);
    if let Some(why) = plan.models.iter().find_map(|m| m.unavailable.as_ref()) {
        println!("walk: measured without the model: {why}");
    }
    let ready = || {
        let mut worker = Worker::new(plan.clone());
        walk_frames(&mut worker, &decoded[..warm], drop);
        worker
    };
    let timed = |run: &dyn Fn(&mut Worker)| {
        let mut worker = ready();
        let start = core_time();
        run(&mut worker);
        core_time() - start
    };
    if measuring() {
        let frames = rate(measured, || timed(&|w| walk_frames(w, &decoded[warm..], drop)));
        let records = rate(measured, || timed(&|w| walk(w, &log[warm..], drop)));
        println!(
            "walk: {frames:.1} million samples/s of core time from decoded frames, {records:.1} from records"
        );
    }
    let mut group = c.benchmark_group("walk");
    group.sample_size(10);
    group.throughput(Throughput::Elements(measured));
    group.bench_function("frames", |b| {
        b.iter_batched_ref(
            ready,
            |worker| walk_frames(worker, &decoded[warm..], drop),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("records", |b| {
        b.iter_batched_ref(ready, |worker| walk(worker, &log[warm..], drop), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, whole);
criterion_main!(benches);
