//! Takes mains hum out of a signal without delay: follows its frequency, and subtracts it and its harmonics.
//! In: samples in the channel's unit, the nominal frequency of the mains in hertz. Out: as many samples in the same
//! unit, of latency zero.
//!
//! Sources: Widrow et al., Adaptive noise cancelling, Proc IEEE 1975;63:1692 (a reference in two phases, whose weights
//! are led by the error: for a steady frequency a notch); Glover, IEEE Trans Acoust 1977;25:484 (its width). The
//! frequency is the mean turn of the phasor between two moments (Kay, IEEE Trans Acoust 1989;37:1987). Differs from
//! them: the error is limited before it moves the weights, so that a QRS complex hardly does; and the first weights
//! are plain means, so that the hum is gone within a second.
//!
//! Measured on simulated ECG of 250 and 500 Hz, and on 26 records of mitdb (tests/mains_records.rs): of a clean ECG
//! some 5, at most 10 microvolts RMS are lost; that is also what remains of hum, so 1 mV is 40 dB down and 0.1 mV 23
//! dB.
//!
//! Limits: between 1.2 Hz below and above the nominal frequency. The frequency is known some 0.8 s late: 1 mV of hum
//! that drifts by 0.01 Hz each second is 34 dB down, by 0.02 Hz 29 dB, by 0.1 Hz 14 dB. Where there is next to no hum
//! the last frequency is kept.

use num_complex::Complex;
use serde::{Deserialize, Serialize};

use super::conditioning::USABLE;
use super::design::DesignError;
use crate::signal::Hertz;

type C = Complex<f64>;

/// Hum and this many of its multiples are removed, as far as the rate shows them.
pub const HARMONICS: usize = 3;

/// How far from the nominal frequency the mains may lie, Hz.
pub const DRIFT_HZ: f64 = 1.2;

/// Half the width of the notch, Hz: the pace at which amplitude and phase are followed.
const PACE_HZ: f64 = 0.5;

/// Below this the signal does not lead the weights: it is baseline, not hum. Hz.
const SLOW_HZ: f64 = 5.0;

/// Width of what is looked at to find the frequency, Hz on either side of the nominal one.
const VIEW_HZ: f64 = 2.0;

/// Phasors a second that are kept to find the frequency, and how many of them a turn is measured over.
const PHASORS_HZ: f64 = 40.0;
const LAG: usize = 10;

/// The frequency is followed while the phasor turns evenly: 1 is a pure tone, noise gives some 0.2.
const STEADY: f64 = 0.6;

/// An error counts up to this many times its mean size.
const CLIP: f64 = 4.0;

/// A canceller for channels of one rate.
///
/// ```
/// use auscult_operators::filter::{MainsCanceller, MainsState};
/// use auscult_operators::signal::Hertz;
/// let rate = 250.0;
/// let canceller = MainsCanceller::new(Hertz(50.0), Hertz(rate)).unwrap();
/// let hum: Vec<f32> = (0..2500).map(|i| (i as f32 * 50.3 / 250.0 * std::f32::consts::TAU).sin()).collect();
/// let (mut state, mut out) = (MainsState::default(), vec![0f32; 2500]);
/// canceller.filter(&mut state, &hum, &mut out);
/// assert!(out[1500..].iter().all(|y| y.abs() < 0.03));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MainsCanceller {
    nominal_hz: f64,
    rate_hz: f64,
    harmonics: usize,
    /// Share of the error by which the weights move, once settled.
    pace: f64,
    /// Share by which the slow part, the view and the mean sizes follow.
    slow: f64,
    view: f64,
    size: f64,
    /// Share of the past that is forgotten at each phasor.
    forget: f64,
    /// Samples between two phasors.
    stride: u32,
    /// Turn of the nominal frequency from sample to sample.
    turn: C,
}

/// What the canceller remembers of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MainsState {
    /// Samples seen, as far as it matters.
    seen: u32,
    /// Samples since the last phasor.
    since: u32,
    /// The first sample: what level is taken off before anything else.
    level: f64,
    /// Slow parts of the input and of the error.
    slow: [f64; 2],
    /// Mean sizes of the input and of the error, without their slow parts.
    size: [f64; 2],
    /// The hum found: frequency above the nominal one in hertz, phasor, and weights of it and its harmonics.
    offset_hz: f64,
    phase: [f64; 2],
    turn: [f64; 2],
    weights: [[f64; 2]; HARMONICS],
    /// The nominal frequency's phasor; the input seen from it, smoothed twice; and the last of that.
    nominal: [f64; 2],
    view: [[f64; 2]; 2],
    past: [[f32; 2]; LAG],
    /// Where the oldest of the past stands.
    oldest: u8,
    /// Mean turn over the lag, and mean power.
    together: [f64; 2],
    power: f64,
}

impl MainsCanceller {
    /// A canceller of mains of a nominal frequency, and of its harmonics that lie below 0.45 of the rate.
    ///
    /// # Errors
    /// [`DesignError::Edge`] if not even the mains itself does.
    pub fn new(nominal: Hertz, rate: Hertz) -> Result<Self, DesignError> {
        let (nominal_hz, rate_hz) = (nominal.get(), rate.get());
        let below = USABLE * rate_hz;
        if !(nominal_hz > SLOW_HZ && nominal_hz + DRIFT_HZ < below) {
            return Err(DesignError::Edge { found: nominal_hz, above: SLOW_HZ, below: below - DRIFT_HZ });
        }
        let share = |hz: f64| 1.0 - libm::exp(-std::f64::consts::TAU * hz / rate_hz);
        let harmonics = (1..=HARMONICS).take_while(|&k| k as f64 * (nominal_hz + DRIFT_HZ) < below).count();
        let stride = libm::round(rate_hz / PHASORS_HZ).max(1.0);
        Ok(Self {
            nominal_hz,
            rate_hz,
            harmonics,
            pace: share(PACE_HZ),
            slow: share(SLOW_HZ),
            view: share(VIEW_HZ),
            size: 1.0 / rate_hz,
            forget: 2.0 * stride / rate_hz,
            stride: stride as u32,
            turn: turn_of(nominal_hz / rate_hz),
        })
    }

    /// Takes the hum out of one channel's samples; `output` must be as long as `input`, the shorter counts. However
    /// the samples are cut into calls, the output has the same bits.
    pub fn filter(&self, state: &mut MainsState, input: &[f32], output: &mut [f32]) {
        for (x, y) in input.iter().zip(output) {
            *y = self.step(state, *x);
        }
    }

    /// The frequency that the mains was last found to have.
    pub fn frequency(&self, state: &MainsState) -> Hertz {
        Hertz(self.nominal_hz + state.offset_hz)
    }

    fn step(&self, s: &mut MainsState, x: f32) -> f32 {
        if s.seen == 0 {
            let unit = [1.0, 0.0];
            let turn = [self.turn.re, self.turn.im];
            *s = MainsState { level: f64::from(x), phase: unit, nominal: unit, turn, ..Default::default() };
        }
        let input = f64::from(x) - s.level;
        let phase = of(s.phase);
        let mut hum = 0.0;
        let mut turned = phase;
        for w in &s.weights[..self.harmonics] {
            hum += w[0] * turned.re + w[1] * turned.im;
            turned *= phase;
        }
        self.learn(s, input - hum);
        self.look(s, input);
        s.phase = to(phase * of(s.turn));
        s.nominal = to(of(s.nominal) * self.turn);
        s.seen = s.seen.saturating_add(1);
        let clean = f64::from(x) - hum;
        clean.clamp(-f64::from(f32::MAX), f64::from(f32::MAX)) as f32
    }

    /// Moves the weights by what is left of the signal.
    fn learn(&self, s: &mut MainsState, error: f64) {
        let error = self.limited(s, 1, error);
        // At first each sample counts alike, from two turns of the mains on.
        let start = f64::from(s.seen) + 2.0 * self.rate_hz / self.nominal_hz;
        let move_by = 2.0 * error * self.pace.max(1.0 / start);
        let phase = of(s.phase);
        let mut turned = phase;
        for w in &mut s.weights[..self.harmonics] {
            w[0] += move_by * turned.re;
            w[1] += move_by * turned.im;
            turned *= phase;
        }
    }

    /// The fast part of a signal, no larger than its usual size allows.
    fn limited(&self, s: &mut MainsState, which: usize, x: f64) -> f64 {
        s.slow[which] += self.slow * (x - s.slow[which]);
        let fast = x - s.slow[which];
        let size = s.size[which];
        // For half a second there is no usual size: plain means.
        let young = f64::from(s.seen) < self.rate_hz / 2.0;
        let limit = if young { f64::MAX } else { CLIP * size };
        let share = if young { 1.0 / (f64::from(s.seen) + 1.0) } else { self.size };
        s.size[which] = (size + share * (fast.abs().min(2.0 * limit) - size)).max(1e-6);
        fast.clamp(-limit, limit)
    }

    /// Follows the frequency.
    fn look(&self, s: &mut MainsState, input: f64) {
        let seen = of(s.nominal).conj() * self.limited(s, 0, input);
        let first = of(s.view[0]) + (seen - of(s.view[0])) * self.view;
        let second = of(s.view[1]) + (first - of(s.view[1])) * self.view;
        s.view = [to(first), to(second)];
        s.since += 1;
        if s.since < self.stride {
            return;
        }
        s.since = 0;
        // Rounding must not let the phasors grow or shrink.
        s.phase = to(unit(of(s.phase)));
        s.nominal = to(unit(of(s.nominal)));
        let oldest = usize::from(s.oldest) % LAG;
        let [re, im] = s.past[oldest].map(f64::from);
        s.past[oldest] = s.view[1].map(|v| v.clamp(-1e18, 1e18) as f32);
        s.oldest = ((oldest + 1) % LAG) as u8;
        let together = second * C::new(re, -im);
        let power = (second.norm_sqr() + re * re + im * im) / 2.0;
        s.together = to(of(s.together) * (1.0 - self.forget) + together * self.forget);
        s.power += self.forget * (power - s.power);
        let mean = of(s.together);
        if mean.norm_sqr().sqrt() > STEADY * s.power && s.power > 0.0 {
            let lag_s = LAG as f64 * f64::from(self.stride) / self.rate_hz;
            let hz = libm::atan2(mean.im, mean.re) / (std::f64::consts::TAU * lag_s);
            s.offset_hz = hz.clamp(-DRIFT_HZ, DRIFT_HZ);
            s.turn = to(turn_of((self.nominal_hz + s.offset_hz) / self.rate_hz));
        }
    }
}

impl MainsState {
    /// Forgets the signal.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

fn of(pair: [f64; 2]) -> C {
    C::new(pair[0], pair[1])
}

fn to(c: C) -> [f64; 2] {
    [c.re, c.im]
}

/// The phasor of some turns.
fn turn_of(turns: f64) -> C {
    let angle = std::f64::consts::TAU * turns;
    C::new(libm::cos(angle), libm::sin(angle))
}

fn unit(c: C) -> C {
    let size = c.norm_sqr().sqrt();
    if size > 0.0 { c / size } else { C::new(1.0, 0.0) }
}

#[cfg(test)]
#[path = "mains_tests.rs"]
mod tests;
