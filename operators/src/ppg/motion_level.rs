//! Motion: how much the body moves, by the acceleration beyond gravity.
//! In: acceleration of up to three axes in g. Out: its root mean square over the second in g, and whether waves that
//! movement spoils must be doubted.

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{Epoch, Graded, Kind, Missing, Readings, Span};
use crate::window::tame;

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// From here on the body moves (g).
    pub moving_g: f64,
    /// Movement is doubted for this long after (s).
    pub hold_s: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { moving_g: 0.06, hold_s: 3.0 }
    }
}

const MOVING: Bound = Bound { name: "moving_g", min: 0.005, max: 2.0, unit: "g" };
const HOLD: Bound = Bound { name: "hold_s", min: 0.0, max: 30.0, unit: "s" };

/// Most axes, and runs of one second.
const AXES: usize = 3;
/// Gravity and slow turns of the body are followed with this time constant (s).
const GRAVITY_S: f32 = 1.0;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// Gravity along each axis of the table (g), once it is known.
    gravity: [Option<f32>; AXES],
    /// Seconds since the last movement, few are enough; `None` before the first sample.
    still_s: Option<u16>,
}

struct MotionLevel {
    params: Params,
    state: State,
}

impl MotionLevel {
    /// Root mean square of all axes beyond gravity, of the second.
    fn level(&mut self, epoch: &Epoch<'_>) -> Option<f64> {
        let mut power = None;
        let axes = epoch.runs.iter().filter(|r| r.channel.row().kind == Kind::Motion && !r.raw.is_empty());
        let mut sums = [(0.0_f64, 0_u32); AXES];
        let first = axes.clone().map(|r| r.channel.index()).min()?;
        for run in axes {
            let Some(axis) = run.channel.index().checked_sub(first).filter(|a| *a < AXES) else { continue };
            let share = (1.0 / (run.rate.get() as f32 * GRAVITY_S)).min(0.5);
            let start = tame(run.raw[0], -100.0, 100.0);
            let mut gravity = self.state.gravity[axis].filter(|_| !run.reset).unwrap_or(start);
            for x in run.raw {
                let beyond = tame(*x, -100.0, 100.0) - gravity;
                gravity += share * beyond;
                sums[axis].0 += f64::from(beyond) * f64::from(beyond);
                sums[axis].1 += 1;
            }
            self.state.gravity[axis] = Some(gravity);
        }
        for (sum, count) in sums.iter().filter(|s| s.1 > 0) {
            power = Some(power.unwrap_or(0.0) + sum / f64::from(*count));
        }
        power.map(f64::sqrt)
    }
}

impl Operator for MotionLevel {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let level = self.level(epoch);
        let end = epoch.end();
        let Some(level) = level else {
            if self.state.still_s.is_some() {
                for name in ["motion_level", "moving"] {
                    out.push(Graded::missing(Missing::NoData).reading(name, None, end, Span::EPOCH));
                }
            }
            return;
        };
        // Until something moves, nothing has to be doubted.
        let still_s =
            if level >= self.params.moving_g { 0 } else { self.state.still_s.unwrap_or(u16::MAX - 1) };
        let moving = f64::from(u8::from(f64::from(still_s) <= self.params.hold_s));
        self.state.still_s = Some(still_s.saturating_add(1));
        out.push(Graded::of(level, 1.0, 0.0).reading("motion_level", None, end, Span::EPOCH));
        let window = Span::from_seconds(self.params.hold_s + 1.0);
        out.push(Graded::of(moving, 1.0, 0.0).reading("moving", None, end, window));
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.state = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// Whether the body moved when pulses that settle now were drawn; without acceleration nothing is known to move.
///
/// ```
/// use auscult_operators::{ppg::motion_level::moving, signal::Readings};
/// assert!(!moving(&Readings::default()));
/// ```
pub fn moving(out: &Readings) -> bool {
    out.find("moving").and_then(|r| r.value.ok()).is_some_and(|v| v > 0.5)
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "motion_level",
    summary: "How much the body moves, and whether pulses must be doubted for it",
    description: "The acceleration beyond gravity, which is followed with a time constant of one second, over all \
        axes. moving is 1 from 0.06 g on and for three seconds after, as long as a pulse needs to settle. Where the \
        sensor sits on another limb than the pulse sensor, movement of that limb is not seen. The threshold \
        separates rest from walking and gestures at the wrist; it was not set on labelled recordings.",
    reads: &[Kind::Motion],
    writes: &[
        Output {
            name: "motion_level",
            unit: "[g]",
            summary: "Root mean square of the acceleration beyond gravity, of the second",
            feeds: "",
        },
        Output {
            name: "moving",
            unit: "{code}",
            summary: "1 while the body moves or has just moved, else 0",
            feeds: "",
        },
    ],
    needs: &[],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "van Hees VT et al. Separating movement and gravity components in an acceleration signal and implications \
         for the assessment of human daily physical activity. PLoS One 2013;8:e61691. \
         doi:10.1371/journal.pone.0061691",
    ],
    bounds: &[MOVING, HOLD],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        MOVING.check(params.moving_g)?;
        HOLD.check(params.hold_s)?;
        Ok(Box::new(MotionLevel { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{ChannelId, EventTime, Hertz, Run, Values};

    /// Level and doubt of the last of `seconds` seconds; x shakes with `shake` g where `when` says so, z holds gravity.
    fn last(seconds: i64, shake: f64, when: impl Fn(i64) -> bool) -> (f64, f64) {
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (values, mut out) = (Values::default(), Readings::default());
        for s in 0..seconds {
            let start = EventTime::from_seconds(s);
            let height = if when(s) { shake } else { 0.0 };
            let turn = |i: i32| libm::sin(f64::from(i) / 32.0 * 3.0 * std::f64::consts::TAU);
            let x: Vec<f32> = (0..32).map(|i| (height * turn(i)) as f32).collect();
            let z = [1.0_f32; 32];
            let run = |name, raw| Run {
                channel: ChannelId::of(name),
                rate: Hertz(32.0),
                start,
                reset: s == 0,
                raw,
                clean: raw,
                bridged: 0,
            };
            out.clear();
            let runs = [run("acc_x", &x), run("acc_z", &z)];
            operator.apply(&Epoch { start, runs: &runs, values: &values }, &mut out);
        }
        let of = |name: &str| out.find(name).unwrap().value.unwrap();
        (of("motion_level"), of("moving"))
    }

    #[test]
    fn rest_movement_and_the_time_after() {
        assert_eq!(last(20, 0.5, |_| false), (0.0, 0.0));
        let (level, moving) = last(20, 0.5, |_| true);
        assert!((level - 0.353).abs() < 0.02 && moving == 1.0, "{level}");
        assert_eq!(last(20, 0.5, |s| s < 17).1, 1.0);
        assert_eq!(last(20, 0.5, |s| s < 16).1, 0.0);
        assert_eq!(last(20, 0.03, |_| true).1, 0.0);
    }
}
