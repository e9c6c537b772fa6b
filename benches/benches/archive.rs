//! How fast the archive is written.
//! In: the effects of the ward. Out: samples a second into Parquet files of a temporary folder.

use auscult::sink::archive::Archive;
use auscult::worker::{Event, Worker};
use auscult_benches::workload::{frames, plan, records, samples, size};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn archive(c: &mut Criterion) {
    let ward = frames(size(64, 60));
    let log = records(&ward, 0);
    let mut worker = Worker::new(plan(false));
    let effects = worker.step(Event::Records(&log));
    let end = worker.step(Event::Stop);
    let mut group = c.benchmark_group("archive");
    group.sample_size(10);
    group.throughput(Throughput::Elements(samples(&ward)));
    group.bench_function("samples", |b| {
        b.iter_batched(
            || tempfile::tempdir().expect("a temporary folder"),
            |folder| {
                let mut archive = Archive::open(folder.path(), "bench", 0).expect("a new archive");
                archive.take(&effects.list).expect("a writable folder");
                archive.take(&end.list).expect("a writable folder");
                assert!(archive.files > 0);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, archive);
criterion_main!(benches);
