//! Chooses at run time which instructions the kernels use; one binary serves every machine.
//! In: a group of jobs, or any kernel. Out: the same group, filtered, or what the kernel yields. No units.
//!
//! This is the one file of the workspace with `unsafe` in it. Calling a function that was compiled for
//! instructions the build does not take for granted is unsafe, and no dependency can take that off us: the
//! caller must have asked the processor first. Each such call stands right behind that question.
#![allow(unsafe_code, reason = "calls into functions compiled for instructions that were just detected")]

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
    pub fn best() -> Width {
        Self::ALL.into_iter().rev().find(|w| w.is_available()).unwrap_or(Width::Scalar)
    }

    /// Whether this machine can run it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
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

    /// Whether this machine can run it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
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
    widest_at(Width::best(), kernel)
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Cascade, Job, Kernel, TILE, Tile, Turn, lanes};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn kernel_256<K: Kernel>(kernel: K) -> K::Out {
        kernel.run()
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) fn kernel_512<K: Kernel>(kernel: K) -> K::Out {
        kernel.run()
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
