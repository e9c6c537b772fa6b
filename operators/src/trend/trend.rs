//! Trends of vital signs over five minutes.
//! In: heart rate, respiration rate, oxygen saturation and mean arterial pressure, as long as each is valid.
//! Out: mean, slope per minute, standard deviation (unit of the quantity) and share of time valid (0 to 1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{ChannelId, Epoch, EventTime, Missing, Reading, Readings, Span};
use crate::window::Ring;

/// Parameters. The window of five minutes is fixed, as the names of the readings say it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Time between two readings, counted from midnight of 1 January 1970 (s).
    pub hop_s: f64,
    /// Least share of the window with a valid value (1).
    pub least_share: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { hop_s: 30.0, least_share: 0.5 }
    }
}

const HOP: Bound = Bound { name: "hop_s", min: 5.0, max: 300.0, unit: "s" };
const LEAST_SHARE: Bound = Bound { name: "least_share", min: 0.05, max: 1.0, unit: "" };

/// Length of the window (s).
const WINDOW_S: i64 = 300;
/// Seconds that share one mean.
const SLOT_S: i64 = 5;
/// Means in a window.
const SLOTS: usize = (WINDOW_S / SLOT_S) as usize;

/// A quantity and the names of its readings: mean, slope, spread, share valid.
struct Quantity {
    channel: &'static str,
    names: [&'static str; 4],
}

const QUANTITIES: [Quantity; 4] = [
    Quantity {
        channel: "heart_rate",
        names: [
            "heart_rate_mean_5min",
            "heart_rate_slope_5min",
            "heart_rate_sd_5min",
            "heart_rate_valid_5min",
        ],
    },
    Quantity {
        channel: "resp_rate",
        names: ["resp_rate_mean_5min", "resp_rate_slope_5min", "resp_rate_sd_5min", "resp_rate_valid_5min"],
    },
    Quantity {
        channel: "spo2",
        names: ["spo2_mean_5min", "spo2_slope_5min", "spo2_sd_5min", "spo2_valid_5min"],
    },
    Quantity {
        channel: "abp_mean",
        names: ["abp_mean_mean_5min", "abp_mean_slope_5min", "abp_mean_sd_5min", "abp_mean_valid_5min"],
    },
];

/// What five minutes of one quantity say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Mean of the slots (unit of the quantity).
    pub mean: f64,
    /// Least-squares slope (unit of the quantity per minute).
    pub slope: f64,
    /// Standard deviation of the slots about their mean (unit of the quantity).
    pub sd: f64,
}

/// Mean, slope per minute and standard deviation of values at even steps of `step_s`; slots without a value are
/// skipped. `None` with fewer than three values.
///
/// ```
/// use auscult_operators::trend::trend::summarise;
/// let rising = [Some(60.0), None, Some(62.0), Some(63.0)];
/// let s = summarise(rising.into_iter(), 5.0).unwrap();
/// assert!((s.slope - 12.0).abs() < 1e-9 && (s.mean - 185.0 / 3.0).abs() < 1e-9);
/// assert_eq!(summarise([Some(1.0), None].into_iter(), 5.0), None);
/// ```
pub fn summarise(slots: impl Iterator<Item = Option<f64>> + Clone, step_s: f64) -> Option<Summary> {
    let present = || slots.clone().enumerate().filter_map(|(i, v)| v.map(|v| (i as f64 * step_s / 60.0, v)));
    let (mut n, mut sum_t, mut sum_v) = (0.0, 0.0, 0.0);
    for (t, v) in present() {
        n += 1.0;
        sum_t += t;
        sum_v += v;
    }
    if n < 3.0 {
        return None;
    }
    let (mean_t, mean) = (sum_t / n, sum_v / n);
    let (mut tt, mut tv, mut vv) = (0.0, 0.0, 0.0);
    for (t, v) in present() {
        tt += (t - mean_t) * (t - mean_t);
        tv += (t - mean_t) * (v - mean);
        vv += (v - mean) * (v - mean);
    }
    Some(Summary { mean, slope: tv / tt, sd: (vv / (n - 1.0)).sqrt() })
}

/// Five minutes of one quantity.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    means: Ring,
    /// Seconds with a value in each slot: zero marks an absent mean.
    seconds: Ring,
    qualities: Ring,
    sum: f64,
    quality: f64,
    count: u32,
}

impl Track {
    fn new() -> Self {
        let ring = || Ring::new(SLOTS);
        Self { means: ring(), seconds: ring(), qualities: ring(), sum: 0.0, quality: 0.0, count: 0 }
    }

    fn close_slot(&mut self) {
        let n = f64::from(self.count.max(1));
        self.means.push((self.sum / n) as f32);
        self.seconds.push(self.count as f32);
        self.qualities.push((self.quality / n) as f32);
        (self.sum, self.quality, self.count) = (0.0, 0.0, 0);
    }

    fn slots(&self) -> impl Iterator<Item = Option<f64>> + Clone + '_ {
        (0..self.means.len()).map(|i| {
            let here = self.seconds.get(i).is_some_and(|s| s > 0.0);
            here.then(|| f64::from(self.means.get(i).unwrap_or(0.0)))
        })
    }

    /// Share of the window with a value, and the mean quality of those values.
    fn share(&self) -> (f64, f32) {
        let valid: f32 = self.seconds.iter().sum();
        let weighted: f32 = self.seconds.iter().zip(self.qualities.iter()).map(|(s, q)| s * q).sum();
        let quality = if valid > 0.0 { (weighted / valid).clamp(0.0, 1.0) } else { 0.0 };
        (f64::from(valid) / WINDOW_S as f64, quality)
    }
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// Number of the slot being filled, counted from 1970.
    slot: Option<i64>,
    tracks: [Option<Track>; QUANTITIES.len()],
}

/// The operator.
struct Trend {
    params: Params,
    channels: [Option<ChannelId>; QUANTITIES.len()],
    state: State,
}

impl Trend {
    fn due(&self, end: EventTime) -> bool {
        let hop = (self.params.hop_s.round() as i64).max(1);
        end.micros().div_euclid(US_PER_S).rem_euclid(hop) == 0
    }

    fn advance(&mut self, epoch: &Epoch<'_>) {
        let slot = epoch.start.micros().div_euclid(SLOT_S * US_PER_S);
        let passed = self.state.slot.map_or(0, |before| (slot - before).clamp(0, SLOTS as i64 + 1));
        self.state.slot = Some(slot);
        for (channel, track) in self.channels.iter().zip(&mut self.state.tracks) {
            if let Some(track) = track {
                (0..passed).for_each(|_| track.close_slot());
            }
            let valid =
                channel.and_then(|c| epoch.values.at(c, epoch.end()).ok()).filter(|v| v.value.is_finite());
            let Some(seen) = valid else { continue };
            let track = track.get_or_insert_with(Track::new);
            if i64::from(track.count) < SLOT_S {
                let (low, high) = channel.map_or((0.0, 0.0), |c| c.row().plausible);
                track.sum += seen.value.clamp(low, high);
                track.quality += f64::from(seen.quality);
                track.count += 1;
            }
        }
    }
}

impl Operator for Trend {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.advance(epoch);
        if !self.due(epoch.end()) {
            return;
        }
        for ((quantity, channel), track) in QUANTITIES.iter().zip(self.channels).zip(&self.state.tracks) {
            let Some(track) = track else { continue };
            let (share, quality) = track.share();
            let enough = share >= self.params.least_share;
            let why = if track.means.is_full() { Missing::TooFew } else { Missing::Learning };
            let summary = enough.then(|| summarise(track.slots(), SLOT_S as f64)).flatten().ok_or(why);
            let values =
                [summary.map(|s| s.mean), summary.map(|s| s.slope), summary.map(|s| s.sd), Ok(share)];
            for (name, value) in quantity.names.into_iter().zip(values) {
                let quality = if value.is_ok() { quality } else { 0.0 };
                let window = Span::seconds_const(WINDOW_S);
                out.push(Reading { name, channel, time: epoch.end(), window, value, quality });
            }
        }
    }

    fn far(&self, next: EventTime, to: &mut Far) {
        let (due, closes) = (self.due(next), next.micros().div_euclid(US_PER_S).rem_euclid(SLOT_S) == 1);
        for Track { means, seconds, qualities, .. } in self.state.tracks.iter().flatten() {
            for ring in [means, seconds, qualities] {
                match (due, closes) {
                    (true, _) => ring.far(to),
                    (false, true) => ring.far_of_next(1, to),
                    (false, false) => {}
                }
            }
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
    name: "trend",
    summary: "Mean, slope and spread of vital signs over five minutes",
    description: "Takes the value of each quantity once a second while it is valid, whether reported or derived, \
        averages over 5 s, and every 30 s tells the mean, the least-squares slope and the standard deviation of \
        the averages of the last 5 min. Absent where less than half of the window was valid; the share is always \
        told once the quantity has been seen. A value held between two measurements counts as valid and flat.",
    reads: &[],
    writes: &[
        Output::new("heart_rate_mean_5min", "/min", "Mean heart rate"),
        Output::new("heart_rate_slope_5min", "/min/min", "Change of heart rate per minute"),
        Output::new("heart_rate_sd_5min", "/min", "Standard deviation of heart rate"),
        Output::new("heart_rate_valid_5min", "1", "Share of the window with a valid heart rate"),
        Output::new("resp_rate_mean_5min", "/min", "Mean respiration rate"),
        Output::new("resp_rate_slope_5min", "/min/min", "Change of respiration rate per minute"),
        Output::new("resp_rate_sd_5min", "/min", "Standard deviation of respiration rate"),
        Output::new("resp_rate_valid_5min", "1", "Share of the window with a valid respiration rate"),
        Output::new("spo2_mean_5min", "%", "Mean oxygen saturation"),
        Output::new("spo2_slope_5min", "%/min", "Change of oxygen saturation per minute"),
        Output::new("spo2_sd_5min", "%", "Standard deviation of oxygen saturation"),
        Output::new("spo2_valid_5min", "1", "Share of the window with a valid oxygen saturation"),
        Output::new("abp_mean_mean_5min", "mm[Hg]", "Mean of the mean arterial pressure"),
        Output::new("abp_mean_slope_5min", "mm[Hg]/min", "Change of mean arterial pressure per minute"),
        Output::new("abp_mean_sd_5min", "mm[Hg]", "Standard deviation of mean arterial pressure"),
        Output::new("abp_mean_valid_5min", "1", "Share of the window with a valid mean arterial pressure"),
    ],
    needs: &[],
    latency: Span::seconds_const(5),
    by_default: true,
    sources: &["Least squares; no clinical source claims these windows"],
    bounds: &[HOP, LEAST_SHARE],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        HOP.check(params.hop_s)?;
        LEAST_SHARE.check(params.least_share)?;
        let channels = QUANTITIES.map(|q| ChannelId::named(q.channel));
        Ok(Box::new(Trend { params, channels, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signal::{EventTime, Observed, Origin, Values};

    /// Readings of the last hop of `seconds`, of a heart rate that is given second by second.
    fn last(seconds: i64, rate: impl Fn(i64) -> Option<f64>) -> [Result<f64, Missing>; 4] {
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let channel = ChannelId::named("heart_rate").unwrap();
        let mut values = Values::default();
        let mut out = Readings::default();
        for s in 0..seconds {
            let start = EventTime::from_seconds(s);
            if let Some(value) = rate(s) {
                let valid_until = start + Span::from_seconds(1.5);
                let origin = Origin::Reported;
                values.store(
                    channel,
                    Observed { value, observed_at: start, valid_until, quality: 1.0, origin },
                );
            }
            out.clear();
            operator.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
        }
        QUANTITIES[0].names.map(|n| out.find(n).unwrap().value)
    }

    #[test]
    fn a_ramp_shows_its_slope() {
        let [mean, slope, sd, valid] = last(600, |s| Some(60.0 + s as f64 / 60.0 * 2.0)).map(Result::unwrap);
        assert!((slope - 2.0).abs() < 1e-3 && (mean - 75.0).abs() < 0.2, "{mean} {slope}");
        assert!((sd - 10.0 / 12.0_f64.sqrt()).abs() < 0.1, "{sd}");
        // The slot in progress does not count until it is full.
        assert!(valid > 0.98, "{valid}");
    }

    #[test]
    fn half_a_window_is_needed() {
        assert_eq!(last(120, |_| Some(70.0))[0], Err(Missing::Learning));
        assert_eq!(last(180, |_| Some(70.0))[0], Ok(70.0));
        let gone = last(600, |s| (s < 400).then_some(70.0));
        assert_eq!((gone[0], gone[1]), (Err(Missing::TooFew), Err(Missing::TooFew)));
        assert!((gone[3].unwrap() - 0.35).abs() < 0.02, "{gone:?}");
    }
}
