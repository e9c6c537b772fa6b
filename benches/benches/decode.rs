//! How fast frames are decoded and checked.
//! In: encoded records of the ward. Out: frames and samples a second on one core.

use auscult::decode::{Decoded, decode};
use auscult_benches::workload::{frames, records, samples, size};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn decoding(c: &mut Criterion) {
    let ward = frames(size(64, 30));
    let log = records(&ward, 0);
    let all = || log.iter().filter(|r| matches!(decode(r), Decoded::Frame(_))).count();
    assert_eq!(all(), ward.len());
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(samples(&ward)));
    group.bench_function("samples", |b| b.iter(all));
    group.throughput(Throughput::Elements(ward.len() as u64));
    group.bench_function("frames", |b| b.iter(all));
    group.finish();
}

criterion_group!(benches, decoding);
criterion_main!(benches);
