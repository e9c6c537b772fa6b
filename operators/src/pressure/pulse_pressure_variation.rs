//! Pulse pressure variation: how much breathing moves the pulse pressure, where the rhythm is regular.
//! In: pulses of `abp_beats` with their pulse pressure (mmHg), the respiration rate. Out: per cent of the mean pulse
//! pressure, the median over at least three breaths.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::respiration::breath_count::breaths_per_minute;
use crate::signal::time::US_PER_S;
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Graded, Missing, Readings, Span};
use crate::window::{grade, median_in_place, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Length of the window (s).
    pub window_s: f64,
    /// An interval further than this from the median is irregular (1).
    pub irregular: f64,
    /// Below this quality there is no variation (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { window_s: 30.0, irregular: 0.12, quality_floor: 0.5 }
    }
}

const WINDOW: Bound = Bound { name: "window_s", min: 20.0, max: 60.0, unit: "s" };
const IRREGULAR: Bound = Bound { name: "irregular", min: 0.03, max: 0.3, unit: "" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Most pulses kept: a minute at 240 a minute.
const MOST: usize = 240;
/// Fewest pulses of a window.
const LEAST: usize = 15;
/// One answer per this many seconds.
const HOP_S: i64 = 4;
/// Rate of the series of pulse pressures (Hz), and the most of its values.
const SERIES_HZ: f64 = 4.0;
const SERIES: usize = 240;
/// Fewer pulses than this to a breath do not sample it (De Backer).
const PULSES_PER_BREATH: f64 = 3.6;
/// Fewest breaths, and most.
const BREATHS: (usize, usize) = (3, 24);
/// A larger variation is no breathing (%).
const MOST_PERCENT: f64 = 60.0;
/// A respiration rate counts for this long.
const RATE_HELD: Span = Span::seconds_const(8);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pulse {
    time: EventTime,
    pressure: f32,
    good: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    channel: Option<ChannelId>,
    since: EventTime,
    pulses: VecDeque<Pulse>,
    breaths: Option<(EventTime, f64)>,
}

impl State {
    fn take(&mut self, epoch: &Epoch<'_>, out: &Readings, params: &Params) {
        let speaks = out.find("abp_sys").and_then(|r| r.channel);
        let broken = speaks.is_some_and(|c| epoch.runs_of(c).any(|r| r.reset));
        if speaks != self.channel || broken {
            let since = epoch.start;
            *self = Self { channel: speaks, since, breaths: self.breaths, ..Self::default() };
        }
        if let Some(rate) = out.find("resp_rate").filter(|r| r.time == epoch.end()) {
            self.breaths = rate.value.ok().map(|v| (rate.time, v)).or(self.breaths);
        }
        let own = |b: &&crate::signal::Beat| b.kind == BeatKind::Pulse && Some(b.channel) == self.channel;
        for b in out.beats.iter().filter(own) {
            if b.time >= self.since && self.pulses.back().is_none_or(|last| b.time > last.time) {
                let pressure = tame(b.amplitude, 0.0, 500.0);
                self.pulses.push_back(Pulse { time: b.time, pressure, good: b.confidence >= 0.5 });
            }
        }
        let oldest = epoch.end() - Span::from_seconds(params.window_s);
        while self.pulses.len() > MOST || self.pulses.front().is_some_and(|p| p.time <= oldest) {
            self.pulses.pop_front();
        }
    }

    /// Median interval (s) and the share of intervals near it.
    fn rhythm(&self, irregular: f32) -> (f32, f32) {
        let mut spans = [0.0_f32; MOST];
        let n = self.pulses.len().saturating_sub(1).min(MOST);
        for (span, (a, b)) in spans.iter_mut().zip(self.pulses.iter().zip(self.pulses.iter().skip(1))) {
            *span = (b.time - a.time).seconds() as f32;
        }
        let middle = median_in_place(&mut spans[..n]).unwrap_or(0.0);
        let near = spans[..n].iter().filter(|s| (**s - middle).abs() <= irregular * middle).count();
        (middle, near as f32 / n.max(1) as f32)
    }

    /// Breaths per minute as the pulse pressures themselves tell them, and how far to believe it.
    fn own_breaths(&self) -> Option<(f64, f32)> {
        let mut series = [0.0_f32; SERIES];
        let mut count = 0;
        let first = self.pulses.front()?.time;
        for (a, b) in self.pulses.iter().zip(self.pulses.iter().skip(1)) {
            let span = (b.time - a.time).seconds().max(1e-6);
            while count < SERIES {
                let at = count as f64 / SERIES_HZ - (a.time - first).seconds();
                if at > span {
                    break;
                }
                series[count] = a.pressure + (b.pressure - a.pressure) * (at / span) as f32;
                count += 1;
            }
        }
        breaths_per_minute(&series[..count], SERIES_HZ)
    }

    /// Variation of each whole breath of `breath_s` seconds, counted back from the newest pulse, and their median.
    fn variation(&self, breath_s: f64) -> Option<f64> {
        let newest = self.pulses.back()?.time;
        let mut extremes = [(f32::MAX, 0.0_f32, 0_u32); BREATHS.1];
        for p in &self.pulses {
            let at = ((newest - p.time).seconds() / breath_s) as usize;
            if let Some((low, high, count)) = extremes.get_mut(at) {
                (*low, *high, *count) = (low.min(p.pressure), high.max(p.pressure), *count + 1);
            }
        }
        let oldest = self.pulses.front()?.time;
        let whole = ((newest - oldest).seconds() / breath_s) as usize;
        let mut each = [0.0_f32; BREATHS.1];
        let mut count = 0;
        for (low, high, _) in extremes.iter().take(whole).filter(|e| e.2 >= 3 && e.0 > 0.0) {
            each[count] = 200.0 * (high - low) / (high + low);
            count += 1;
        }
        (count >= BREATHS.0).then(|| median_in_place(&mut each[..count]).map(f64::from))?
    }

    fn answer(&self, now: EventTime, params: &Params) -> Graded {
        if self.channel.is_none() {
            return Graded::missing(Missing::NoData);
        }
        if self.pulses.len() < LEAST || now - self.since < Span::from_seconds(params.window_s) {
            let young = now - self.since < Span::from_seconds(params.window_s);
            return Graded::missing(if young { Missing::Learning } else { Missing::TooFew });
        }
        let good = self.pulses.iter().filter(|p| p.good).count() as f32 / self.pulses.len() as f32;
        let (interval_s, regular) = self.rhythm(params.irregular as f32);
        let trust = (1.0 - grade(good, 0.85, 1.0)) * (1.0 - grade(regular, 0.85, 1.0));
        let own = self.own_breaths().filter(|b| b.1 >= 0.4);
        let told = self.breaths.filter(|b| now - b.0 <= RATE_HELD).map(|b| (b.1, 0.6));
        let Some((rate, sure)) = own.or(told) else { return Graded::missing(Missing::LowQuality) };
        let breath_s = 60.0 / rate.max(1.0);
        if breath_s < PULSES_PER_BREATH * f64::from(interval_s) {
            return Graded::missing(Missing::LowQuality);
        }
        match self.variation(breath_s) {
            None => Graded::missing(Missing::TooFew),
            Some(v) if v > MOST_PERCENT => Graded::missing(Missing::Implausible),
            Some(v) => Graded::of(v, trust * (0.4 + 0.6 * sure), params.quality_floor),
        }
    }
}

struct PulsePressureVariation {
    params: Params,
    state: State,
}

impl Operator for PulsePressureVariation {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.state.take(epoch, out, &self.params);
        let due = epoch.end().micros().div_euclid(US_PER_S).rem_euclid(HOP_S) == 0;
        if due && self.state.channel.is_some() {
            let (window, channel) = (Span::from_seconds(self.params.window_s), self.state.channel);
            let answer = self.state.answer(epoch.end(), &self.params);
            out.push(answer.reading("pulse_pressure_variation", channel, epoch.end(), window));
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
    name: "pulse_pressure_variation",
    summary: "How much breathing moves the arterial pulse pressure",
    description: "Of each whole breath in the window, counted back from the newest pulse, the largest less the \
        smallest pulse pressure over their mean; the median over at least three breaths. The length of a breath \
        comes from the pulse pressures themselves where they repeat well, else from resp_rate. Nothing is said where \
        more than a seventh of the intervals lie further than 12 % from their median or as many pulses are poor, \
        where a breath has fewer than 3.6 pulses, and above 60 %. It foretells the response to fluid only under \
        controlled ventilation with at least 8 ml/kg, a closed chest and a sinus rhythm: whether that is so is not \
        known here. Differs from Aboy in the median over breaths in place of kernel-smoothed envelopes.",
    reads: &[],
    writes: &[Output {
        name: "pulse_pressure_variation",
        unit: "%",
        summary: "Pulse pressure variation over the last breaths",
        feeds: "",
    }],
    needs: &["abp_beats"],
    latency: Span::seconds_const(4),
    by_default: false,
    sources: &[
        "Michard F et al. Am J Respir Crit Care Med 2000;162:134-138. doi:10.1164/ajrccm.162.1.9903035 (definition)",
        "Aboy M, McNames J, Thong T, Phillips CR, Ellenby MS, Goldstein B. A novel algorithm to estimate the pulse \
         pressure variation index. IEEE Trans Biomed Eng 2004;51:2198-2203. doi:10.1109/TBME.2004.834295",
        "De Backer D et al. Influence of respiratory rate on stroke volume variation in mechanically ventilated \
         patients. Anesthesiology 2009;110:1092-1097 (at least 3.6 pulses to a breath)",
    ],
    bounds: &[WINDOW, IRREGULAR, QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        WINDOW.check(params.window_s)?;
        IRREGULAR.check(params.irregular)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(PulsePressureVariation { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Beat, Reading, Values};

    /// The last answer after a minute of pulses, `breath_s` to a breath, that vary by `percent`.
    fn last(percent: f64, breath_s: f64, jitter: f64) -> Graded {
        let channel = ChannelId::named("abp").unwrap();
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (values, mut out) = (Values::default(), Readings::default());
        let (mut t, mut k, mut answer) = (0.1, 0_i64, Graded::missing(Missing::NoData));
        for s in 0..60 {
            let start = EventTime::from_seconds(s);
            out.clear();
            let (time, window) = (start + Span::EPOCH, Span::EPOCH);
            out.push(Reading {
                name: "abp_sys",
                channel: Some(channel),
                time,
                window,
                value: Ok(120.0),
                quality: 1.0,
            });
            while t < s as f64 + 1.0 {
                let turn = libm::sin(t / breath_s * std::f64::consts::TAU);
                let amplitude = (40.0 * (1.0 + percent / 200.0 * turn)) as f32;
                let time = EventTime::from_micros((t * 1e6) as i64);
                out.beats.push(Beat { kind: BeatKind::Pulse, channel, time, amplitude, confidence: 0.9 });
                k += 1;
                t += 0.7 * (1.0 + jitter * ((k * 7919 % 101) as f64 / 50.0 - 1.0));
            }
            operator.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
            if let Some(r) = out.find("pulse_pressure_variation") {
                answer = Graded { value: r.value, quality: r.quality };
            }
        }
        answer
    }

    #[test]
    fn variation_is_that_of_the_pulses() {
        for percent in [8.0, 15.0, 25.0] {
            for breath_s in [3.3, 4.3, 6.1] {
                let found = last(percent, breath_s, 0.0).value.unwrap();
                assert!((found - percent).abs() < 0.12 * percent, "{percent} {breath_s}: {found}");
            }
        }
    }

    #[test]
    fn an_irregular_rhythm_and_too_few_pulses_to_a_breath_are_absent() {
        assert_eq!(last(15.0, 4.0, 0.35).value, Err(Missing::LowQuality));
        assert_eq!(last(15.0, 2.2, 0.0).value, Err(Missing::LowQuality));
        assert_eq!(last(90.0, 4.0, 0.0).value, Err(Missing::Implausible));
    }
}
