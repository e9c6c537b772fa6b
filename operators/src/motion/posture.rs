//! In which position a patient rests: upright, on the back, the belly or a side. In: acceleration along three axes of a
//! sensor on the trunk, in g. Out: a code of [`POSTURES`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Moved, Second, quality, second};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::{Bound, ParamError};
use crate::signal::time::US_PER_S;
use crate::signal::{Epoch, Kind, Missing, Reading, Readings, Span};

/// Codes of `posture`: the first five are those of the axis that points up, the last lies between.
pub const POSTURES: [&str; 7] = ["upright", "supine", "prone", "left", "right", "head_down", "between"];

/// An axis of the sensor, or its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Along `acc_x`.
    X,
    /// Along `acc_y`.
    Y,
    /// Along `acc_z`.
    Z,
    /// Against `acc_x`.
    MinusX,
    /// Against `acc_y`.
    MinusY,
    /// Against `acc_z`.
    MinusZ,
}

impl Axis {
    fn vector(self) -> [f64; 3] {
        match self {
            Axis::X => [1.0, 0.0, 0.0],
            Axis::Y => [0.0, 1.0, 0.0],
            Axis::Z => [0.0, 0.0, 1.0],
            Axis::MinusX => [-1.0, 0.0, 0.0],
            Axis::MinusY => [0.0, -1.0, 0.0],
            Axis::MinusZ => [0.0, 0.0, -1.0],
        }
    }
}

/// Parameters of `posture`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Time between two readings, counted from midnight of 1 January 1970 (s).
    pub hop_s: u32,
    /// Axis of the sensor that points to the patient's head.
    pub head: Axis,
    /// Axis of the sensor that points away from the patient's chest.
    pub front: Axis,
    /// Greatest angle between an axis of the body and the vertical that still counts as one (deg).
    pub cone_deg: f64,
    /// Greatest mean deviation of the length of the acceleration at rest (g).
    pub rest_g: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { hop_s: 10, head: Axis::Y, front: Axis::Z, cone_deg: 45.0, rest_g: 0.1 }
    }
}

const HOP: Bound = Bound { name: "hop_s", min: 1.0, max: 300.0, unit: "s" };
const CONE: Bound = Bound { name: "cone_deg", min: 20.0, max: 54.0, unit: "deg" };
const REST: Bound = Bound { name: "rest_g", min: 0.01, max: 0.5, unit: "g" };

/// Seconds at rest that a posture needs.
const REST_S: usize = 5;
/// Length of gravity as a sensor may show it (g).
const GRAVITY: std::ops::RangeInclusive<f64> = 0.8..=1.2;
/// Least quality of the axes.
const QUALITY_MIN: f32 = 0.3;

/// A second of rest or movement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mean {
    g: [f32; 3],
    deviation: f32,
    quality: f32,
}

/// What is remembered: the last seconds, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    ever: bool,
    seconds: [Option<Mean>; REST_S],
}

/// The code of the axis of the body that points up, of a gravity in axes of the body: left, head, front. A sensor at
/// rest shows the push that holds it up.
///
/// ```
/// use auscult_operators::motion::posture::{POSTURES, code};
/// let of = |left, head, front| POSTURES[code([left, head, front], 45.0)];
/// assert_eq!([of(0.0, 1.0, 0.1), of(0.1, 0.2, 0.9), of(0.0, 0.0, -1.0)], ["upright", "supine", "prone"]);
/// // Who lies on the left side has the left below.
/// assert_eq!([of(-1.0, 0.0, 0.2), of(1.0, 0.0, 0.2), of(0.6, 0.6, 0.6)], ["left", "right", "between"]);
/// ```
pub fn code([left, head, front]: [f64; 3], cone_deg: f64) -> usize {
    let length = (left * left + head * head + front * front).sqrt();
    let least = length * libm::cos(cone_deg.to_radians());
    let ups = [head, front, -front, -left, left, -head];
    let nearest = (0..ups.len()).reduce(|a, b| if ups[b] > ups[a] { b } else { a }).unwrap_or(0);
    if length > 0.0 && ups[nearest] >= least { nearest } else { POSTURES.len() - 1 }
}

fn mean(moved: &Moved<'_>, quality: f32) -> Mean {
    let n = moved.samples().count().max(1) as f32;
    let mut g = [0.0f32; 3];
    for sample in moved.samples() {
        g.iter_mut().zip(sample).for_each(|(sum, v)| *sum += v);
    }
    let length = moved.lengths().sum::<f32>() / n;
    let deviation = moved.lengths().map(|a| (a - length).abs()).sum::<f32>() / n;
    Mean { g: g.map(|sum| sum / n), deviation, quality }
}

struct Posture {
    params: Params,
    /// The axes of the body, left, head and front, in those of the sensor.
    body: [[f64; 3]; 3],
    state: State,
}

impl Posture {
    fn value(&self) -> (Result<f64, Missing>, f32) {
        if self.state.seconds[0].is_none() {
            return (Err(Missing::Stale), 0.0);
        }
        let known = self.state.seconds.iter().flatten().count();
        if known < REST_S {
            return (Err(Missing::Learning), 0.0);
        }
        let (mut g, mut worst, mut least) = ([0.0; 3], 0.0f32, 1.0f32);
        for s in self.state.seconds.iter().flatten() {
            g.iter_mut().zip(s.g).for_each(|(sum, v)| *sum += f64::from(v) / REST_S as f64);
            (worst, least) = (worst.max(s.deviation), least.min(s.quality));
        }
        let dot = |axis: [f64; 3]| axis.iter().zip(g).map(|(a, b)| a * b).sum::<f64>();
        let length = dot(g).sqrt();
        if least < QUALITY_MIN {
            return (Err(Missing::LowQuality), 0.0);
        }
        if f64::from(worst) > self.params.rest_g || !GRAVITY.contains(&length) {
            return (Err(Missing::LowQuality), 0.0);
        }
        (Ok(code(self.body.map(dot), self.params.cone_deg) as f64), least)
    }
}

impl Operator for Posture {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let now = match second(epoch) {
            Second::Whole(moved) => Some(mean(&moved, quality(out))),
            Second::Broken | Second::Absent => None,
        };
        self.state.ever |= now.is_some();
        self.state.seconds.rotate_right(1);
        self.state.seconds[0] = now;
        let time = epoch.end();
        let due = time.micros().div_euclid(US_PER_S).rem_euclid(i64::from(self.params.hop_s.max(1))) == 0;
        if !due || !self.state.ever {
            return;
        }
        let (value, quality) = self.value();
        let window = Span::seconds_const(REST_S as i64);
        out.push(Reading { name: "posture", channel: None, time, window, value, quality });
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
    HOP.check(f64::from(params.hop_s))?;
    CONE.check(params.cone_deg)?;
    REST.check(params.rest_g)?;
    let (h, f) = (params.head.vector(), params.front.vector());
    if h.iter().zip(f).any(|(a, b)| a * b != 0.0) {
        return Err(ParamError::Shape("head and front are one axis of the sensor: they must be two".into()));
    }
    // Facing the patient, whose left is at the right: head up, front towards us.
    let left = [h[1] * f[2] - h[2] * f[1], h[2] * f[0] - h[0] * f[2], h[0] * f[1] - h[1] * f[0]];
    Ok(Box::new(Posture { body: [left, h, f], params, state: State::default() }))
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "posture",
    summary: "In which position a patient rests",
    description: "The mean acceleration of five seconds at rest is gravity; the axis of the body within cone_deg of \
        the vertical names the posture: 0 upright, 1 supine, 2 prone, 3 on the left side, 4 on the right side, 5 head \
        down, 6 between. It holds only for a sensor on the trunk whose axes lie as head and front say; on a wrist it \
        says where the wrist is. A body half raised in bed lies between or counts as supine. During movement, and \
        where the length of gravity is off by a fifth, there is none: it is not held.",
    reads: &[Kind::Motion],
    writes: &[Output {
        name: "posture",
        unit: "{code}",
        summary: "0 upright, 1 supine, 2 prone, 3 left, 4 right, 5 head down, 6 between",
        feeds: "",
    }],
    needs: &["signal_quality"],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Karantonis DM et al. IEEE Trans Inf Technol Biomed 2006;10:156-167. doi:10.1109/TITB.2005.856864 (tilt of a \
         trunk sensor; rest against activity)",
    ],
    bounds: &[HOP, CONE, REST],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build,
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::super::bench;
    use super::*;

    fn said(
        params: serde_json::Value,
        quality: f64,
        wave: impl Fn(f64) -> [f32; 3] + Copy,
    ) -> Result<f64, Missing> {
        let mut op = (SPEC.build)(&params).unwrap();
        (0..20)
            .filter_map(|s| bench::second(op.as_mut(), s, 32, quality, wave).find("posture").map(|r| r.value))
            .last()
            .unwrap()
    }

    #[test]
    fn each_side_up_is_its_posture_however_the_sensor_is_turned() {
        let usual = serde_json::json!({});
        let sides = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]];
        for (code, g) in sides.into_iter().enumerate() {
            assert_eq!(said(usual.clone(), 1.0, |_| g), Ok(code as f64));
        }
        // The sensor hangs with x down and looks inwards with z: left is then along y.
        let turned = serde_json::json!({ "head": "minus_x", "front": "minus_z" });
        assert_eq!(said(turned.clone(), 1.0, |_| [-1.0, 0.0, 0.0]), Ok(0.0));
        assert_eq!(said(turned.clone(), 1.0, |_| [0.0, 0.0, -1.0]), Ok(1.0));
        assert_eq!(said(turned, 1.0, |_| [0.0, 1.0, 0.0]), Ok(3.0));
        assert!((SPEC.build)(&serde_json::json!({ "head": "z" })).is_err());
    }

    #[test]
    fn nothing_is_said_while_moving_falling_or_unheard() {
        let usual = serde_json::json!({});
        let shaking = |t: f64| [0.0, 1.0 + 0.5 * libm::sin(t * 20.0) as f32, 0.0];
        assert_eq!(said(usual.clone(), 1.0, shaking), Err(Missing::LowQuality));
        assert_eq!(said(usual.clone(), 1.0, |_| [0.0, 0.3, 0.0]), Err(Missing::LowQuality));
        assert_eq!(said(usual, 0.0, |_| [0.0, 1.0, 0.0]), Err(Missing::LowQuality));
    }
}
