//! Chooses at run time which instructions the kernels use; one binary serves every machine.
//! In: a group of jobs, or any kernel. Out: the same group, filtered, or what the kernel yields. No units.
//!
//! This is the one file of the workspace with `unsafe` in it. Calling a function that was compiled for
//! instructions the build does not take for granted is unsafe, and no dependency can take that off us: the
//! caller must have asked the processor first. Each such call stands right behind that question.
#![allow(unsafe_code, reason = "calls into functions compiled for instructions that were just detected")]

use std::sync::OnceLock;

use super::cascade::Cascade;
use super::lanes::{self, Job, TILE, Tile, Turn};

/// Width of the instructions that the lane kernels are compiled for. Every width gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// One channel at a time, no instructions beyond the build's: works everywhere; slow where the build may
    /// not take fused multiply-add for granted, as it is then computed in software.
    Scalar,
    /// Four lanes of 32 bits: x86 with FMA, or ARM.
    Bits128,
    /// Eight lanes: x86 with AVX2 and FMA.
    Bits256,
    /// Sixteen lanes: x86 with AVX-512 F, VL, DQ and BW.
    Bits512,
}

impl Width {
    /// All widths, narrowest first.
    pub const ALL: [Width; 4] = [Width::Scalar, Width::Bits128, Width::Bits256, Width::Bits512];

    /// Those that this machine can run.
    ///
    /// ```
    /// use auscult_operators::filter::Width;
    /// assert_eq!(Width::available().next(), Some(Width::Scalar));
    /// assert_eq!(Width::available().last(), Some(Width::best()));
    /// ```
    pub fn available() -> impl Iterator<Item = Width> {
        Self::ALL.into_iter().filter(|w| w.is_available())
    }

    /// The widest that this machine can run.
    #[inline]
    pub fn best() -> Width {
        // Asked for at every kernel, so the processor is asked once.
        static BEST: OnceLock<Width> = OnceLock::new();
        *BEST.get_or_init(|| Self::ALL.into_iter().rev().find(|w| w.is_there()).unwrap_or(Width::Scalar))
    }

    /// Whether this machine can run it: a machine that can run one width can run the narrower ones.
    #[inline]
    pub fn is_available(self) -> bool {
        self <= Self::best()
    }

    #[cfg(target_arch = "x86_64")]
    fn is_there(self) -> bool {
        let fma = || is_x86_feature_detected!("fma");
        let avx2 = || fma() && is_x86_feature_detected!("avx2");
        match self {
            Width::Scalar => true,
            Width::Bits128 => fma(),
            Width::Bits256 => avx2(),
            Width::Bits512 => {
                avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_there(self) -> bool {
        self == Width::Scalar || (self == Width::Bits128 && cfg!(target_arch = "aarch64"))
    }
}

/// Straight work over slices that wide instructions speed up. As no operation is fused or put in another order than it
/// is written in, every width gives the same bits.
///
/// `run`, and all that it calls and that is to go wide, must be `#[inline(always)]`: only what is compiled into
/// [`widest`] itself gets its instructions.
pub trait Kernel {
    /// What it yields.
    type Out;
    /// Does the work.
    fn run(self) -> Self::Out;
}

/// Runs a kernel with the widest instructions this machine has.
///
/// ```
/// use auscult_operators::filter::dispatch::{Kernel, widest};
/// struct Sum<'a>(&'a [u32]);
/// impl Kernel for Sum<'_> {
///     type Out = u32;
///     #[inline(always)]
///     fn run(self) -> u32 {
///         self.0.iter().sum()
///     }
/// }
/// assert_eq!(widest(Sum(&[1, 2, 3])), 6);
/// ```
#[inline]
pub fn widest<K: Kernel>(kernel: K) -> K::Out {
    #[cfg(test)]
    let best = tests::FORCED.get().unwrap_or(Width::best());
    #[cfg(not(test))]
    let best = Width::best();
    widest_at(best, kernel)
}

/// As [`widest`] with instructions of a given width; one that this machine lacks falls back to the build's own.
#[inline]
pub fn widest_at<K: Kernel>(width: Width, kernel: K) -> K::Out {
    match width {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `is_available` has just found the instructions this function was compiled for.
        Width::Bits512 if width.is_available() => unsafe { x86::kernel_512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Width::Bits256 if width.is_available() => unsafe { x86::kernel_256(kernel) },
        _ => kernel.run(),
    }
}

/// Most that is asked for at once: what is longer the processor follows by itself.
const FETCHED: usize = 1024;
/// What memory comes in.
const LINE: usize = 64;

/// Asks for memory that is read soon, so that it is at hand by then. Changes nothing but time.
///
/// ```
/// auscult_operators::filter::dispatch::fetch(&[1, 2, 3][..]);
/// ```
#[inline]
pub fn fetch<T: ?Sized>(item: &T) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(item).min(FETCHED)).step_by(LINE) {
        let line = std::ptr::from_ref(item).cast::<i8>().wrapping_add(at);
        // SAFETY: a hint that reads nothing and that every x86-64 has; the line holds a part of what is borrowed.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}

/// Runs one group of at most [`lanes::LANES`] jobs; a width that is not there falls back to scalar.
pub(super) fn run(width: Width, cascade: &Cascade, jobs: &mut [Job<'_>]) {
    if !width.is_available() {
        return lanes::run_each(cascade, jobs);
    }
    match width {
        Width::Scalar => lanes::run_each(cascade, jobs),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `is_available` has just found the instructions this function was compiled for.
        Width::Bits128 => unsafe { x86::run_128(cascade, jobs) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Width::Bits256 => unsafe { x86::run_256(cascade, jobs) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Width::Bits512 => unsafe { x86::run_512(cascade, jobs) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => lanes::run_fours(cascade, jobs),
    }
}

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

/// Runs a kernel with instructions of a given width; one that this machine lacks falls back to scalar.
pub(crate) fn run_eights(width: Width, kernel: &mut impl OverEights) {
    if !width.is_available() {
        return kernel.run::<[f64; 8]>();
    }
    match width {
        Width::Scalar => kernel.run::<[f64; 8]>(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `is_available` has just found the instructions this function was compiled for.
        Width::Bits128 => unsafe { x86::eights_128(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Width::Bits256 => unsafe { x86::eights_256(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Width::Bits512 => unsafe { x86::eights_512(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => kernel.run::<[f64; 8]>(),
    }
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Cascade, Eight, Job, Kernel, OverEights, TILE, Tile, Turn, lanes};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn kernel_256<K: Kernel>(kernel: K) -> K::Out {
        kernel.run()
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) fn kernel_512<K: Kernel>(kernel: K) -> K::Out {
        kernel.run()
    }

    #[target_feature(enable = "avx,fma")]
    pub(super) fn eights_128(kernel: &mut impl OverEights) {
        kernel.run::<[f64; 8]>();
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn eights_256(kernel: &mut impl OverEights) {
        kernel.run::<Pair>();
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) fn eights_512(kernel: &mut impl OverEights) {
        kernel.run::<Whole>();
    }

    /// Eight doubles in two registers. Private to this module: only `eights_256` names it.
    #[derive(Clone, Copy)]
    struct Pair(__m256d, __m256d);

    /// Eight doubles in one register. Only `eights_512` names it.
    #[derive(Clone, Copy)]
    struct Whole(__m512d);

    // SAFETY of all below: the machine has the instructions, as only the functions above name these types; a load or
    // store touches the eight doubles of its array.
    macro_rules! eight {
        ($name:ident, |$from:ident| $load:expr, |$v:ident, $to:ident| $store:expr, |$x:ident| $splat:expr,
         |$a:ident, $b:ident| $add:expr, $sub:expr, $mul:expr, |$c:ident| $fma:expr, $reverse:expr,
         |$f:ident| $widen:expr, |$r:ident| $turn:expr, |$k:ident| $count:expr,
         |$w:ident, $s:ident| $narrow:expr) => {
            impl Eight for $name {
                #[inline(always)]
                fn load($from: &[f64; 8]) -> Self {
                    let $from = $from.as_ptr();
                    unsafe { $load }
                }
                #[inline(always)]
                fn store(self, $to: &mut [f64; 8]) {
                    let ($v, $to) = (self, $to.as_mut_ptr());
                    unsafe { $store }
                }
                #[inline(always)]
                fn splat($x: f64) -> Self {
                    unsafe { $splat }
                }
                #[inline(always)]
                fn add(self, $b: Self) -> Self {
                    let $a = self;
                    unsafe { $add }
                }
                #[inline(always)]
                fn sub(self, $b: Self) -> Self {
                    let $a = self;
                    unsafe { $sub }
                }
                #[inline(always)]
                fn mul(self, $b: Self) -> Self {
                    let $a = self;
                    unsafe { $mul }
                }
                #[inline(always)]
                fn mul_add(self, $b: Self, $c: Self) -> Self {
                    let $a = self;
                    unsafe { $fma }
                }
                #[inline(always)]
                fn reverse(self) -> Self {
                    let $a = self;
                    unsafe { $reverse }
                }
                #[inline(always)]
                fn count($k: &[i16; 8]) -> Self {
                    let $k = $k.as_ptr().cast();
                    unsafe { $count }
                }
                #[inline(always)]
                fn narrow(self, $s: &mut [f32; 8]) {
                    let ($w, $s) = (self, $s.as_mut_ptr());
                    unsafe { $narrow }
                }
                #[inline(always)]
                fn widen($f: &[f32; 8]) -> Self {
                    let $f = $f.as_ptr();
                    unsafe { $widen }
                }
                #[inline(always)]
                fn turn($r: [Self; 8]) -> [Self; 8] {
                    unsafe { $turn }
                }
            }
        };
    }
    eight!(
        Pair,
        |from| Pair(_mm256_loadu_pd(from), _mm256_loadu_pd(from.add(4))),
        |v, to| {
            _mm256_storeu_pd(to, v.0);
            _mm256_storeu_pd(to.add(4), v.1)
        },
        |x| Pair(_mm256_set1_pd(x), _mm256_set1_pd(x)),
        |a, b| Pair(_mm256_add_pd(a.0, b.0), _mm256_add_pd(a.1, b.1)),
        Pair(_mm256_sub_pd(a.0, b.0), _mm256_sub_pd(a.1, b.1)),
        Pair(_mm256_mul_pd(a.0, b.0), _mm256_mul_pd(a.1, b.1)),
        |c| Pair(_mm256_fmadd_pd(a.0, b.0, c.0), _mm256_fmadd_pd(a.1, b.1, c.1)),
        Pair(_mm256_permute4x64_pd::<0x1B>(a.1), _mm256_permute4x64_pd::<0x1B>(a.0)),
        |f| Pair(_mm256_cvtps_pd(_mm_loadu_ps(f)), _mm256_cvtps_pd(_mm_loadu_ps(f.add(4)))),
        |r| {
            // Four squares of four: each turned, and the two off the diagonal swapped.
            let a = four([r[0].0, r[1].0, r[2].0, r[3].0]);
            let b = four([r[0].1, r[1].1, r[2].1, r[3].1]);
            let c = four([r[4].0, r[5].0, r[6].0, r[7].0]);
            let d = four([r[4].1, r[5].1, r[6].1, r[7].1]);
            [
                Pair(a[0], c[0]),
                Pair(a[1], c[1]),
                Pair(a[2], c[2]),
                Pair(a[3], c[3]),
                Pair(b[0], d[0]),
                Pair(b[1], d[1]),
                Pair(b[2], d[2]),
                Pair(b[3], d[3]),
            ]
        },
        |k| {
            let k = _mm_loadu_si128(k);
            Pair(
                _mm256_cvtepi32_pd(_mm_cvtepi16_epi32(k)),
                _mm256_cvtepi32_pd(_mm_cvtepi16_epi32(_mm_srli_si128::<8>(k))),
            )
        },
        |w, s| {
            _mm_storeu_ps(s, _mm256_cvtpd_ps(w.0));
            _mm_storeu_ps(s.add(4), _mm256_cvtpd_ps(w.1))
        }
    );
    eight!(
        Whole,
        |from| Whole(_mm512_loadu_pd(from)),
        |v, to| _mm512_storeu_pd(to, v.0),
        |x| Whole(_mm512_set1_pd(x)),
        |a, b| Whole(_mm512_add_pd(a.0, b.0)),
        Whole(_mm512_sub_pd(a.0, b.0)),
        Whole(_mm512_mul_pd(a.0, b.0)),
        |c| Whole(_mm512_fmadd_pd(a.0, b.0, c.0)),
        Whole(_mm512_permutexvar_pd(_mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7), a.0)),
        |f| Whole(_mm512_cvtps_pd(_mm256_loadu_ps(f))),
        |r| {
            let (a, b) = (halves(r[0], r[1]), halves(r[2], r[3]));
            let (c, d) = (halves(r[4], r[5]), halves(r[6], r[7]));
            let (even, odd) = (quarters([a.0, b.0, c.0, d.0]), quarters([a.1, b.1, c.1, d.1]));
            [even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]].map(Whole)
        },
        |k| Whole(_mm512_cvtepi32_pd(_mm256_cvtepi16_epi32(_mm_loadu_si128(k)))),
        |w, s| _mm256_storeu_ps(s, _mm512_cvtpd_ps(w.0))
    );

    /// Turns a square of four doubles.
    #[inline(always)]
    unsafe fn four(r: [__m256d; 4]) -> [__m256d; 4] {
        unsafe {
            let (a, b) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
            let (c, d) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
            [
                _mm256_permute2f128_pd::<0x20>(a, c),
                _mm256_permute2f128_pd::<0x20>(b, d),
                _mm256_permute2f128_pd::<0x31>(a, c),
                _mm256_permute2f128_pd::<0x31>(b, d),
            ]
        }
    }

    /// The even, and the odd doubles of two rows, pair by pair.
    #[inline(always)]
    unsafe fn halves(a: Whole, b: Whole) -> (__m512d, __m512d) {
        unsafe { (_mm512_unpacklo_pd(a.0, b.0), _mm512_unpackhi_pd(a.0, b.0)) }
    }

    /// Turns a square of four pairs of doubles.
    #[inline(always)]
    unsafe fn quarters(r: [__m512d; 4]) -> [__m512d; 4] {
        unsafe {
            let (a, b) = (_mm512_shuffle_f64x2::<0x44>(r[0], r[1]), _mm512_shuffle_f64x2::<0xEE>(r[0], r[1]));
            let (c, d) = (_mm512_shuffle_f64x2::<0x44>(r[2], r[3]), _mm512_shuffle_f64x2::<0xEE>(r[2], r[3]));
            [
                _mm512_shuffle_f64x2::<0x88>(a, c),
                _mm512_shuffle_f64x2::<0xDD>(a, c),
                _mm512_shuffle_f64x2::<0x88>(b, d),
                _mm512_shuffle_f64x2::<0xDD>(b, d),
            ]
        }
    }

    #[target_feature(enable = "avx,fma")]
    pub(super) fn run_128(cascade: &Cascade, jobs: &mut [Job<'_>]) {
        lanes::run_fours(cascade, jobs);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run_256(cascade: &Cascade, jobs: &mut [Job<'_>]) {
        lanes::run_group::<Avx>(cascade, jobs);
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) fn run_512(cascade: &Cascade, jobs: &mut [Job<'_>]) {
        lanes::run_group::<Avx>(cascade, jobs);
    }

    /// Turns a tile by AVX shuffles. Private to this module: only the two functions above, which are compiled
    /// for AVX and more, name it.
    struct Avx;
    impl Turn for Avx {
        /// Three rounds: pairs of rows interleaved, then fours, then the halves of the registers swapped.
        #[inline(always)]
        fn turn(rows: [&[f32; TILE]; TILE]) -> Tile {
            // SAFETY: the machine has AVX, see the type; a row is eight floats, which is what an unaligned
            // load or store touches.
            unsafe {
                let row = |i: usize| _mm256_loadu_ps(rows[i].as_ptr());
                let r = [row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)];
                let (a0, a1) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
                let (a2, a3) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
                let (a4, a5) = (_mm256_unpacklo_ps(r[4], r[5]), _mm256_unpackhi_ps(r[4], r[5]));
                let (a6, a7) = (_mm256_unpacklo_ps(r[6], r[7]), _mm256_unpackhi_ps(r[6], r[7]));
                let (b0, b1) = (_mm256_shuffle_ps::<0x44>(a0, a2), _mm256_shuffle_ps::<0xEE>(a0, a2));
                let (b2, b3) = (_mm256_shuffle_ps::<0x44>(a1, a3), _mm256_shuffle_ps::<0xEE>(a1, a3));
                let (b4, b5) = (_mm256_shuffle_ps::<0x44>(a4, a6), _mm256_shuffle_ps::<0xEE>(a4, a6));
                let (b6, b7) = (_mm256_shuffle_ps::<0x44>(a5, a7), _mm256_shuffle_ps::<0xEE>(a5, a7));
                let mut tile = [[0f32; TILE]; TILE];
                _mm256_storeu_ps(tile[0].as_mut_ptr(), _mm256_permute2f128_ps::<0x20>(b0, b4));
                _mm256_storeu_ps(tile[1].as_mut_ptr(), _mm256_permute2f128_ps::<0x20>(b1, b5));
                _mm256_storeu_ps(tile[2].as_mut_ptr(), _mm256_permute2f128_ps::<0x20>(b2, b6));
                _mm256_storeu_ps(tile[3].as_mut_ptr(), _mm256_permute2f128_ps::<0x20>(b3, b7));
                _mm256_storeu_ps(tile[4].as_mut_ptr(), _mm256_permute2f128_ps::<0x31>(b0, b4));
                _mm256_storeu_ps(tile[5].as_mut_ptr(), _mm256_permute2f128_ps::<0x31>(b1, b5));
                _mm256_storeu_ps(tile[6].as_mut_ptr(), _mm256_permute2f128_ps::<0x31>(b2, b6));
                _mm256_storeu_ps(tile[7].as_mut_ptr(), _mm256_permute2f128_ps::<0x31>(b3, b7));
                tile
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::registry::OPERATORS;
    use crate::signal::{ChannelId, Epoch, EventTime, Hertz, Readings, Run, Values};

    thread_local! {
        /// The width that kernels are to run with in this test.
        pub(super) static FORCED: Cell<Option<Width>> = const { Cell::new(None) };
    }

    /// Sample `i` of a channel: something like a beat every 0.8 s or a breath every 4 s, with a little noise.
    fn sample(channel: &str, rate: f64, i: i64) -> f32 {
        let t = i as f64 / rate;
        let noise = ((i * 7919 + 13) % 101) as f64 / 101.0 - 0.5;
        let beat = 1.0 - ((t / 0.8).fract() - 0.4).abs() / 0.03;
        let wave =
            libm::sin(t * std::f64::consts::TAU / 0.8) + 0.4 * libm::sin(t * std::f64::consts::TAU / 0.4);
        let value = match channel {
            "abp" => 90.0 + 20.0 * wave + 0.3 * noise,
            "ppg" => wave + 0.02 * noise,
            "resp" => libm::sin(t * std::f64::consts::TAU / 4.0) + 0.05 * noise,
            _ => beat.max(0.0) + 0.01 * noise,
        };
        value as f32
    }

    /// What all operators say of three quarters of a minute, and their states after it.
    fn told(width: Width) -> String {
        FORCED.set(Some(width));
        let mut all = String::new();
        let mut operators: Vec<_> = OPERATORS.iter().map(|s| (s.build)(&(s.defaults)()).unwrap()).collect();
        let channels = [("ecg_ii", 250.0), ("ecg_v5", 360.0), ("ppg", 125.0), ("abp", 125.0), ("resp", 62.5)];
        let values = Values::default();
        for second in 0..45_i64 {
            let data: Vec<_> = channels
                .iter()
                .map(|(name, rate)| {
                    let at = |s: i64| (s as f64 * rate).ceil() as i64;
                    let samples: Vec<f32> =
                        (at(second)..at(second + 1)).map(|i| sample(name, *rate, i)).collect();
                    let start = EventTime::from_micros((at(second) as f64 * 1e6 / rate) as i64);
                    (ChannelId::named(name).unwrap(), Hertz(*rate), start, samples)
                })
                .collect();
            let mut runs: Vec<Run<'_>> = data
                .iter()
                .map(|(channel, rate, start, x)| Run {
                    channel: *channel,
                    rate: *rate,
                    start: *start,
                    reset: second == 0,
                    raw: x,
                    clean: x,
                    bridged: 0,
                })
                .collect();
            runs.sort_by_key(|r| r.channel);
            let mut out = Readings::default();
            for operator in &mut operators {
                let start = EventTime::from_seconds(second);
                operator.apply(&Epoch { start, runs: &runs, values: &values }, &mut out);
            }
            all += &format!("{out:?}\n");
        }
        let mut state = Vec::new();
        operators.iter().for_each(|o| o.save(&mut state));
        FORCED.set(None);
        all + &format!("{state:?}")
    }

    #[test]
    fn every_width_says_the_same_to_the_bit() {
        let scalar = told(Width::Scalar);
        for name in ["heart_rate", "pulse_rate", "abp_sys", "resp_rate", "ecg_power_5_15"] {
            let found = scalar.lines().any(|l| l.contains(&format!("name: \"{name}\"")) && l.contains("Ok("));
            assert!(found, "{name} is not among what is compared");
        }
        for width in Width::available() {
            assert!(told(width) == scalar, "{width:?} differs");
        }
    }
}
