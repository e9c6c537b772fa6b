//! Where the waves of a beat begin and end: P, QRS and T of one averaged beat.
//! In: the beat in mV on a grid of 4 ms, the place of its R wave, the RR interval (s), the noise left in it (mV).
//! Out: onsets, peaks and ends in ms from the R wave, and the isoelectric level (mV).
//!
//! As in Martínez et al. a wave ends where its slope, smoothed over a span that suits the wave, has fallen to a share
//! of its steepest. The shares and the corrections for the smoothing are set on waves of known ends.

use super::average_beat::STEP_S;

/// One wave, in ms from the R wave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wave {
    /// Where it begins.
    pub onset: f32,
    /// Where it is highest or deepest.
    pub peak: f32,
    /// Where it ends.
    pub end: f32,
}

/// The waves of a beat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waves {
    /// Atrial wave, if there is one.
    pub p: Option<Wave>,
    /// Onset and end of the QRS complex.
    pub qrs: (f32, f32),
    /// Peak and end of the T wave, if there is one.
    pub t: Option<(f32, f32)>,
    /// Level of the PR segment (mV).
    pub level: f32,
}

/// Most points of a beat.
const POINTS: usize = super::average_beat::POINTS;
const STEP_MS: f32 = (STEP_S * 1e3) as f32;

/// Half widths of the slopes for QRS complexes and for P and T waves, in points.
const NARROW: usize = 2;
const WIDE: usize = 6;
/// Share of the steepest slope at which a QRS complex begins and ends, and the least that counts (mV/ms).
const QRS_SHARE: f32 = 0.06;
const QRS_LEAST: f32 = 0.001;
/// So long the slope stays low outside a QRS complex, in points.
const QUIET: usize = 3;
/// What is taken for the end of a P wave: so many points, of which so many go one way, at so much of the steepest
/// slope at most. A Q wave is shorter.
const P_SPAN: usize = 14;
const P_LOBE: usize = 7;
const P_SLOPE: f32 = 0.3;
/// No P wave is steeper (mV/ms).
const P_STEEPEST: f32 = 0.0065;
/// Most points from the onset to the depth of a Q wave.
const Q_MOST: usize = 8;
/// The QRS complex lies within these points before and after the R wave.
const QRS_REACH: (usize, usize) = (32, 45);
/// What smoothing adds at each end of a QRS complex (ms).
const QRS_SPREAD: f32 = 2.0;
/// Share of the steepest slope at which P and T waves begin and end.
const P_SHARE: f32 = 0.25;
const T_SHARE: f32 = 0.2;
/// What smoothing adds there (ms).
const P_SPREAD: f32 = 6.0;
const T_SPREAD: f32 = 0.0;
/// Least height of a P and of a T wave (mV), and in units of the noise.
const P_LEAST: f32 = 0.03;
const T_LEAST: f32 = 0.08;
const NOISES: f32 = 5.0;
/// A second deflection of the T wave at least this large against the first is its last part.
const LAST_PART: f32 = 0.5;

/// Slope in mV per ms: the straight line that fits best over `2 half + 1` points.
fn slopes(x: &[f32], half: usize, out: &mut [f32; POINTS]) {
    let n = x.len().min(POINTS);
    let squares: f32 = (1..=half).map(|k| 2.0 * (k * k) as f32).sum();
    out[..n].fill(0.0);
    for i in half..n.saturating_sub(half) {
        let mut sum = 0.0;
        for k in 1..=half {
            sum += k as f32 * (x[i + k] - x[i - k]);
        }
        out[i] = sum / (squares * STEP_MS);
    }
}

/// Mean of a stretch.
fn mean(x: &[f32]) -> f32 {
    x.iter().sum::<f32>() / x.len().max(1) as f32
}

/// Where the size of the slope falls below `limit` between point `above` and its neighbour `below`, as points.
fn crossing(d: &[f32], above: usize, below: usize, limit: f32) -> f32 {
    let (high, low) = (d[above].abs(), d[below].abs());
    let part = if high > low { ((high - limit) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
    above as f32 + part * (below as f32 - above as f32)
}

/// The waves of a beat; `None` if its QRS complex has no clear ends.
pub fn delineate(x: &[f32], r: usize, rr_s: f32, noise: f32) -> Option<Waves> {
    if x.len() > POINTS || r < QRS_REACH.0 + QUIET || r + QRS_REACH.1 + QUIET + NARROW >= x.len() {
        return None;
    }
    let mut d = [0.0; POINTS];
    slopes(x, NARROW, &mut d);
    let (on, off) = qrs(&d, r, noise)?;
    let (first, last) = (on as usize, off as usize + 1);
    // Right before the onset: where the PR segment is short, the P wave ends shortly before.
    let level = mean(&x[first.saturating_sub(3)..=first]);
    slopes(x, WIDE, &mut d);
    let ms = |point: f32| (point - r as f32) * STEP_MS;
    let t = t_wave(x, &d, last, r, rr_s, level, noise).map(|(peak, end)| (ms(peak), ms(end) - T_SPREAD));
    let p = p_wave(x, &d, first, r, rr_s, noise).map(|w| Wave {
        onset: ms(w.onset) + P_SPREAD,
        peak: ms(w.peak),
        end: ms(w.end) - P_SPREAD,
    });
    Some(Waves { p, qrs: (ms(on) + QRS_SPREAD, ms(off) - QRS_SPREAD), t, level })
}

/// Onset and end of the QRS complex as points.
fn qrs(d: &[f32; POINTS], r: usize, noise: f32) -> Option<(f32, f32)> {
    let near = &d[r - 16..r + 21];
    let steepest = near.iter().fold(0.0f32, |m, s| m.max(s.abs()));
    // The slope over five points of noise alone.
    let of_noise = noise / (10.0f32.sqrt() * STEP_MS);
    let limit = (QRS_SHARE * steepest).max(QRS_LEAST).max(3.0 * of_noise);
    if limit > 0.3 * steepest {
        return None;
    }
    let low = |i: usize| d[i].abs() < limit;
    let left = (1..QRS_REACH.0).map(|k| r - k).find(|&i| d[i].abs() > 0.3 * steepest).unwrap_or(r - 1);
    let right = (1..QRS_REACH.1).map(|k| r + k).find(|&i| d[i].abs() > 0.3 * steepest).unwrap_or(r + 1);
    // Or where a slow lobe of the slope begins that is none of the QRS complex: a P wave that runs into it.
    let slow = |i: usize| {
        let before = &d[i.saturating_sub(P_SPAN)..i];
        let along = |sign: f32| before.iter().filter(|s| sign * **s > limit).count();
        let gentle = before.iter().all(|s| s.abs() < P_STEEPEST.min(P_SLOPE * steepest));
        low(i) && gentle && along(1.0).max(along(-1.0)) >= P_LOBE
    };
    let outside = |i: &usize| (0..QUIET).all(|k| low(*i - k));
    let (quiet, joined) =
        ((r - QRS_REACH.0..left).rev().find(outside), (r - QRS_REACH.0..left).rev().find(|&i| slow(i)));
    // A quiet point soon before is the true onset: what lies between is a Q wave.
    let on = match (quiet, joined) {
        (Some(q), Some(j)) if j > q + Q_MOST => j,
        (quiet, joined) => quiet.or(joined)?,
    };
    let off = (right + 1..r + QRS_REACH.1).find(|&i| (0..QUIET).all(|k| low(i + k)))?;
    Some((crossing(d, on + 1, on, limit), crossing(d, off - 1, off, limit)))
}

/// Peak and end of the T wave as points.
fn t_wave(
    x: &[f32],
    d: &[f32; POINTS],
    qrs_end: usize,
    r: usize,
    rr_s: f32,
    level: f32,
    noise: f32,
) -> Option<(f32, f32)> {
    let points = |s: f32| (s / STEP_S as f32) as usize;
    let from = qrs_end + 10;
    let to = (r + points(0.72 * rr_s)).min(x.len() - WIDE - 1);
    if from + 20 > to {
        return None;
    }
    let smooth = |i: usize| mean(&x[i - 3..i + 4]);
    let turns = |i: usize| (d[i - 1] > 0.0) != (d[i] > 0.0);
    let highest = (from..to)
        .filter(|&i| turns(i))
        .max_by(|&a, &b| (smooth(a) - level).abs().total_cmp(&(smooth(b) - level).abs()))?;
    let height = smooth(highest) - level;
    if height.abs() < T_LEAST.max(NOISES * noise) {
        return None;
    }
    // Of a wave of two parts the last one ends it.
    let opposite = (highest + 1..to).filter(|&i| turns(i)).find(|&i| {
        let other = smooth(i) - level;
        other * height < 0.0 && other.abs() > LAST_PART * height.abs()
    });
    let peak = opposite.unwrap_or(highest);
    let down = if smooth(peak) > level { -1.0 } else { 1.0 };
    // The fall ends where it has brought the wave back by half and turns: what comes after is another wave.
    let left = |i: usize| (smooth(i) - level) / (smooth(peak) - level);
    let fallen = (peak + 1..to).find(|&i| down * d[i] <= 0.0 && left(i) < 0.5).unwrap_or(to);
    let steep = steepest(peak..fallen, |i| down * d[i])?;
    let limit = T_SHARE * d[steep].abs();
    let end = (steep + 1..x.len() - WIDE).find(|&i| down * d[i] < limit)?;
    // What does not come back to the level is no T wave, or its end lies beyond.
    (end < to + 10 && left(end) < 0.5).then(|| (peak as f32, crossing(d, end - 1, end, limit)))
}

/// The point of the largest of positive numbers.
fn steepest(range: std::ops::Range<usize>, slope: impl Fn(usize) -> f32) -> Option<usize> {
    range.filter(|&i| slope(i) > 0.0).max_by(|&a, &b| slope(a).total_cmp(&slope(b)))
}

/// The P wave, as points.
fn p_wave(x: &[f32], d: &[f32; POINTS], qrs_on: usize, r: usize, rr_s: f32, noise: f32) -> Option<Wave> {
    let reach_s = (0.25 * rr_s + 0.1).min(0.38);
    let from = r.saturating_sub((reach_s / STEP_S as f32) as usize).max(WIDE + 1);
    let to = qrs_on.saturating_sub(3);
    if from + 12 > to {
        return None;
    }
    let smooth = |i: usize| mean(&x[i - 2..i + 3]);
    let ends = (smooth(from), mean(&x[to.saturating_sub(3)..to]));
    // Above the line through what is before and after: what is left of the T wave is no P wave.
    let over = |i: usize| {
        let part = (i - from) as f32 / (to - from) as f32;
        smooth(i) - ends.0 - part * (ends.1 - ends.0)
    };
    let peak = (from + 3..to - 3)
        .filter(|&i| (d[i - 1] > 0.0) != (d[i] > 0.0))
        .max_by(|&a, &b| over(a).abs().total_cmp(&over(b).abs()))?;
    let height = over(peak);
    if height.abs() < P_LEAST.max(NOISES * noise) {
        return None;
    }
    let up = height.signum();
    let rise = steepest(peak.saturating_sub(20).max(from)..peak, |i| up * d[i])?;
    let fall = steepest(peak..(peak + 20).min(to), |i| -up * d[i])?;
    let (first, last) = (P_SHARE * d[rise].abs(), P_SHARE * d[fall].abs());
    let onset = (WIDE..rise).rev().find(|&i| up * d[i] < first)?;
    let end = (fall + 1..=qrs_on).find(|&i| -up * d[i] < last).unwrap_or(qrs_on);
    Some(Wave {
        onset: crossing(d, onset + 1, onset, first),
        peak: peak as f32,
        end: if end < qrs_on { crossing(d, end - 1, end, last) } else { qrs_on as f32 },
    })
}
