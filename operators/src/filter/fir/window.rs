//! Designs filters of linear phase by window, and Hilbert transformers. In: number of coefficients, edges and rate in
//! hertz, a window. Out: a filter with coefficients as `scipy.signal.firwin` gives them.
//!
//! Source: Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd ed., sections 7.5 and 12.4. The gain is made
//! one where the band is: at zero, at half the rate, or in its middle.

use super::{Fir, check_taps};
use crate::filter::design::{Band, DesignError};
use crate::signal::Hertz;

const PI: f64 = std::f64::consts::PI;

/// What the ideal response is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Window {
    /// Nothing: the steepest, 21 dB down.
    Rectangular,
    /// Hann's, 44 dB down.
    Hann,
    /// Hamming's, 53 dB down.
    Hamming,
    /// Blackman's, 74 dB down.
    Blackman,
    /// Kaiser's of this beta: any attenuation, see [`Window::kaiser`].
    Kaiser(f64),
}

impl Window {
    /// Kaiser's window for an attenuation in decibels.
    ///
    /// ```
    /// use auscult_operators::filter::fir::window::Window;
    /// assert_eq!(Window::kaiser(70.0), Window::Kaiser(0.1102 * (70.0 - 8.7)));
    /// ```
    pub fn kaiser(attenuation_db: f64) -> Self {
        let a = attenuation_db;
        Window::Kaiser(match a {
            _ if a > 50.0 => 0.1102 * (a - 8.7),
            _ if a > 21.0 => 0.5842 * libm::pow(a - 21.0, 0.4) + 0.07886 * (a - 21.0),
            _ => 0.0,
        })
    }

    /// Its value at place `i` of `n`.
    pub fn at(self, i: usize, n: usize) -> f64 {
        if n <= 1 {
            return 1.0;
        }
        let turn = 2.0 * PI * i as f64 / (n - 1) as f64;
        match self {
            Window::Rectangular => 1.0,
            Window::Hann => 0.5 - 0.5 * libm::cos(turn),
            Window::Hamming => 0.54 - 0.46 * libm::cos(turn),
            Window::Blackman => 0.42 - 0.5 * libm::cos(turn) + 0.08 * libm::cos(2.0 * turn),
            Window::Kaiser(beta) => {
                let side = 2.0 * i as f64 / (n - 1) as f64 - 1.0;
                bessel(beta * (1.0 - side * side).max(0.0).sqrt()) / bessel(beta)
            }
        }
    }
}

/// The modified Bessel function of order zero, by its power series.
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * f64::EPSILON / 4.0 && k < 500.0 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// sin(pi x) / (pi x).
fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { libm::sin(PI * x) / (PI * x) }
}

/// A filter of linear phase; its latency is half of `taps - 1` samples.
///
/// # Errors
/// [`DesignError`] for edges that no filter has, for none or too many taps, for an even number where the gain at half
/// the rate is one, and for a Kaiser window of a beta that is not from 0 to 100.
///
/// ```
/// use auscult_operators::filter::Band;
/// use auscult_operators::filter::fir::window::{Window, by_window};
/// use auscult_operators::signal::Hertz;
/// let low = by_window(51, Band::LowPass(Hertz(40.0)), Window::Hamming, Hertz(250.0)).unwrap();
/// assert!((low.magnitude(Hertz(40.0), Hertz(250.0)) - 0.5).abs() < 0.01);
/// assert_eq!(low.latency(), Some(25.0));
/// ```
pub fn by_window(taps: usize, band: Band, window: Window, rate: Hertz) -> Result<Fir, DesignError> {
    check_taps(taps, 1)?;
    check_window(window)?;
    let half = rate.get() / 2.0;
    let edge = |e: Hertz, above: f64| {
        let inside = e.get() > above && e.get() < half;
        if inside {
            Ok(e.get() / half)
        } else {
            Err(DesignError::Edge { found: e.get(), above, below: half })
        }
    };
    // Edges of what is let through, as parts of half the rate; a second pair for a band-stop.
    let (first, second) = match band {
        Band::LowPass(e) => ((0.0, edge(e, 0.0)?), None),
        Band::HighPass(e) => ((edge(e, 0.0)?, 1.0), None),
        Band::BandPass(l, h) => ((edge(l, 0.0)?, edge(h, l.get())?), None),
        Band::BandStop(l, h) => ((0.0, edge(l, 0.0)?), Some((edge(h, l.get())?, 1.0))),
    };
    if taps.is_multiple_of(2) && (first.1 == 1.0 || second.is_some()) {
        return Err(DesignError::Taps { found: taps, need: "an odd number, for gain at half the rate" });
    }
    let middle = (taps - 1) as f64 / 2.0;
    let ideal = |(left, right): (f64, f64), m: f64| right * sinc(right * m) - left * sinc(left * m);
    let mut all: Vec<f64> = (0..taps)
        .map(|i| {
            let m = i as f64 - middle;
            (ideal(first, m) + second.map_or(0.0, |s| ideal(s, m))) * window.at(i, taps)
        })
        .collect();
    let one_at = match first {
        (0.0, _) => 0.0,
        (_, 1.0) => 1.0,
        (left, right) => 0.5 * (left + right),
    };
    let gain: f64 =
        all.iter().enumerate().map(|(i, h)| h * libm::cos(PI * one_at * (i as f64 - middle))).sum();
    all.iter_mut().for_each(|h| *h /= gain);
    Fir::new(all)
}

/// Coefficients of a low-pass of any length; its edge is a part of half the rate, its gain at zero is one.
pub(in crate::filter) fn low_pass(taps: usize, edge: f64, window: Window) -> Vec<f64> {
    let middle = (taps - 1) as f64 / 2.0;
    let mut all: Vec<f64> =
        (0..taps).map(|i| edge * sinc(edge * (i as f64 - middle)) * window.at(i, taps)).collect();
    let gain: f64 = all.iter().sum();
    all.iter_mut().for_each(|h| *h /= gain);
    all
}

/// A Hilbert transformer: turns every wave back by a quarter, a cosine into a sine. Gain is one away from zero and
/// half the rate, nearer to them the more taps there are; its latency is half of `taps - 1` samples.
///
/// # Errors
/// [`DesignError::Taps`] for an even number of taps, fewer than three or too many.
pub fn hilbert(taps: usize, window: Window) -> Result<Fir, DesignError> {
    check_taps(taps, 3)?;
    check_window(window)?;
    if taps.is_multiple_of(2) {
        return Err(DesignError::Taps { found: taps, need: "an odd number, to be late by whole samples" });
    }
    let middle = taps / 2;
    let value = |i: usize| {
        let k = i as f64 - middle as f64;
        if i.abs_diff(middle).is_multiple_of(2) { 0.0 } else { 2.0 / (PI * k) * window.at(i, taps) }
    };
    Fir::new((0..taps).map(value).collect())
}

fn check_window(window: Window) -> Result<(), DesignError> {
    match window {
        Window::Kaiser(beta) if !(0.0..=100.0).contains(&beta) => Err(DesignError::Quality { found: beta }),
        _ => Ok(()),
    }
}
