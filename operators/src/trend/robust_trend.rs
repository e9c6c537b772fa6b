//! How vital signs stand and move over a quarter of an hour, in ways that a few wild values do not touch.
//! In: heart rate, respiration rate, oxygen saturation and mean arterial pressure, as long as each is valid.
//! Out: median, median absolute deviation (unit of the quantity) and slope per minute by Theil and Sen.

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{ChannelId, Epoch, EventTime, Missing, Reading, Readings, Span};
use crate::window::Ring;
use crate::window::over_time::tumbling;
use crate::window::statistics::{median_and_mad, theil_sen};

/// Parameters of `robust_trend`. The quarter of an hour is fixed, as the names of the readings say it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Least share of the half minutes with a value (1).
    pub least_share: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { least_share: 0.5 }
    }
}

const LEAST_SHARE: Bound = Bound { name: "least_share", min: 0.2, max: 1.0, unit: "" };

/// Length of a slot that has one mean, slots in a quarter of an hour, and seconds with a value that a slot needs.
const SLOT: Span = Span::seconds_const(30);
const SLOTS: usize = 30;
const SLOT_FILLED_S: u32 = 10;
/// Slots between two readings.
const HOP: Span = Span::seconds_const(60);

/// Quantities and the names of their readings: median, deviation, slope.
const QUANTITIES: [(ChannelId, [&str; 3]); 4] = [
    (
        ChannelId::of("heart_rate"),
        ["heart_rate_median_15min", "heart_rate_mad_15min", "heart_rate_theil_sen_15min"],
    ),
    (
        ChannelId::of("resp_rate"),
        ["resp_rate_median_15min", "resp_rate_mad_15min", "resp_rate_theil_sen_15min"],
    ),
    (ChannelId::of("spo2"), ["spo2_median_15min", "spo2_mad_15min", "spo2_theil_sen_15min"]),
    (ChannelId::of("abp_mean"), ["abp_mean_median_15min", "abp_mean_mad_15min", "abp_mean_theil_sen_15min"]),
];

/// One quantity: means of slots, whether there was one, their qualities, and the slot that goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    means: Ring,
    filled: Ring,
    qualities: Ring,
    sum: f64,
    quality: f32,
    count: u32,
}

impl Track {
    fn new() -> Self {
        let ring = || Ring::new(SLOTS);
        Self { means: ring(), filled: ring(), qualities: ring(), sum: 0.0, quality: 0.0, count: 0 }
    }

    fn close_slot(&mut self) {
        let n = self.count.max(1);
        self.means.push((self.sum / f64::from(n)) as f32);
        self.filled.push(if self.count >= SLOT_FILLED_S { 1.0 } else { 0.0 });
        self.qualities.push(self.quality / n as f32);
        (self.sum, self.quality, self.count) = (0.0, 0.0, 0);
    }

    /// Median, deviation and slope per minute, and their quality.
    fn values(&self, least_share: f64, work: &mut Vec<f32>) -> (Result<[f64; 3], Missing>, f32) {
        let (mut times, mut values, mut n, mut quality) = ([0.0; SLOTS], [0.0f32; SLOTS], 0, 0.0);
        for (i, (mean, filled)) in self.means.iter().zip(self.filled.iter()).enumerate().take(SLOTS) {
            if filled > 0.0 {
                (times[n], values[n]) = (i as f64 * SLOT.seconds() / 60.0, mean);
                quality += self.qualities.get(i).unwrap_or(0.0);
                n += 1;
            }
        }
        let share = n as f64 / SLOTS as f64;
        let why = if self.means.is_full() { Missing::TooFew } else { Missing::Learning };
        if share < least_share {
            return (Err(why), 0.0);
        }
        let slope = theil_sen(&times[..n], &values[..n], work);
        let middle = median_and_mad(&mut values[..n]);
        let Some((slope, (median, mad))) = slope.zip(middle) else { return (Err(why), 0.0) };
        let quality = (quality / n as f32 * share as f32).clamp(0.0, 1.0);
        (Ok([median, mad, slope].map(f64::from)), quality)
    }
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// Start of the slot being filled.
    slot: Option<EventTime>,
    tracks: [Option<Track>; QUANTITIES.len()],
}

thread_local! {
    // Slopes of all pairs: no state.
    static WORK: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

struct RobustTrend {
    params: Params,
    state: State,
}

impl RobustTrend {
    /// Takes in a second; the slots that it ends are closed at the end of their last second.
    fn advance(&mut self, epoch: &Epoch<'_>) {
        let slot = tumbling(epoch.start, SLOT);
        let missed = self.state.slot.map_or(0, |before| (slot - before).micros() / SLOT.micros());
        self.state.slot = Some(slot);
        let ends = tumbling(epoch.end(), SLOT) == epoch.end();
        for ((channel, _), track) in QUANTITIES.iter().zip(&mut self.state.tracks) {
            let valid = epoch.values.at(*channel, epoch.end()).ok().filter(|v| v.value.is_finite());
            if let Some(track) = track.as_mut() {
                (1..missed.clamp(0, SLOTS as i64 + 1)).for_each(|_| track.close_slot());
            }
            if let Some(seen) = valid {
                let (low, high) = channel.row().plausible;
                let track = track.get_or_insert_with(Track::new);
                track.sum += seen.value.clamp(low, high);
                track.quality += seen.quality;
                track.count = track.count.saturating_add(1);
            }
            if let Some(track) = track.as_mut().filter(|_| ends) {
                track.close_slot();
            }
        }
    }
}

impl Operator for RobustTrend {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.advance(epoch);
        let time = epoch.end();
        if tumbling(time, HOP) != time {
            return;
        }
        let window = Span::from_micros(SLOT.micros() * SLOTS as i64);
        for ((channel, names), track) in QUANTITIES.iter().zip(&self.state.tracks) {
            let Some(track) = track else { continue };
            let (values, quality) = WORK.with_borrow_mut(|work| track.values(self.params.least_share, work));
            for (k, name) in names.iter().enumerate() {
                let value = values.map(|v| v[k]);
                out.push(Reading { name, channel: Some(*channel), time, window, value, quality });
            }
        }
    }

    fn far(&self, next: EventTime, to: &mut Far) {
        if next.micros().div_euclid(US_PER_S).rem_euclid(60) == 0 {
            for track in self.state.tracks.iter().flatten() {
                [&track.means, &track.filled, &track.qualities].into_iter().for_each(|ring| ring.far(to));
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

const MEDIAN: &str = "Median of the last quarter of an hour";
const MAD: &str = "Median absolute deviation of the last quarter of an hour";
const SLOPE: &str = "Slope of the last quarter of an hour, per minute";

/// The card.
pub static SPEC: Spec = Spec {
    name: "robust_trend",
    summary: "Median, spread and slope of vital signs over a quarter of an hour, untouched by a few wild values",
    description: "Valid values are averaged over half minutes with at least ten seconds of them; every minute the last \
        thirty half minutes give the median, the median absolute deviation (not scaled to a bell curve), and the \
        slope as the median of the slopes of all pairs, which withstands 29 % of wild half minutes. Absent unless \
        half of the half minutes have a value (least_share). The numbers are those of the vital signs as sent or \
        derived: what a device repeats counts as long as it is valid.",
    reads: &[],
    writes: &[
        Output::new("heart_rate_median_15min", "/min", MEDIAN),
        Output::new("heart_rate_mad_15min", "/min", MAD),
        Output::new("heart_rate_theil_sen_15min", "/min/min", SLOPE),
        Output::new("resp_rate_median_15min", "/min", MEDIAN),
        Output::new("resp_rate_mad_15min", "/min", MAD),
        Output::new("resp_rate_theil_sen_15min", "/min/min", SLOPE),
        Output::new("spo2_median_15min", "%", MEDIAN),
        Output::new("spo2_mad_15min", "%", MAD),
        Output::new("spo2_theil_sen_15min", "%/min", SLOPE),
        Output::new("abp_mean_median_15min", "mm[Hg]", MEDIAN),
        Output::new("abp_mean_mad_15min", "mm[Hg]", MAD),
        Output::new("abp_mean_theil_sen_15min", "mm[Hg]/min", SLOPE),
    ],
    needs: &[],
    latency: Span::ZERO,
    by_default: false,
    sources: &["Sen PK. J Am Stat Assoc 1968;63:1379-1389. doi:10.1080/01621459.1968.10480934 (slope)"],
    bounds: &[LEAST_SHARE],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        LEAST_SHARE.check(params.least_share)?;
        Ok(Box::new(RobustTrend { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Observed, Origin, Values};

    /// Seconds of a heart rate (`None`: not there); what is said last.
    fn said(seconds: i64, rate: impl Fn(i64) -> Option<f64>) -> [Result<f64, Missing>; 3] {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let (mut last, mut values) = ([Err(Missing::NoData); 3], Values::default());
        for s in 0..seconds {
            let start = EventTime::from_seconds(s);
            if let Some(value) = rate(s) {
                let valid_until = start + Span::seconds_const(2);
                let seen = Observed {
                    value,
                    observed_at: start,
                    valid_until,
                    quality: 1.0,
                    origin: Origin::Reported,
                };
                values.store(ChannelId::of("heart_rate"), seen);
            }
            let mut out = Readings::default();
            op.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
            assert_eq!(out.items.len(), if s % 60 == 59 { 3 } else { 0 });
            if s % 60 == 59 {
                last = std::array::from_fn(|k| out.find(QUANTITIES[0].1[k]).unwrap().value);
            }
        }
        last
    }

    #[test]
    fn a_ramp_has_its_slope_though_a_fifth_is_wild() {
        // Six more every ten minutes; three of fifteen minutes at 300.
        let ramp = |s: i64| 60.0 + 0.6 * (s as f64 / 60.0);
        let wild = |s: i64| Some(if (1000..1180).contains(&s) { 300.0 } else { ramp(s) });
        let [median, mad, slope] = said(1800, wild).map(Result::unwrap);
        assert!((slope - 0.6).abs() < 0.15, "{slope}");
        // The wild ones take the place of low ones: the median of the rest and them is that of a later slot.
        assert!((median - ramp(1530)).abs() < 0.5 && mad < 4.0, "{median} {mad}");
        let [median, mad, slope] = said(1800, |_| Some(75.0)).map(Result::unwrap);
        assert_eq!([median, mad, slope], [75.0, 0.0, 0.0]);
    }

    #[test]
    fn half_of_the_time_is_needed() {
        assert_eq!(said(300, |_| Some(75.0)), [Err(Missing::Learning); 3]);
        assert_eq!(said(1800, |s| (s < 1000).then_some(75.0)), [Err(Missing::TooFew); 3]);
    }
}
