//! Analogue low-pass prototypes of edge 1: Butterworth, Chebyshev of both kinds, elliptic.
//! In: order, ripple and attenuation in decibels. Out: zeros, poles and gain. No units.
//!
//! Sources: Oppenheim and Schafer, appendix B (Butterworth and Chebyshev); Orfanidis, Lecture Notes on Elliptic
//! Filter Design (2006), the elliptic functions by Landen's transformation, the modulus by the degree equation.

use num_complex::Complex;

use super::C;
use super::zpk::{Zpk, product};

const HALF_PI: f64 = std::f64::consts::FRAC_PI_2;

/// Butterworth's low-pass of edge 1: poles evenly spaced on the left half of the unit circle.
pub(super) fn butterworth(order: usize) -> Zpk {
    let n = order as f64;
    let pole = |k: usize| {
        let angle = std::f64::consts::PI * (2.0 * k as f64 + 1.0 - n) / (2.0 * n);
        // The middle pole of an odd order is real; the angle is then exactly zero.
        C::new(-libm::cos(angle), -libm::sin(angle))
    };
    Zpk { zeros: Vec::new(), poles: (0..order).map(pole).collect(), gain: 1.0 }
}

/// The power that a loss in decibels leaves, upside down and less one: the square of the ripple factor.
fn ripple_squared(loss_db: f64) -> f64 {
    libm::expm1(loss_db / 10.0 * std::f64::consts::LN_10)
}

/// Angles of the poles of a prototype, from the negative real axis: half of them below it, half above.
fn angles(order: usize) -> impl Iterator<Item = f64> {
    let n = order as f64;
    (0..order).map(move |k| HALF_PI * (2.0 * k as f64 + 1.0 - n) / n)
}

/// sinh(a + jb).
fn sinh(a: f64, b: f64) -> C {
    C::new(libm::sinh(a) * libm::cos(b), libm::cosh(a) * libm::sin(b))
}

/// Chebyshev's first kind: equal ripple below the edge.
pub(super) fn chebyshev1(order: usize, ripple_db: f64) -> Zpk {
    let squared = ripple_squared(ripple_db);
    let stretch = libm::asinh(1.0 / squared.sqrt()) / order as f64;
    let poles: Vec<C> = angles(order).map(|t| -sinh(stretch, t)).collect();
    let gain = product(&poles, |p| -p).re;
    let gain = if order.is_multiple_of(2) { gain / (1.0 + squared).sqrt() } else { gain };
    Zpk { zeros: Vec::new(), poles, gain }
}

/// Chebyshev's second kind: flat below the edge, equal ripple from the edge on, at which the loss is reached.
pub(super) fn chebyshev2(order: usize, attenuation_db: f64) -> Zpk {
    let stretch = libm::asinh(ripple_squared(attenuation_db).sqrt()) / order as f64;
    let poles: Vec<C> = angles(order).map(|t| C::new(-1.0, 0.0) / sinh(stretch, t)).collect();
    // The middle zero of an odd order lies at infinity.
    let zeros: Vec<C> =
        angles(order).filter(|t| t.abs() > 1e-9).map(|t| C::new(0.0, 1.0 / libm::sin(t))).collect();
    let gain = (product(&poles, |p| -p) / product(&zeros, |z| -z)).re;
    Zpk { zeros, poles, gain }
}

/// Cauer's: equal ripple below the edge, equal ripple from the stop edge on.
pub(super) fn elliptic(order: usize, ripple_db: f64, attenuation_db: f64) -> Zpk {
    let squared = ripple_squared(ripple_db);
    let ripple = squared.sqrt();
    let n = order as f64;
    let inner = Modulus::new((squared / ripple_squared(attenuation_db)).sqrt());
    let outer = inner.of_order(order);
    let (inner, ladder) = (inner.ladder(), outer.ladder());
    let depth = inner.inverse_sine_of_imaginary(1.0 / ripple) / n;
    let (mut zeros, mut poles) = (Vec::new(), Vec::new());
    for i in 1..=order / 2 {
        let u = (2 * i - 1) as f64 / n;
        let zero = C::new(0.0, 1.0) / (ladder.climb(cos(u, 0.0)) * outer.k);
        let pole = ladder.climb(cos(u, -depth)) * C::new(0.0, 1.0);
        // Rounding must not leave a zero off the axis.
        let zero = C::new(0.0, zero.im);
        zeros.extend([zero, zero.conj()]);
        poles.extend([pole, pole.conj()]);
    }
    if !order.is_multiple_of(2) {
        let pole = ladder.climb(C::new(0.0, libm::sinh(depth * HALF_PI))) * C::new(0.0, 1.0);
        poles.push(C::new(pole.re, 0.0));
    }
    let gain = (product(&poles, |p| -p) / product(&zeros, |z| -z)).re;
    let gain = if order.is_multiple_of(2) { gain / (1.0 + squared).sqrt() } else { gain };
    Zpk { zeros, poles, gain }
}

/// cos of `(a + jb)` quarter turns.
fn cos(a: f64, b: f64) -> C {
    let (a, b) = (a * HALF_PI, b * HALF_PI);
    Complex::new(libm::cos(a) * libm::cosh(b), -libm::sin(a) * libm::sinh(b))
}

/// A modulus of elliptic functions and its complement: both kept, as either may be too near one to give the other.
#[derive(Clone, Copy)]
struct Modulus {
    k: f64,
    complement: f64,
}

impl Modulus {
    fn new(k: f64) -> Self {
        Self { k, complement: ((1.0 - k) * (1.0 + k)).sqrt() }
    }

    /// The modulus that the degree equation gives a filter of this order.
    fn of_order(self, order: usize) -> Self {
        let turned = Modulus { k: self.complement, complement: self.k };
        let ladder = turned.ladder();
        let mut complement = 1.0;
        for i in 1..=order / 2 {
            let u = (2 * i - 1) as f64 / order as f64;
            let sn = ladder.climb(C::new(libm::sin(u * HALF_PI), 0.0)).re;
            complement *= sn * sn * sn * sn;
        }
        complement *= (0..order).fold(1.0, |p, _| p * self.complement);
        Self { k: ((1.0 - complement) * (1.0 + complement)).sqrt(), complement }
    }

    /// Landen's descending moduli, down to one that makes sn a sine.
    fn ladder(self) -> Ladder {
        let mut moduli = [0.0; STEPS];
        let (mut k, mut complement) = (self.k, self.complement);
        for next in &mut moduli {
            let root = k / (1.0 + complement);
            complement = 2.0 * complement.sqrt() / (1.0 + complement);
            k = root * root;
            *next = k;
        }
        Ladder { first: self.k, moduli }
    }
}

/// Steps of Landen's transformation: each squares the modulus; from the nearest to one that occurs this many suffice.
const STEPS: usize = 12;

struct Ladder {
    first: f64,
    moduli: [f64; STEPS],
}

impl Ladder {
    /// From the circular function of an argument to the elliptic one of the same argument in quarter periods.
    fn climb(&self, circular: C) -> C {
        let one = C::new(1.0, 0.0);
        self.moduli.iter().rev().fold(circular, |w, &k| w * (1.0 + k) / (one + w * w * k))
    }

    /// The `u`, in quarter periods, for which sn(ju) is `j height`.
    fn inverse_sine_of_imaginary(&self, height: f64) -> f64 {
        let (mut w, mut before) = (height, self.first);
        for &k in &self.moduli {
            let product = before * w;
            w = 2.0 * w / ((1.0 + k) * (1.0 + (1.0 + product * product).sqrt()));
            before = k;
        }
        libm::asinh(w) / HALF_PI
    }
}
