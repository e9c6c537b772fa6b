//! How fast the whole walk is: hops 2 to 6 on one core, with the shipped plan.
//! In: encoded records of the ward, whose first seconds warm the worker up. Out: samples a second, and the digest of
//! all effects.
#![allow(clippy::print_stdout, reason = "a bench says what it found")]

use auscult::source::Record;
use auscult::worker::{Event, Worker};
use auscult_benches::core_time::core_time;
use auscult_benches::digest::Digest;
use auscult_benches::workload::{Size, frames, measuring, plan, records, samples, size};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Seconds before the measurement: windows fill, filters settle.
const WARM_S: usize = 30;
/// Records handed over at a time, as a poll of a busy broker gives them.
const BATCH: usize = 500;

fn walk(worker: &mut Worker, log: &[Record], mut told: impl FnMut(auscult::effects::Effects)) {
    for batch in log.chunks(BATCH) {
        told(worker.step(Event::Records(batch)));
    }
}

fn whole(c: &mut Criterion) {
    let Size { beds, seconds } = size(64, 90);
    let ward = frames(Size { beds, seconds });
    let log = records(&ward, 0);
    let warm = (seconds / 2).min(WARM_S) * beds;

    let mut digest = Digest::default();
    walk(&mut Worker::new(plan(true)), &log, |effects| digest.take(&effects));
    println!("walk: digest {digest} of {} frames", log.len());

    let plan = plan(false);
    if let Some(why) = plan.models.iter().find_map(|m| m.unavailable.as_ref()) {
        println!("walk: measured without the model: {why}");
    }
    let ready = || {
        let mut worker = Worker::new(plan.clone());
        walk(&mut worker, &log[..warm], drop);
        worker
    };
    if measuring() {
        let once = || {
            let mut worker = ready();
            let start = core_time();
            walk(&mut worker, &log[warm..], drop);
            core_time() - start
        };
        let best = (0..5).map(|_| once()).min().unwrap_or_default().as_secs_f64();
        let rate = samples(&ward[warm..]) as f64 / best / 1e6;
        println!("walk: {rate:.1} million samples/s of core time");
    }
    let mut group = c.benchmark_group("walk");
    group.sample_size(10);
    group.throughput(Throughput::Elements(samples(&ward[warm..])));
    group.bench_function("samples", |b| {
        b.iter_batched_ref(ready, |worker| walk(worker, &log[warm..], drop), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, whole);
criterion_main!(benches);
