//! What signal quality asks of all samples of a run alike, many of them side by side.
//! In: raw samples in the channel's canonical unit and its limits. Out: counts, extremes, a sum, and where samples
//! certainly change.

use crate::filter::dispatch::Kernel;
use crate::window::tame;

/// Samples that are judged side by side.
const BLOCK: usize = 64;

/// A sample that differs by so many flat steps from the one before is a change, wherever the last one was: that lay
/// within one step of the sample before. (Two would do, were differences not rounded.)
const CERTAIN: f32 = 3.0;

/// Samples that a survey found.
pub(super) struct Surveyed {
    /// At or beyond the plausible range.
    pub(super) beyond: u32,
    /// Steeper than a body makes them.
    pub(super) steep: u32,
    pub(super) extremes: (f32, f32),
    pub(super) sum: f64,
    /// The first and the last sample that is a change for certain.
    pub(super) certain: Option<(usize, usize)>,
}

/// What can be told of all samples side by side.
pub(super) struct Survey<'a> {
    pub(super) raw: &'a [f32],
    pub(super) first: f32,
    pub(super) range: (f32, f32),
    pub(super) steepest: f32,
    pub(super) flat_step: f32,
    pub(super) known: (f32, f32),
}

impl Kernel for Survey<'_> {
    type Out = Surveyed;
    #[inline(always)]
    fn run(self) -> Surveyed {
        let (low, high) = self.range;
        let (mut beyond, mut steep) = (0_u32, 0_u32);
        let (mut extremes, mut sums) = (self.known, [0.0_f64; SUMS]);
        let (mut certain, large) = (None, CERTAIN * self.flat_step);
        // Tamed samples behind the one before them.
        let mut tamed = [self.first; 1 + BLOCK];
        for (b, block) in self.raw.chunks(BLOCK).enumerate() {
            tamed[0] = if b == 0 { self.first } else { tamed[BLOCK] };
            let n = block.len();
            for (x, &raw) in tamed[1..=n].iter_mut().zip(block) {
                *x = tame(raw, low, high);
            }
            // What is left over of the last block changes nothing: it stays where it was.
            let last = tamed[n];
            tamed[1 + n..].fill(last);
            let mut changes = 0_u64;
            for i in 0..BLOCK {
                let step = (tamed[i + 1] - tamed[i]).abs();
                steep += u32::from(step > self.steepest);
                changes |= u64::from(step > large) << i;
            }
            let xs = &tamed[1..=n];
            for x in xs {
                beyond += u32::from(*x <= low) + u32::from(*x >= high);
            }
            if changes != 0 {
                let from = BLOCK * b;
                let (first, last) = (changes.trailing_zeros(), 63 - changes.leading_zeros());
                let first = certain.map_or(from + first as usize, |c: (usize, usize)| c.0);
                certain = Some((first, from + last as usize));
            }
            extremes = widened(xs, extremes);
            add_up(xs, &mut sums);
        }
        let sum = sums.iter().sum();
        Surveyed { beyond, steep, extremes, sum, certain }
    }
}

/// Samples at or beyond two levels.
pub(super) struct Extreme<'a> {
    pub(super) raw: &'a [f32],
    pub(super) top: f32,
    pub(super) bottom: f32,
}

impl Kernel for Extreme<'_> {
    type Out = u32;
    #[inline(always)]
    fn run(self) -> u32 {
        let mut count = 0;
        for x in self.raw {
            count += u32::from(*x >= self.top) + u32::from(*x <= self.bottom);
        }
        count
    }
}

/// Sums that are made side by side, each of every eighth sample: one alone would wait for its own last addition.
const SUMS: usize = 8;

#[inline(always)]
fn add_up(xs: &[f32], sums: &mut [f64; SUMS]) {
    let (eights, rest) = xs.as_chunks::<SUMS>();
    for eight in eights {
        for i in 0..SUMS {
            sums[i] += f64::from(eight[i]);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += f64::from(*x);
    }
}

/// The extremes given, widened to hold every sample; in lanes, which changes no extreme.
#[inline(always)]
fn widened(xs: &[f32], (low, high): (f32, f32)) -> (f32, f32) {
    let (eights, rest) = xs.as_chunks::<8>();
    let (mut lows, mut highs) = ([low; 8], [high; 8]);
    for eight in eights {
        for i in 0..8 {
            lows[i] = if eight[i] < lows[i] { eight[i] } else { lows[i] };
            highs[i] = if eight[i] > highs[i] { eight[i] } else { highs[i] };
        }
    }
    let (mut low, mut high) = (lows[0], highs[0]);
    for x in lows.iter().chain(rest) {
        low = if *x < low { *x } else { low };
    }
    for x in highs.iter().chain(rest) {
        high = if *x > high { *x } else { high };
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_those_of_a_plain_search() {
        let x: Vec<f32> = (0..70).map(|i| ((i * 37) % 71) as f32 - 30.0).collect();
        for from in 0..10 {
            for to in from..=x.len() {
                let plain = x[from..to].iter().fold((-3.0f32, 4.0f32), |(l, h), &v| (l.min(v), h.max(v)));
                assert_eq!(widened(&x[from..to], (-3.0, 4.0)), plain, "{from}..{to}");
            }
        }
    }
}
