//! The kernels compiled for the instructions of x86, and eight doubles in its registers.
//! In: the jobs and kernels of [`super`], which has found the instructions there. Out: what they yield. No units.

use std::arch::x86_64::*;

use super::super::cascade::Cascade;
use super::super::lanes::{self, Job, TILE, Tile, Turn};
use super::{Eight, Kernel, OverEights};

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
