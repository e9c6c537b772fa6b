//! What is normal for this patient, and how far off the present is. In: heart rate, respiration rate, mean arterial
//! pressure and oxygen saturation, as long as each is valid. Out: the baseline and its drift (unit of the quantity),
//! and the deviation of the last minute from it in robust standard deviations (1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{ChannelId, Epoch, EventTime, Missing, Reading, Readings, Span};
use crate::window::Ring;
use crate::window::statistics::{MAD_TO_SD, median_and_mad};

/// Parameters of `baseline`. The six hours and their slots are fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Least time with values before there is a baseline (h).
    pub least_h: f64,
    /// What the speed limits of the card are taken times; 0 holds every first baseline for good (1).
    pub pace: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { least_h: 1.0, pace: 1.0 }
    }
}

const LEAST: Bound = Bound { name: "least_h", min: 0.5, max: 6.0, unit: "h" };
const PACE: Bound = Bound { name: "pace", min: 0.0, max: 2.0, unit: "" };

/// Length of a slot that has one mean, and slots in six hours.
const SLOT_S: i64 = 600;
const SLOTS: usize = 36;
/// Seconds with a value that a slot needs, and the present minute.
const SLOT_FILLED_S: u32 = 120;
const MINUTE_S: i64 = 60;
const MINUTE_FILLED_S: u32 = 20;

/// A quantity: names of its readings, and what holds its baseline.
struct Quantity {
    channel: ChannelId,
    /// Baseline, deviation, drift.
    names: [&'static str; 3],
    /// The baseline lies in between, whatever the patient shows.
    limits: (f32, f32),
    /// It moves at most so much per hour.
    per_hour: f32,
    /// One robust standard deviation is at least and at most this.
    sd: (f32, f32),
}

const QUANTITIES: [Quantity; 4] = [
    Quantity {
        channel: ChannelId::of("heart_rate"),
        names: ["heart_rate_baseline", "heart_rate_deviation", "heart_rate_drift"],
        limits: (41.0, 110.0),
        per_hour: 3.0,
        sd: (3.0, 10.0),
    },
    Quantity {
        channel: ChannelId::of("resp_rate"),
        names: ["resp_rate_baseline", "resp_rate_deviation", "resp_rate_drift"],
        limits: (9.0, 20.0),
        per_hour: 1.0,
        sd: (1.0, 3.0),
    },
    Quantity {
        channel: ChannelId::of("abp_mean"),
        names: ["abp_mean_baseline", "abp_mean_deviation", "abp_mean_drift"],
        limits: (65.0, 110.0),
        per_hour: 3.0,
        sd: (4.0, 10.0),
    },
    Quantity {
        channel: ChannelId::of("spo2"),
        names: ["spo2_baseline", "spo2_deviation", "spo2_drift"],
        limits: (94.0, 100.0),
        per_hour: 0.5,
        sd: (1.0, 2.0),
    },
];

/// Lower limit of oxygen saturation where NEWS2 scale 2 was prescribed (%), and the code of that scale.
const SPO2_SCALE: ChannelId = ChannelId::of("spo2_scale");
const SPO2_LOW_SCALE_2: f32 = 88.0;
const SPO2: usize = 3;

/// What may hold a baseline in one slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bridle {
    /// Lowest and highest baseline.
    pub limits: (f32, f32),
    /// Greatest step.
    pub step: f32,
}

/// Where a baseline goes: towards the median, by no more than a step, and never beyond the limits. The first one goes
/// there at once.
///
/// ```
/// use auscult_operators::trend::baseline::{Bridle, moved};
/// let bridle = Bridle { limits: (40.0, 110.0), step: 0.5 };
/// assert_eq!(moved(None, 72.0, bridle), 72.0);
/// assert_eq!(moved(None, 140.0, bridle), 110.0);
/// assert_eq!(moved(Some(72.0), 95.0, bridle), 72.5);
/// assert_eq!(moved(Some(72.0), 71.8, bridle), 71.8);
/// ```
pub fn moved(before: Option<f32>, median: f32, bridle: Bridle) -> f32 {
    let (low, high) = bridle.limits;
    let aim = before.map_or(median, |b| median.max(b - bridle.step).min(b + bridle.step));
    aim.max(low).min(high)
}

/// One quantity.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    /// Means of slots, and whether there was one.
    means: Ring,
    filled: Ring,
    sum: f64,
    count: u32,
    /// The minute that goes on: sum, seconds, sum of qualities.
    minute: (f64, u32, f32),
    first: Option<f32>,
    baseline: Option<f32>,
    sd: f32,
}

impl Track {
    fn new() -> Self {
        let ring = || Ring::new(SLOTS);
        let minute = (0.0, 0, 0.0);
        Self {
            means: ring(),
            filled: ring(),
            sum: 0.0,
            count: 0,
            minute,
            first: None,
            baseline: None,
            sd: 0.0,
        }
    }

    /// Ends a slot and moves the baseline; after six hours without a value there is none any more.
    fn close_slot(&mut self, quantity: &Quantity, bridle: Bridle, least: usize) {
        let there = self.count >= SLOT_FILLED_S;
        self.means.push(if there { (self.sum / f64::from(self.count)) as f32 } else { 0.0 });
        self.filled.push(if there { 1.0 } else { 0.0 });
        (self.sum, self.count) = (0.0, 0);
        let mut values = [0.0f32; SLOTS];
        let mut n = 0;
        for (v, _) in self.means.iter().zip(self.filled.iter()).filter(|(_, f)| *f > 0.0).take(SLOTS) {
            values[n] = v;
            n += 1;
        }
        if n == 0 && self.filled.is_full() {
            (self.first, self.baseline) = (None, None);
        }
        // What is old does not move it: only a slot that has just been filled does.
        if n < least || !there {
            return;
        }
        let Some((median, mad)) = median_and_mad(&mut values[..n]) else { return };
        self.baseline = Some(moved(self.baseline, median, bridle));
        self.first = self.first.or(self.baseline);
        self.sd = (mad * MAD_TO_SD).max(quantity.sd.0).min(quantity.sd.1);
    }

    fn add(&mut self, value: f64, quality: f32) {
        self.sum += value;
        self.count = self.count.saturating_add(1);
        let (sum, seconds, qualities) = self.minute;
        self.minute = (sum + value, seconds.saturating_add(1), qualities + quality);
    }

    /// Baseline, deviation and drift of the minute, which is then over, and the quality of its values.
    fn close_minute(&mut self) -> ([Result<f64, Missing>; 3], f32) {
        let (sum, seconds, qualities) = std::mem::take(&mut self.minute);
        let Some((baseline, first)) = self.baseline.zip(self.first) else {
            return ([Err(Missing::Learning); 3], 0.0);
        };
        let now = if seconds >= MINUTE_FILLED_S { Ok(sum / f64::from(seconds)) } else { Err(Missing::Stale) };
        let baseline = f64::from(baseline);
        let deviation = now.map(|now| (now - baseline) / f64::from(self.sd.max(f32::MIN_POSITIVE)));
        let share = self.filled.iter().sum::<f32>() / SLOTS as f32;
        let mean = if seconds > 0 { qualities / seconds as f32 } else { 1.0 };
        // Six hours make a baseline sure; one hour half so.
        let quality = (mean * (0.4 + 0.6 * share)).clamp(0.0, 1.0);
        ([Ok(baseline), deviation, Ok(baseline - f64::from(first))], quality)
    }
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// Number of the slot being filled, counted from 1970.
    slot: Option<i64>,
    tracks: [Option<Track>; QUANTITIES.len()],
}

struct Baseline {
    params: Params,
    state: State,
}

impl Baseline {
    fn bridle(&self, i: usize, epoch: &Epoch<'_>) -> Bridle {
        let q = &QUANTITIES[i];
        let (mut low, high) = q.limits;
        let scale_2 = || epoch.values.at(SPO2_SCALE, epoch.end()).is_ok_and(|v| v.value == 2.0);
        if i == SPO2 && scale_2() {
            low = SPO2_LOW_SCALE_2;
        }
        let per_slot = q.per_hour * (SLOT_S as f32 / 3600.0);
        Bridle { limits: (low, high), step: per_slot * self.params.pace as f32 }
    }

    fn advance(&mut self, epoch: &Epoch<'_>) {
        let slot = epoch.start.micros().div_euclid(SLOT_S * US_PER_S);
        let passed = self.state.slot.map_or(0, |before| (slot - before).clamp(0, SLOTS as i64));
        self.state.slot = Some(slot);
        let least = (self.params.least_h * 3600.0 / SLOT_S as f64).ceil().max(1.0) as usize;
        for (i, q) in QUANTITIES.iter().enumerate() {
            if passed > 0 {
                let bridle = self.bridle(i, epoch);
                if let Some(track) = &mut self.state.tracks[i] {
                    (0..passed).for_each(|_| track.close_slot(q, bridle, least));
                }
            }
            let valid = epoch.values.at(q.channel, epoch.end()).ok().filter(|v| v.value.is_finite());
            let Some(seen) = valid else { continue };
            let (low, high) = q.channel.row().plausible;
            self.state.tracks[i]
                .get_or_insert_with(Track::new)
                .add(seen.value.clamp(low, high), seen.quality);
        }
    }
}

impl Operator for Baseline {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.advance(epoch);
        let time = epoch.end();
        if time.micros().div_euclid(US_PER_S).rem_euclid(MINUTE_S) != 0 {
            return;
        }
        for (q, track) in QUANTITIES.iter().zip(&mut self.state.tracks) {
            let Some(track) = track else { continue };
            let (values, quality) = track.close_minute();
            for (name, value) in q.names.into_iter().zip(values) {
                let quality = if value.is_ok() { quality } else { 0.0 };
                let window = Span::seconds_const(SLOT_S * SLOTS as i64);
                out.push(Reading { name, channel: Some(q.channel), time, window, value, quality });
            }
        }
    }

    fn far(&self, next: EventTime, to: &mut Far) {
        if next.micros().div_euclid(US_PER_S).rem_euclid(SLOT_S) == 1 {
            for track in self.state.tracks.iter().flatten() {
                track.means.far(to);
                track.filled.far(to);
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

const BASELINE: &str = "What is normal for this patient, within limits";
const DEVIATION: &str = "Last minute less baseline, in robust standard deviations";
const DRIFT: &str = "Baseline less the first one";

/// The card.
pub static SPEC: Spec = Spec {
    name: "baseline",
    summary: "What is normal for this patient, and how far off the present is",
    description: "Every ten minutes with at least two minutes of valid values, the baseline moves towards the median \
        of the ten-minute means of the last six hours; there is none before an hour of them (least_h). Two bridles \
        keep it from taking slow decline for normal. It moves at most, per hour: heart rate 3/min, respiration rate \
        1/min, mean pressure 3 mmHg, saturation 0.5 %. And it never leaves: heart rate 41 to 110/min, respiration \
        rate 9 to 20/min, saturation 94 to 100 % (from 88 % where spo2_scale is 2), which NEWS2 scores with at most \
        one point on scale 1, and mean pressure 65 to 110 mmHg. A patient who arrives beyond is measured against the \
        limit, and deviates from the start. The drift since the first baseline is told beside it, and grows without \
        end in a slow decline. One robust standard deviation is 1.48 times the median absolute deviation of the same \
        means, at least 3/min, 1/min, 4 mmHg, 1 % and at most 10/min, 3/min, 10 mmHg, 2 %: neither a monitor's last \
        digit nor an unstable night sets the measure. Without values the baseline stands still; after six hours \
        without any it is forgotten. The deviation is absent unless the last minute has 20 s of values. It is made for \
        adults; a deviation is no alarm in itself, and none is no sign of health. Values that a device holds for \
        long count as long as they are valid.",
    reads: &[],
    writes: &[
        Output::new("heart_rate_baseline", "/min", BASELINE),
        Output::new("heart_rate_deviation", "1", DEVIATION),
        Output::new("heart_rate_drift", "/min", DRIFT),
        Output::new("resp_rate_baseline", "/min", BASELINE),
        Output::new("resp_rate_deviation", "1", DEVIATION),
        Output::new("resp_rate_drift", "/min", DRIFT),
        Output::new("abp_mean_baseline", "mm[Hg]", BASELINE),
        Output::new("abp_mean_deviation", "1", DEVIATION),
        Output::new("abp_mean_drift", "mm[Hg]", DRIFT),
        Output::new("spo2_baseline", "%", BASELINE),
        Output::new("spo2_deviation", "1", DEVIATION),
        Output::new("spo2_drift", "%", DRIFT),
    ],
    needs: &[],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Royal College of Physicians. National Early Warning Score (NEWS) 2. London 2017 (limits)",
        "Evans L et al. Intensive Care Med 2021;47:1181-1247. doi:10.1007/s00134-021-06506-y (mean pressure of 65 \
         mmHg)",
        "Leys C et al. J Exp Soc Psychol 2013;49:764-766. doi:10.1016/j.jesp.2013.03.013 (deviation from the median)",
    ],
    bounds: &[LEAST, PACE],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        LEAST.check(params.least_h)?;
        PACE.check(params.pace)?;
        Ok(Box::new(Baseline { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Observed, Origin, Values};

    /// Hours of values by channel and second (`None`: not there), and what is said at the end of each minute.
    fn said(hours: i64, value: impl Fn(&str, i64) -> Option<f64>) -> Vec<Readings> {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let (mut all, mut values) = (vec![], Values::default());
        for s in 0..hours * 3600 {
            let start = EventTime::from_seconds(s);
            for name in ["heart_rate", "resp_rate", "abp_mean", "spo2", "spo2_scale"] {
                let Some(value) = value(name, s) else { continue };
                let (observed_at, valid_until) = (start, start + Span::seconds_const(3));
                let origin = Origin::Reported;
                values.store(
                    ChannelId::of(name),
                    Observed { value, observed_at, valid_until, quality: 1.0, origin },
                );
            }
            let mut out = Readings::default();
            op.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
            if s % 60 == 59 {
                all.push(out);
            } else {
                assert!(out.items.is_empty());
            }
        }
        all
    }

    fn of(out: &Readings, name: &str) -> Result<f64, Missing> {
        out.find(name).unwrap().value
    }

    #[test]
    fn a_steady_patient_has_a_baseline_after_an_hour_and_a_sudden_change_deviates() {
        let rate = |s: i64| if s < 4 * 3600 { 70.0 + (s / 600 % 2) as f64 } else { 100.0 };
        let all = said(5, |name, s| (name == "heart_rate").then(|| rate(s)));
        assert_eq!(of(&all[50], "heart_rate_baseline"), Err(Missing::Learning));
        assert!((of(&all[70], "heart_rate_baseline").unwrap() - 70.5).abs() <= 0.5);
        assert!(of(&all[200], "heart_rate_deviation").unwrap().abs() < 0.4);
        assert!((of(&all[245], "heart_rate_deviation").unwrap() - 29.5 / 3.0).abs() < 0.4);
        assert!(all[70].find("spo2_baseline").is_none(), "never seen");
    }

    #[test]
    fn a_slow_decline_is_not_taken_for_normal() {
        // Eight per minute and hour: from 70 to 150 in ten hours.
        let all = said(10, |name, s| (name == "heart_rate").then(|| 70.0 + 8.0 * s as f64 / 3600.0));
        let first = of(&all[60], "heart_rate_baseline").unwrap();
        let baselines: Vec<f64> =
            all[70..].iter().map(|out| of(out, "heart_rate_baseline").unwrap()).collect();
        for (hour, pair) in baselines.windows(61).enumerate() {
            assert!(pair[60] - pair[0] <= 3.0 + 1e-3, "minute {hour}: {} {}", pair[0], pair[60]);
        }
        let last = all.last().unwrap();
        assert!(of(last, "heart_rate_deviation").unwrap() > 4.0);
        let drift = of(last, "heart_rate_drift").unwrap();
        assert!((drift - (of(last, "heart_rate_baseline").unwrap() - first)).abs() < 1e-4 && drift > 20.0);
    }

    #[test]
    fn limits_hold_whatever_the_patient_shows() {
        let sick = |name: &str, _| {
            Some(
                [("heart_rate", 150.0), ("resp_rate", 34.0), ("abp_mean", 48.0), ("spo2", 84.0)]
                    .iter()
                    .find(|r| r.0 == name)?
                    .1,
            )
        };
        let all = said(3, sick);
        let last = all.last().unwrap();
        let expected = [
            ("heart_rate", 110.0, 1.0),
            ("resp_rate", 20.0, 1.0),
            ("abp_mean", 65.0, -1.0),
            ("spo2", 94.0, -1.0),
        ];
        for (name, limit, side) in expected {
            assert_eq!(of(last, &format!("{name}_baseline")), Ok(limit));
            assert!(side * of(last, &format!("{name}_deviation")).unwrap() > 3.0, "{name}");
        }
        let scale_2 = said(2, |name, _| {
            [("spo2", 89.0), ("spo2_scale", 2.0)].iter().find(|r| r.0 == name).map(|r| r.1)
        });
        assert_eq!(of(scale_2.last().unwrap(), "spo2_baseline"), Ok(89.0));
    }

    #[test]
    fn without_values_it_stands_still_and_is_forgotten() {
        let all = said(10, |name, s| (name == "heart_rate" && s < 2 * 3600).then_some(80.0));
        assert_eq!(of(&all[200], "heart_rate_baseline"), Ok(80.0));
        assert_eq!(of(&all[200], "heart_rate_deviation"), Err(Missing::Stale));
        assert_eq!(of(&all[560], "heart_rate_baseline"), Err(Missing::Learning));
    }
}
