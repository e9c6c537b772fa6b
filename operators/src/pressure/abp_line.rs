//! State of the arterial line: trusted, flushed, without a pulse, damped, or ringing.
//! In: raw arterial pressure in mmHg, readings of `abp_beats`. Out: a code, and how much of the pulse lies in high
//! frequencies (1).

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{ChannelId, Epoch, Graded, Kind, Missing, Readings, Run, Span};
use crate::window::{Ring, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// A pressure from here on that stays is a flush (mmHg).
    pub flush_mmhg: f64,
    /// Roughness below which a line is damped, whatever it was before (1).
    pub damped: f64,
    /// Roughness from which a line rings (1).
    pub ringing: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { flush_mmhg: 220.0, damped: 0.028, ringing: 0.13 }
    }
}

const FLUSH: Bound = Bound { name: "flush_mmhg", min: 150.0, max: 350.0, unit: "mm[Hg]" };
const DAMPED: Bound = Bound { name: "damped", min: 0.005, max: 0.05, unit: "" };
const RINGING: Bound = Bound { name: "ringing", min: 0.08, max: 0.4, unit: "" };

/// A flush lasts at least this long (s), and its plateau spreads less than this (mmHg).
const FLUSH_S: f64 = 0.3;
const PLATEAU_MMHG: f32 = 20.0;
/// Less than this between the highest and the lowest pressure of two seconds is no pulse (mmHg).
const NO_PULSE_MMHG: f32 = 5.0;
/// Spacing of the second difference that weighs high frequencies: it is most sensitive to some 20 Hz (s).
const SPACING_S: f64 = 0.024;
/// Slower waves hold no such frequencies (Hz).
const RATE_MIN: f64 = 80.0;
/// Weight of a second in the running mean of the squares, and the seconds it needs.
const WEIGHT: f32 = 0.125;
const SETTLED: u32 = 8;
/// Weight of a second in what the line was like when it was trusted: some five minutes.
const USUAL_WEIGHT: f32 = 1.0 / 300.0;
/// Seconds of trust before the line is compared with itself.
const USUAL_S: u32 = 60;
/// Shares of the usual roughness and pulse pressure below which, at a like mean, a line has become damped.
const ROUGHNESS_SHARE: f32 = 0.7;
const PULSE_SHARE: f32 = 0.85;
const MEAN_SHARE: f32 = 0.12;

/// Codes of `abp_line_state`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Code {
    Trusted = 0,
    Flushed = 1,
    NoPulse = 2,
    Damped = 3,
    Ringing = 4,
}

/// What the line was like when it was trusted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Usual {
    seconds: u32,
    roughness: f32,
    pulse: f32,
    mean: f32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    channel: ChannelId,
    rate: f64,
    before: Ring,
    /// Running mean square of the second difference (mmHg squared).
    power: f32,
    seconds: u32,
    /// Pressures of the second before: lowest, highest.
    extremes: (f32, f32),
    plateau_s: f64,
    usual: Usual,
}

/// What one second of samples shows.
#[derive(Clone, Copy, Debug)]
struct Second {
    low: f32,
    high: f32,
    power: f64,
    count: u32,
    flushed: bool,
}

impl Line {
    fn new(channel: ChannelId, rate: f64) -> Self {
        let before = Ring::new(2 * (rate.clamp(1.0, 4_000.0) * SPACING_S).round().max(1.0) as usize);
        let (extremes, usual) = ((f32::MAX, f32::MIN), Usual::default());
        Self { channel, rate, before, power: 0.0, seconds: 0, extremes, plateau_s: 0.0, usual }
    }

    fn take(&mut self, run: &Run<'_>, flush: f32, so_far: &mut Second) {
        let (step_s, half) = (1.0 / run.rate.get(), self.before.capacity() / 2);
        for x in run.raw {
            let x = tame(*x, -1e4, 1e4);
            so_far.low = so_far.low.min(x);
            so_far.high = so_far.high.max(x);
            // A plateau above what the heart does.
            self.plateau_s = if x >= flush { self.plateau_s + step_s } else { 0.0 };
            so_far.flushed |= self.plateau_s >= FLUSH_S;
            let middle = self.before.recent(half - 1);
            if let (Some(first), Some(middle)) = (self.before.push(x), middle) {
                let bend = f64::from(x) - 2.0 * f64::from(middle) + f64::from(first);
                so_far.power += bend * bend;
                so_far.count += 1;
            }
        }
    }

    /// Root mean square of the second difference over the pulse pressure.
    fn roughness(&self, pulse: f32) -> Option<f32> {
        let known = self.seconds >= SETTLED && pulse > 0.0 && self.rate >= RATE_MIN;
        known.then(|| self.power.sqrt() / pulse)
    }

    fn judge(
        &mut self,
        second: Second,
        roughness: Option<f32>,
        pulse: f32,
        mean: f32,
        params: &Params,
    ) -> Code {
        let (low, high) = (second.low.min(self.extremes.0), second.high.max(self.extremes.1));
        self.extremes = (second.low, second.high);
        let at_rail = second.low >= params.flush_mmhg as f32 && second.high - second.low < PLATEAU_MMHG;
        if second.flushed || at_rail {
            return Code::Flushed;
        }
        if self.seconds >= 2 && high - low < NO_PULSE_MMHG {
            return Code::NoPulse;
        }
        let Some(roughness) = roughness else { return Code::Trusted };
        if f64::from(roughness) >= params.ringing {
            return Code::Ringing;
        }
        let usual = self.usual;
        let softer = usual.seconds >= USUAL_S
            && roughness < ROUGHNESS_SHARE * usual.roughness
            && pulse < PULSE_SHARE * usual.pulse
            && (mean - usual.mean).abs() < MEAN_SHARE * usual.mean;
        if f64::from(roughness) < params.damped || softer {
            return Code::Damped;
        }
        let weight = USUAL_WEIGHT.max(1.0 / (usual.seconds.saturating_add(1)) as f32);
        let toward = |old: f32, new: f32| old + weight * (new - old);
        self.usual = Usual {
            seconds: usual.seconds.saturating_add(1),
            roughness: toward(usual.roughness, roughness),
            pulse: toward(usual.pulse, pulse),
            mean: toward(usual.mean, mean),
        };
        Code::Trusted
    }
}

struct AbpLine {
    params: Params,
    line: Option<Line>,
}

impl Operator for AbpLine {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let Some(channel) = out.find("abp_sys").and_then(|r| r.channel) else { return };
        let of = |name: &str| out.find(name).and_then(|r| r.value.ok()).map(|v| v as f32);
        let (pulse, mean) = match (of("abp_sys"), of("abp_dia"), of("abp_mean")) {
            (Some(sys), Some(dia), Some(mean)) => (sys - dia, mean),
            _ => (0.0, 0.0),
        };
        let mut second = Second { low: f32::MAX, high: f32::MIN, power: 0.0, count: 0, flushed: false };
        for run in epoch.runs_of(channel).filter(|r| r.rate.get() > 0.0 && !r.raw.is_empty()) {
            let rate = run.rate.get();
            if run.reset || self.line.as_ref().is_none_or(|l| l.channel != channel || l.rate != rate) {
                // A gap in the transport does not change the catheter.
                let usual = self.line.as_ref().filter(|l| l.channel == channel).map(|l| l.usual);
                self.line = Some(Line { usual: usual.unwrap_or_default(), ..Line::new(channel, rate) });
            }
            if let Some(line) = &mut self.line {
                line.take(run, self.params.flush_mmhg as f32, &mut second);
            }
        }
        let Some(line) = self.line.as_mut().filter(|_| second.low <= second.high) else { return };
        if second.count > 0 {
            let weight = WEIGHT.max(1.0 / (line.seconds.saturating_add(1)) as f32);
            line.power += weight * ((second.power / f64::from(second.count)) as f32 - line.power);
        }
        line.seconds = line.seconds.saturating_add(1);
        let roughness = line.roughness(pulse);
        let code = line.judge(second, roughness, pulse, mean, &self.params);
        let unsure = code == Code::Trusted && roughness.is_none();
        let absent = Graded::missing(if line.seconds < 10 { Missing::Learning } else { Missing::LowQuality });
        let state = if unsure { absent } else { Graded::of(f64::from(code as u8), 0.9, 0.0) };
        let roughness = roughness.map_or(absent, |r| Graded::of(f64::from(r), 0.9, 0.0));
        let (end, window, channel) = (epoch.end(), Span::seconds_const(10), Some(channel));
        out.push(state.reading("abp_line_state", channel, end, window));
        out.push(roughness.reading("abp_roughness", channel, end, window));
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.line, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.line = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "abp_line",
    summary: "State of the arterial line: trusted, flushed, without a pulse, damped, ringing",
    description: "Flushed (1): 0.3 s or more above 220 mmHg. Without a pulse (2): less than 5 mmHg between the \
        highest and the lowest pressure of two seconds; a closed stopcock, a blood draw, a loose line and a heart \
        that does not beat look alike here. The roughness is the root mean square of the second difference over 24 \
        ms, relative to the pulse pressure: what the pulse holds near 20 Hz. Damped (3): below 0.028, or below 70 % \
        of what it was while the line was trusted with the pulse pressure below 85 % and the mean within 12 %, lost \
        high frequencies at a kept mean. Ringing (4): from 0.13 on, as of catheter whip. Else trusted (0). A damped \
        line reads low systolic pressure and a ringing one high; the mean stays right in both. A severe aortic \
        stenosis has a soft pulse of its own and may read as damped, a very vigorous heart as ringing. Without \
        pressures or at rates below 80 Hz only 1 and 2 are told. Thresholds come from simulated catheters of second \
        order (trusted ones 0.05 to 0.08, overdamped ones 0.025 to 0.033, ringing ones 0.12 to 0.2) and lie outside \
        most of some twenty recordings whose lines nobody judged.",
    reads: &[Kind::Pressure],
    writes: &[
        Output {
            name: "abp_line_state",
            unit: "{code}",
            summary: "0 trusted, 1 flushed, 2 without a pulse, 3 damped, 4 ringing",
            feeds: "",
        },
        Output {
            name: "abp_roughness",
            unit: "1",
            summary: "Share of the pulse pressure in high frequencies",
            feeds: "",
        },
    ],
    needs: &["abp_beats"],
    latency: Span::seconds_const(4),
    by_default: false,
    sources: &[
        "Gardner RM. Direct blood pressure measurement: dynamic response requirements. Anesthesiology \
         1981;54:227-236. doi:10.1097/00000542-198103000-00010",
        "Romagnoli S et al. Accuracy of invasive arterial pressure monitoring in cardiovascular patients: an \
         observational study. Crit Care 2014;18:644. doi:10.1186/s13054-014-0644-4",
    ],
    bounds: &[FLUSH, DAMPED, RINGING],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        FLUSH.check(params.flush_mmhg)?;
        DAMPED.check(params.damped)?;
        RINGING.check(params.ringing)?;
        Ok(Box::new(AbpLine { params, line: None }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::pressure::simulated::{Catheter, last_of, pulse};

    fn state(natural_hz: f64, damping: f64, wave: impl Fn(f64) -> f64) -> Result<f64, Missing> {
        let catheter = Catheter { natural_hz, damping };
        last_of(125.0, &catheter.sampled(125.0, 200, wave)).value("abp_line_state")
    }

    fn plain(t: f64) -> f64 {
        pulse(t, 75.0, 45.0)
    }

    #[test]
    fn catheters_are_told_apart() {
        assert_eq!(state(25.0, 0.6, plain), Ok(0.0), "a good catheter");
        assert_eq!(state(25.0, 0.6, |t| pulse(t, 35.0, 25.0)), Ok(0.0), "shock in a good catheter");
        assert_eq!(state(3.0, 2.0, plain), Ok(3.0), "damped from the start");
        assert_eq!(state(14.0, 0.03, plain), Ok(4.0), "ringing");
    }

    #[test]
    fn flush_and_lost_pulse_are_told() {
        let cut = |from: f64, level: f64| move |t: f64| if t > from { level } else { plain(t) };
        assert_eq!(state(25.0, 0.6, cut(199.3, 300.0)), Ok(1.0));
        assert_eq!(state(25.0, 0.6, cut(190.0, 92.0)), Ok(2.0));
    }

    #[test]
    fn a_line_that_becomes_damped_is_told_and_a_falling_pressure_is_not() {
        let before = Catheter { natural_hz: 25.0, damping: 0.6 }.sampled(125.0, 150, plain);
        let after = Catheter { natural_hz: 5.0, damping: 1.3 }.sampled(125.0, 40, plain);
        let said = last_of(125.0, &[before.as_slice(), after.as_slice()].concat());
        assert_eq!(said.value("abp_line_state"), Ok(3.0));
        let fallen = |t: f64| if t < 150.0 { plain(t) } else { pulse(t, 50.0, 25.0) };
        assert_eq!(state(25.0, 0.6, fallen), Ok(0.0));
    }
}
