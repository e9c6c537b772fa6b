//! One turn of the shards: records in, effects and the chunk that tells them out.
//! In: shards with their records. Out: the same on one thread and on many, since shards share nothing.

use std::thread;

use rayon_core::{ThreadPool, ThreadPoolBuilder};

use auscult_operators::signal::EventTime;

use super::handover::Chunk;
use crate::effects::Effect;
use crate::error::RunError;
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

/// Threads for as many shards at once as there are cores. They stay: what a thread prepares for itself at its first
/// use, such as the tables of transforms, is there for the next turn.
pub(super) struct Stepper {
    /// Beside the caller; none if there is but one core.
    pool: Option<ThreadPool>,
}

impl Stepper {
    /// Starts the threads.
    pub(super) fn start() -> Result<Self, RunError> {
        let beside = thread::available_parallelism().map_or(1, usize::from) - 1;
        let start =
            || ThreadPoolBuilder::new().num_threads(beside).thread_name(|i| format!("step-{i}")).build();
        let pool = (beside > 0).then(start).transpose();
        Ok(Self { pool: pool.map_err(|e| RunError::io("start", "threads")(std::io::Error::other(e)))? })
    }

    /// Steps every job. Answers come in the order of the partitions.
    pub(super) fn step_all(&self, mut jobs: Vec<Job<'_>>, telling: &Telling) -> Vec<Stepped> {
        let records: usize = jobs.iter().map(|j| j.records.len()).sum();
        let pool = match &self.pool {
            Some(pool) if records >= FEW && jobs.len() > 1 => pool,
            _ => return jobs.into_iter().map(|j| step(j, telling)).collect(),
        };
        let threads = (pool.current_num_threads() + 1).min(jobs.len());
        let mut piles: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
        jobs.sort_by_key(|j| std::cmp::Reverse(j.records.len()));
        for (i, job) in jobs.into_iter().enumerate() {
            piles[i % threads].push(job);
        }
        let work = |pile: Vec<Job<'_>>| pile.into_iter().map(|j| step(j, telling)).collect::<Vec<_>>();
        let mut done: Vec<Vec<Stepped>> = (0..threads).map(|_| Vec::new()).collect();
        pool.in_place_scope(|scope| {
            let mut both = piles.into_iter().zip(&mut done);
            let mine = both.next();
            both.for_each(|(pile, done)| scope.spawn(move |_| *done = work(pile)));
            if let Some((pile, done)) = mine {
                *done = work(pile);
            }
        });
        let mut done: Vec<Stepped> = done.into_iter().flatten().collect();
        done.sort_by_key(|d| d.partition);
        done
    }
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
