//! What signal quality asks of all samples of a run alike, many of them side by side.
//! In: raw samples in the channel's canonical unit and its limits. Out: counts, extremes, a sum, and where samples
//! certainly change.

use crate::filter::dispatch::Kernel;
use crate::window::{from_order, in_order, tame};

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
        let (mut seen, mut sums) = (Seen { lowest: i32::MAX, highest: i32::MIN, step: 0 }, [0.0; SUMS]);
        let (blocks, rest) = self.raw.as_chunks::<BLOCK>();
        let mut before = self.first;
        for block in blocks {
            let tamed = seen.follow(block, before, self.range);
            add_up(&tamed, &mut sums);
            before = tamed[BLOCK - 1];
        }
        if let Some(last) = rest.last() {
            // What is left over of the last block changes nothing: it stays where it was, and is not summed.
            let mut block = [*last; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            add_up(&seen.follow(&block, before, self.range)[..rest.len()], &mut sums);
        }
        let (lowest, highest) = (from_order(seen.lowest), from_order(seen.highest));
        let (known_low, known_high) = self.known;
        let extremes = (
            if lowest < known_low { lowest } else { known_low },
            if highest > known_high { highest } else { known_high },
        );
        let greatest = f32::from_bits(seen.step);
        // What hardly ever happens is counted only where it has happened.
        let beyond = if lowest <= low || highest >= high { self.beyond() } else { 0 };
        let steep = if greatest > self.steepest { self.steep() } else { 0 };
        let certain = if greatest > CERTAIN * self.flat_step { self.certain() } else { None };
        Surveyed { beyond, steep, extremes, sum: sums.iter().sum(), certain }
    }
}

impl Survey<'_> {
    fn tamed(&self, i: usize) -> f32 {
        tame(self.raw[i], self.range.0, self.range.1)
    }

    /// How far a sample lies from the one before.
    fn step(&self, i: usize) -> f32 {
        let before = if i == 0 { self.first } else { self.tamed(i - 1) };
        (self.tamed(i) - before).abs()
    }

    fn beyond(&self) -> u32 {
        let (low, high) = self.range;
        let count = |x: f32| u32::from(x <= low) + u32::from(x >= high);
        (0..self.raw.len()).map(|i| count(self.tamed(i))).sum()
    }

    fn steep(&self) -> u32 {
        (0..self.raw.len()).map(|i| u32::from(self.step(i) > self.steepest)).sum()
    }

    fn certain(&self) -> Option<(usize, usize)> {
        let large = |i: &usize| self.step(*i) > CERTAIN * self.flat_step;
        let all = 0..self.raw.len();
        Some((all.clone().find(large)?, all.rev().find(large)?))
    }
}

/// What was seen of all blocks. Extremes of integers are found many side by side, those of floats are not.
struct Seen {
    /// In the order of floats, see [`in_order`].
    lowest: i32,
    highest: i32,
    /// Bits of the greatest difference from the sample before.
    step: u32,
}

impl Seen {
    /// Tames a block and looks at it.
    #[inline(always)]
    fn follow(&mut self, block: &[f32; BLOCK], before: f32, (low, high): (f32, f32)) -> [f32; BLOCK] {
        let mut tamed = [0.0; BLOCK];
        for i in 0..BLOCK {
            tamed[i] = tame(block[i], low, high);
        }
        let mut earlier = [before; BLOCK];
        earlier[1..].copy_from_slice(&tamed[..BLOCK - 1]);
        let (mut lowest, mut highest, mut step) = (self.lowest, self.highest, self.step);
        for i in 0..BLOCK {
            let place = in_order(tamed[i]);
            lowest = lowest.min(place);
            highest = highest.max(place);
            // Floats that are not negative have the order of their bits.
            step = step.max((tamed[i] - earlier[i]).abs().to_bits());
        }
        (self.lowest, self.highest, self.step) = (lowest, highest, step);
        tamed
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_is_that_of_a_plain_search() {
        // Waves that rest, leap and leave the range, of lengths around those of whole blocks.
        for n in [1, 2, 7, 8, 9, 63, 64, 65, 125, 250] {
            for calm in [0, 1, 40] {
                let wave = |i: usize| if i < calm { 0.5 } else { ((i * i * 37) % 71) as f32 - 30.0 };
                let raw: Vec<f32> = (0..n).map(wave).collect();
                let range = (-25.0, 38.0);
                let s = Survey {
                    raw: &raw,
                    first: 0.5,
                    range,
                    steepest: 40.0,
                    flat_step: 1.0,
                    known: (-3.0, 4.0),
                };
                let tamed: Vec<f32> = raw.iter().map(|x| x.clamp(range.0, range.1)).collect();
                let steps: Vec<f32> =
                    std::iter::once(&0.5).chain(&tamed).zip(&tamed).map(|(a, b)| (b - a).abs()).collect();
                let count = |of: &[f32], f: &dyn Fn(f32) -> bool| of.iter().filter(|x| f(**x)).count() as u32;
                let large = |step: &f32| *step > 3.0;
                let certain = steps.iter().position(large).zip(steps.iter().rposition(large));
                let extremes = tamed.iter().fold((-3.0f32, 4.0f32), |(l, h), &x| (l.min(x), h.max(x)));
                let found = s.run();
                assert_eq!(found.beyond, count(&tamed, &|x| x <= range.0 || x >= range.1), "{n} {calm}");
                assert_eq!(found.steep, count(&steps, &|x| x > 40.0), "{n} {calm}");
                assert_eq!((found.extremes, found.certain), (extremes, certain), "{n} {calm}");
                // Halves, so that sums are exact in any order.
                assert_eq!(found.sum, tamed.iter().copied().map(f64::from).sum::<f64>(), "{n} {calm}");
            }
        }
    }
}
