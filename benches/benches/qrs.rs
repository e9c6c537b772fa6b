//! How fast beats are found.
//! In: a minute of one lead of the ward. Out: samples a second through one detector.
#![allow(clippy::print_stdout, reason = "a bench says what it found")]

use auscult_benches::workload::{Size, frames};
use auscult_operators::ecg::qrs::QrsDetector;
use auscult_operators::signal::frame::Samples;
use auscult_operators::signal::{Hertz, Kind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn detection(c: &mut Criterion) {
    let ward = frames(Size { beds: 1, seconds: 60 });
    let leads = ward.iter().filter_map(|f| f.waves.iter().find(|w| w.channel.row().kind == Kind::Ecg));
    let mut ecg: Vec<f32> = Vec::new();
    for wave in leads {
        match &wave.samples {
            Samples::Counts { counts, scale, offset, .. } => {
                ecg.extend(counts.iter().map(|&n| (f64::from(n) * scale + offset) as f32));
            }
            Samples::Values(values) => ecg.extend(values),
        }
    }
    let beats = || {
        let (mut found, mut detector) = (0, QrsDetector::new(Hertz(250.0)));
        detector.push(&ecg, &mut |_| found += 1);
        detector.finish(&mut |_| found += 1);
        found
    };
    println!("qrs: {} beats in {} samples", beats(), ecg.len());
    let mut group = c.benchmark_group("qrs");
    group.throughput(Throughput::Elements(ecg.len() as u64));
    group.bench_function("one_lead", |b| b.iter(beats));
    group.finish();
}

criterion_group!(benches, detection);
criterion_main!(benches);
