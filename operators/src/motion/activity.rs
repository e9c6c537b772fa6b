//! How much a patient moves, minute by minute. In: acceleration along three axes in g. Out: two measures in `m[g]`: the
//! mean deviation of its length from its own mean, and the mean of its length beyond gravity.

use serde::{Deserialize, Serialize};

use super::{Moved, Second, quality, second};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{Epoch, Hertz, Kind, Missing, Reading, Readings, Span};

/// Parameters of `activity`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Least share of the minute that must be there (1).
    pub least_share: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { least_share: 0.75 }
    }
}

const LEAST_SHARE: Bound = Bound { name: "least_share", min: 0.1, max: 1.0, unit: "" };

/// Seconds of a piece that has its own mean, and pieces of a minute.
const PIECE_S: i64 = 5;
const MINUTE_S: i64 = 60;
/// Slower sampling misses a step.
const RATE_MIN: f64 = 10.0;

/// What is remembered: the minute that is being filled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    ever: bool,
    slow: bool,
    rate: Option<Hertz>,
    /// Lengths of the piece that is being filled (g), and how many seconds they are.
    lengths: Vec<f32>,
    seconds: u8,
    /// Sums over the pieces of the minute (g), their number, and the quality of their seconds.
    deviation: f64,
    beyond: f64,
    pieces: u8,
    quality: f32,
}

/// Mean deviation of lengths from their mean, and mean of what they are beyond one, both in g; `None` of nothing.
///
/// ```
/// use auscult_operators::motion::activity::measures;
/// assert_eq!(measures(&[1.5, 0.5, 1.5, 0.5]), Some((0.5, 0.25)));
/// assert_eq!(measures(&[]), None);
/// ```
pub fn measures(lengths_g: &[f32]) -> Option<(f64, f64)> {
    if lengths_g.is_empty() {
        return None;
    }
    let all = || lengths_g.iter().copied().map(f64::from);
    let n = lengths_g.len() as f64;
    let mean = all().sum::<f64>() / n;
    let deviation = all().map(|a| (a - mean).abs()).sum::<f64>() / n;
    Some((deviation, all().map(|a| (a - 1.0).max(0.0)).sum::<f64>() / n))
}

impl State {
    fn push(&mut self, moved: &Moved<'_>, quality: f32) {
        self.slow = moved.rate.get() < RATE_MIN;
        if self.slow {
            return;
        }
        if moved.reset || self.rate != Some(moved.rate) {
            (self.seconds, self.rate) = (0, Some(moved.rate));
            self.lengths.clear();
        }
        self.lengths.extend(moved.lengths());
        self.seconds = self.seconds.saturating_add(1);
        self.quality += quality;
    }

    /// Ends a piece; only a whole one counts.
    fn end_piece(&mut self) {
        if i64::from(self.seconds) == PIECE_S
            && let Some((deviation, beyond)) = measures(&self.lengths)
        {
            self.deviation += deviation;
            self.beyond += beyond;
            self.pieces = self.pieces.saturating_add(1);
        }
        self.lengths.clear();
        self.seconds = 0;
    }

    /// The minute in m[g], which is then over, and its quality.
    fn end_minute(&mut self, least_share: f64) -> (Result<[f64; 2], Missing>, f32) {
        let (pieces, share) =
            (f64::from(self.pieces), f64::from(self.pieces) * PIECE_S as f64 / MINUTE_S as f64);
        let value = match pieces {
            _ if self.slow => Err(Missing::TooFew),
            _ if share < least_share => Err(if pieces > 0.0 { Missing::TooFew } else { Missing::Stale }),
            _ => Ok([1e3 * self.deviation / pieces, 1e3 * self.beyond / pieces]),
        };
        let mean = (self.quality / MINUTE_S as f32).clamp(0.0, 1.0);
        (self.deviation, self.beyond, self.pieces, self.quality) = (0.0, 0.0, 0, 0.0);
        (value, if value.is_ok() { mean } else { 0.0 })
    }
}

struct Activity {
    params: Params,
    state: State,
}

impl Operator for Activity {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let state = &mut self.state;
        match second(epoch) {
            Second::Whole(moved) => {
                state.ever = true;
                state.push(&moved, quality(out));
            }
            Second::Broken => {
                state.ever = true;
                state.seconds = 0;
                state.lengths.clear();
            }
            Second::Absent => {
                state.seconds = 0;
                state.lengths.clear();
            }
        }
        let time = epoch.end();
        let at = time.micros().div_euclid(US_PER_S);
        if at.rem_euclid(PIECE_S) == 0 {
            state.end_piece();
        }
        if at.rem_euclid(MINUTE_S) != 0 || !state.ever {
            return;
        }
        let (value, quality) = state.end_minute(self.params.least_share);
        for (k, name) in ["activity_mad", "activity_enmo"].into_iter().enumerate() {
            let window = Span::seconds_const(MINUTE_S);
            out.push(Reading { name, channel: None, time, window, value: value.map(|v| v[k]), quality });
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.state = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "activity",
    summary: "How much a patient moves, minute by minute",
    description: "activity_mad: mean amplitude deviation, the mean distance of the length of the acceleration from its \
        mean over five seconds, averaged over the minute; an offset of the sensor does not touch it. activity_enmo: \
        Euclidean norm minus one, with what is below taken as zero, averaged over the minute; an offset of 30 mg \
        reads as 30 mg of activity, as the sensor is not calibrated here. Minutes and pieces end at whole multiples \
        in event time; a piece that a gap touches is left out. A lift, a transport or a vibrating bed moves the \
        sensor as the patient does; where it is worn decides what a number means, and limits of one place do not \
        hold for another. Differs from van Hees in leaving calibration and filters out.",
    reads: &[Kind::Motion],
    writes: &[
        Output {
            name: "activity_mad",
            unit: "m[g]",
            summary: "Mean amplitude deviation of the minute",
            feeds: "",
        },
        Output {
            name: "activity_enmo",
            unit: "m[g]",
            summary: "Mean acceleration beyond gravity of the minute",
            feeds: "",
        },
    ],
    needs: &["signal_quality"],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Vaehae-Ypyae H et al. Clin Physiol Funct Imaging 2015;35:64-70. doi:10.1111/cpf.12127 (MAD)",
        "van Hees VT et al. PLoS ONE 2013;8:e61691. doi:10.1371/journal.pone.0061691 (ENMO)",
    ],
    bounds: &[LEAST_SHARE],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        LEAST_SHARE.check(params.least_share)?;
        Ok(Box::new(Activity { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::super::bench;
    use super::*;

    fn minute(rate: i64, wave: impl Fn(f64) -> [f32; 3] + Copy) -> [Result<f64, Missing>; 2] {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let mut last = None;
        for s in 0..120 {
            let out = bench::second(op.as_mut(), s, rate, 1.0, wave);
            last = out.find("activity_mad").map(|r| [r.value, out.find("activity_enmo").unwrap().value]);
            assert_eq!(last.is_some(), s % 60 == 59);
        }
        last.unwrap()
    }

    #[test]
    fn a_sine_on_gravity_has_the_measures_of_a_sine() {
        let sine = |t: f64| [0.0, 0.0, 1.0 + 0.2 * libm::sin(2.0 * std::f64::consts::PI * 2.0 * t) as f32];
        let [mad, enmo] = minute(50, sine).map(Result::unwrap);
        let mean_of_half_wave = 200.0 / std::f64::consts::PI;
        assert!(
            (mad - 2.0 * mean_of_half_wave).abs() < 0.5 && (enmo - mean_of_half_wave).abs() < 0.5,
            "{mad} {enmo}"
        );
        let [mad, enmo] = minute(50, |_| [0.6, 0.8, 0.0]).map(Result::unwrap);
        assert!(mad < 1e-3 && enmo < 1e-3);
    }

    #[test]
    fn slow_sampling_says_nothing() {
        assert_eq!(minute(4, |_| [0.0, 0.0, 1.0]), [Err(Missing::TooFew); 2]);
    }
}
