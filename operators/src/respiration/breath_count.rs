//! Breaths in a window: by counting waves, checked by how well the window repeats itself.
//! In: evenly spaced samples of any unit, their rate in Hz. Out: breaths per minute and a quality (0 to 1).

use std::cell::RefCell;

use crate::filter::dispatch::{Kernel, widest};
use crate::window::{bits, grade, median_in_place, rank_in_place};

/// Slowest and fastest rate looked for (/min).
pub const RANGE: (f64, f64) = (4.0, 60.0);

/// Most samples of a window.
pub const MOST: usize = 512;

/// Most turning points of a window.
const TURNS: usize = 256;

/// Places that are looked at side by side, one bit each.
const BLOCK: usize = 64;
/// Zeros after a window, so that what goes over it in blocks needs no end of its own.
const AFTER: usize = BLOCK + 2;
/// A window and the zeros after it.
type Line = [f32; MOST + AFTER];

/// Working memory. Every part is written before it is read: it need not be cleared for each window.
struct Space {
    line: Line,
    marks: [u64; MOST / BLOCK],
    turns: [(f32, f32); TURNS],
    swings: [f32; TURNS],
    sorted: [f32; TURNS],
    repeats: [f32; MOST / 2 + ABREAST],
    norms: [f32; MOST / 2 + ABREAST],
}

thread_local! {
    static SPACE: RefCell<Space> = const {
        RefCell::new(Space {
            line: [0.0; MOST + AFTER],
            marks: [0; MOST / BLOCK],
            turns: [(0.0, 0.0); TURNS],
            swings: [0.0; TURNS],
            sorted: [0.0; TURNS],
            repeats: [0.0; MOST / 2 + ABREAST],
            norms: [0.0; MOST / 2 + ABREAST],
        })
    };
}

/// Breaths per minute in a window and how far to believe it, or `None` if nothing in it looks like breathing.
///
/// Waves are counted as in Schäfer and Kratky: turning points that rise or fall less than a share of the usual are
/// no breaths. The count is checked by the autocorrelation: where both agree and the window repeats itself well,
/// the quality is high. The window's mean and slope count for nothing.
///
/// ```
/// use auscult_operators::respiration::breath_count::breaths_per_minute;
/// let wave: Vec<f32> = (0..160).map(|i| libm::sinf(i as f32 / 5.0 * 2.0 * 3.14159 * 0.3)).collect();
/// let (rate, quality) = breaths_per_minute(&wave, 5.0).unwrap();
/// assert!((rate - 18.0).abs() < 0.3 && quality > 0.9, "{rate} {quality}");
/// ```
pub fn breaths_per_minute(samples: &[f32], rate_hz: f64) -> Option<(f64, f32)> {
    if samples.len() < 16 || samples.len() > MOST || rate_hz <= 0.0 {
        return None;
    }
    let (counted, repeated) = SPACE.with_borrow_mut(|space| {
        let energy = widest(Level { samples, line: &mut space.line });
        let repeated = autocorrelation_rate(space, samples.len(), energy, rate_hz);
        (count_waves(space, samples.len(), energy, rate_hz), repeated)
    });
    let (counted, repeated) = match (counted, repeated) {
        (Some(c), Some(r)) => (c, r),
        // One alone is weak evidence.
        (Some((rate, steady)), None) => return Some((rate, 0.3 * steady)),
        (None, Some((rate, height))) => return Some((rate, 0.3 * height)),
        (None, None) => return None,
    };
    let apart = (counted.0 - repeated.0).abs();
    let agree = grade(apart as f32, 1.5, 5.0);
    let quality = (0.25 + 0.75 * agree) * (0.5 * counted.1 + 0.5 * repeated.1);
    Some((counted.0, quality.clamp(0.0, 1.0)))
}

/// Sums that are made side by side, each of every eighth number, in one fixed order.
const LANES: usize = 8;

/// Takes away mean and slope, puts zeros after the window, and yields the sum of the squares of what is left.
struct Level<'a> {
    samples: &'a [f32],
    line: &'a mut Line,
}

impl Kernel for Level<'_> {
    type Out = f32;
    #[inline(always)]
    fn run(self) -> f32 {
        let n = self.samples.len();
        let (line, after) = self.line.split_at_mut(n);
        after[..AFTER].fill(0.0);
        let (count, centre) = (n as f64, (n as f64 - 1.0) / 2.0);
        let (mut sums, mut moments) = ([0.0; LANES], [0.0; LANES]);
        let (eights, rest) = self.samples.as_chunks::<LANES>();
        let mut at = -centre;
        for eight in eights {
            for k in 0..LANES {
                let x = f64::from(eight[k]);
                sums[k] += x;
                moments[k] += (at + k as f64) * x;
            }
            at += LANES as f64;
        }
        for (k, x) in rest.iter().enumerate() {
            sums[k] += f64::from(*x);
            moments[k] += (at + k as f64) * f64::from(*x);
        }
        let (sum, moment) = (sums.iter().sum::<f64>(), moments.iter().sum::<f64>());
        let (mean, slope) = (sum / count, moment * 12.0 / (count * (count * count - 1.0)));
        for i in 0..n {
            let along = (f64::from(i as i32) - centre) * slope;
            line[i] = (f64::from(self.samples[i]) - mean - along) as f32;
        }
        let mut squares = [0.0_f32; LANES];
        for eight in self.line[..n.next_multiple_of(LANES)].as_chunks::<LANES>().0 {
            for k in 0..LANES {
                squares[k] += eight[k] * eight[k];
            }
        }
        squares.iter().sum()
    }
}

/// Rate from the times between breaths, and how steady they are.
fn count_waves(space: &mut Space, len: usize, energy: f32, rate_hz: f64) -> Option<(f64, f32)> {
    let mut count = turning_points(space, len);
    let Space { turns, swings, sorted, .. } = space;
    for (swing, pair) in swings.iter_mut().zip(turns[..count].windows(2)) {
        *swing = (pair[1].1 - pair[0].1).abs();
    }
    let by_size = &mut sorted[..count.saturating_sub(1)];
    by_size.copy_from_slice(&swings[..by_size.len()]);
    let usual = rank_in_place(by_size, 0.75)?;
    // Under a slow breath most swings are noise: the spread of the whole window sets a floor.
    let spread = (energy / len as f32).sqrt();
    let least = (0.3 * usual).max(0.6 * spread);
    // Drop the smallest swing, which joins its neighbours, until every one is large enough.
    loop {
        let smallest = widest(Smallest { swings: &swings[..count.saturating_sub(1)] })?;
        if swings[smallest] >= least {
            break;
        }
        turns.copy_within(smallest + 2..count, smallest);
        swings.copy_within(smallest + 2..count, smallest);
        count -= 2;
        if (1..count).contains(&smallest) {
            swings[smallest - 1] = (turns[smallest].1 - turns[smallest - 1].1).abs();
        }
    }
    // Times between successive tops, and between successive bottoms: twice the evidence.
    let n = count.checked_sub(2).filter(|&n| n >= 2)?;
    let spans = &mut swings[..n];
    for (k, span) in spans.iter_mut().enumerate() {
        *span = turns[k + 2].0 - turns[k].0;
    }
    let total: f64 = spans.iter().map(|&s| f64::from(s)).sum();
    let rate = 60.0 * rate_hz * n as f64 / total;
    let mean = (total / n as f64) as f32;
    for span in spans.iter_mut() {
        *span = (*span - mean).abs() / mean;
    }
    let spread = median_in_place(spans)?;
    let inside = rate >= RANGE.0 && rate <= RANGE.1;
    inside.then(|| (rate, grade(spread, 0.08, 0.5)))
}

/// Where the first of the smallest swings is, none of which is negative.
struct Smallest<'a> {
    swings: &'a [f32],
}

impl Kernel for Smallest<'_> {
    type Out = Option<usize>;
    #[inline(always)]
    fn run(self) -> Option<usize> {
        // Floats that are not negative have the order of their bits.
        let mut smallest = u32::MAX;
        for swing in self.swings {
            smallest = smallest.min(swing.to_bits());
        }
        self.swings.iter().position(|swing| swing.to_bits() == smallest)
    }
}

/// Where a window turns: a bit for each place, the first for the second sample.
struct Turns<'a> {
    line: &'a Line,
    len: usize,
    marks: &'a mut [u64],
}

impl Kernel for Turns<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        // The first and the last sample do not turn.
        let places = self.len - 2;
        for (b, mark) in self.marks.iter_mut().enumerate() {
            let Some(part) = self.line[b * BLOCK..].first_chunk::<{ BLOCK + 2 }>() else { break };
            let mut flags = [0; BLOCK];
            for k in 0..BLOCK {
                let (a, b, c) = (part[k], part[k + 1], part[k + 2]);
                flags[k] = u8::from((b > a) & (b >= c) | (b < a) & (b <= c));
            }
            let there = places.saturating_sub(b * BLOCK).min(BLOCK) as u32;
            *mark = bits(&flags) & 1_u64.checked_shl(there).unwrap_or(0).wrapping_sub(1);
        }
    }
}

/// Tops and bottoms in turn as (place, height), with the place between samples by a parabola.
fn turning_points(space: &mut Space, len: usize) -> usize {
    let Space { line, marks, turns, .. } = space;
    let marks = &mut marks[..len.div_ceil(BLOCK)];
    widest(Turns { line, len, marks });
    let mut count = 0;
    for (b, mark) in marks.iter().enumerate() {
        let mut left = *mark;
        while left != 0 && count < TURNS {
            let i = b * BLOCK + left.trailing_zeros() as usize + 1;
            left &= left - 1;
            let (a, b, c) = (line[i - 1], line[i], line[i + 1]);
            let bend = a - 2.0 * b + c;
            let shift = if bend == 0.0 { 0.0 } else { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) };
            turns[count] = (i as f32 + shift, b);
            count += 1;
        }
    }
    count
}

/// Lags whose sums are made side by side: each alone would wait for its own last addition.
const ABREAST: usize = 32;

/// How alike a window and itself are at each lag from `first` on, 1 at most, of a window whose squares sum to `energy`.
struct Repeats<'a> {
    line: &'a Line,
    len: usize,
    energy: f32,
    first: usize,
    out: &'a mut [f32],
    norms: &'a mut [f32],
}

impl Kernel for Repeats<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { line, len, energy, first, out, norms } = self;
        // The squares of the samples that a lag leaves out at either end.
        let (mut head, mut tail) = (0.0, 0.0);
        let last = first + out.len() - 1;
        for lag in 1..=last {
            let (a, b) = (line[lag - 1], line[len - lag]);
            head += a * a;
            tail += b * b;
            norms[lag] = if head < energy && tail < energy { (energy - head) * (energy - tail) } else { 0.0 };
        }
        for (n, out) in out.chunks_mut(ABREAST).enumerate() {
            let sums = products(line, len, first + n * ABREAST);
            out.copy_from_slice(&sums[..out.len()]);
        }
        for (r, norm) in out.iter_mut().zip(&norms[first..=last]) {
            *r = if *norm > 0.0 { *r / norm.sqrt() } else { 0.0 };
        }
    }
}

/// Sums of products of a window and itself `lag` samples later, for [`ABREAST`] lags from `lag` on.
#[inline(always)]
fn products(line: &Line, len: usize, lag: usize) -> [f32; ABREAST] {
    let mut sums = [0.0_f32; ABREAST];
    // What lies beyond the window is zero.
    for (a, later) in line[..len.saturating_sub(lag)].iter().zip(line[lag..].array_windows::<ABREAST>()) {
        for k in 0..ABREAST {
            sums[k] += a * later[k];
        }
    }
    sums
}

/// Rate from the first high peak of the autocorrelation, and the height of that peak.
fn autocorrelation_rate(space: &mut Space, len: usize, energy: f32, rate_hz: f64) -> Option<(f64, f32)> {
    let shortest = ((60.0 / RANGE.1) * rate_hz).floor().max(1.0) as usize;
    let longest = (((60.0 / RANGE.0) * rate_hz).ceil() as usize).min(len / 2);
    if energy <= 0.0 || longest <= shortest + 2 {
        return None;
    }
    let Space { line, repeats: at, norms, .. } = space;
    let (first, out) = (shortest - 1, &mut at[shortest - 1..=longest]);
    widest(Repeats { line, len, energy, first, out, norms });
    let peaks = || (shortest..longest).filter(|&k| at[k] > at[k - 1] && at[k] >= at[k + 1]);
    let highest = peaks().map(|k| at[k]).fold(0.0, f32::max);
    // Multiples of the period are as high as the period: the first that is nearly as high is meant.
    let first = peaks().find(|&k| at[k] >= 0.85 * highest && at[k] > 0.0)?;
    let (a, b, c) = (at[first - 1], at[first], at[first + 1]);
    let bend = a - 2.0 * b + c;
    let shift = if bend < 0.0 { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) } else { 0.0 };
    Some((60.0 * rate_hz / (first as f64 + f64::from(shift)), b.clamp(0.0, 1.0)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wave(per_minute: f64, noise: f32, cardiac: f32) -> Vec<f32> {
        (0..160_i64)
            .map(|i| {
                let t = i as f64 / 5.0;
                let hash = ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0;
                let turn = |per_minute: f64| libm::sin(t * per_minute / 60.0 * std::f64::consts::TAU) as f32;
                turn(per_minute) + noise * hash + cardiac * turn(80.0) + 0.05 * t as f32
            })
            .collect()
    }

    #[test]
    fn rates_are_found_under_noise_and_heartbeat() {
        for rate in [6.0, 9.0, 14.0, 20.0, 31.0, 45.0] {
            let (found, quality) = breaths_per_minute(&wave(rate, 0.1, 0.1), 5.0).unwrap();
            assert!((found - rate).abs() < 0.8 && quality > 0.6, "{rate}: {found} {quality}");
        }
    }

    #[test]
    fn noise_alone_is_not_believed_and_nothing_is_none() {
        let noise = breaths_per_minute(&wave(0.0, 1.0, 0.0), 5.0);
        assert!(noise.is_none_or(|(_, quality)| quality < 0.5), "{noise:?}");
        assert_eq!(breaths_per_minute(&[0.0; 160], 5.0), None);
        assert_eq!(breaths_per_minute(&[1.0; 3], 5.0), None);
    }

    /// A window as it is looked at, and the sum of its squares.
    fn levelled(x: &[f32]) -> (Line, f32) {
        let mut line = [7.0; MOST + AFTER];
        let energy = widest(Level { samples: x, line: &mut line });
        (line, energy)
    }

    #[test]
    fn repeats_are_those_of_the_definition() {
        let x = wave(17.0, 0.3, 0.2);
        for len in [16, 17, 63, 64, 159, 160] {
            let (line, energy) = levelled(&x[..len]);
            let (mut out, mut norms) = ([0.0; MOST / 2], [0.0; MOST / 2]);
            let (first, last) = (1, len / 2);
            let found = &mut out[..last];
            widest(Repeats { line: &line, len, energy, first, out: found, norms: &mut norms });
            for (lag, found) in (first..=last).zip(found) {
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                };
                let (early, late) = (&line[..len - lag], &line[lag..len]);
                let expected = dot(early, late) / (dot(early, early) * dot(late, late)).sqrt();
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{len} {lag}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_level_window_has_neither_mean_nor_slope() {
        let x: Vec<f32> =
            wave(17.0, 0.3, 0.2).iter().enumerate().map(|(i, x)| x + 5.0 - 0.1 * i as f32).collect();
        for len in [16, 63, 64, 160] {
            let (line, energy) = levelled(&x[..len]);
            let moment = |f: &dyn Fn(usize) -> f64| (0..len).map(|i| f(i) * f64::from(line[i])).sum::<f64>();
            assert!(moment(&|_| 1.0).abs() < 1e-4 && moment(&|i| i as f64).abs() < 1e-3, "{len}");
            assert!((moment(&|i| f64::from(line[i])) - f64::from(energy)).abs() < 1e-4, "{len}");
            assert!(line[len..len + AFTER].iter().all(|x| *x == 0.0), "{len}");
        }
    }

    #[test]
    fn swings_are_joined_as_they_were_one_by_one() {
        // Turning points of heights whose smallest swings lie at the start, at the end and between.
        for seed in 0..40_u32 {
            let x: Vec<f32> =
                (0..160).map(|i| ((i * i * 31 + i * 17 + seed * 97) % 211) as f32 / 40.0).collect();
            let (line, energy) = levelled(&x);
            let x = &line[..x.len()];
            let turns_at = |i: &usize| {
                let (a, b, c) = (x[i - 1], x[*i], x[i + 1]);
                b > a && b >= c || b < a && b <= c
            };
            let turn = |i: usize| {
                let (a, b, c) = (x[i - 1], x[i], x[i + 1]);
                let bend = a - 2.0 * b + c;
                let shift = if bend == 0.0 { 0.0 } else { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) };
                (i as f32 + shift, b)
            };
            let mut turns: Vec<(f32, f32)> = (1..x.len() - 1).filter(turns_at).map(turn).collect();
            let swing = |t: &[(f32, f32)], k: usize| (t[k + 1].1 - t[k].1).abs();
            let mut all: Vec<f32> = (0..turns.len() - 1).map(|k| swing(&turns, k)).collect();
            let usual = rank_in_place(&mut all, 0.75).unwrap();
            let spread = (energy / x.len() as f32).sqrt();
            let least = (0.3 * usual).max(0.6 * spread);
            while let Some(k) = (0..turns.len().saturating_sub(1))
                .min_by(|&a, &b| swing(&turns, a).total_cmp(&swing(&turns, b)))
                .filter(|&k| swing(&turns, k) < least)
            {
                turns.drain(k..k + 2);
            }
            let n = turns.len().saturating_sub(2);
            let total: f64 = (0..n).map(|k| f64::from(turns[k + 2].0 - turns[k].0)).sum();
            let expected = Some(60.0 * 5.0 * n as f64 / total).filter(|_| n >= 2);
            let inside = expected.filter(|rate| (RANGE.0..=RANGE.1).contains(rate));
            let counted = SPACE.with_borrow_mut(|space| {
                space.line = line;
                count_waves(space, x.len(), energy, 5.0)
            });
            assert_eq!(counted.map(|c| c.0), inside, "seed {seed}");
        }
    }
}
