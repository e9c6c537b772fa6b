//! Zeros, poles and gain: from the analogue low-pass to a band, to the digital filter, to second-order sections.
//! In: an analogue prototype of edge 1, warped edges in radians per unit of time. Out: sections. No units.
//!
//! Sources: see [`super`].

use super::{C, Section};

/// Twice the rate at which the bilinear transform is taken; any value does, as warping undoes it.
pub(super) const TWICE: f64 = 4.0;

/// Zeros, poles and gain.
pub(super) struct Zpk {
    pub(super) zeros: Vec<C>,
    pub(super) poles: Vec<C>,
    pub(super) gain: f64,
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

pub(super) fn product(of: &[C], map: impl Fn(C) -> C) -> C {
    of.iter().fold(C::new(1.0, 0.0), |p, &c| p * map(c))
}

impl Zpk {
    /// Zeros at infinity: as many as there are more poles than zeros.
    fn at_infinity(&self) -> usize {
        self.poles.len() - self.zeros.len()
    }

    pub(super) fn low_pass(self, w: f64) -> Zpk {
        let gain = (0..self.at_infinity()).fold(self.gain, |g, _| g * w);
        let scale = |of: &[C]| of.iter().map(|c| c * w).collect();
        Zpk { zeros: scale(&self.zeros), poles: scale(&self.poles), gain }
    }

    pub(super) fn high_pass(self, w: f64) -> Zpk {
        let gain = self.gain_at_zero();
        let turn = |of: &[C]| of.iter().map(|c| C::new(w, 0.0) / c).collect::<Vec<C>>();
        let mut zeros = turn(&self.zeros);
        zeros.resize(self.poles.len(), C::new(0.0, 0.0));
        Zpk { zeros, poles: turn(&self.poles), gain }
    }

    pub(super) fn band_pass(self, low: f64, high: f64) -> Zpk {
        let width = high - low;
        let infinite = self.at_infinity();
        let gain = (0..infinite).fold(self.gain, |g, _| g * width);
        let double = |of: &[C]| split(of.iter().map(|c| c * (width / 2.0)), low * high);
        let mut zeros = double(&self.zeros);
        zeros.resize(zeros.len() + infinite, C::new(0.0, 0.0));
        Zpk { zeros, poles: double(&self.poles), gain }
    }

    pub(super) fn band_stop(self, low: f64, high: f64) -> Zpk {
        let gain = self.gain_at_zero();
        let half = C::new((high - low) / 2.0, 0.0);
        let centre = (low * high).sqrt();
        let double = |of: &[C]| split(of.iter().map(|c| half / c), low * high);
        let mut zeros = double(&self.zeros);
        for _ in 0..self.at_infinity() {
            zeros.extend([C::new(0.0, centre), C::new(0.0, -centre)]);
        }
        Zpk { zeros, poles: double(&self.poles), gain }
    }

    fn gain_at_zero(&self) -> f64 {
        self.gain * product(&self.zeros, |z| -z).re / product(&self.poles, |p| -p).re
    }

    /// s = TWICE * (z - 1) / (z + 1); zeros at infinity land on z = -1.
    pub(super) fn bilinear(self) -> Zpk {
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
pub(super) fn pair(zpk: Zpk) -> Vec<Section> {
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
