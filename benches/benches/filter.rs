//! How fast the conditioning of ECG runs: one channel alone, and many side by side in lanes.
//! In: one second of 256 channels at 250 Hz. Out: samples a second through a cascade of four sections.

use auscult_operators::filter::{CascadeState, Conditioning, Job, Width, cascade_for, lanes::filter_many_at};
use auscult_operators::signal::{Hertz, Kind};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn conditioning(c: &mut Criterion) {
    let cascade = cascade_for(Kind::Ecg, Hertz(250.0), &Conditioning::default()).expect("a usual rate");
    let input: Vec<f32> = (0..250).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let mut group = c.benchmark_group("filter");
    for channels in [1, 16, 256] {
        let mut output = vec![vec![0f32; input.len()]; channels];
        let mut states = vec![CascadeState::default(); channels];
        group.throughput(Throughput::Elements((channels * input.len()) as u64));
        for width in Width::available() {
            group.bench_function(BenchmarkId::new(format!("{width:?}"), channels), |b| {
                b.iter(|| {
                    let mut jobs: Vec<Job<'_>> = output
                        .iter_mut()
                        .zip(&mut states)
                        .map(|(output, state)| Job { input: &input, output, state })
                        .collect();
                    filter_many_at(width, &cascade, &mut jobs);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, conditioning);
criterion_main!(benches);
