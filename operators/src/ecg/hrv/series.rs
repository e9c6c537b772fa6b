//! What a series of normal intervals between beats says of their variability: in time, by rank of pairs, by entropy.
//! In: intervals in ms, and whether each follows the one before without a beat left out. Out: ms, %, and 1.

use crate::signal::Missing;

/// Successive intervals that differ by more than this count for pNN50 (ms).
const NN50_MS: f64 = 50.0;
/// Templates of sample entropy have this length, and one more.
const TEMPLATE: usize = 2;
/// Share of the standard deviation within which two intervals are alike.
const ALIKE: f64 = 0.2;

/// Normal intervals in order of time.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// When each ends, in seconds from any start.
    pub ends_s: &'a [f64],
    /// Length of each, in ms.
    pub ms: &'a [f64],
    /// Whether it begins where the one before it ends. The first does not.
    pub follows: &'a [bool],
}

/// Variability in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeDomain {
    /// Mean interval (ms).
    pub mean_ms: f64,
    /// Standard deviation of the intervals (ms).
    pub sdnn_ms: f64,
    /// Root mean square of successive differences (ms).
    pub rmssd_ms: f64,
    /// Successive differences above 50 ms, out of all intervals that take part (%).
    pub pnn50_percent: f64,
    /// Standard deviation across the line of identity of the plot of each interval over the one before (ms).
    pub sd1_ms: f64,
    /// Standard deviation along that line (ms).
    pub sd2_ms: f64,
}

impl Series<'_> {
    /// Each interval with the one before, where it follows.
    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> + Clone + '_ {
        let before = self.ms.iter().zip(self.ms.iter().skip(1));
        before.zip(self.follows.iter().skip(1)).filter(|(_, follows)| **follows).map(|((a, b), _)| (*a, *b))
    }

    /// Variability in time.
    ///
    /// # Errors
    /// [`Missing::TooFew`] with fewer than three intervals, or fewer than two pairs.
    ///
    /// ```
    /// use auscult_operators::ecg::hrv::series::Series;
    /// let ms = [800.0, 860.0, 800.0, 860.0];
    /// let follows = [false, true, true, true];
    /// let t = Series { ends_s: &[0.8, 1.66, 2.46, 3.32], ms: &ms, follows: &follows }.time_domain().unwrap();
    /// assert_eq!((t.mean_ms, t.rmssd_ms, t.pnn50_percent), (830.0, 60.0, 75.0));
    /// ```
    pub fn time_domain(&self) -> Result<TimeDomain, Missing> {
        let pairs = self.pairs().count();
        if self.ms.len() < 3 || pairs < 2 {
            return Err(Missing::TooFew);
        }
        let count = pairs as f64;
        let squares: f64 = self.pairs().map(|(a, b)| (b - a) * (b - a)).sum();
        let far = self.pairs().filter(|(a, b)| (b - a).abs() > NN50_MS).count();
        let (mean_ms, sdnn_ms) = spread(self.ms.iter().copied());
        let across = spread(self.pairs().map(|(a, b)| (b - a) * std::f64::consts::FRAC_1_SQRT_2)).1;
        let along = spread(self.pairs().map(|(a, b)| (b + a) * std::f64::consts::FRAC_1_SQRT_2)).1;
        Ok(TimeDomain {
            mean_ms,
            sdnn_ms,
            rmssd_ms: (squares / count).sqrt(),
            pnn50_percent: 100.0 * far as f64 / (count + 1.0),
            sd1_ms: across,
            sd2_ms: along,
        })
    }

    /// Sample entropy of templates of two intervals, alike within a fifth of the standard deviation.
    ///
    /// # Errors
    /// [`Missing::TooFew`] if no two templates of three are alike: the entropy is then not known, only large.
    ///
    /// ```
    /// use auscult_operators::ecg::hrv::series::Series;
    /// let ms: Vec<f64> = (0..60).map(|i| [800.0, 860.0, 830.0][i % 3]).collect();
    /// let series = Series { ends_s: &[], ms: &ms, follows: &[] };
    /// assert!(series.sample_entropy().unwrap().abs() < 0.06, "what repeats itself holds nothing new");
    /// ```
    pub fn sample_entropy(&self) -> Result<f64, Missing> {
        let x = self.ms;
        let templates = x.len().saturating_sub(TEMPLATE);
        if templates < 2 {
            return Err(Missing::TooFew);
        }
        let alike = ALIKE * spread(x.iter().copied()).1;
        let (mut short, mut long) = (0u64, 0u64);
        for i in 0..templates {
            let later = &x[i + 1..];
            let n = templates - i - 1;
            let (a, b, c) = (&later[..n], &later[1..=n], &later[2..n + 2]);
            let (mut two, mut three) = (0u32, 0u32);
            for j in 0..n {
                let near =
                    u32::from((a[j] - x[i]).abs() <= alike) & u32::from((b[j] - x[i + 1]).abs() <= alike);
                two += near;
                three += near & u32::from((c[j] - x[i + 2]).abs() <= alike);
            }
            (short, long) = (short + u64::from(two), long + u64::from(three));
        }
        if long == 0 { Err(Missing::TooFew) } else { Ok(libm::log(short as f64 / long as f64)) }
    }
}

/// Mean and standard deviation of a sample.
fn spread(x: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (mut n, mut sum) = (0.0, 0.0);
    for v in x.clone() {
        (n, sum) = (n + 1.0, sum + v);
    }
    let mean = sum / n;
    let mut squares = 0.0;
    for v in x {
        squares += (v - mean) * (v - mean);
    }
    (mean, (squares / (n - 1.0)).sqrt())
}

/// Says of each interval whether it is normal: within 20 % of the median of the five around it (fewer at the ends), and
/// within 20 % of the one before where that is so near its own. The first finds single ectopic and missed beats, the
/// second those that alternate with normal ones: in bigeminy each interval is the median of its five. `normal` is as
/// long as `ms`.
///
/// ```
/// use auscult_operators::ecg::hrv::series::mark_normal;
/// let mut normal = [false; 6];
/// mark_normal(&[800.0, 810.0, 500.0, 1100.0, 790.0, 800.0], &mut normal);
/// assert_eq!(normal, [true, true, false, false, true, true]);
/// mark_normal(&[700.0, 900.0, 700.0, 900.0, 700.0, 900.0], &mut normal);
/// assert_eq!(normal, [true, false, false, false, false, false]);
/// ```
pub fn mark_normal(ms: &[f64], normal: &mut [bool]) {
    const SHARE: f64 = 0.2;
    let mut before = false;
    for (i, normal) in normal.iter_mut().enumerate().take(ms.len()) {
        let around = &ms[i.saturating_sub(2)..(i + 3).min(ms.len())];
        let mut sorted = [0.0; 5];
        let sorted = &mut sorted[..around.len()];
        sorted.copy_from_slice(around);
        sorted.sort_by(f64::total_cmp);
        let middle = 0.5 * (sorted[(around.len() - 1) / 2] + sorted[around.len() / 2]);
        let near = (ms[i] - middle).abs() <= SHARE * middle;
        *normal = near && !(before && (ms[i] - ms[i - 1]).abs() > SHARE * ms[i - 1]);
        before = near;
    }
}
