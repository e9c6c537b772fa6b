//! One turn of the shards: records in, effects and the chunk that tells them out.
//! In: shards with their records. Out: the same on one thread and on many, since shards share nothing.

use std::thread;

use auscult_operators::signal::EventTime;

use super::handover::Chunk;
use crate::effects::Effect;
use crate::failpoint;
use crate::shard::{Shard, Turn};
use crate::sink::kafka::Telling;
use crate::source::Record;

/// Fewer records than these are stepped where they are: a thread would cost more than it saves.
const FEW: usize = 400;

/// One shard and its records.
pub(super) struct Job<'a> {
    pub(super) partition: i32,
    pub(super) shard: &'a mut Shard,
    pub(super) records: Vec<Record>,
}

/// What a job yielded.
pub(super) struct Stepped {
    pub(super) partition: i32,
    /// For the archive and the live view.
    pub(super) effects: Vec<(i64, Effect)>,
    /// What is to be told, if anything is new.
    pub(super) chunk: Option<Chunk>,
    /// Bytes of the records.
    pub(super) bytes: u64,
    /// The partition's time.
    pub(super) heard: EventTime,
}

/// Steps every job, on as many threads as there are cores.
pub(super) fn step_all(mut jobs: Vec<Job<'_>>, telling: &Telling) -> Vec<Stepped> {
    let records: usize = jobs.iter().map(|j| j.records.len()).sum();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if records < FEW { 1 } else { cores.min(jobs.len()) };
    if threads <= 1 {
        return jobs.into_iter().map(|j| step(j, telling)).collect();
    }
    let mut piles: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
    jobs.sort_by_key(|j| std::cmp::Reverse(j.records.len()));
    for (i, job) in jobs.into_iter().enumerate() {
        piles[i % threads].push(job);
    }
    let mut done: Vec<Stepped> = thread::scope(|scope| {
        let work = |pile: Vec<Job<'_>>| pile.into_iter().map(|j| step(j, telling)).collect::<Vec<_>>();
        let mine = piles.pop().unwrap_or_default();
        let handles: Vec<_> = piles.into_iter().map(|pile| scope.spawn(move || work(pile))).collect();
        let mut all = work(mine);
        for handle in handles {
            all.extend(handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    done.sort_by_key(|d| d.partition);
    done
}

fn step(job: Job<'_>, telling: &Telling) -> Stepped {
    let Job { partition, shard, records } = job;
    let bytes = records.iter().map(|r| r.value.len() as u64).sum();
    let count = records.len();
    let Turn { effects, records } = shard.turn(records);
    failpoint::hit(failpoint::BEFORE_PRODUCE);
    let list = effects.list;
    let chunk = chunk(partition, shard, &list, &records, count, telling);
    Stepped {
        partition,
        effects: list,
        chunk,
        bytes,
        heard: shard.worker.partition_time().unwrap_or_default(),
    }
}

/// What of these effects is to be told, with the offset behind it.
pub(super) fn chunk(
    partition: i32,
    shard: &mut Shard,
    effects: &[(i64, Effect)],
    records: &[Record],
    count: usize,
    telling: &Telling,
) -> Option<Chunk> {
    let mut told = (0, 0);
    let mut outputs = Vec::new();
    for (_, effect) in effects.iter().filter(|(o, _)| shard.untold(*o)) {
        match effect {
            Effect::Event(..) => told.0 += 1,
            Effect::Score(..) => told.1 += 1,
            _ => {}
        }
        outputs.extend(telling.output(partition, effect, records));
    }
    let next = shard.to_commit().or((!outputs.is_empty()).then_some(shard.next))?;
    // Handed over is as good as committed: the committer tells it until it is told, or somebody else does.
    shard.committed(next);
    Some(Chunk { partition, next, outputs, records: count, told })
}
