//! Respiration rate from what breathing does to beats: several series with one value a beat, counted and fused.
//! In: times of beats and what was measured of each (any units). Out: breaths per minute and a quality (0 to 1).

use super::breath_count::breaths_per_minute;
use crate::signal::{EventTime, Span};

/// Rate of the even grid that the series are put on (Hz).
const SERIES_HZ: f64 = 4.0;
/// Most values of a series: a minute and its ends.
const SERIES: usize = 272;
/// Rates closer than this agree (/min).
const AGREE: f64 = 3.0;
/// How far one, or agreeing ones, are believed: beats are indirect witnesses.
const SECONDED: [f32; 3] = [0.0, 0.65, 0.95];

/// Breaths per minute from two series, as their values were at the times of beats, over the `window` before `now`;
/// `None` if neither repeats itself like breathing.
///
/// ```
/// use auscult_operators::{respiration::breath_series::fused_rate, signal::{EventTime, Span}};
/// let breath = |t: f64| libm::sin(t * 0.25 * std::f64::consts::TAU) as f32;
/// let beats = (0..50).map(|i| {
///     let t = f64::from(i) * 0.8;
///     (EventTime::from_micros((t * 1e6) as i64), [1.0 + 0.1 * breath(t), 0.8 + 0.02 * breath(t)])
/// });
/// let (rate, quality) = fused_rate(beats, EventTime::from_seconds(40), Span::seconds_const(32)).unwrap();
/// assert!((rate - 15.0).abs() < 0.3 && quality > 0.7, "{rate} {quality}");
/// ```
pub fn fused_rate(
    beats: impl Iterator<Item = (EventTime, [f32; 2])>,
    now: EventTime,
    window: Span,
) -> Option<(f64, f32)> {
    let mut series = [[0.0_f32; SERIES]; 2];
    let count = even(beats, now - window, &mut series);
    let mut rates = [(0.0, 0.0_f32); 2];
    for (rate, series) in rates.iter_mut().zip(&series) {
        *rate = breaths_per_minute(&series[..count], SERIES_HZ).unwrap_or((0.0, 0.0));
    }
    let [a, b] = rates;
    let (best, other) = if b.1 > a.1 { (b, a) } else { (a, b) };
    if best.1 <= 0.0 {
        return None;
    }
    if other.1 > 0.0 && (best.0 - other.0).abs() <= AGREE {
        let (u, v) = (f64::from(best.1), f64::from(other.1));
        return Some(((u * best.0 + v * other.0) / (u + v), SECONDED[2] * best.1));
    }
    Some((best.0, SECONDED[1] * (best.1 - 0.4 * other.1).max(0.0)))
}

/// Puts values onto an even grid from `from` on, straight between beats; returns how many there are.
fn even(
    beats: impl Iterator<Item = (EventTime, [f32; 2])>,
    from: EventTime,
    series: &mut [[f32; SERIES]; 2],
) -> usize {
    let step = Span::from_seconds(1.0 / SERIES_HZ);
    let (mut grid, mut count) = (from, 0);
    let mut last: Option<(EventTime, [f32; 2])> = None;
    for (time, values) in beats {
        if let Some((then, old)) = last.filter(|l| time > l.0) {
            let span = (time - then).seconds() as f32;
            while grid <= time && count < SERIES {
                let part = ((grid - then).seconds() as f32 / span).clamp(0.0, 1.0);
                for (series, (new, old)) in series.iter_mut().zip(values.iter().zip(old)) {
                    series[count] = old + (new - old) * part;
                }
                count += 1;
                grid = grid + step;
            }
        } else {
            grid = grid.max(time);
        }
        last = Some((time, values));
    }
    count
}
