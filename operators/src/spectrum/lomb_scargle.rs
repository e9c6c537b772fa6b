//! Power of an unevenly sampled series at chosen frequencies, after Lomb and Scargle: beats come when they come.
//! In: times in seconds, values in any unit, angular frequencies in radians per second. Out: the power that
//! `scipy.signal.lombscargle` gives, in unit squared.
//!
//! Sources: Lomb NR. Astrophys Space Sci 1976;39:447-462, doi:10.1007/BF00648343; Scargle JD. Astrophys J
//! 1982;263:835-853, doi:10.1086/160554. The mean is not taken away: whoever wants it gone does so before.

use crate::signal::Missing;

/// What is left of a sum of squares by rounding alone.
const NOTHING: f64 = f64::EPSILON / 2.0;

/// Writes the power at each angular frequency: the square of the amplitude of the sine that fits best, times a quarter
/// of the number of values.
///
/// # Errors
/// [`Missing::TooFew`] without values, with more times than values or the other way round, and if there is less room
/// than there are frequencies.
///
/// ```
/// use auscult_operators::spectrum::lomb_scargle::lomb_scargle;
/// // A sine of 0.1 Hz and amplitude 3, seen at uneven times.
/// let times: Vec<f64> = (0..200).map(|i| i as f64 * 0.8 + 0.1 * f64::from(i % 3)).collect();
/// let wave: Vec<f64> = times.iter().map(|t| 3.0 * libm::sin(0.2 * std::f64::consts::PI * t)).collect();
/// let (tenth, other) = (0.2 * std::f64::consts::PI, 0.6 * std::f64::consts::PI);
/// let mut power = [0.0; 2];
/// lomb_scargle(&times, &wave, &[tenth, other], &mut power).unwrap();
/// assert!((power[0] / (9.0 * 50.0) - 1.0).abs() < 0.01 && power[1] < 1.0, "{power:?}");
/// ```
pub fn lomb_scargle(
    times_s: &[f64],
    values: &[f64],
    frequencies: &[f64],
    power: &mut [f64],
) -> Result<(), Missing> {
    if times_s.is_empty() || times_s.len() != values.len() || power.len() < frequencies.len() {
        return Err(Missing::TooFew);
    }
    for (w, p) in frequencies.iter().zip(power) {
        *p = at(times_s, values, *w);
    }
    Ok(())
}

/// The power at one frequency.
fn at(times_s: &[f64], values: &[f64], w: f64) -> f64 {
    let n = times_s.len() as f64;
    let (mut cc, mut cs) = (0.0, 0.0);
    for t in times_s {
        let (s, c) = libm::sincos(w * t);
        cc += c * c;
        cs += c * s;
    }
    let (cc, cs) = (cc / n, cs / n);
    // The delay after which sine and cosine do not mix.
    let tau = 0.5 * libm::atan2(2.0 * cs, 2.0 * cc - 1.0);
    let (mut yc, mut ys, mut cc) = (0.0, 0.0, 0.0);
    for (t, y) in times_s.iter().zip(values) {
        let (s, c) = libm::sincos(w * t - tau);
        yc += y * c;
        ys += y * s;
        cc += c * c;
    }
    let (yc, ys, cc) = (yc / n, ys / n, cc / n);
    let (cc, ss) = (cc.max(NOTHING), (1.0 - cc).max(NOTHING));
    0.5 * n * (yc * yc / cc + ys * ys / ss)
}
