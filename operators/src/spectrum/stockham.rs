//! Fourier transform of complex samples, of any length. In: complex samples in double precision. Out: the
//! coefficients in natural order, in place; no scale is applied.
//!
//! Stockham's self-sorting form with factors 4, 2, 3, 5 and, for whatever prime remains, the definition (Van
//! Loan, Computational Frameworks for the Fast Fourier Transform, sections 1.7 and 2.3). Written here rather
//! than taken from a crate because every table must come from one implementation of sine and cosine: those of
//! the C library differ in the last bit from machine to machine, and a replay must not.

use std::f64::consts::PI;
use std::ops::{Add, Sub};

use num_complex::Complex;

/// One coefficient.
pub type Bin = Complex<f64>;

/// Signals that are transformed side by side.
pub const ABREAST: usize = 4;

/// One coefficient of each of [`ABREAST`] signals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bins {
    /// Real parts.
    pub re: [f64; ABREAST],
    /// Imaginary parts.
    pub im: [f64; ABREAST],
}

/// What a transform computes on: one coefficient, or several abreast. Each operation is that of [`Bin`] for every
/// signal, so that a signal's bits do not depend on its neighbours.
pub(super) trait Element: Copy + Add<Output = Self> + Sub<Output = Self> {
    /// A coefficient of its precision.
    type Turn: Copy;
    /// Nothing.
    const ZERO: Self;
    /// Minus i times.
    fn back(self) -> Self;
    /// With the other sign of the imaginary part.
    fn conj(self) -> Self;
    /// Times a number.
    fn times(self, k: f64) -> Self;
    /// Times one coefficient.
    fn turned(self, by: Self::Turn) -> Self;
}

impl Element for Bin {
    type Turn = Bin;
    const ZERO: Self = Bin::new(0.0, 0.0);
    #[inline(always)]
    fn back(self) -> Self {
        Bin::new(self.im, -self.re)
    }
    #[inline(always)]
    fn conj(self) -> Self {
        Bin::new(self.re, -self.im)
    }
    #[inline(always)]
    fn times(self, k: f64) -> Self {
        self * k
    }
    #[inline(always)]
    fn turned(self, by: Bin) -> Self {
        self * by
    }
}

/// One operation for every signal.
#[inline(always)]
fn each(f: impl Fn(usize) -> f64) -> [f64; ABREAST] {
    let mut out = [0.0; ABREAST];
    for (l, o) in out.iter_mut().enumerate() {
        *o = f(l);
    }
    out
}

impl Add for Bins {
    type Output = Self;
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self { re: each(|l| self.re[l] + b.re[l]), im: each(|l| self.im[l] + b.im[l]) }
    }
}

impl Sub for Bins {
    type Output = Self;
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self { re: each(|l| self.re[l] - b.re[l]), im: each(|l| self.im[l] - b.im[l]) }
    }
}

impl Element for Bins {
    type Turn = Bin;
    const ZERO: Self = Self { re: [0.0; ABREAST], im: [0.0; ABREAST] };
    #[inline(always)]
    fn back(self) -> Self {
        Self { re: self.im, im: each(|l| -self.re[l]) }
    }
    #[inline(always)]
    fn conj(self) -> Self {
        Self { re: self.re, im: each(|l| -self.im[l]) }
    }
    #[inline(always)]
    fn times(self, k: f64) -> Self {
        Self { re: each(|l| self.re[l] * k), im: each(|l| self.im[l] * k) }
    }
    #[inline(always)]
    fn turned(self, by: Bin) -> Self {
        Self {
            re: each(|l| self.re[l] * by.re - self.im[l] * by.im),
            im: each(|l| self.re[l] * by.im + self.im[l] * by.re),
        }
    }
}

/// A transform of one length: tables and working memory.
#[derive(Debug)]
pub struct ComplexFft {
    len: usize,
    stages: Vec<Stage<Bin>>,
    spare: Vec<Bin>,
    spare_abreast: Vec<Bins>,
}

/// One factor of the length.
#[derive(Debug)]
pub(super) struct Stage<T> {
    pub(super) radix: usize,
    /// Distance of the samples that are combined, in groups: what remains of the length.
    pub(super) rest: usize,
    /// Samples that share a turn: product of the factors before.
    pub(super) stride: usize,
    /// For each of the `rest` groups the turns of all outputs but the first.
    pub(super) turns: Vec<T>,
    /// Turns by multiples of a `radix`-th, for factors without a formula.
    roots: Vec<T>,
}

/// The factors of a length, those with a formula in the order given.
pub(super) fn stages<T>(len: usize, order: [usize; 4], turn: impl Fn(usize, usize) -> T) -> Vec<Stage<T>> {
    let (mut rest, mut stride, mut stages) = (len, 1, Vec::new());
    while rest > 1 {
        let small = order.into_iter().find(|&r| rest.is_multiple_of(r));
        let radix = small.or_else(|| (7..rest).find(|&r| rest.is_multiple_of(r))).unwrap_or(rest);
        let n = rest;
        rest /= radix;
        let turn = &turn;
        let turns = (0..rest).flat_map(|p| (1..radix).map(move |k| turn(p * k, n))).collect();
        let roots = (0..radix).map(|k| turn(k, radix)).collect();
        stages.push(Stage { radix, rest, stride, turns, roots });
        stride *= radix;
    }
    stages
}

/// exp(-2 pi i k / n).
pub(super) fn turn(k: usize, n: usize) -> Bin {
    let angle = 2.0 * PI * (k % n) as f64 / n as f64;
    Bin::new(libm::cos(angle), -libm::sin(angle))
}

impl ComplexFft {
    /// Plans a transform. Quick for lengths whose factors are small; a large prime factor costs its square.
    ///
    /// ```
    /// use auscult_operators::spectrum::stockham::{Bin, ComplexFft};
    /// let mut x = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0].map(|re| Bin::new(re, 0.0));
    /// ComplexFft::new(6).forward(&mut x);
    /// assert!(x.iter().all(|b| (b - 1.0).norm_sqr() < 1e-30));
    /// ```
    pub fn new(len: usize) -> Self {
        let stages = stages(len, [4, 2, 3, 5], turn);
        Self { len, stages, spare: Vec::new(), spare_abreast: Vec::new() }
    }

    /// Transforms in place. A slice of another length than planned is left alone.
    pub fn forward(&mut self, samples: &mut [Bin]) {
        if samples.len() == self.len {
            self.spare.resize(self.len, Bin::ZERO);
            transform(&self.stages, samples, &mut self.spare);
        }
    }

    /// The same for signals side by side. To be called from within a kernel, so that it goes wide.
    #[inline(always)]
    pub(super) fn forward_abreast(&mut self, samples: &mut [Bins]) {
        if samples.len() == self.len {
            self.spare_abreast.resize(self.len, Bins::ZERO);
            transform(&self.stages, samples, &mut self.spare_abreast);
        }
    }
}

/// Transforms in place, with spare memory as long. To be called from within a kernel, so that it goes wide.
#[inline(always)]
pub(super) fn transform<E: Element>(stages: &[Stage<E::Turn>], samples: &mut [E], spare: &mut [E]) {
    let (mut from, mut to) = (samples, spare);
    for stage in stages {
        stage.run(from, to);
        std::mem::swap(&mut from, &mut to);
    }
    if stages.len() % 2 == 1 {
        // The result lies in the spare memory, which is now `from`.
        to.copy_from_slice(from);
    }
}

impl<T: Copy> Stage<T> {
    #[inline(always)]
    fn run<E: Element<Turn = T>>(&self, x: &[E], y: &mut [E]) {
        match self.radix {
            2 => self.pass::<E, 2, Two>(x, y),
            3 => self.pass::<E, 3, Three>(x, y),
            4 => self.pass::<E, 4, Four>(x, y),
            5 => self.pass::<E, 5, Five>(x, y),
            _ => self.slow_pass(x, y),
        }
    }

    #[inline(always)]
    fn pass<E: Element<Turn = T>, const R: usize, C: Combine<E, R>>(&self, x: &[E], y: &mut [E]) {
        let s = self.stride;
        let groups = y.chunks_exact_mut(R * s).zip(self.turns.chunks_exact(R - 1));
        for (p, (out, turns)) in groups.enumerate() {
            let mut rows: [&[E]; R] = [&[]; R];
            for (j, row) in rows.iter_mut().enumerate() {
                *row = &x[s * (p + self.rest * j)..][..s];
            }
            let (mut outs, mut rest): ([&mut [E]; R], _) = (std::array::from_fn(|_| Default::default()), out);
            for row in &mut outs {
                (*row, rest) = rest.split_at_mut(s);
            }
            for q in 0..s {
                let mut a = [E::ZERO; R];
                for j in 0..R {
                    a[j] = rows[j][q];
                }
                let b = C::combine(a);
                outs[0][q] = b[0];
                for k in 1..R {
                    outs[k][q] = b[k].turned(turns[k - 1]);
                }
            }
        }
    }

    /// The definition, for factors without a formula.
    #[inline(always)]
    pub(super) fn slow_pass<E: Element<Turn = T>>(&self, x: &[E], y: &mut [E]) {
        let (r, s) = (self.radix, self.stride);
        let groups = y.chunks_exact_mut(r * s).zip(self.turns.chunks_exact(r - 1));
        for (p, (out, turns)) in groups.enumerate() {
            for q in 0..s {
                for k in 0..r {
                    let mut sum = E::ZERO;
                    for j in 0..r {
                        sum = sum + x[q + s * (p + self.rest * j)].turned(self.roots[j * k % r]);
                    }
                    out[q + s * k] = if k == 0 { sum } else { sum.turned(turns[k - 1]) };
                }
            }
        }
    }
}

/// Sines and cosines of fifths and thirds of a turn, to the last bit.
pub(super) const SIN_3: f64 = 0.866_025_403_784_438_6;
pub(super) const COS_5: [f64; 2] = [0.309_016_994_374_947_45, -0.809_016_994_374_947_5];
pub(super) const SIN_5: [f64; 2] = [0.951_056_516_295_153_5, 0.587_785_252_292_473_1];

/// The transform of as many elements as a factor has. A trait, as a function handed on would not be compiled into its
/// caller, and would not go wide with it.
pub(super) trait Combine<E, const R: usize> {
    fn combine(elements: [E; R]) -> [E; R];
}

pub(super) struct Two;
impl<E: Element> Combine<E, 2> for Two {
    #[inline(always)]
    fn combine([a, b]: [E; 2]) -> [E; 2] {
        [a + b, a - b]
    }
}

pub(super) struct Three;
impl<E: Element> Combine<E, 3> for Three {
    #[inline(always)]
    fn combine([a, b, c]: [E; 3]) -> [E; 3] {
        let (sum, side) = (b + c, (b - c).back().times(SIN_3));
        let middle = a - sum.times(0.5);
        [a + sum, middle + side, middle - side]
    }
}

pub(super) struct Four;
impl<E: Element> Combine<E, 4> for Four {
    #[inline(always)]
    fn combine([a, b, c, d]: [E; 4]) -> [E; 4] {
        let (even, odd) = ((a + c, a - c), (b + d, (b - d).back()));
        [even.0 + odd.0, even.1 + odd.1, even.0 - odd.0, even.1 - odd.1]
    }
}

pub(super) struct Five;
impl<E: Element> Combine<E, 5> for Five {
    #[inline(always)]
    fn combine([a, b, c, d, e]: [E; 5]) -> [E; 5] {
        let (outer, inner) = (b + e, c + d);
        let (outer_d, inner_d) = (b - e, c - d);
        let m1 = a + outer.times(COS_5[0]) + inner.times(COS_5[1]);
        let m2 = a + outer.times(COS_5[1]) + inner.times(COS_5[0]);
        let n1 = (outer_d.times(SIN_5[0]) + inner_d.times(SIN_5[1])).back();
        let n2 = (outer_d.times(SIN_5[1]) - inner_d.times(SIN_5[0])).back();
        [a + outer + inner, m1 + n1, m2 + n2, m2 - n2, m1 - n1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_definition_at_every_length() {
        for n in (1..=80).chain([121, 125, 128, 169, 173, 250, 360]) {
            let at = |i: usize| Bin::new(((i * i * 7919 + i * 31) % 1009) as f64, (i * 57 % 101) as f64);
            let mut x: Vec<Bin> = (0..n).map(at).collect();
            let expected: Vec<Bin> = (0..n).map(|k| (0..n).map(|j| at(j) * turn(j * k, n)).sum()).collect();
            ComplexFft::new(n).forward(&mut x);
            let size = expected.iter().map(|b| b.norm_sqr()).fold(0.0, f64::max).sqrt();
            for (k, (a, b)) in x.iter().zip(&expected).enumerate() {
                assert!((a - b).norm_sqr().sqrt() <= 1e-14 * n as f64 * size, "{n} {k}: {a} against {b}");
            }
        }
    }

    #[test]
    fn constants_are_sines_and_cosines() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-15;
        assert!(close(SIN_3, libm::sin(2.0 * PI / 3.0)));
        for (k, (c, s)) in COS_5.into_iter().zip(SIN_5).enumerate() {
            let angle = 2.0 * PI * (k + 1) as f64 / 5.0;
            assert!(close(c, libm::cos(angle)) && close(s, libm::sin(angle)));
        }
    }

    /// Tables and arithmetic are ours: these very bits must come out on every machine.
    #[test]
    fn bits_are_those_written_here() {
        let mut x: Vec<Bin> = (0..420).map(|i| Bin::new((i % 17) as f64, (i % 5) as f64)).collect();
        ComplexFft::new(420).forward(&mut x);
        let bits = |b: f64| b.to_bits();
        let hash = x.iter().fold(0u64, |h, b| h.rotate_left(5) ^ bits(b.re) ^ bits(b.im).rotate_left(32));
        assert_eq!(hash, 0xe799_5a62_ef04_2674, "{hash:#x}");
    }
}
