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
    let usual = rank_in_place(&mut swings.clone()[..count.saturating_sub(1)], 0.75)?;
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

/// Most lags of a window.
const LAGS: usize = MOST / 2 + ABREAST;

/// A window with room behind it, so that lags side by side may all read as far as the shortest.
type Padded = [f32; MOST + ABREAST + 4];

/// How alike a window and itself some lags later are, from lag `first` on.
struct Likeness<'a> {
    x: &'a [f32],
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Likeness<'_> {
    /// Whether there is anything in the window.
    type Out = bool;
    #[inline(always)]
    fn run(self) -> bool {
        let n = self.x.len().min(MOST);
        let mut padded: Padded = [0.0; MOST + ABREAST + 4];
        padded[..n].copy_from_slice(&self.x[..n]);
        // Energy up to each sample, so that each lag needs one sum only.
        let mut energy = [0.0_f32; MOST + 1];
        let mut all = 0.0;
        for (to, v) in energy[1..].iter_mut().zip(&padded[..n]) {
            all += v * v;
            *to = all;
        }
        if all <= 0.0 {
            return false;
        }
        let mut lag = self.first;
        for out in self.out.chunks_mut(ABREAST) {
            let mut sums = products(&padded, n, lag);
            let (head, tail) = (&energy[lag..], &energy[n + 1 - (lag + out.len())..]);
            for (k, sum) in sums.iter_mut().enumerate().take(out.len()) {
                let norm = (tail[out.len() - 1 - k] * (all - head[k])).max(0.0).sqrt();
                *sum = if norm > 0.0 { *sum / norm } else { 0.0 };
            }
            out.copy_from_slice(&sums[..out.len()]);
            lag += ABREAST;
        }
        true
    }
}

/// One for lags that have a product, then zero for those that have none.
static HAVE: [f32; 2 * ABREAST] = {
    let (mut have, mut i) = ([0.0; 2 * ABREAST], 0);
    while i < ABREAST {
        have[i] = 1.0;
        i += 1;
    }
    have
};

/// So many numbers from one on; zeros where they are not there, which does not happen.
#[inline(always)]
fn from<const N: usize>(x: &[f32], at: usize) -> &[f32; N] {
    match x.get(at..).and_then(|x| x.first_chunk()) {
        Some(x) => x,
        None => &[0.0; N],
    }
}

#[inline(always)]
fn add_products(sums: &mut [f32; ABREAST], a: f32, b: &[f32; ABREAST], have: &[f32; ABREAST]) {
    for k in 0..ABREAST {
        sums[k] += (a * b[k]) * have[k];
    }
}

/// Sums of products of a window of `n` samples and itself `lag` samples later, for [`ABREAST`] lags from `lag` on.
/// Each sum is made of four, of every fourth product, and of the products that are left over, in one fixed order.
#[inline(always)]
fn products(x: &Padded, n: usize, lag: usize) -> [f32; ABREAST] {
    let none = [0.0_f32; ABREAST];
    let (mut s0, mut s1, mut s2, mut s3) = (none, none, none, none);
    // Fours that all of the lags have, then those that only the first ones have.
    let (shared, most) = (n.saturating_sub(lag + ABREAST - 1) / 4, n.saturating_sub(lag) / 4);
    for four in 0..shared {
        let (a, at): (&[f32; 4], _) = (from(x, 4 * four), lag + 4 * four);
        let [b0, b1, b2, b3]: [&[f32; ABREAST]; 4] =
            [from(x, at), from(x, at + 1), from(x, at + 2), from(x, at + 3)];
        for k in 0..ABREAST {
            s0[k] += a[0] * b0[k];
        }
        for k in 0..ABREAST {
            s1[k] += a[1] * b1[k];
        }
        for k in 0..ABREAST {
            s2[k] += a[2] * b2[k];
        }
        for k in 0..ABREAST {
            s3[k] += a[3] * b3[k];
        }
    }
    for four in shared..most {
        let (a, at): (&[f32; 4], _) = (from(x, 4 * four), lag + 4 * four);
        // One lag more is one product less.
        let count = (n - lag + 1).saturating_sub(4 * (four + 1)).min(ABREAST);
        let have = from(&HAVE, ABREAST - count);
        add_products(&mut s0, a[0], from(x, at), have);
        add_products(&mut s1, a[1], from(x, at + 1), have);
        add_products(&mut s2, a[2], from(x, at + 2), have);
        add_products(&mut s3, a[3], from(x, at + 3), have);
    }
    let mut all = none;
    for k in 0..ABREAST {
        all[k] = (s0[k] + s1[k]) + (s2[k] + s3[k]);
    }
    for (k, sum) in all.iter_mut().enumerate() {
        let own = n.saturating_sub(lag + k);
        let left = own % 4;
        let mut rest = -0.0;
        for i in 0..left {
            rest += x[own - left + i] * x[n - left + i];
        }
        *sum += rest;
    }
    all
}

/// Rate from the first high peak of the autocorrelation, and the height of that peak.
fn autocorrelation_rate(x: &[f32], rate_hz: f64) -> Option<(f64, f32)> {
    let shortest = ((60.0 / RANGE.1) * rate_hz).floor().max(1.0) as usize;
    let longest = (((60.0 / RANGE.0) * rate_hz).ceil() as usize).min(x.len() / 2);
    if longest <= shortest + 2 {
        return None;
    }
    let mut at = [0.0_f32; LAGS];
    if !widest(Likeness { x, first: shortest - 1, out: &mut at[shortest - 1..=longest] }) {
        return None;
    }
    let at = &at[..=longest];
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

    /// The sum of four sums of every fourth product, and of the rest.
    fn alone(a: &[f32], b: &[f32]) -> f32 {
        let n = a.len().min(b.len());
        let ((fours_a, rest_a), (fours_b, rest_b)) = (a[..n].as_chunks::<4>(), b[..n].as_chunks::<4>());
        let mut sums = [0.0; 4];
        for (a, b) in fours_a.iter().zip(fours_b) {
            for k in 0..4 {
                sums[k] += a[k] * b[k];
            }
        }
        let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
        (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
    }

    #[test]
    fn sums_side_by_side_are_those_of_each_lag_alone() {
        let x = wave(17.0, 0.3, 0.2);
        for len in [16, 17, 63, 64, 159, 160] {
            let mut padded: Padded = [0.0; MOST + ABREAST + 4];
            padded[..len].copy_from_slice(&x[..len]);
            for lag in 1..len / 2 {
                let expected: [f32; ABREAST] =
                    std::array::from_fn(|k| alone(&x[..len], x.get(lag + k..len).unwrap_or_default()));
                let found = products(&padded, len, lag);
                assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits), "{len} {lag}");
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
