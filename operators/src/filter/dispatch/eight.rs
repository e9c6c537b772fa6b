//! Eight doubles side by side, and what works on them with plain operations on every machine.
//! In: arrays of eight. Out: the same, computed lane by lane; every implementation gives the same bits. No units.

/// Eight doubles side by side. Every operation is that of IEEE 754, so every implementation gives the same bits.
pub(crate) trait Eight: Copy {
    fn load(from: &[f64; 8]) -> Self;
    fn store(self, to: &mut [f64; 8]);
    fn splat(x: f64) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The last first.
    fn reverse(self) -> Self;
    /// Eight counts.
    fn count(from: &[i16; 8]) -> Self;
    /// Each rounded to a single.
    fn narrow(self, to: &mut [f32; 8]);
    /// Eight singles, made wider.
    fn widen(from: &[f32; 8]) -> Self;
    /// Row `i`, column `j` becomes row `j`, column `i`.
    fn turn(rows: [Self; 8]) -> [Self; 8];
}

/// A computation written once over [`Eight`] and compiled for each width. `run` must be `#[inline(always)]`, as must
/// all that it calls, and must hold no closures.
pub(crate) trait OverEights {
    fn run<V: Eight>(&mut self);
}

/// What works everywhere.
impl Eight for [f64; 8] {
    #[inline(always)]
    fn load(from: &[f64; 8]) -> Self {
        *from
    }
    #[inline(always)]
    fn store(self, to: &mut [f64; 8]) {
        *to = self;
    }
    #[inline(always)]
    fn splat(x: f64) -> Self {
        [x; 8]
    }
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for l in 0..8 {
            self[l] += other[l];
        }
        self
    }
    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for l in 0..8 {
            self[l] -= other[l];
        }
        self
    }
    #[inline(always)]
    fn mul(mut self, other: Self) -> Self {
        for l in 0..8 {
            self[l] *= other[l];
        }
        self
    }
    #[inline(always)]
    fn mul_add(mut self, b: Self, c: Self) -> Self {
        for l in 0..8 {
            self[l] = self[l].mul_add(b[l], c[l]);
        }
        self
    }
    #[inline(always)]
    fn reverse(mut self) -> Self {
        <[f64]>::reverse(&mut self);
        self
    }
    #[inline(always)]
    fn count(from: &[i16; 8]) -> Self {
        let mut all = [0.0; 8];
        for l in 0..8 {
            all[l] = f64::from(from[l]);
        }
        all
    }
    #[inline(always)]
    fn narrow(self, to: &mut [f32; 8]) {
        for l in 0..8 {
            to[l] = self[l] as f32;
        }
    }
    #[inline(always)]
    fn widen(from: &[f32; 8]) -> Self {
        let mut all = [0.0; 8];
        for l in 0..8 {
            all[l] = f64::from(from[l]);
        }
        all
    }
    #[inline(always)]
    fn turn(rows: [Self; 8]) -> [Self; 8] {
        let mut turned = [[0.0; 8]; 8];
        for i in 0..8 {
            for j in 0..8 {
                turned[j][i] = rows[i][j];
            }
        }
        turned
    }
}
