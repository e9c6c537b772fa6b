//! How fast spectra are made.
//! In: a second or a minute of samples. Out: samples a second through the real transform and through Welch's mean.

use auscult_operators::signal::Hertz;
use auscult_operators::spectrum::{RealFft, Welch, fft::Bin};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn spectra(c: &mut Criterion) {
    let mut group = c.benchmark_group("spectrum");
    for len in [256, 1000, 4096] {
        let mut fft = RealFft::new(len).expect("an even length");
        let samples: Vec<f64> = (0..len).map(|i| ((i * 37 % 101) as f64 - 50.0) / 50.0).collect();
        let mut bins = vec![Bin::default(); fft.bins()];
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(BenchmarkId::new("fft", len), |b| b.iter(|| fft.forward(&samples, &mut bins)));
    }
    let mut welch = Welch::new(1024, Hertz(250.0)).expect("an even length");
    let samples: Vec<f32> = (0..15_000).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let mut density = vec![0.0; welch.bins()];
    group.throughput(Throughput::Elements(samples.len() as u64));
    group.bench_function("welch_1024_of_60_s", |b| b.iter(|| welch.density(&samples, &mut density)));
    group.finish();
}

criterion_group!(benches, spectra);
criterion_main!(benches);
