//! Whether a patient may have fallen: weightlessness, a blow, and then stillness. In: acceleration along three axes, in
//! g. Out: a code, 1 for a minute after what looks like a fall.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Moved, Second, quality, second};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::{Bound, ParamError};
use crate::signal::{Epoch, EventTime, Hertz, Kind, Missing, Reading, Readings, Span};

/// Parameters of `fall_suspicion`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Below this length of the acceleration a body falls (g).
    pub free_fall_g: f64,
    /// From this length on it is struck (g).
    pub impact_g: f64,
    /// Shortest fall (s).
    pub fall_s: f64,
    /// Time that must be still, from two seconds after the blow (s).
    pub still_s: u32,
    /// Greatest mean deviation of the length of the acceleration in a second that is still (g).
    pub still_g: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { free_fall_g: 0.6, impact_g: 2.5, fall_s: 0.08, still_s: 8, still_g: 0.08 }
    }
}

const FREE_FALL: Bound = Bound { name: "free_fall_g", min: 0.1, max: 0.9, unit: "g" };
const IMPACT: Bound = Bound { name: "impact_g", min: 1.5, max: 8.0, unit: "g" };
const FALL: Bound = Bound { name: "fall_s", min: 0.02, max: 0.5, unit: "s" };
const STILL: Bound = Bound { name: "still_s", min: 2.0, max: 60.0, unit: "s" };
const STILL_G: Bound = Bound { name: "still_g", min: 0.01, max: 0.5, unit: "g" };

/// A blow comes at most so long after the fall (s).
const BLOW_AFTER_S: f64 = 1.0;
/// Seconds after that of the blow that may still roll and rattle.
const SETTLE_S: u32 = 2;
/// Share of the seconds after that which must be still.
const STILL_SHARE: f32 = 0.8;
/// How long a suspicion is told.
const TOLD: Span = Span::seconds_const(60);
/// Slower sampling misses falls and blows.
const RATE_MIN: f64 = 20.0;
/// Quality of a suspicion, whatever the signal is like after the blow: it was never measured on annotated falls.
const SUSPICION: f32 = 0.5;
/// Least quality of the axes to say that nothing happened.
const QUALITY_MIN: f32 = 0.3;

/// Seconds since a blow after a fall.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Blow {
    seconds: u32,
    still: u32,
}

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    rate: Option<Hertz>,
    /// Samples in weightlessness up to now, and samples since one that was long enough.
    light: u32,
    since_fall: Option<u32>,
    blow: Option<Blow>,
    /// The last suspicion.
    suspected: Option<EventTime>,
}

struct FallSuspicion {
    params: Params,
    state: State,
}

impl FallSuspicion {
    /// Takes in a second; says whether a fall is now suspected.
    fn push(&mut self, moved: &Moved<'_>) -> bool {
        let (p, s) = (&self.params, &mut self.state);
        if moved.reset || s.rate != Some(moved.rate) {
            (s.rate, s.light, s.since_fall, s.blow) = (Some(moved.rate), 0, None, None);
        }
        let rate = moved.rate.get();
        let long = (p.fall_s * rate).ceil().max(1.0) as u32;
        let soon = (BLOW_AFTER_S * rate).ceil() as u32;
        let mut struck = false;
        for a in moved.lengths().map(f64::from) {
            s.light = if a < p.free_fall_g { s.light.saturating_add(1) } else { 0 };
            s.since_fall = match s.since_fall {
                _ if s.light >= long => Some(0),
                Some(since) if since < soon => Some(since + 1),
                _ => None,
            };
            if a >= p.impact_g && s.since_fall.is_some() {
                (struck, s.since_fall) = (true, None);
            }
        }
        if struck {
            s.blow = Some(Blow { seconds: 0, still: 0 });
            return false;
        }
        let still = deviation(moved) <= p.still_g;
        let Some(blow) = &mut s.blow else { return false };
        blow.seconds = blow.seconds.saturating_add(1);
        if blow.seconds > SETTLE_S {
            blow.still += u32::from(still);
        }
        if blow.seconds < SETTLE_S + p.still_s {
            return false;
        }
        let suspected = blow.still as f32 >= STILL_SHARE * p.still_s as f32;
        s.blow = None;
        suspected
    }
}

/// Mean deviation of the length from its mean, in g.
fn deviation(moved: &Moved<'_>) -> f64 {
    let n = moved.lengths().count().max(1) as f64;
    let mean = moved.lengths().map(f64::from).sum::<f64>() / n;
    moved.lengths().map(|a| (f64::from(a) - mean).abs()).sum::<f64>() / n
}

impl Operator for FallSuspicion {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let time = epoch.end();
        let quality = quality(out);
        let heard = match second(epoch) {
            Second::Whole(moved) if moved.rate.get() < RATE_MIN => Err(Missing::TooFew),
            Second::Whole(moved) => {
                if self.push(&moved) {
                    self.state.suspected = Some(time);
                }
                if quality < QUALITY_MIN { Err(Missing::LowQuality) } else { Ok(()) }
            }
            Second::Broken | Second::Absent => {
                let s = &mut self.state;
                (s.light, s.since_fall) = (0, None);
                // A blow that tears the sensor off, or its wire, is not forgotten, nor is it stillness.
                s.blow.iter_mut().for_each(|b| b.seconds = b.seconds.saturating_add(1));
                s.blow = s.blow.filter(|b| b.seconds < SETTLE_S + self.params.still_s);
                if s.rate.is_none() {
                    return;
                }
                Err(Missing::Stale)
            }
        };
        let told = self.state.suspected.is_some_and(|at| time - at < TOLD);
        // What was seen stays said, whatever the signal is like now; that nothing was seen needs a signal.
        let value = if told { Ok(1.0) } else { heard.map(|()| 0.0) };
        let quality = match value {
            Ok(_) if told => SUSPICION,
            Ok(_) => quality,
            Err(_) => 0.0,
        };
        out.push(Reading { name: "fall_suspicion", channel: None, time, window: TOLD, value, quality });
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.state = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

fn build(value: &serde_json::Value) -> Result<Box<dyn Operator>, ParamError> {
    let params: Params = params(value)?;
    FREE_FALL.check(params.free_fall_g)?;
    IMPACT.check(params.impact_g)?;
    FALL.check(params.fall_s)?;
    STILL.check(f64::from(params.still_s))?;
    STILL_G.check(params.still_g)?;
    Ok(Box::new(FallSuspicion { params, state: State::default() }))
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "fall_suspicion",
    summary: "Whether a patient may have fallen in the last minute",
    description: "Three things in turn: the length of the acceleration stays below free_fall_g for fall_s; within a \
        second it reaches impact_g; and from two seconds later on, four fifths of still_s seconds are still. The \
        suspicion is thus told some ten seconds after the blow, for a minute, also if the sensor is then lost. It is \
        a suspicion: a dropped or thrown sensor looks the same, and a fall that slides, is caught, or after which the \
        patient moves, is not seen. Sensors that end at 2 g cannot show the blow, nor can rates below 50 Hz be \
        trusted to. Thresholds are looser than those of Bourke for young volunteers on the trunk (0.41 g and 3.5 g), \
        as old people fall more softly; no annotated falls were at hand to measure either, and a suspicion has a \
        quality of one half.",
    reads: &[Kind::Motion],
    writes: &[Output {
        name: "fall_suspicion",
        unit: "{code}",
        summary: "1 for a minute after what looks like a fall, else 0",
        feeds: "",
    }],
    needs: &["signal_quality"],
    latency: Span::seconds_const(62),
    by_default: false,
    sources: &[
        "Bourke AK, O'Brien JV, Lyons GM. Gait Posture 2007;26:194-199. doi:10.1016/j.gaitpost.2006.09.012 \
         (thresholds)",
        "Kangas M et al. Gait Posture 2008;28:285-291. doi:10.1016/j.gaitpost.2008.01.003 (fall, blow, posture after)",
    ],
    bounds: &[FREE_FALL, IMPACT, FALL, STILL, STILL_G],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build,
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::super::bench;
    use super::*;

    /// Seconds in which a fall was suspected, of two minutes at 50 Hz.
    fn suspected(quality: f64, wave: impl Fn(f64) -> f32 + Copy) -> Vec<i64> {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let said = |s| bench::second(op.as_mut(), s, 50, quality, |t| [0.0, 0.0, wave(t)]);
        let all: Vec<_> = (0..120).map(said).collect();
        let yes = |out: &Readings| out.find("fall_suspicion").unwrap().value == Ok(1.0);
        (0..120).filter(|s| yes(&all[*s as usize])).collect()
    }

    /// A fall of 0.3 s from `light` g on, a blow of `blow` g, and `after` that.
    fn fall(t: f64, light: f32, blow: f32, after: impl Fn(f64) -> f32) -> f32 {
        match t {
            _ if t < 20.0 => 1.0 + 0.2 * libm::sin(12.0 * t) as f32,
            _ if t < 20.3 => light,
            _ if t < 20.36 => blow,
            _ => after(t),
        }
    }

    #[test]
    fn a_fall_with_a_blow_and_stillness_is_suspected_for_a_minute() {
        let all = suspected(1.0, |t| fall(t, 0.2, 3.5, |_| 1.0));
        assert_eq!((all.first(), all.len()), (Some(&30), 60));
        // The sensor is judged to be poor in the end: what was seen is still said.
        assert_eq!(suspected(0.1, |t| fall(t, 0.2, 3.5, |_| 1.0)).len(), 60);
    }

    #[test]
    fn without_fall_blow_or_stillness_there_is_no_suspicion() {
        let still = |_: f64| 1.0;
        assert!(suspected(1.0, |t| fall(t, 0.9, 3.5, still)).is_empty());
        assert!(suspected(1.0, |t| fall(t, 0.2, 1.8, still)).is_empty());
        let walks = |t: f64| 1.0 + 0.3 * libm::sin(12.0 * t) as f32;
        assert!(suspected(1.0, |t| fall(t, 0.2, 3.5, walks)).is_empty());
        // A minute of stillness, and the first blow comes too late after the fall.
        assert!(
            suspected(1.0, |t| if t > 22.0 && t < 22.1 { 4.0 } else { fall(t, 0.2, 1.0, still) }).is_empty()
        );
    }

    #[test]
    fn poor_signal_does_not_deny_a_fall() {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let out = bench::second(op.as_mut(), 0, 50, 0.1, |_| [0.0, 0.0, 1.0]);
        assert_eq!(out.find("fall_suspicion").unwrap().value, Err(Missing::LowQuality));
        let out = bench::second(op.as_mut(), 1, 10, 1.0, |_| [0.0, 0.0, 1.0]);
        assert_eq!(out.find("fall_suspicion").unwrap().value, Err(Missing::TooFew));
    }
}
