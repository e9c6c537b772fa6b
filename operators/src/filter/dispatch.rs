//! Chooses at run time which instructions the kernels use; one binary serves every machine.
//! In: a group of jobs, or any kernel. Out: the same group, filtered, or what the kernel yields. No units.
//!
//! This file and those of its folder are the only ones below the engine with `unsafe` in them. Calling a function
//! that was compiled for instructions the build does not take for granted is unsafe, and no dependency can take that
//! off us: the caller must have asked the processor first. Each such call stands right behind that question.
#![allow(unsafe_code, reason = "calls into functions compiled for instructions that were just detected")]

mod eight;
mod prefetch;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use super::cascade::Cascade;
use super::lanes::{self, Job};

pub(crate) use eight::{Eight, OverEights};
pub use prefetch::{Far, Stretch, fetch};

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

#[cfg(test)]
mod tests;
