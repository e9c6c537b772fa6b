//! Upstroke of the arterial pulse: the largest rise of pressure per second, beat by beat.
//! In: raw arterial pressure in mmHg, pulses of `abp_beats`. Out: dP/dt in mmHg/s, median of the last beats.

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Graded, Kind, Missing, Readings, Span};
use crate::window::steepest::{Rise, Steepest};
use crate::window::{grade, median_in_place};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Beats whose median is told.
    pub beats: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { beats: 5.0 }
    }
}

const BEATS: Bound = Bound { name: "beats", min: 3.0, max: 16.0, unit: "beats" };

/// A pulse is told at the foot of the next one, and counts for ten seconds.
const REACH_S: f64 = 5.0;
const WINDOW: Span = Span::seconds_const(10);
/// The upstroke lies this long before the systolic peak.
const BEFORE: Span = Span::from_micros(350_000);
/// Slower waves flatten the upstroke (Hz).
const RATE_MIN: f64 = 60.0;
/// Steeper rises are no heart's (mmHg/s).
const MOST: f32 = 5_000.0;

/// What is known of one line.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    channel: ChannelId,
    rises: Steepest,
    slow: bool,
    upstrokes: Vec<Rise>,
}

struct AbpUpstroke {
    params: Params,
    line: Option<Line>,
}

impl AbpUpstroke {
    fn take(&mut self, epoch: &Epoch<'_>, out: &Readings) {
        let Some(channel) = out.find("abp_sys").and_then(|r| r.channel) else { return };
        for run in
            epoch.runs_of(channel).filter(|r| r.rate.get() > 0.0 && r.channel.row().kind == Kind::Pressure)
        {
            let rate = run.rate.get();
            let goes_on = |l: &Line| l.channel == channel && !run.reset && l.rises.fits(rate);
            if !self.line.as_ref().is_some_and(goes_on) {
                let rises = Steepest::new(rate, REACH_S);
                self.line = Some(Line { channel, rises, slow: rate < RATE_MIN, upstrokes: vec![] });
            }
            if let Some(line) = &mut self.line {
                line.rises.take(run);
            }
        }
        let Some(line) = &mut self.line else { return };
        let own = |b: &&crate::signal::Beat| b.kind == BeatKind::Pulse && b.channel == line.channel;
        for b in out.beats.iter().filter(own).filter(|b| b.confidence >= 0.5) {
            let Some(rise) = line.rises.within(b.time - BEFORE, b.time) else { continue };
            if rise.slope <= 0.0
                || rise.slope > MOST
                || line.upstrokes.last().is_some_and(|u| rise.time <= u.time)
            {
                continue;
            }
            if line.upstrokes.len() >= BEATS.max as usize {
                line.upstrokes.remove(0);
            }
            line.upstrokes.push(rise);
        }
    }

    fn answer(&self, now: EventTime, quality: f32) -> Graded {
        let Some(line) = &self.line else { return Graded::missing(Missing::NoData) };
        if line.slow {
            return Graded::missing(Missing::LowQuality);
        }
        let mut slopes = [0.0_f32; BEATS.max as usize];
        let most = self.params.beats.round() as usize;
        let mut count = 0;
        for (to, u) in slopes.iter_mut().zip(line.upstrokes.iter().rev().take(most)) {
            if now - u.time < WINDOW {
                *to = u.slope;
                count += 1;
            }
        }
        if count < 3 {
            return Graded::missing(Missing::TooFew);
        }
        let Some(middle) = median_in_place(&mut slopes[..count]) else {
            return Graded::missing(Missing::TooFew);
        };
        slopes[..count].iter_mut().for_each(|s| *s = (*s - middle).abs() / middle);
        let spread = median_in_place(&mut slopes[..count]).unwrap_or(1.0);
        Graded::of(f64::from(middle), quality * grade(spread, 0.15, 0.6), 0.3)
    }
}

impl Operator for AbpUpstroke {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.take(epoch, out);
        let Some(channel) = self.line.as_ref().map(|l| l.channel) else { return };
        let pressure = out.find("abp_sys").filter(|r| r.channel == Some(channel));
        let answer = match pressure.map(|r| (r.value, r.quality)) {
            Some((Ok(_), quality)) => self.answer(epoch.end(), quality),
            Some((Err(why), _)) => Graded::missing(why),
            None => Graded::missing(Missing::NoData),
        };
        out.push(answer.reading("abp_dpdt_max", Some(channel), epoch.end(), WINDOW));
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
    name: "abp_upstroke",
    summary: "The largest rise of arterial pressure per second, by the median of the last beats",
    description: "The steepest rise over 16 ms within 0.35 s before the systolic peak of each good pulse of \
        abp_beats; the median of the last five within ten seconds. Its quality is that of the pressures, less where \
        the beats differ. Waves below 60 Hz flatten the upstroke and give none. It is the slope in the artery, not \
        in the ventricle: it follows contractility, afterload and the line itself; abp_line says when the line is \
        damped.",
    reads: &[Kind::Pressure],
    writes: &[Output {
        name: "abp_dpdt_max",
        unit: "mm[Hg]/s",
        summary: "Largest rise of arterial pressure per second, median of the last beats",
        feeds: "",
    }],
    needs: &["abp_beats"],
    latency: Span::seconds_const(4),
    by_default: false,
    sources: &[
        "Monge Garcia MI et al. Performance comparison of ventricular and arterial dP/dtmax for assessing left \
         ventricular systolic function during different experimental loading and contractile conditions. Crit Care \
         2018;22:325. doi:10.1186/s13054-018-2260-1",
    ],
    bounds: &[BEATS],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        BEATS.check(params.beats)?;
        Ok(Box::new(AbpUpstroke { params, line: None }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::pressure::simulated;

    #[test]
    fn the_slope_of_a_known_upstroke_at_any_rate() {
        // 45 mmHg in 0.1 s.
        for rate in [125.0, 250.0, 500.0] {
            let said = simulated::last(rate, 30, |t| simulated::pulse(t, 75.0, 45.0));
            let slope = said.value("abp_dpdt_max").unwrap();
            assert!((slope - 450.0).abs() < 25.0, "{rate}: {slope}");
        }
    }

    #[test]
    fn a_slow_wave_and_a_dead_line_give_none() {
        let slow = simulated::last(50.0, 30, |t| simulated::pulse(t, 75.0, 45.0));
        assert_eq!(slow.value("abp_dpdt_max"), Err(Missing::LowQuality));
        let dead =
            simulated::last(125.0, 40, |t| if t > 20.0 { 80.0 } else { simulated::pulse(t, 75.0, 45.0) });
        assert!(dead.value("abp_dpdt_max").is_err());
    }
}
