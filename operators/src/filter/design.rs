//! Designs Butterworth and notch filters as second-order sections. In: order, edge frequencies and sampling
//! rate in hertz. Out: sections with coefficients in double precision, paired and ordered as
//! `scipy.signal.butter(..., output="sos")` and `scipy.signal.iirnotch` give them.
//!
//! Sources: the analogue prototype, its band transformations and the bilinear transform with prewarping are
//! those of Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd ed., sections 7.2 and appendix B; the
//! notch is Orfanidis, Introduction to Signal Processing, section 11.3; the pairing (poles nearest the unit
//! circle last, each with the zeros nearest to it) is that of the documentation of `scipy.signal.zpk2sos`.
//! Where two poles lie equally near the unit circle (a band centred on a quarter of the rate) the order of
//! sections is open.

use num_complex::Complex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::signal::Hertz;

type C = Complex<f64>;

/// The highest order that is designed; beyond it double precision no longer places the poles well.
pub const MAX_ORDER: usize = 16;

/// One second-order section: `y = b0 x + b1 x' + b2 x" - a1 y' - a2 y"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Numerator.
    pub b: [f64; 3],
    /// Denominator without its leading one.
    pub a: [f64; 2],
}

/// What a filter lets through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Band {
    /// Everything below.
    LowPass(Hertz),
    /// Everything above.
    HighPass(Hertz),
    /// Everything between.
    BandPass(Hertz, Hertz),
    /// Everything but what lies between.
    BandStop(Hertz, Hertz),
}

/// A filter that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum DesignError {
    /// An edge is not between zero and half the rate, or the edges are not in order.
    #[error("edge of {found} Hz is not between {above} and {below} Hz")]
    Edge {
        /// The edge, in hertz.
        found: f64,
        /// It must lie above this, in hertz.
        above: f64,
        /// It must lie below this, in hertz.
        below: f64,
    },
    /// Order zero or above the limit.
    #[error("order {found} is not in 1..={MAX_ORDER}")]
    Order {
        /// The order asked for.
        found: usize,
    },
    /// The quality factor of a notch is not positive.
    #[error("quality factor {found} is not positive")]
    Quality {
        /// The factor asked for.
        found: f64,
    },
    /// A cascade has no section, or too many.
    #[error("{found} sections are not in 1..={limit}")]
    Sections {
        /// How many there are.
        found: usize,
        /// How many may be.
        limit: usize,
    },
}

impl Section {
    /// Gain for a constant input.
    pub fn gain_at_zero(&self) -> f64 {
        (self.b[0] + self.b[1] + self.b[2]) / (1.0 + self.a[0] + self.a[1])
    }

    /// The larger distance of its two poles from z = 1, where the response to a constant is decided.
    ///
    /// ```
    /// use auscult_operators::filter::{Band, butterworth};
    /// use auscult_operators::signal::Hertz;
    /// let slow = butterworth(2, Band::HighPass(Hertz(0.5)), Hertz(500.0)).unwrap();
    /// assert!(slow[0].pole_distance() < 0.01);
    /// ```
    pub fn pole_distance(&self) -> f64 {
        // The product of (1 - p) over both poles is 1 + a1 + a2, and for a pair both factors are alike.
        (1.0 + self.a[0] + self.a[1]).abs().sqrt()
    }
}

/// Gain of a chain of sections at one frequency.
///
/// ```
/// use auscult_operators::filter::{Band, butterworth, design::magnitude};
/// use auscult_operators::signal::Hertz;
/// let rate = Hertz(250.0);
/// let low = butterworth(4, Band::LowPass(Hertz(40.0)), rate).unwrap();
/// assert!((magnitude(&low, Hertz(40.0), rate) - 0.5f64.sqrt()).abs() < 1e-12);
/// ```
pub fn magnitude(sections: &[Section], frequency: Hertz, rate: Hertz) -> f64 {
    let w = 2.0 * std::f64::consts::PI * frequency.get() / rate.get();
    let back = C::new(libm::cos(w), -libm::sin(w));
    let one = C::new(1.0, 0.0);
    let gain = sections.iter().fold(one, |g, s| {
        let up = one * s.b[0] + back * s.b[1] + back * back * s.b[2];
        g * up / (one + back * s.a[0] + back * back * s.a[1])
    });
    gain.norm_sqr().sqrt()
}

/// A Butterworth filter. For a band the order is that of the prototype: the filter has twice as many poles.
///
/// # Errors
/// [`DesignError`] for an order or an edge that no filter has.
///
/// ```
/// use auscult_operators::filter::{Band, butterworth};
/// use auscult_operators::signal::Hertz;
/// let s = butterworth(2, Band::HighPass(Hertz(0.5)), Hertz(360.0)).unwrap();
/// assert!((s[0].b[0] - 0.9938483285621093).abs() < 1e-12);
/// assert!(butterworth(2, Band::HighPass(Hertz(200.0)), Hertz(360.0)).is_err());
/// ```
pub fn butterworth(order: usize, band: Band, rate: Hertz) -> Result<Vec<Section>, DesignError> {
    if order == 0 || order > MAX_ORDER {
        return Err(DesignError::Order { found: order });
    }
    let analogue = match band {
        Band::LowPass(edge) => prototype(order).low_pass(warp(edge, rate, 0.0)?),
        Band::HighPass(edge) => prototype(order).high_pass(warp(edge, rate, 0.0)?),
        Band::BandPass(low, high) => {
            let (low_w, high_w) = (warp(low, rate, 0.0)?, warp(high, rate, low.get())?);
            prototype(order).band_pass(low_w, high_w)
        }
        Band::BandStop(low, high) => {
            let (low_w, high_w) = (warp(low, rate, 0.0)?, warp(high, rate, low.get())?);
            prototype(order).band_stop(low_w, high_w)
        }
    };
    Ok(pair(analogue.bilinear()))
}

/// A notch that removes one frequency; its width between the half-power points is `frequency / quality`.
///
/// # Errors
/// [`DesignError`] for a frequency or a quality that no notch has.
///
/// ```
/// use auscult_operators::filter::{notch, design::magnitude};
/// use auscult_operators::signal::Hertz;
/// let s = notch(Hertz(50.0), 30.0, Hertz(250.0)).unwrap();
/// assert!(magnitude(&[s], Hertz(50.0), Hertz(250.0)) < 1e-12);
/// assert!((s.gain_at_zero() - 1.0).abs() < 1e-12);
/// ```
pub fn notch(frequency: Hertz, quality: f64, rate: Hertz) -> Result<Section, DesignError> {
    inside(frequency, rate, 0.0)?;
    if !(quality > 0.0 && quality.is_finite()) {
        return Err(DesignError::Quality { found: quality });
    }
    let w = 2.0 * std::f64::consts::PI * frequency.get() / rate.get();
    // Width where the power is halved: the general formula's factor sqrt(1 - g²)/g is one for g² = 1/2.
    let gain = 1.0 / (1.0 + libm::tan(w / quality / 2.0));
    let cos = libm::cos(w);
    Ok(Section { b: [gain, -2.0 * gain * cos, gain], a: [-2.0 * gain * cos, 2.0 * gain - 1.0] })
}

fn inside(edge: Hertz, rate: Hertz, above: f64) -> Result<(), DesignError> {
    let (found, below) = (edge.get(), rate.get() / 2.0);
    if found > above && found < below { Ok(()) } else { Err(DesignError::Edge { found, above, below }) }
}

/// Twice the rate at which the bilinear transform is taken; any value does, as warping undoes it.
const TWICE: f64 = 4.0;

/// The analogue frequency that the bilinear transform maps onto `edge`.
fn warp(edge: Hertz, rate: Hertz, above: f64) -> Result<f64, DesignError> {
    inside(edge, rate, above)?;
    Ok(TWICE * libm::tan(std::f64::consts::PI * edge.get() / rate.get()))
}

/// Zeros, poles and gain.
struct Zpk {
    zeros: Vec<C>,
    poles: Vec<C>,
    gain: f64,
}

/// Butterworth's low-pass of edge 1: poles evenly spaced on the left half of the unit circle.
fn prototype(order: usize) -> Zpk {
    let n = order as f64;
    let pole = |k: usize| {
        let angle = std::f64::consts::PI * (2.0 * k as f64 + 1.0 - n) / (2.0 * n);
        // The middle pole of an odd order is real; the angle is then exactly zero.
        C::new(-libm::cos(angle), -libm::sin(angle))
    };
    Zpk { zeros: Vec::new(), poles: (0..order).map(pole).collect(), gain: 1.0 }
}

/// The square root with the non-negative real part.
fn sqrt(c: C) -> C {
    let size = c.norm_sqr().sqrt();
    let re = ((size + c.re) / 2.0).max(0.0).sqrt();
    let im = ((size - c.re) / 2.0).max(0.0).sqrt();
    // The larger part is the exact one; the other follows from the product re * im = c.im / 2.
    if re >= im {
        C::new(re, if re > 0.0 { c.im / (2.0 * re) } else { 0.0 })
    } else {
        let im = if c.im < 0.0 { -im } else { im };
        C::new(c.im / (2.0 * im), im)
    }
}

fn product(of: &[C], map: impl Fn(C) -> C) -> C {
    of.iter().fold(C::new(1.0, 0.0), |p, &c| p * map(c))
}

impl Zpk {
    fn low_pass(self, w: f64) -> Zpk {
        let gain = self.poles.iter().fold(self.gain, |g, _| g * w);
        Zpk { zeros: Vec::new(), poles: self.poles.iter().map(|p| p * w).collect(), gain }
    }

    fn high_pass(self, w: f64) -> Zpk {
        let gain = self.gain / product(&self.poles, |p| -p).re;
        let zeros = vec![C::new(0.0, 0.0); self.poles.len()];
        Zpk { zeros, poles: self.poles.iter().map(|p| C::new(w, 0.0) / p).collect(), gain }
    }

    fn band_pass(self, low: f64, high: f64) -> Zpk {
        let width = high - low;
        let gain = self.poles.iter().fold(self.gain, |g, _| g * width);
        let poles = split(self.poles.iter().map(|p| p * (width / 2.0)), low * high);
        Zpk { zeros: vec![C::new(0.0, 0.0); self.poles.len()], poles, gain }
    }

    fn band_stop(self, low: f64, high: f64) -> Zpk {
        let gain = self.gain / product(&self.poles, |p| -p).re;
        let half = C::new((high - low) / 2.0, 0.0);
        let centre = (low * high).sqrt();
        let poles = split(self.poles.iter().map(|p| half / p), low * high);
        let zeros = self.poles.iter().flat_map(|_| [C::new(0.0, centre), C::new(0.0, -centre)]).collect();
        Zpk { zeros, poles, gain }
    }

    /// s = TWICE * (z - 1) / (z + 1); zeros at infinity land on z = -1.
    fn bilinear(self) -> Zpk {
        let two = C::new(TWICE, 0.0);
        let gain = self.gain * (product(&self.zeros, |z| two - z) / product(&self.poles, |p| two - p)).re;
        let map = |c: &C| (two + c) / (two - c);
        let mut zeros: Vec<C> = self.zeros.iter().map(map).collect();
        zeros.resize(self.poles.len(), C::new(-1.0, 0.0));
        Zpk { zeros, poles: self.poles.iter().map(map).collect(), gain }
    }
}

/// Each root `p` of the scaled prototype becomes the two roots of `s² - 2 p s + centre²`.
fn split(roots: impl Iterator<Item = C>, centre_squared: f64) -> Vec<C> {
    roots
        .flat_map(|p| {
            let d = sqrt(p * p - centre_squared);
            [p + d, p - d]
        })
        .collect()
}

/// Roots of a real polynomial: one of each conjugate pair, and the real ones.
fn halve(roots: &[C]) -> Vec<C> {
    let real = |c: &C| c.im.abs() <= 100.0 * f64::EPSILON * c.norm_sqr().sqrt();
    let mut half: Vec<C> = roots.iter().filter(|c| !real(c) && c.im > 0.0).copied().collect();
    half.extend(roots.iter().filter(|c| real(c)).map(|c| C::new(c.re, 0.0)));
    half
}

fn is_real(c: &C) -> bool {
    c.im == 0.0
}

/// Takes out the element of the least cost among those that `fit`.
fn take(from: &mut Vec<C>, fit: impl Fn(&C) -> bool, cost: impl Fn(&C) -> f64) -> Option<C> {
    let best =
        (0..from.len()).filter(|&i| fit(&from[i])).fold(None, |best: Option<usize>, i| match best {
            Some(b) if cost(&from[b]) <= cost(&from[i]) => best,
            _ => Some(i),
        })?;
    Some(from.remove(best))
}

/// Pairs poles with the zeros nearest to them, from the pole nearest the unit circle on; that one comes last.
fn pair(zpk: Zpk) -> Vec<Section> {
    let (mut zeros, mut poles) = (halve(&zpk.zeros), halve(&zpk.poles));
    if zpk.poles.len() % 2 == 1 {
        // An odd order: one section is of first order, padded with a root at zero.
        poles.push(C::new(0.0, 0.0));
        zeros.push(C::new(0.0, 0.0));
    }
    let edge = |c: &C| (1.0 - c.norm_sqr().sqrt()).abs();
    let mut sections = Vec::with_capacity(zpk.poles.len().div_ceil(2));
    while let Some(p1) = take(&mut poles, |_| true, edge) {
        let near = |z: &C| (z - p1).norm_sqr();
        let reals = |of: &[C]| of.iter().filter(|c| is_real(c)).count();
        // A complex pole must leave the last real zeros to the last real poles.
        let spare = is_real(&p1) || reals(&zeros) != 1 || reals(&poles) != 1;
        let p2 = if is_real(&p1) { take(&mut poles, is_real, edge).unwrap_or_default() } else { p1.conj() };
        let z1 = take(&mut zeros, |z| spare || !is_real(z), near).unwrap_or_default();
        let z2 = if is_real(&z1) { take(&mut zeros, is_real, near).unwrap_or_default() } else { z1.conj() };
        let (z_sum, z_product, p_sum, p_product) = (z1 + z2, z1 * z2, p1 + p2, p1 * p2);
        sections.push(Section { b: [1.0, -z_sum.re, z_product.re], a: [-p_sum.re, p_product.re] });
    }
    sections.reverse();
    if let Some(first) = sections.first_mut() {
        first.b = first.b.map(|b| b * zpk.gain);
    }
    sections
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    /// Half power at the edges, no loss far inside, next to nothing far outside.
    #[test]
    fn butterworth_has_half_power_at_its_edges() {
        let rate = Hertz(360.0);
        let (low, high) = (Hertz(10.0), Hertz(60.0));
        let half = 0.5f64.sqrt();
        // The middle of a band is the geometric mean of its edges after warping.
        let warped = |f: f64| libm::tan(std::f64::consts::PI * f / 360.0);
        let middle = libm::atan((warped(10.0) * warped(60.0)).sqrt()) * 360.0 / std::f64::consts::PI;
        for order in 1..=8 {
            for (band, pass, stop) in [
                (Band::LowPass(high), 0.001, 179.9),
                (Band::HighPass(low), 179.9, 0.001),
                (Band::BandPass(low, high), middle, 0.001),
                (Band::BandStop(low, high), 0.001, middle),
            ] {
                let s = butterworth(order, band, rate).unwrap();
                let edges: &[Hertz] = match band {
                    Band::LowPass(_) => &[high],
                    Band::HighPass(_) => &[low],
                    _ => &[low, high],
                };
                for &e in edges {
                    assert!((magnitude(&s, e, rate) - half).abs() < 1e-9, "{band:?} order {order}");
                }
                assert!((magnitude(&s, Hertz(pass), rate) - 1.0).abs() < 1e-3, "{band:?} order {order}");
                assert!(magnitude(&s, Hertz(stop), rate) < 2e-3, "{band:?} order {order}");
            }
        }
    }

    #[test]
    fn faults_are_named() {
        let rate = Hertz(100.0);
        let e = butterworth(2, Band::BandPass(Hertz(8.0), Hertz(0.5)), rate).unwrap_err();
        assert_eq!(e.to_string(), "edge of 0.5 Hz is not between 8 and 50 Hz");
        assert!(butterworth(2, Band::LowPass(Hertz(f64::NAN)), rate).is_err());
        assert_eq!(butterworth(0, Band::LowPass(Hertz(8.0)), rate), Err(DesignError::Order { found: 0 }));
        assert!(notch(Hertz(10.0), 0.0, rate).is_err());
        assert!(notch(Hertz(50.0), 30.0, rate).is_err());
    }
}
