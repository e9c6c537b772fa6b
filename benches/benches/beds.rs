//! What a bed costs, in time and in memory, as the ward grows.
//! In: decoded frames of a minute of wards of 100 to 50,000 beds. Out: per size the core's time per bed and second,
//! samples a second, and the resident memory per bed, as Linux tells it. `-- 100 10000` measures only these sizes.
#![allow(clippy::print_stdout, reason = "a bench says what it found")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the wall clock")]

use std::time::Duration;

use auscult::worker::{Event, Worker};
use auscult_benches::core_time::core_time;
use auscult_benches::workload::{Seconds, measuring, placed, plan, samples};
use auscult_operators::signal::Frame;

/// Seconds in which the time is taken: of small wards more, so that there are enough for a figure.
fn seconds(beds: usize) -> usize {
    if measuring() { (BED_SECONDS / beds).max(30) } else { 30 }
}

/// Seconds of beds that are measured at least.
const BED_SECONDS: usize = 60_000;
/// Seconds before the time is taken.
const WARM_S: usize = 30;
/// Frames handed over at a time.
const BATCH: usize = 500;

/// Resident memory in KiB, where the system tells it.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn ward(beds: usize) {
    let mut ward = Seconds::new(beds);
    let mut worker = Worker::new(plan(false));
    let (mut spent, mut measured, mut offset, mut before) = (Duration::ZERO, 0, 0, None);
    let seconds = seconds(beds);
    for second in 0..WARM_S + seconds {
        let mut frames = ward.next_second();
        loop {
            // No more than a batch is held: the memory that grows is that of the beds.
            let batch: Vec<Frame> = frames.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            let n = samples(&batch);
            let batch = placed(batch, offset);
            offset += batch.len() as i64;
            before = before.or_else(resident_kib);
            let start = core_time();
            drop(worker.step(Event::Frames(&batch)));
            if second >= WARM_S {
                spent += core_time() - start;
                measured += n;
            }
        }
    }
    if !measuring() {
        return println!("beds {beds:>6}: {offset} frames, too few for a figure");
    }
    let per_bed = spent.as_secs_f64() * 1e6 / (beds * seconds) as f64;
    let rate = measured as f64 / spent.as_secs_f64() / 1e6;
    let memory = resident_kib().zip(before).map_or("not known".into(), |(after, before)| {
        format!("{:.1} KiB a bed", after.saturating_sub(before) as f64 / beds as f64)
    });
    println!(
        "beds {beds:>6}: {per_bed:.1} us a bed and second, {rate:.1} million samples/s, memory {memory}"
    );
}

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let sizes: &[usize] = match (measuring(), asked.as_slice()) {
        (false, _) => &[3],
        (true, []) => &[100, 1_000, 10_000, 50_000],
        (true, asked) => asked,
    };
    sizes.iter().for_each(|&beds| ward(beds));
}
