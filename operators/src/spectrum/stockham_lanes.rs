//! The transform of [`stockham`](super::stockham) for signals side by side in single precision. In: lanes, one signal
//! each. Out: their coefficients in natural order, in place; no scale is applied.

use num_complex::Complex;

use super::stockham::{Combine, Element, Five, Four, Stage, Three, Two};

/// A coefficient in single precision.
pub(super) type Turn = Complex<f32>;

/// One coefficient of each of `N` signals, in single precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lanes<const N: usize> {
    /// Real parts.
    pub(super) re: [f32; N],
    /// Imaginary parts.
    pub(super) im: [f32; N],
}

impl Element for Turn {
    type Turn = Turn;
    const ZERO: Self = Turn::new(0.0, 0.0);
    #[inline(always)]
    fn back(self) -> Self {
        Turn::new(self.im, -self.re)
    }
    #[inline(always)]
    fn conj(self) -> Self {
        Turn::new(self.re, -self.im)
    }
    #[inline(always)]
    fn times(self, k: f64) -> Self {
        self * k as f32
    }
    #[inline(always)]
    fn turned(self, by: Turn) -> Self {
        self * by
    }
}

impl<const N: usize> Lanes<N> {
    /// Nothing.
    pub(super) const ZERO: Self = Self { re: [0.0; N], im: [0.0; N] };

    /// The coefficient of one signal.
    #[inline(always)]
    pub(super) fn of(&self, lane: usize) -> Turn {
        Turn::new(self.re[lane], self.im[lane])
    }
}

/// Transforms signals side by side, in place, with spare memory as long. To be called from within a kernel.
#[inline(always)]
pub(super) fn transform_lanes<const N: usize>(
    stages: &[Stage<Turn>],
    samples: &mut [Lanes<N>],
    spare: &mut [Lanes<N>],
) {
    let (mut from, mut to) = (samples, spare);
    for stage in stages {
        match stage.radix {
            2 => stage.pass_lanes::<N, 2, Two>(from, to),
            3 => stage.pass_lanes::<N, 3, Three>(from, to),
            4 => stage.pass_lanes::<N, 4, Four>(from, to),
            5 => stage.pass_lanes::<N, 5, Five>(from, to),
            _ => stage.slow_pass_lanes(from, to),
        }
        std::mem::swap(&mut from, &mut to);
    }
    if stages.len() % 2 == 1 {
        to.copy_from_slice(from);
    }
}

impl Stage<Turn> {
    /// As `pass`, with the loop over signals innermost: it becomes one instruction for each operation.
    #[inline(always)]
    fn pass_lanes<const N: usize, const R: usize, C: Combine<Turn, R>>(
        &self,
        x: &[Lanes<N>],
        y: &mut [Lanes<N>],
    ) {
        let s = self.stride;
        let groups = y.chunks_exact_mut(R * s).zip(self.turns.chunks_exact(R - 1));
        for (p, (out, turns)) in groups.enumerate() {
            let mut rows: [&[Lanes<N>]; R] = [&[]; R];
            for (j, row) in rows.iter_mut().enumerate() {
                *row = &x[s * (p + self.rest * j)..][..s];
            }
            for q in 0..s {
                let (mut a, mut b) = ([Lanes::<N>::ZERO; R], [Lanes::<N>::ZERO; R]);
                for j in 0..R {
                    a[j] = rows[j][q];
                }
                for l in 0..N {
                    let mut each = [Turn::ZERO; R];
                    for j in 0..R {
                        each[j] = a[j].of(l);
                    }
                    each = C::combine(each);
                    (b[0].re[l], b[0].im[l]) = (each[0].re, each[0].im);
                    for k in 1..R {
                        let turned = each[k].turned(turns[k - 1]);
                        (b[k].re[l], b[k].im[l]) = (turned.re, turned.im);
                    }
                }
                for k in 0..R {
                    out[q + s * k] = b[k];
                }
            }
        }
    }

    /// As `slow_pass`.
    #[inline(always)]
    fn slow_pass_lanes<const N: usize>(&self, x: &[Lanes<N>], y: &mut [Lanes<N>]) {
        let (mut one, mut other) = (vec![Turn::ZERO; x.len()], vec![Turn::ZERO; x.len()]);
        for l in 0..N {
            for (one, x) in one.iter_mut().zip(x) {
                *one = x.of(l);
            }
            self.slow_pass(&one, &mut other);
            for (y, other) in y.iter_mut().zip(&other) {
                (y.re[l], y.im[l]) = (other.re, other.im);
            }
        }
    }
}
