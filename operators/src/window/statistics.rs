//! What a window of numbers says, in ways that a few wild ones do not move: spread, quantiles, slope, entropy.
//! In: numbers in any unit, with their times where a slope is asked for. Out: the unit of the numbers, that unit per
//! second, or bits. `None` where there are too few; memory is the caller's, and used again.

use super::median_in_place;

/// What the median absolute deviation must be taken times to be the standard deviation of a bell curve.
pub const MAD_TO_SD: f32 = 1.482_602_2;

/// Median, and median absolute deviation from it. Leaves the deviations in `values`, in any order.
///
/// ```
/// use auscult_operators::window::statistics::median_and_mad;
/// assert_eq!(median_and_mad(&mut [1.0, 2.0, 3.0, 4.0, 100.0]), Some((3.0, 1.0)));
/// assert_eq!(median_and_mad(&mut []), None);
/// ```
pub fn median_and_mad(values: &mut [f32]) -> Option<(f32, f32)> {
    let median = median_in_place(values)?;
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Some((median, median_in_place(values)?))
}

/// The number below which a share of them lies, with a straight line between neighbours, as `numpy.quantile` has it.
/// Sorts the slice.
///
/// ```
/// use auscult_operators::window::statistics::quantile;
/// assert_eq!(quantile(&mut [4.0, 1.0, 3.0, 2.0], 0.25), Some(1.75));
/// assert_eq!(quantile(&mut [7.0], 0.9), Some(7.0));
/// ```
pub fn quantile(values: &mut [f32], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    values.sort_unstable_by(f32::total_cmp);
    let at = share.clamp(0.0, 1.0) * last as f64;
    let below = (at as usize).min(last);
    let (low, high) = (f64::from(values[below]), f64::from(values[(below + 1).min(last)]));
    Some(low + (high - low) * (at - below as f64))
}

/// Slope by the median of the slopes of all pairs (Theil and Sen), in units per second: up to 29 % of the numbers may
/// be anything. Pairs at the same time are left out. `work` is for use again; the cost grows with the square of the
/// count.
///
/// Sen PK. J Am Stat Assoc 1968;63:1379-1389, doi:10.1080/01621459.1968.10480934.
///
/// ```
/// use auscult_operators::window::statistics::theil_sen;
/// let (times, mut work) = ([0.0, 1.0, 2.0, 3.0, 4.0], vec![]);
/// assert_eq!(theil_sen(&times, &[1.0, 3.0, 5.0, 900.0, 9.0], &mut work), Some(2.0));
/// assert_eq!(theil_sen(&[1.0, 1.0], &[2.0, 3.0], &mut work), None);
/// ```
pub fn theil_sen(times_s: &[f64], values: &[f32], work: &mut Vec<f32>) -> Option<f32> {
    work.clear();
    let n = times_s.len().min(values.len());
    for i in 0..n {
        for j in i + 1..n {
            let apart = times_s[j] - times_s[i];
            if apart != 0.0 {
                work.push(((f64::from(values[j]) - f64::from(values[i])) / apart) as f32);
            }
        }
    }
    median_in_place(work)
}

/// Standard deviation over mean: how variable numbers are that have a true zero. `None` for fewer than two, and for a
/// mean that is not positive.
///
/// ```
/// use auscult_operators::window::statistics::variation;
/// assert_eq!(variation(&[9.0, 11.0]), Some(2.0f64.sqrt() / 10.0));
/// assert_eq!(variation(&[-1.0, 1.0]), None);
/// ```
pub fn variation(values: &[f32]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    if values.len() < 2 || mean.is_nan() || mean <= 0.0 {
        return None;
    }
    let squares: f64 = values.iter().map(|v| (f64::from(*v) - mean) * (f64::from(*v) - mean)).sum();
    Some((squares / (n - 1.0)).sqrt() / mean)
}

/// Shannon's entropy in bits of the places that numbers take among `bins` even parts of `low..high`; those outside
/// count to the nearest. `None` without numbers, parts or extent; more than 64 parts count as 64.
///
/// ```
/// use auscult_operators::window::statistics::entropy_bits;
/// assert_eq!(entropy_bits(&[0.5, 1.5, 2.5, 3.5], 0.0, 4.0, 4), Some(2.0));
/// assert_eq!(entropy_bits(&[1.0; 9], 0.0, 4.0, 4), Some(0.0));
/// ```
pub fn entropy_bits(values: &[f32], low: f32, high: f32, bins: usize) -> Option<f64> {
    let bins = bins.min(64);
    let extent = f64::from(high) - f64::from(low);
    if values.is_empty() || bins == 0 || extent.is_nan() || extent <= 0.0 {
        return None;
    }
    let mut counts = [0u32; 64];
    for v in values {
        let at = (f64::from(*v) - f64::from(low)) / extent * bins as f64;
        counts[(at.max(0.0) as usize).min(bins - 1)] += 1;
    }
    let n = values.len() as f64;
    let share = |c: &u32| f64::from(*c) / n;
    // Of nothing there is no logarithm, and no information.
    let bits: f64 = counts.iter().filter(|c| **c > 0).map(|c| share(c) * libm::log2(share(c))).sum();
    Some(0.0 - bits)
}
