//! Breaths in a window: by counting waves, checked by how well the window repeats itself.
//! In: evenly spaced samples of any unit, their rate in Hz. Out: breaths per minute and a quality (0 to 1).

use crate::filter::dispatch::{Kernel, widest};
use crate::window::{grade, median_in_place, rank_in_place};

/// Slowest and fastest rate looked for (/min).
pub const RANGE: (f64, f64) = (4.0, 60.0);

/// Most samples of a window.
pub const MOST: usize = 512;

/// Most turning points of a window.
const TURNS: usize = 256;

/// Breaths per minute in a window and how far to believe it, or `None` if nothing in it looks like breathing.
///
/// Waves are counted as in Schäfer and Kratky: turning points that rise or fall less than a share of the usual are
/// no breaths. The count is checked by the autocorrelation: where both agree and the window repeats itself well,
/// the quality is high. `samples` is detrended in place.
///
/// ```
/// use auscult_operators::respiration::breath_count::breaths_per_minute;
/// let mut wave: Vec<f32> = (0..160).map(|i| libm::sinf(i as f32 / 5.0 * 2.0 * 3.14159 * 0.3)).collect();
/// let (rate, quality) = breaths_per_minute(&mut wave, 5.0).unwrap();
/// assert!((rate - 18.0).abs() < 0.3 && quality > 0.9, "{rate} {quality}");
/// ```
pub fn breaths_per_minute(samples: &mut [f32], rate_hz: f64) -> Option<(f64, f32)> {
    if samples.len() < 16 || samples.len() > MOST || rate_hz <= 0.0 {
        return None;
    }
    level(samples);
    let counted = count_waves(samples, rate_hz);
    let repeated = autocorrelation_rate(samples, rate_hz);
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

/// Takes away mean and slope.
fn level(samples: &mut [f32]) {
    let n = samples.len() as f64;
    let centre = (n - 1.0) / 2.0;
    let (mut sum, mut moment) = (0.0, 0.0);
    for (i, &x) in samples.iter().enumerate() {
        sum += f64::from(x);
        moment += (i as f64 - centre) * f64::from(x);
    }
    let slope = moment * 12.0 / (n * (n * n - 1.0));
    for (i, x) in samples.iter_mut().enumerate() {
        *x = (f64::from(*x) - sum / n - (i as f64 - centre) * slope) as f32;
    }
}

/// Rate from the times between breaths, and how steady they are.
fn count_waves(x: &[f32], rate_hz: f64) -> Option<(f64, f32)> {
    let mut turns = [(0.0_f32, 0.0_f32); TURNS];
    let mut count = turning_points(x, &mut turns);
    let mut swings = [0.0_f32; TURNS];
    for (swing, pair) in swings.iter_mut().zip(turns[..count].windows(2)) {
        *swing = (pair[1].1 - pair[0].1).abs();
    }
    let mut by_size = swings;
    let usual = rank_in_place(&mut by_size[..count.saturating_sub(1)], 0.75)?;
    // Under a slow breath most swings are noise: the spread of the whole window sets a floor.
    let spread = (x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32).sqrt();
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
    let spans = &mut swings;
    for k in 0..n {
        spans[k] = turns[k + 2].0 - turns[k].0;
    }
    let total: f64 = spans[..n].iter().map(|&s| f64::from(s)).sum();
    let rate = 60.0 * rate_hz * n as f64 / total;
    let mean = (total / n as f64) as f32;
    for span in &mut spans[..n] {
        *span = (*span - mean).abs() / mean;
    }
    let spread = median_in_place(&mut spans[..n])?;
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

/// Tops and bottoms in turn as (place, height), with the place between samples by a parabola.
fn turning_points(x: &[f32], turns: &mut [(f32, f32); TURNS]) -> usize {
    let mut count = 0;
    for i in 1..x.len() - 1 {
        let (a, b, c) = (x[i - 1], x[i], x[i + 1]);
        let top = b > a && b >= c;
        let bottom = b < a && b <= c;
        if !(top || bottom) || count == TURNS {
            continue;
        }
        let bend = a - 2.0 * b + c;
        let shift = if bend == 0.0 { 0.0 } else { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) };
        turns[count] = (i as f32 + shift, b);
        count += 1;
    }
    count
}

/// Lags whose sums are made side by side: each alone would wait for its own last addition.
const ABREAST: usize = 8;

/// Sums of products of a window and itself, from lag `first` on.
struct Products<'a> {
    x: &'a [f32],
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Products<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        for (n, out) in self.out.chunks_mut(ABREAST).enumerate() {
            let sums = products(self.x, self.first + n * ABREAST);
            out.copy_from_slice(&sums[..out.len()]);
        }
    }
}

/// Sums of products of a window and itself `lag` samples later, for [`ABREAST`] lags from `lag` on. Each sum is made of
/// four, of every fourth product, in one fixed order.
#[inline(always)]
fn products(x: &[f32], lag: usize) -> [f32; ABREAST] {
    let shared = x.len().saturating_sub(lag + ABREAST - 1) / 4;
    let mut sums = [[0.0_f32; ABREAST]; 4];
    for (at, a) in x.as_chunks::<4>().0[..shared].iter().enumerate() {
        let Some(next) = x[lag + 4 * at..].first_chunk::<{ 4 + ABREAST - 1 }>() else { break };
        for i in 0..4 {
            for k in 0..ABREAST {
                sums[i][k] += a[i] * next[i + k];
            }
        }
    }
    let mut all = [0.0; ABREAST];
    for (k, sum) in all.iter_mut().enumerate() {
        let later = x.get(lag + k + 4 * shared..).unwrap_or_default();
        *sum = finish([sums[0][k], sums[1][k], sums[2][k], sums[3][k]], &x[4 * shared..], later);
    }
    all
}

/// The sum of the lanes and of what is left.
#[inline(always)]
fn finish(mut sums: [f32; 4], a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (fours_a, rest_a) = a[..n].as_chunks::<4>();
    let (fours_b, rest_b) = b[..n].as_chunks::<4>();
    for (a, b) in fours_a.iter().zip(fours_b) {
        for k in 0..4 {
            sums[k] += a[k] * b[k];
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// Rate from the first high peak of the autocorrelation, and the height of that peak.
fn autocorrelation_rate(x: &[f32], rate_hz: f64) -> Option<(f64, f32)> {
    let shortest = ((60.0 / RANGE.1) * rate_hz).floor().max(1.0) as usize;
    let longest = (((60.0 / RANGE.0) * rate_hz).ceil() as usize).min(x.len() / 2);
    // Energy up to each sample, so that each lag needs one sum only.
    let mut energy = [0.0_f32; MOST + 1];
    for (i, v) in x.iter().enumerate() {
        energy[i + 1] = energy[i] + v * v;
    }
    let all = energy[x.len()];
    if all <= 0.0 || longest <= shortest + 2 {
        return None;
    }
    let mut at = [0.0_f32; MOST / 2 + 1];
    widest(Products { x, first: shortest - 1, out: &mut at[shortest - 1..=longest] });
    for (lag, r) in (shortest - 1..).zip(&mut at[shortest - 1..=longest]) {
        let norm = (energy[x.len() - lag] * (all - energy[lag])).max(0.0).sqrt();
        *r = if norm > 0.0 { *r / norm } else { 0.0 };
    }
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
            let (found, quality) = breaths_per_minute(&mut wave(rate, 0.1, 0.1), 5.0).unwrap();
            assert!((found - rate).abs() < 0.8 && quality > 0.6, "{rate}: {found} {quality}");
        }
    }

    #[test]
    fn noise_alone_is_not_believed_and_nothing_is_none() {
        let noise = breaths_per_minute(&mut wave(0.0, 1.0, 0.0), 5.0);
        assert!(noise.is_none_or(|(_, quality)| quality < 0.5), "{noise:?}");
        assert_eq!(breaths_per_minute(&mut [0.0; 160], 5.0), None);
        assert_eq!(breaths_per_minute(&mut [1.0; 3], 5.0), None);
    }

    #[test]
    fn sums_side_by_side_are_those_of_each_lag_alone() {
        let x = wave(17.0, 0.3, 0.2);
        for len in [16, 17, 63, 64, 159, 160] {
            for lag in 1..len / 2 {
                let expected: [f32; ABREAST] = std::array::from_fn(|k| {
                    finish([0.0; 4], &x[..len], x.get(lag + k..len).unwrap_or_default())
                });
                assert_eq!(
                    products(&x[..len], lag).map(f32::to_bits),
                    expected.map(f32::to_bits),
                    "{len} {lag}"
                );
            }
        }
    }

    #[test]
    fn swings_are_joined_as_they_were_one_by_one() {
        // Turning points of heights whose smallest swings lie at the start, at the end and between.
        for seed in 0..40_u32 {
            let x: Vec<f32> =
                (0..160).map(|i| ((i * i * 31 + i * 17 + seed * 97) % 211) as f32 / 40.0).collect();
            let mut plain = [(0.0, 0.0); TURNS];
            let count = turning_points(&x, &mut plain);
            let mut turns = plain[..count].to_vec();
            let swing = |t: &[(f32, f32)], k: usize| (t[k + 1].1 - t[k].1).abs();
            let mut all: Vec<f32> = (0..turns.len() - 1).map(|k| swing(&turns, k)).collect();
            let usual = rank_in_place(&mut all, 0.75).unwrap();
            let spread = (x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32).sqrt();
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
            assert_eq!(count_waves(&x, 5.0).map(|c| c.0), inside, "seed {seed}");
        }
    }
}
