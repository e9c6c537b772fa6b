//! A filter ready to run, and the state of one channel that runs through it. In: second-order sections, a
//! rate in hertz, samples in the channel's unit. Out: samples in the same unit, the first of them without a
//! start transient.
//!
//! Direct form II transposed. Every multiply-add is fused, in one order, so that one channel alone and
//! sixteen in lanes give the same bits. A section runs in single precision unless its poles lie so near z = 1
//! that rounding would be heard; [`DOUBLE_BELOW`] says where that is and how it was found.

use serde::{Deserialize, Serialize};

use super::design::{DesignError, Section};
use super::dispatch::{self, Width};
use super::lanes::Job;
use crate::signal::Hertz;

/// The most sections a cascade may have.
pub const MAX_SECTIONS: usize = 8;

/// Sections whose poles are nearer to z = 1 than this run in double precision.
///
/// Measured on ECG of 26 records at 360 Hz, of 13 at 500 Hz, and on one resampled to 62.5 to 1000 Hz: worst
/// sample against `sosfilt` in double precision, relative to the peak of its output. The ECG chain in single
/// precision throughout errs by 4e-5 to 3e-4, and by 2e-3 on a 20 mV offset; that of respiration by up to
/// 0.5. With the sections below this distance in double precision every chain stays under 2e-6 and the ECG
/// chain at 360 and 500 Hz under 7e-7, at four fifths of the speed of single precision throughout; all in
/// double precision it would be 8e-8 at five eighths of that speed.
pub const DOUBLE_BELOW: f64 = 0.25;

/// Below this a stored state is taken for zero, so that silence does not decay into slow subnormal numbers.
const SILENCE: f64 = 1e-30;

/// How a section is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    Single,
    /// 64 bits; input and output samples remain 32 bits.
    Double,
}

/// A chain of sections at one rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Cascade {
    rate: Hertz,
    sections: Vec<Section>,
    /// Per section b0, b1, b2, -a1, -a2: first those in double precision, then the rest in single.
    pub(super) doubles: Vec<[f64; 5]>,
    pub(super) singles: Vec<[f32; 5]>,
    /// State of each section after an endless input of one.
    steady: Vec<[f64; 2]>,
}

/// State of one channel in one cascade. A fresh one takes its level from the first sample that it sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CascadeState {
    primed: bool,
    pub(super) memory: [[f64; 2]; MAX_SECTIONS],
}

impl Cascade {
    /// A cascade of these sections, each in the precision that it needs.
    ///
    /// Sections in double precision run first, whatever their place in the list: the product is the same.
    ///
    /// # Errors
    /// [`DesignError::Sections`] for no section or more than [`MAX_SECTIONS`].
    ///
    /// ```
    /// use auscult_operators::filter::{Band, Cascade, CascadeState, butterworth};
    /// use auscult_operators::signal::Hertz;
    /// let rate = Hertz(250.0);
    /// let cascade = Cascade::new(butterworth(2, Band::HighPass(Hertz(0.5)), rate).unwrap(), rate).unwrap();
    /// let (mut state, mut out) = (CascadeState::default(), [1.0f32; 4]);
    /// cascade.filter(&mut state, &[3.0; 4], &mut out);
    /// assert!(out.iter().all(|y| y.abs() < 1e-6), "a level is removed from the first sample on");
    /// ```
    pub fn new(sections: Vec<Section>, rate: Hertz) -> Result<Self, DesignError> {
        let choose = |s: &Section| {
            if s.pole_distance() < DOUBLE_BELOW { Precision::Double } else { Precision::Single }
        };
        Self::with_precision(sections, rate, choose)
    }

    /// A cascade whose precision is chosen by the caller, for comparison.
    ///
    /// # Errors
    /// As [`Cascade::new`].
    ///
    /// ```
    /// use auscult_operators::filter::{Cascade, Precision, notch};
    /// use auscult_operators::signal::Hertz;
    /// let section = notch(Hertz(50.0), 30.0, Hertz(250.0)).unwrap();
    /// let c = Cascade::with_precision(vec![section], Hertz(250.0), |_| Precision::Double).unwrap();
    /// assert_eq!(c.precisions(), [Precision::Double]);
    /// ```
    pub fn with_precision(
        sections: Vec<Section>,
        rate: Hertz,
        choose: impl Fn(&Section) -> Precision,
    ) -> Result<Self, DesignError> {
        if sections.is_empty() || sections.len() > MAX_SECTIONS {
            return Err(DesignError::Sections { found: sections.len(), limit: MAX_SECTIONS });
        }
        let (first, last): (Vec<_>, Vec<_>) =
            sections.into_iter().partition(|s| choose(s) == Precision::Double);
        let row = |s: &Section| [s.b[0], s.b[1], s.b[2], -s.a[0], -s.a[1]];
        let doubles: Vec<_> = first.iter().map(row).collect();
        let singles = last.iter().map(|s| row(s).map(|c| c as f32)).collect();
        let sections: Vec<Section> = first.into_iter().chain(last).collect();
        let mut level = 1.0;
        let steady = sections
            .iter()
            .map(|s| {
                let out = level * s.gain_at_zero();
                let memory = [out - s.b[0] * level, s.b[2] * level - s.a[1] * out];
                level = out;
                memory
            })
            .collect();
        Ok(Self { rate, sections, doubles, singles, steady })
    }

    /// The same cascade, whose fresh state is that of an endless past of zeros rather than of the first sample: what
    /// `scipy.signal.sosfilt` does, with the start transient that it has.
    pub fn from_zero(mut self) -> Self {
        self.steady.iter_mut().for_each(|s| *s = [0.0; 2]);
        self
    }

    /// Rate of the channels that may run through it.
    pub fn rate(&self) -> Hertz {
        self.rate
    }

    /// The sections in the order in which they run.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Precision of each section, in the order in which they run.
    pub fn precisions(&self) -> Vec<Precision> {
        let mut all = vec![Precision::Double; self.doubles.len()];
        all.resize(self.sections.len(), Precision::Single);
        all
    }

    /// Runs one channel, sample after sample, without SIMD: the reference that lanes must equal to the bit.
    /// Use [`filter_many`](super::filter_many) for speed.
    pub fn filter(&self, state: &mut CascadeState, input: &[f32], output: &mut [f32]) {
        dispatch::run(Width::Scalar, self, &mut [Job { input, output, state }]);
    }
}

impl CascadeState {
    /// Forgets the signal: the next sample sets the level anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// On the first sample ever, takes the state that an endless past at that level would have left.
    pub(super) fn prime(&mut self, cascade: &Cascade, first: f32) {
        if !self.primed {
            self.primed = true;
            for (m, s) in self.memory.iter_mut().zip(&cascade.steady) {
                *m = s.map(|z| z * f64::from(first));
            }
        }
    }

    /// Stores what a section remembers.
    pub(super) fn store(&mut self, section: usize, memory: [f64; 2]) {
        self.memory[section] = memory.map(|z| if z.abs() < SILENCE { 0.0 } else { z });
    }
}
