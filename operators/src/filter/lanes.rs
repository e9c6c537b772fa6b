//! Runs many channels through one cascade side by side: sixteen channels are the sixteen lanes of each
//! operation. In: per channel its samples, a buffer and its state. Out: filtered samples in the same unit,
//! the state after.
//!
//! A recursive filter cannot go wide along time, but it can across channels. Samples are turned from rows (a
//! channel after the other) into lanes (a time step after the other) in tiles of eight by eight. Channels of
//! different lengths run in lockstep; each one's state is taken out where its samples end.
//!
//! Everything that computes here is `#[inline(always)]`, has no closures, and is compiled once per
//! instruction set by [`super::dispatch`]; the arithmetic is the same fused operations in the same order in
//! all of them.

use super::cascade::{Cascade, CascadeState, MAX_SECTIONS};
use super::dispatch::{self, Width};

/// Channels that run side by side.
pub const LANES: usize = 16;

/// Time steps that are held in lanes at once: 4 KiB of samples, well inside the first cache.
const BLOCK: usize = 64;

/// Side of a tile.
pub(super) const TILE: usize = 8;

/// Up to this many channels run one by one: sixteen lanes cost as much as that many single ones.
const FEW: usize = 2;

/// One channel's samples of one epoch. `output` must be as long as `input`; the shorter of the two counts.
#[derive(Debug)]
pub struct Job<'a> {
    /// Samples: finite, at the rate of the cascade.
    pub input: &'a [f32],
    /// Where the filtered samples go.
    pub output: &'a mut [f32],
    /// The channel's state in this cascade.
    pub state: &'a mut CascadeState,
}

impl Job<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.input.len().min(self.output.len())
    }
}

/// Runs all jobs, sixteen at a time, with the widest instructions this machine has. The bits of a channel do
/// not depend on which other channels run with it, nor on the machine.
///
/// ```
/// use auscult_operators::filter::{Band, Cascade, CascadeState, Job, butterworth, filter_many};
/// use auscult_operators::signal::Hertz;
/// let rate = Hertz(62.5);
/// let low = Cascade::new(butterworth(4, Band::LowPass(Hertz(8.0)), rate).unwrap(), rate).unwrap();
/// let (input, mut states) = ([0.5f32; 63], [CascadeState::default(); 2]);
/// let (mut a, mut b) = ([0f32; 63], [0f32; 62]);
/// let [first, second] = &mut states;
/// filter_many(&low, &mut [
///     Job { input: &input, output: &mut a, state: first },
///     Job { input: &input[1..], output: &mut b, state: second },
/// ]);
/// assert_eq!(a[..62], b);
/// ```
pub fn filter_many(cascade: &Cascade, jobs: &mut [Job<'_>]) {
    filter_many_at(Width::best(), cascade, jobs);
}

/// As [`filter_many`] with instructions of a given width; one that this machine lacks falls back to scalar.
///
/// ```
/// use auscult_operators::filter::{Cascade, CascadeState, Job, Width, lanes::filter_many_at, notch};
/// use auscult_operators::signal::Hertz;
/// let c = Cascade::new(vec![notch(Hertz(50.0), 30.0, Hertz(250.0)).unwrap()], Hertz(250.0)).unwrap();
/// for width in Width::available() {
///     let (mut state, mut output) = (CascadeState::default(), [0f32; 5]);
///     filter_many_at(width, &c, &mut [Job { input: &[1.0; 5], output: &mut output, state: &mut state }]);
///     assert!(output.iter().all(|y| (y - 1.0).abs() < 1e-6));
/// }
/// ```
pub fn filter_many_at(width: Width, cascade: &Cascade, jobs: &mut [Job<'_>]) {
    for group in jobs.chunks_mut(LANES) {
        dispatch::run(width, cascade, group);
    }
}

/// A square of samples.
pub(super) type Tile = [[f32; TILE]; TILE];

/// Turns tiles: row `i`, column `j` becomes row `j`, column `i`.
pub(super) trait Turn {
    fn turn(rows: [&[f32; TILE]; TILE]) -> Tile;
}

/// Runs up to [`LANES`] jobs.
#[inline(always)]
pub(super) fn run_group<T: Turn>(cascade: &Cascade, jobs: &mut [Job<'_>]) {
    if jobs.len() <= FEW {
        run_each(cascade, jobs);
    } else {
        lockstep::<LANES, T>(cascade, jobs);
    }
}

/// Runs jobs four at a time; so few lanes are packed sample by sample.
#[inline(always)]
pub(super) fn run_fours(cascade: &Cascade, jobs: &mut [Job<'_>]) {
    if jobs.len() <= FEW {
        return run_each(cascade, jobs);
    }
    let mut from = 0;
    while from < jobs.len() {
        let to = jobs.len().min(from + 4);
        lockstep::<4, NoTiles>(cascade, &mut jobs[from..to]);
        from = to;
    }
}

/// Runs jobs one by one.
#[inline(always)]
pub(super) fn run_each(cascade: &Cascade, jobs: &mut [Job<'_>]) {
    for i in 0..jobs.len() {
        lockstep::<1, NoTiles>(cascade, &mut jobs[i..i + 1]);
    }
}

/// For fewer lanes than a tile is wide.
struct NoTiles;
impl Turn for NoTiles {
    #[inline(always)]
    fn turn(rows: [&[f32; TILE]; TILE]) -> Tile {
        rows.map(|r| *r)
    }
}

/// What the sections of `L` channels remember.
struct Memory<const L: usize> {
    doubles: [[[f64; L]; 2]; MAX_SECTIONS],
    singles: [[[f32; L]; 2]; MAX_SECTIONS],
}

#[inline(always)]
fn lockstep<const L: usize, T: Turn>(cascade: &Cascade, jobs: &mut [Job<'_>]) {
    let mut memory =
        Memory { doubles: [[[0.0; L]; 2]; MAX_SECTIONS], singles: [[[0.0; L]; 2]; MAX_SECTIONS] };
    for (lane, job) in jobs.iter_mut().enumerate() {
        if job.len() > 0 {
            job.state.prime(cascade, job.input[0]);
            load(cascade, &mut memory, lane, job.state);
        }
    }
    let mut block = [[0f32; L]; BLOCK];
    let mut done = 0;
    while let Some(next) = next_stop(jobs, done) {
        let lanes = &mut block[..next - done];
        pack::<L, T>(jobs, done, lanes);
        double_sections(&cascade.doubles, &mut memory.doubles, lanes);
        single_sections(&cascade.singles, &mut memory.singles, lanes);
        unpack::<L, T>(jobs, done, lanes);
        done = next;
        for (lane, job) in jobs.iter_mut().enumerate() {
            if job.len() == done {
                store(cascade, &memory, lane, job.state);
            }
        }
    }
}

/// How far all channels that still have samples can go together.
#[inline(always)]
fn next_stop(jobs: &[Job<'_>], done: usize) -> Option<usize> {
    let mut stop = None;
    for job in jobs {
        let len = job.len();
        if len > done && stop.is_none_or(|s| len < s) {
            stop = Some(len);
        }
    }
    stop.map(|s| s.min(done + BLOCK))
}

#[inline(always)]
fn load<const L: usize>(cascade: &Cascade, memory: &mut Memory<L>, lane: usize, state: &CascadeState) {
    let doubles = cascade.doubles.len();
    for i in 0..doubles {
        memory.doubles[i][0][lane] = state.memory[i][0];
        memory.doubles[i][1][lane] = state.memory[i][1];
    }
    for i in 0..cascade.singles.len() {
        memory.singles[i][0][lane] = state.memory[doubles + i][0] as f32;
        memory.singles[i][1][lane] = state.memory[doubles + i][1] as f32;
    }
}

#[inline(always)]
fn store<const L: usize>(cascade: &Cascade, memory: &Memory<L>, lane: usize, state: &mut CascadeState) {
    let doubles = cascade.doubles.len();
    for i in 0..doubles {
        state.store(i, [memory.doubles[i][0][lane], memory.doubles[i][1][lane]]);
    }
    for i in 0..cascade.singles.len() {
        let [z1, z2] = memory.singles[i];
        state.store(doubles + i, [f64::from(z1[lane]), f64::from(z2[lane])]);
    }
}

/// Rows of samples from `from` on become lanes. A lane without a channel, or whose channel has ended, gets
/// zeros.
#[inline(always)]
fn pack<const L: usize, T: Turn>(jobs: &[Job<'_>], from: usize, lanes: &mut [[f32; L]]) {
    let steps = lanes.len();
    let silence = [0f32; BLOCK];
    let mut rows: [&[f32]; L] = [&silence[..steps]; L];
    for (row, job) in rows.iter_mut().zip(jobs) {
        if job.len() > from {
            *row = &job.input[from..from + steps];
        }
    }
    if !L.is_multiple_of(TILE) || steps < TILE {
        for (lane, row) in rows.iter().enumerate() {
            for (step, x) in lanes.iter_mut().zip(row.iter()) {
                step[lane] = *x;
            }
        }
        return;
    }
    let mut side = 0;
    while side < L {
        let mut at = 0;
        while at < steps {
            // The last tile may overlap the one before it: the same samples land in the same places.
            at = at.min(steps - TILE);
            let mut tile = [&[0f32; TILE]; TILE];
            for r in 0..TILE {
                tile[r] = part(rows[side + r], at);
            }
            let turned = T::turn(tile);
            for (step, row) in lanes[at..at + TILE].iter_mut().zip(&turned) {
                step[side..side + TILE].copy_from_slice(row);
            }
            at += TILE;
        }
        side += TILE;
    }
}

/// Lanes become rows again.
#[inline(always)]
fn unpack<const L: usize, T: Turn>(jobs: &mut [Job<'_>], from: usize, lanes: &[[f32; L]]) {
    let steps = lanes.len();
    let mut rows: [&mut [f32]; L] = std::array::from_fn(|_| Default::default());
    for (row, job) in rows.iter_mut().zip(jobs) {
        if job.len() > from {
            *row = &mut job.output[from..from + steps];
        }
    }
    if !L.is_multiple_of(TILE) || steps < TILE {
        for (lane, row) in rows.iter_mut().enumerate() {
            for (y, step) in row.iter_mut().zip(lanes) {
                *y = step[lane];
            }
        }
        return;
    }
    let mut side = 0;
    while side < L {
        let mut at = 0;
        while at < steps {
            at = at.min(steps - TILE);
            let mut tile = [&[0f32; TILE]; TILE];
            for (row, step) in tile.iter_mut().zip(&lanes[at..at + TILE]) {
                *row = part(step, side);
            }
            let turned = T::turn(tile);
            for r in 0..TILE {
                // A lane without a channel, or whose channel has ended, has nowhere to go.
                if let Some(y) = rows[side + r].get_mut(at..at + TILE) {
                    y.copy_from_slice(&turned[r]);
                }
            }
            at += TILE;
        }
        side += TILE;
    }
}

/// The samples of one tile row; zeros where there are not enough, which does not happen.
#[inline(always)]
fn part(row: &[f32], at: usize) -> &[f32; TILE] {
    match row[at..].first_chunk() {
        Some(part) => part,
        None => &[0.0; TILE],
    }
}

/// Runs sections in groups of at most four, whose state stays in registers.
#[inline(always)]
fn single_sections<const L: usize>(all: &[[f32; 5]], memory: &mut [[[f32; L]; 2]], lanes: &mut [[f32; L]]) {
    let mut i = 0;
    while i < all.len() {
        let (c, m) = (&all[i..], &mut memory[i..]);
        i += match c.len() {
            1 => single::<1, L>(c, m, lanes),
            2 => single::<2, L>(c, m, lanes),
            3 => single::<3, L>(c, m, lanes),
            _ => single::<4, L>(c, m, lanes),
        };
    }
}

#[inline(always)]
fn double_sections<const L: usize>(all: &[[f64; 5]], memory: &mut [[[f64; L]; 2]], lanes: &mut [[f32; L]]) {
    let mut i = 0;
    while i < all.len() {
        let (c, m) = (&all[i..], &mut memory[i..]);
        i += match c.len() {
            1 => double::<1, L>(c, m, lanes),
            2 => double::<2, L>(c, m, lanes),
            3 => double::<3, L>(c, m, lanes),
            _ => double::<4, L>(c, m, lanes),
        };
    }
}

/// `N` sections in single precision, in place; returns `N`.
#[inline(always)]
fn single<const N: usize, const L: usize>(
    coefficients: &[[f32; 5]],
    memory: &mut [[[f32; L]; 2]],
    lanes: &mut [[f32; L]],
) -> usize {
    let mut c = [[0f32; 5]; N];
    let mut z = [[[0f32; L]; 2]; N];
    c.copy_from_slice(&coefficients[..N]);
    z.copy_from_slice(&memory[..N]);
    for step in lanes.iter_mut() {
        let mut x = *step;
        for i in 0..N {
            let [b0, b1, b2, a1, a2] = c[i];
            let mut y = [0f32; L];
            for l in 0..L {
                y[l] = b0.mul_add(x[l], z[i][0][l]);
                z[i][0][l] = a1.mul_add(y[l], b1.mul_add(x[l], z[i][1][l]));
                z[i][1][l] = a2.mul_add(y[l], b2 * x[l]);
            }
            x = y;
        }
        *step = x;
    }
    memory[..N].copy_from_slice(&z);
    N
}

/// `N` sections in double precision, in place; returns `N`.
#[inline(always)]
fn double<const N: usize, const L: usize>(
    coefficients: &[[f64; 5]],
    memory: &mut [[[f64; L]; 2]],
    lanes: &mut [[f32; L]],
) -> usize {
    let mut c = [[0f64; 5]; N];
    let mut z = [[[0f64; L]; 2]; N];
    c.copy_from_slice(&coefficients[..N]);
    z.copy_from_slice(&memory[..N]);
    for step in lanes.iter_mut() {
        let mut x = [0f64; L];
        for l in 0..L {
            x[l] = f64::from(step[l]);
        }
        for i in 0..N {
            let [b0, b1, b2, a1, a2] = c[i];
            let mut y = [0f64; L];
            for l in 0..L {
                y[l] = b0.mul_add(x[l], z[i][0][l]);
                z[i][0][l] = a1.mul_add(y[l], b1.mul_add(x[l], z[i][1][l]));
                z[i][1][l] = a2.mul_add(y[l], b2 * x[l]);
            }
            x = y;
        }
        for l in 0..L {
            step[l] = x[l] as f32;
        }
    }
    memory[..N].copy_from_slice(&z);
    N
}
