//! Savitzky and Golay's filters: the value or a derivative of the polynomial that fits a window best.
//! In: window and position in samples, degree, which derivative, seconds between samples. Out: a filter with
//! coefficients as `scipy.signal.savgol_coeffs` gives them; a derivative is in the unit per second to its power.
//!
//! Source: Gorry, Anal Chem 1990;62:570: weights by Gram polynomials, for any position in the window.

use super::{Fir, check_taps};
use crate::filter::design::DesignError;

/// The highest degree of a polynomial that is fitted.
pub const MAX_DEGREE: usize = 10;

/// A smoother or differentiator. `position` is the sample of the window, counted from the oldest, at which the
/// polynomial is read: the output is `window - 1 - position` samples late. `derivative` zero is the value itself.
///
/// # Errors
/// [`DesignError::Taps`] for a window that is even, too long, or not longer than the degree, for a position outside
/// of it, for a degree above [`MAX_DEGREE`] or a derivative above the degree, and for a step that is not positive.
///
/// ```
/// use auscult_operators::filter::fir::{FirState, smooth::savitzky_golay};
/// let slope = savitzky_golay(7, 2, 1, 3, 0.004).unwrap();
/// let ramp: Vec<f32> = (0..20).map(|i| i as f32).collect();
/// let mut out = [0f32; 20];
/// slope.filter(&mut FirState::default(), &ramp, &mut out);
/// assert!((out[10] - 250.0).abs() < 1e-3);
/// ```
pub fn savitzky_golay(
    window: usize,
    degree: usize,
    derivative: usize,
    position: usize,
    step_s: f64,
) -> Result<Fir, DesignError> {
    check_taps(window, 3)?;
    let fits = !window.is_multiple_of(2)
        && degree < window
        && degree <= MAX_DEGREE
        && derivative <= degree
        && position < window
        && step_s > 0.0
        && step_s.is_finite();
    if !fits {
        let need =
            "an odd window above the degree (10 at most, and no less than the derivative), a place in it";
        return Err(DesignError::Taps { found: window, need });
    }
    let half = (window / 2) as f64;
    let at = gram(half, position as f64 - half, degree, derivative);
    let scale = (0..derivative).fold(1.0, |s, _| s / step_s);
    let weight = |newest_first: usize| {
        let here = gram(half, half - newest_first as f64, degree, 0);
        // (2m)! / (2m - k)! over (2m + k + 1)! / (2m)!, from degree to degree.
        let mut ratio = 1.0 / (2.0 * half + 1.0);
        let mut sum = 0.0;
        for k in 0..=degree {
            let d = k as f64;
            if k > 0 {
                ratio *= (2.0 * half - d + 1.0) / (2.0 * half + d + 1.0);
            }
            sum += (2.0 * d + 1.0) * ratio * here[k] * at[k];
        }
        sum * scale
    };
    Fir::new((0..window).map(weight).collect())
}

/// The `s`-th derivative of Gram's polynomials of half-width `m` at `i`, by degree.
fn gram(m: f64, i: f64, degree: usize, s: usize) -> [f64; MAX_DEGREE + 1] {
    // Row by row: the polynomials themselves, their first derivatives, and so on.
    let mut below = [0.0; MAX_DEGREE + 1];
    let mut row = below;
    for derivative in 0..=s {
        row = [0.0; MAX_DEGREE + 1];
        row[0] = if derivative == 0 { 1.0 } else { 0.0 };
        for k in 1..=degree {
            let d = k as f64;
            let scale = d * (2.0 * m - d + 1.0);
            let before = if k > 1 { row[k - 2] } else { 0.0 };
            row[k] = 2.0 * (2.0 * d - 1.0) / scale * (i * row[k - 1] + derivative as f64 * below[k - 1])
                - (d - 1.0) * (2.0 * m + d) / scale * before;
        }
        below = row;
    }
    row
}
