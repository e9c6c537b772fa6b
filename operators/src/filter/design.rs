//! Designs Butterworth, Chebyshev, elliptic and notch filters as second-order sections. In: order, edge frequencies
//! and sampling rate in hertz, ripple and attenuation in decibels. Out: sections with coefficients in double
//! precision, paired and ordered as `butter`, `cheby1`, `cheby2` and `ellip` of scipy.signal with `output="sos"`, and
//! `iirnotch`, give them.
//!
//! Sources: the analogue prototype, its band transformations and the bilinear transform with prewarping are
//! those of Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd ed., sections 7.2 and appendix B; the
//! notch is Orfanidis, Introduction to Signal Processing, section 11.3; the pairing (poles nearest the unit
//! circle last, each with the zeros nearest to it) is that of the documentation of `scipy.signal.zpk2sos`.
//! Where two poles lie equally near the unit circle (a band centred on a quarter of the rate) the order of
//! sections is open.

mod prototype;
mod zpk;

use num_complex::Complex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::signal::Hertz;
use zpk::{TWICE, Zpk};

type C = Complex<f64>;

/// The highest order that is designed; beyond it double precision no longer places the poles well.
pub const MAX_ORDER: usize = 16;

/// The least ripple or attenuation that is designed, in decibels.
pub const MIN_LOSS_DB: f64 = 1e-4;

/// The greatest ripple or attenuation that is designed, in decibels: ten times what 32-bit samples can show is enough.
pub const MAX_LOSS_DB: f64 = 160.0;

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
    /// A ripple or an attenuation is out of range, or the attenuation is not above the ripple.
    #[error("loss of {found} dB is not above {above} and up to {MAX_LOSS_DB} dB")]
    Loss {
        /// The loss, in decibels.
        found: f64,
        /// It must lie above this, in decibels.
        above: f64,
    },
    /// A filter of finite length cannot have this many samples.
    #[error("{found} samples are not what it needs: {need}")]
    Taps {
        /// How many there are.
        found: usize,
        /// What would do.
        need: &'static str,
    },
    /// The edges lie so near to each other, to zero or to half the rate that rounding leaves no steady filter; or a
    /// coefficient is no number.
    #[error("edges too near to each other, to zero or to half the rate for double precision, or no number")]
    Precision,
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
    /// Whether its coefficients are numbers and its poles inside the unit circle.
    fn is_sound(&self) -> bool {
        let [a1, a2] = self.a;
        self.b.iter().all(|b| b.is_finite()) && a2.abs() < 1.0 && a1.abs() < 1.0 + a2
    }

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
    check_order(order)?;
    sections(prototype::butterworth(order), band, rate)
}

/// A Chebyshev filter of the first kind: equal ripple where it lets through, of `ripple_db` at the edges.
///
/// # Errors
/// [`DesignError`] for an order, an edge or a ripple that no filter has.
///
/// ```
/// use auscult_operators::filter::{Band, chebyshev1, design::magnitude};
/// use auscult_operators::signal::Hertz;
/// let s = chebyshev1(3, 1.0, Band::LowPass(Hertz(40.0)), Hertz(250.0)).unwrap();
/// assert!((magnitude(&s, Hertz(40.0), Hertz(250.0)) - 10f64.powf(-1.0 / 20.0)).abs() < 1e-9);
/// ```
pub fn chebyshev1(
    order: usize,
    ripple_db: f64,
    band: Band,
    rate: Hertz,
) -> Result<Vec<Section>, DesignError> {
    check_order(order)?;
    check_loss(ripple_db, 0.0)?;
    sections(prototype::chebyshev1(order, ripple_db), band, rate)
}

/// A Chebyshev filter of the second kind: flat where it lets through, `attenuation_db` down from the edges on.
///
/// # Errors
/// [`DesignError`] for an order, an edge or an attenuation that no filter has.
///
/// ```
/// use auscult_operators::filter::{Band, chebyshev2, design::magnitude};
/// use auscult_operators::signal::Hertz;
/// let s = chebyshev2(5, 40.0, Band::LowPass(Hertz(40.0)), Hertz(250.0)).unwrap();
/// assert!((magnitude(&s, Hertz(40.0), Hertz(250.0)) - 0.01).abs() < 1e-9);
/// ```
pub fn chebyshev2(
    order: usize,
    attenuation_db: f64,
    band: Band,
    rate: Hertz,
) -> Result<Vec<Section>, DesignError> {
    check_order(order)?;
    check_loss(attenuation_db, 0.0)?;
    sections(prototype::chebyshev2(order, attenuation_db), band, rate)
}

/// An elliptic filter: equal ripple on both sides, the steepest of its order. At the edges it is `ripple_db` down.
///
/// # Errors
/// [`DesignError`] for an order, an edge, a ripple or an attenuation that no filter has.
///
/// ```
/// use auscult_operators::filter::{Band, design::magnitude, elliptic};
/// use auscult_operators::signal::Hertz;
/// let s = elliptic(4, 0.5, 60.0, Band::LowPass(Hertz(40.0)), Hertz(250.0)).unwrap();
/// assert!(magnitude(&s, Hertz(80.0), Hertz(250.0)) <= 0.001 * (1.0 + 1e-9));
/// ```
pub fn elliptic(
    order: usize,
    ripple_db: f64,
    attenuation_db: f64,
    band: Band,
    rate: Hertz,
) -> Result<Vec<Section>, DesignError> {
    check_order(order)?;
    check_loss(ripple_db, 0.0)?;
    check_loss(attenuation_db, ripple_db)?;
    sections(prototype::elliptic(order, ripple_db, attenuation_db), band, rate)
}

fn check_order(order: usize) -> Result<(), DesignError> {
    if order == 0 || order > MAX_ORDER { Err(DesignError::Order { found: order }) } else { Ok(()) }
}

fn check_loss(found: f64, above: f64) -> Result<(), DesignError> {
    let inside = found >= MIN_LOSS_DB && found > above && found <= MAX_LOSS_DB;
    if inside { Ok(()) } else { Err(DesignError::Loss { found, above: above.max(MIN_LOSS_DB) }) }
}

/// From the prototype to the band, to the rate, to sections.
fn sections(low_pass: Zpk, band: Band, rate: Hertz) -> Result<Vec<Section>, DesignError> {
    let analogue = match band {
        Band::LowPass(edge) => low_pass.low_pass(warp(edge, rate, 0.0)?),
        Band::HighPass(edge) => low_pass.high_pass(warp(edge, rate, 0.0)?),
        Band::BandPass(low, high) => {
            let (low_w, high_w) = (warp(low, rate, 0.0)?, warp(high, rate, low.get())?);
            low_pass.band_pass(low_w, high_w)
        }
        Band::BandStop(low, high) => {
            let (low_w, high_w) = (warp(low, rate, 0.0)?, warp(high, rate, low.get())?);
            low_pass.band_stop(low_w, high_w)
        }
    };
    let all = zpk::pair(analogue.bilinear());
    if all.iter().all(Section::is_sound) { Ok(all) } else { Err(DesignError::Precision) }
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

/// The analogue frequency that the bilinear transform maps onto `edge`.
fn warp(edge: Hertz, rate: Hertz, above: f64) -> Result<f64, DesignError> {
    inside(edge, rate, above)?;
    Ok(TWICE * libm::tan(std::f64::consts::PI * edge.get() / rate.get()))
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

    /// What is designed is a filter, or there is none: no coefficient but numbers, no pole outside.
    #[test]
    fn whatever_is_asked_for_is_sound_or_refused() {
        let (mut designed, mut refused) = (0, 0);
        // Numbers, and both poles inside the unit circle.
        let good = |s: &Section| {
            let all = [s.b[0], s.b[1], s.b[2], s.a[0], s.a[1]];
            all.iter().all(|c| c.is_finite()) && s.a[1].abs() < 1.0 && s.a[0].abs() < 1.0 + s.a[1]
        };
        let mut ask = |order: usize, band: Band, rate: Hertz| {
            for (ripple, loss) in [(1e-4, 160.0), (0.5, 40.0), (9.999, 10.0), (159.9, 160.0)] {
                for s in [
                    butterworth(order, band, rate),
                    chebyshev1(order, ripple, band, rate),
                    chebyshev2(order, loss, band, rate),
                    elliptic(order, ripple, loss, band, rate),
                ] {
                    let Ok(s) = s else {
                        refused += 1;
                        continue;
                    };
                    designed += 1;
                    assert!(s.iter().all(good), "{order} {band:?} {ripple} {loss}: {s:?}");
                }
            }
        };
        for rate in [1e-3, 1.0, 250.0, 1e9] {
            for part in [1e-300, 1e-12, 1e-6, 0.01, 0.25, 0.4999, 0.499_999_999_999] {
                for wide in [1.0 + 1e-12, 1.001, 1.9, 1e6] {
                    let (low, high) = (Hertz(part * rate), Hertz(part * wide * rate));
                    for order in [1, 2, 7, 16] {
                        ask(order, Band::LowPass(low), Hertz(rate));
                        ask(order, Band::HighPass(low), Hertz(rate));
                        ask(order, Band::BandPass(low, high), Hertz(rate));
                        ask(order, Band::BandStop(low, high), Hertz(rate));
                    }
                }
            }
        }
        assert!(designed > 5_000 && refused > 1_000, "{designed} {refused}");
        let near = Band::BandPass(Hertz(49.999_999_999), Hertz(50.0));
        assert_eq!(elliptic(16, 0.5, 40.0, near, Hertz(100.000_000_1)), Err(DesignError::Precision));
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
        let low = Band::LowPass(Hertz(8.0));
        for (ripple, attenuation) in [(0.0, 40.0), (1.0, 1.0), (40.0, 1.0), (1.0, 161.0), (f64::NAN, 40.0)] {
            assert!(elliptic(4, ripple, attenuation, low, rate).is_err(), "{ripple} {attenuation}");
        }
        let e = chebyshev2(4, -3.0, low, rate).unwrap_err();
        assert_eq!(e.to_string(), "loss of -3 dB is not above 0.0001 and up to 160 dB");
        assert!(chebyshev1(17, 1.0, low, rate).is_err());
    }
}
