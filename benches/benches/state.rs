//! What recovery costs: the size of a snapshot, the time to write one, the time to take a thousand beds over.
//! In: a ward with snapshots as shipped. Out: bytes and microseconds a snapshot, and seconds of core time until the
//! heir stands where its predecessor stood.
#![allow(clippy::print_stdout, reason = "a bench says what it found")]

use std::collections::BTreeMap;
use std::time::Duration;

use auscult::effects::Effect;
use auscult::source::Record;
use auscult::state::{Key, Restore, key_of};
use auscult::worker::{Event, Worker};
use auscult_benches::core_time::core_time;
use auscult_benches::workload::{Size, frames, measuring, plan, records, size};

fn main() {
    let Size { beds, seconds } = size(1_000, 150);
    let plan = plan(false);
    let log = records(&frames(Size { beds, seconds }), 0);
    let mut worker = Restore::new(plan.clone()).finish(0, false).0;
    let mut plain = Worker::new(plan.clone());
    let mut topic: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let (mut written, mut bytes) = (0_u64, 0);
    let (mut with, mut without) = (Duration::ZERO, Duration::ZERO);
    for batch in log.chunks(500) {
        let start = core_time();
        drop(plain.step(Event::Records(batch)));
        without += core_time() - start;
        let start = core_time();
        let effects = worker.step(Event::Records(batch));
        with += core_time() - start;
        for (_, effect) in effects.list {
            if let Effect::State(key, Some(value)) = effect {
                if matches!(key_of(&key), Some(Key::Patient(..))) {
                    (written, bytes) = (written + 1, bytes + value.len());
                }
                topic.insert(key, value);
            }
        }
    }
    drop((worker, plain));
    let end = log.len() as i64;
    let start = core_time();
    let mut restore = Restore::new(plan);
    topic.iter().for_each(|(k, v)| restore.take(k, Some(v)));
    let (mut heir, from, report) = restore.finish(end, false);
    let read = core_time() - start;
    let rest: &[Record] = &log[usize::try_from(from.offset).unwrap_or(0)..];
    let start = core_time();
    rest.chunks(500).for_each(|batch| drop(heir.step(Event::Records(batch))));
    let caught_up = core_time() - start;
    assert!(!measuring() || report.restored == beds, "{report:?}");
    if !measuring() {
        return println!("state: {written} snapshots of {beds} beds, too few for a figure");
    }
    let each = (with.saturating_sub(without)).as_secs_f64() * 1e6 / written as f64;
    println!(
        "snapshots: {} bytes each, {each:.0} us each, {:.1} % of the walk",
        bytes as u64 / written,
        100.0 * (with.as_secs_f64() / without.as_secs_f64() - 1.0)
    );
    println!(
        "take-over of {beds} beds: state {:.2} s, {} records again {:.2} s of core time",
        read.as_secs_f64(),
        rest.len(),
        caught_up.as_secs_f64()
    );
}
