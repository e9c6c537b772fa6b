//! Welch's density of the lowest frequencies, in single precision, four segments at a time. In: samples in any unit,
//! rate in hertz. Out: one-sided density in unit squared per hertz, from zero to the highest frequency asked for.
//!
//! As [`Welch`](super::Welch) but for the precision: for windows that are kept in 16 bits, which errs by far more. Of
//! each segment even and odd samples are packed as real and imaginary parts; of that signal even and odd places are
//! transformed side by side, so that four segments are eight lanes, and put together for the frequencies asked for.

use super::stockham::{Element, Stage, stages, turn};
use super::stockham_lanes::{Lanes, Turn, transform_lanes};
use super::welch::scale_one_sided;
use crate::filter::dispatch::{Kernel, widest};
use crate::signal::{Hertz, Missing};

/// Segments that are transformed side by side.
const ABREAST: usize = 4;

/// Density estimator of one segment length and rate: tables and working memory.
#[derive(Debug)]
pub struct LowWelch {
    rate: Hertz,
    len: usize,
    /// One over rate and energy of the window, and over four, as halves are added without being halved.
    scale: f64,
    window: Vec<[f32; 4]>,
    stages: Vec<Stage<Turn>>,
    /// exp(-2 pi i k / half) and exp(-2 pi i k / len) for k up to a quarter of the length.
    halves: Vec<Turn>,
    turns: Vec<Turn>,
    packed: Vec<Lanes<8>>,
    spare: Vec<Lanes<8>>,
    silence: Vec<f32>,
}

impl LowWelch {
    /// An estimator with segments of `len` samples, rounded down to a multiple of four, four at least.
    pub fn new(len: usize, rate: Hertz) -> Self {
        let quarter = (len / 4).max(1);
        let len = 4 * quarter;
        let hann = |i: usize| 0.5 - 0.5 * libm::cos(2.0 * std::f64::consts::PI * i as f64 / len as f64);
        let energy: f64 = (0..len).map(|i| hann(i) * hann(i)).sum();
        let single = |k: usize, n: usize| {
            let exact = turn(k, n);
            Turn::new(exact.re as f32, exact.im as f32)
        };
        Self {
            rate,
            len,
            scale: 1.0 / (4.0 * rate.get() * energy),
            window: (0..quarter).map(|m| [0, 1, 2, 3].map(|j| hann(4 * m + j) as f32)).collect(),
            // Large factors first: what is done for each group is done for few.
            stages: stages(quarter, [5, 4, 3, 2], single),
            halves: (0..=quarter).map(|k| single(k, len / 2)).collect(),
            turns: (0..=quarter).map(|k| single(k, len)).collect(),
            packed: vec![Lanes::ZERO; quarter],
            spare: vec![Lanes::ZERO; quarter],
            silence: vec![0.0; len],
        }
    }

    /// Rate it was made for.
    pub fn rate(&self) -> Hertz {
        self.rate
    }

    /// Length of a segment in samples.
    pub fn segment_len(&self) -> usize {
        self.len
    }

    /// Number of frequencies up to half the rate.
    pub fn bins(&self) -> usize {
        self.len / 2 + 1
    }

    /// Distance between frequencies, in hertz.
    pub fn step_hz(&self) -> f64 {
        self.rate.get() / self.len as f64
    }

    /// Writes the density of the first `wanted` frequencies, zeros after them up to [`bins`](Self::bins), and returns
    /// the number of segments averaged. Samples after the last whole segment are not used.
    ///
    /// # Errors
    /// [`Missing::TooFew`] if there is not one whole segment.
    ///
    /// ```
    /// use auscult_operators::signal::Hertz;
    /// use auscult_operators::spectrum::{low_welch::LowWelch, power_between};
    /// let mut welch = LowWelch::new(128, Hertz(64.0));
    /// // Up, nothing, down, nothing: a quarter of the rate, of power one half.
    /// let wave: Vec<f32> = (0..640).map(|i| [1.0, 0.0, -1.0, 0.0][i % 4]).collect();
    /// let mut density = Vec::new();
    /// assert_eq!(welch.density(40, &wave, &mut density), Ok(9));
    /// assert!((power_between(&density, welch.step_hz(), 15.0, 17.0) - 0.5).abs() < 1e-6);
    /// ```
    pub fn density(
        &mut self,
        wanted: usize,
        samples: &[f32],
        density: &mut Vec<f64>,
    ) -> Result<usize, Missing> {
        let (len, bins) = (self.len, self.bins());
        density.clear();
        density.resize(bins, 0.0);
        if samples.len() < len {
            return Err(Missing::TooFew);
        }
        let (wanted, hop) = (wanted.min(bins), len / 2);
        let segments = (samples.len() - len) / hop + 1;
        for done in (0..segments).step_by(ABREAST) {
            let samples = &samples[done * hop..];
            widest(Abreast { welch: self, samples, density: &mut density[..wanted] });
        }
        let scale = self.scale / segments as f64;
        scale_one_sided(&mut density[..wanted], bins, scale);
        Ok(segments)
    }
}

/// As many segments as there are, [`ABREAST`] at most, each half a segment after the one before, added to the density.
struct Abreast<'a> {
    welch: &'a mut LowWelch,
    samples: &'a [f32],
    density: &'a mut [f64],
}

impl Kernel for Abreast<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { welch, samples, density } = self;
        welch.pack(samples);
        transform_lanes(&welch.stages, &mut welch.packed, &mut welch.spare);
        welch.add_powers(density);
    }
}

impl LowWelch {
    /// Segments less their means, under the window, as lanes. Where there is no segment there are zeros.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "lanes: the inner loop becomes one instruction")]
    fn pack(&mut self, samples: &[f32]) {
        let (len, hop) = (self.len, self.len / 2);
        let mut rows = [&self.silence[..]; ABREAST];
        let mut means = [0.0_f32; ABREAST];
        let mut before = sum(&samples[..hop]);
        for l in 0..ABREAST {
            let Some(row) = samples.get(l * hop..l * hop + len) else { break };
            let after = sum(&row[hop..]);
            means[l] = ((before + after) / len as f64) as f32;
            (rows[l], before) = (row, after);
        }
        let [a, b, c, d] = rows.map(|row| row.as_chunks::<4>().0);
        let fours = self.window.iter().zip(a).zip(b).zip(c).zip(d);
        for (packed, ((((window, a), b), c), d)) in self.packed.iter_mut().zip(fours) {
            let mut at = [*a, *b, *c, *d];
            for l in 0..ABREAST {
                for j in 0..4 {
                    at[l][j] = (at[l][j] - means[l]) * window[j];
                }
            }
            for l in 0..ABREAST {
                (packed.re[l], packed.im[l]) = (at[l][0], at[l][1]);
                (packed.re[ABREAST + l], packed.im[ABREAST + l]) = (at[l][2], at[l][3]);
            }
        }
    }

    /// Powers of the segments at each frequency, four times what they are.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "lanes: the inner loop becomes one instruction")]
    fn add_powers(&self, density: &mut [f64]) {
        let (half, quarter) = (self.len / 2, self.len / 4);
        let first = &self.packed[0];
        let mut ends = [[0.0_f32; ABREAST]; 2];
        for l in 0..ABREAST {
            let zero = first.of(l) + first.of(ABREAST + l);
            ends[0][l] = (zero.re + zero.im) * (zero.re + zero.im);
            ends[1][l] = (zero.re - zero.im) * (zero.re - zero.im);
        }
        for (at, end) in [(0, ends[0]), (half, ends[1])] {
            if let Some(d) = density.get_mut(at) {
                *d += 4.0 * f64::from(total(end));
            }
        }
        // Of the packed signal the coefficients `k` and, as far from its end, `half - k`; of the even and odd places
        // those of `k` and `quarter - k`, and those of zero for a quarter.
        for k in 1..density.len().min(quarter + 1) {
            let (before, after) = (k % quarter, quarter - k);
            let (a, b) = (&self.packed[before], &self.packed[after]);
            let (turn_a, turn_b, turn) = (self.halves[k], self.halves[after], self.turns[k]);
            let mut powers = [[0.0_f32; ABREAST]; 2];
            for l in 0..ABREAST {
                let low = a.of(l) + a.of(ABREAST + l).turned(turn_a);
                let high = (b.of(l) - b.of(ABREAST + l).turned(turn_b)).conj();
                let even = low + high;
                let odd = (low - high).back().turned(turn);
                powers[0][l] = (even + odd).norm_sqr();
                powers[1][l] = (even - odd).norm_sqr();
            }
            density[k] += f64::from(total(powers[0]));
            if half - k < density.len() && half - k != k {
                density[half - k] += f64::from(total(powers[1]));
            }
        }
    }
}

/// Sum in one fixed order.
#[inline(always)]
fn total([a, b, c, d]: [f32; ABREAST]) -> f32 {
    (a + b) + (c + d)
}

/// Sum in one fixed order, eight at a time.
#[inline(always)]
fn sum(xs: &[f32]) -> f64 {
    let (eights, rest) = xs.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for eight in eights {
        for l in 0..8 {
            sums[l] += f64::from(eight[l]);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += f64::from(*x);
    }
    sums.iter().sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::filter::Width;
    use crate::filter::dispatch::widest_at;
    use crate::spectrum::Welch;

    fn samples(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * i * 7919 + i * 31) % 1009) as f32 / 1009.0 + 2.0).collect()
    }

    #[test]
    fn equals_the_density_in_double_precision() {
        for (len, rate) in
            [(4, 1.0), (8, 2.0), (12, 3.0), (100, 25.0), (248, 62.0), (500, 125.0), (1000, 250.0)]
        {
            for count in [len, 2 * len, 5 * len / 2, 4 * len] {
                let x = samples(count);
                let mut exact = Welch::new(len, Hertz(rate)).unwrap();
                let (mut expected, mut found) = (vec![0.0; exact.bins()], Vec::new());
                let segments = exact.density(&x, &mut expected);
                let mut low = LowWelch::new(len, Hertz(rate));
                let greatest = expected.iter().skip(1).fold(0.0_f64, |a, b| a.max(*b));
                for wanted in [2, len / 5 + 1, len / 2, len / 2 + 1] {
                    assert_eq!(low.density(wanted, &x, &mut found), segments);
                    assert_eq!(found.len(), expected.len());
                    // The first holds what rounding leaves of the mean.
                    for k in 1..wanted.min(expected.len()) {
                        let (f, e) = (found[k], expected[k]);
                        assert!((f - e).abs() <= 1e-5 * e + 1e-9 * greatest, "{len} {count} {k}: {f} {e}");
                    }
                }
            }
        }
        assert_eq!(LowWelch::new(8, Hertz(1.0)).density(5, &[1.0; 7], &mut Vec::new()), Err(Missing::TooFew));
    }

    #[test]
    fn every_width_gives_the_same_bits() {
        for len in [248, 500, 1000] {
            let x = samples(5 * len / 2);
            let mut welch = LowWelch::new(len, Hertz(250.0));
            let mut at = |width| {
                let mut density = vec![0.0; len / 2 + 1];
                widest_at(width, Abreast { welch: &mut welch, samples: &x, density: &mut density });
                density.iter().map(|d: &f64| d.to_bits()).collect::<Vec<_>>()
            };
            let expected = at(Width::Scalar);
            for width in Width::available() {
                assert_eq!(at(width), expected, "{len} {width:?}");
            }
        }
    }
}
