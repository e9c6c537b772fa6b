//! How fast frames become sealed epochs.
//! In: decoded frames of the ward. Out: samples a second through one timeline each bed.
#![allow(clippy::print_stdout, reason = "a bench says what it found")]

use std::sync::Arc;

use auscult::align::{Epochs, Timeline};
use auscult_benches::workload::{frames, samples, size};
use auscult_operators::signal::{Frame, Span};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn alignment(c: &mut Criterion) {
    let size = size(64, 30);
    let ward = frames(size);
    let shared: Vec<Arc<Frame>> = ward.iter().cloned().map(Arc::new).collect();
    let all = || {
        let mut timelines = vec![Timeline::default(); size.beds];
        let (mut sealed, mut handed_on) = (Epochs::default(), 0);
        for (i, frame) in shared.iter().enumerate() {
            let timeline = &mut timelines[i % size.beds];
            timeline.take(frame, i as i64);
            timeline.seal_due(Span::from_seconds(2.0), &mut sealed);
            while let Some(s) = sealed.pop() {
                handed_on += s.raw.len();
                sealed.give_back(s);
            }
        }
        handed_on
    };
    println!("align: {} of {} samples sealed", all(), samples(&ward));
    let mut group = c.benchmark_group("align");
    group.throughput(Throughput::Elements(samples(&ward)));
    group.bench_function("samples", |b| b.iter(all));
    group.finish();
}

criterion_group!(benches, alignment);
criterion_main!(benches);
