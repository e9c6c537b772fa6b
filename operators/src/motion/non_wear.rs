//! Whether a sensor of movement lies somewhere instead of being worn. In: acceleration along three axes in g. Out: a
//! code, 1 if nothing moved for an hour that a body would have moved.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Second, second};
use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{Epoch, Kind, Missing, Reading, Readings, Span};

/// Parameters of `non_wear`. The hour and its blocks are fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Standard deviation of an axis below which it does not move (g).
    pub sd_g: f64,
    /// Range of an axis below which it does not move (g).
    pub range_g: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { sd_g: 0.013, range_g: 0.05 }
    }
}

const SD: Bound = Bound { name: "sd_g", min: 0.001, max: 0.1, unit: "g" };
const RANGE: Bound = Bound { name: "range_g", min: 0.005, max: 0.5, unit: "g" };

/// Seconds of a block, and blocks of the window.
const BLOCK_S: i64 = 300;
const BLOCKS: usize = 12;
/// Least share of the window with all axes.
const SHARE_MIN: f64 = 0.75;
/// Axes that must be still.
const STILL_AXES: usize = 2;

/// Moments of one axis over a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moments {
    sum: f64,
    squares: f64,
    low: f32,
    high: f32,
}

/// Five minutes of all axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Block {
    seconds: u16,
    count: u32,
    axes: [Moments; 3],
}

/// What is remembered: the block that is being filled, and those before it, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    ever: bool,
    /// Whole blocks since the start.
    blocks_seen: u8,
    blocks: [Block; BLOCKS],
}

struct NonWear {
    params: Params,
    state: State,
}

impl Block {
    fn add(&mut self, samples: impl Iterator<Item = [f32; 3]>) {
        self.seconds = self.seconds.saturating_add(1);
        for sample in samples {
            for (m, v) in self.axes.iter_mut().zip(sample) {
                (m.low, m.high) = if self.count == 0 { (v, v) } else { (m.low.min(v), m.high.max(v)) };
                m.sum += f64::from(v);
                m.squares += f64::from(v) * f64::from(v);
            }
            self.count = self.count.saturating_add(1);
        }
    }
}

impl NonWear {
    /// Whether an axis did not move in the window.
    fn still(&self, axis: usize) -> bool {
        let blocks = || self.state.blocks.iter().filter(|b| b.count > 0);
        let n: f64 = blocks().map(|b| f64::from(b.count)).sum();
        let sum: f64 = blocks().map(|b| b.axes[axis].sum).sum();
        let squares: f64 = blocks().map(|b| b.axes[axis].squares).sum();
        let low = blocks().map(|b| b.axes[axis].low).fold(f32::INFINITY, f32::min);
        let high = blocks().map(|b| b.axes[axis].high).fold(f32::NEG_INFINITY, f32::max);
        let variance = (squares / n - (sum / n) * (sum / n)).max(0.0);
        variance.sqrt() < self.params.sd_g && f64::from(high) - f64::from(low) < self.params.range_g
    }

    fn value(&self) -> (Result<f64, Missing>, f32) {
        let seconds: f64 = self.state.blocks.iter().map(|b| f64::from(b.seconds)).sum();
        let share = seconds / (BLOCK_S * BLOCKS as i64) as f64;
        if self.state.blocks[0].seconds == 0 {
            return (Err(Missing::Stale), 0.0);
        }
        if share < SHARE_MIN {
            let young = usize::from(self.state.blocks_seen) < BLOCKS;
            return (Err(if young { Missing::Learning } else { Missing::TooFew }), 0.0);
        }
        let still = (0..3).filter(|axis| self.still(*axis)).count();
        (Ok(if still >= STILL_AXES { 1.0 } else { 0.0 }), share.min(1.0) as f32)
    }
}

impl Operator for NonWear {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        if let Second::Whole(moved) = second(epoch) {
            self.state.ever = true;
            self.state.blocks[0].add(moved.samples());
        }
        let time = epoch.end();
        if time.micros().div_euclid(US_PER_S).rem_euclid(BLOCK_S) != 0 || !self.state.ever {
            return;
        }
        self.state.blocks_seen = self.state.blocks_seen.saturating_add(1);
        let (value, quality) = self.value();
        let window = Span::seconds_const(BLOCK_S * BLOCKS as i64);
        out.push(Reading { name: "non_wear", channel: None, time, window, value, quality });
        self.state.blocks.rotate_right(1);
        self.state.blocks[0] = Block::default();
    }

    fn far(&self, _next: crate::signal::EventTime, to: &mut Far) {
        to.add(&self.state.blocks[..1]);
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
    name: "non_wear",
    summary: "Whether a sensor of movement is not worn",
    description: "Every five minutes: 1 if at least two axes had, over the last hour, a standard deviation below sd_g \
        and a range below range_g, else 0; absent until three quarters of an hour with all axes have come. A patient \
        who lies under deep sedation with the sensor on a limb may not move either: that nothing moves is what is \
        seen, and non-wear is the usual reason. A sensor that is carried about unworn counts as worn. Differs from \
        van Hees in that the hour moves by five minutes instead of fifteen, and in that it looks back only, so that \
        the first hour off the body is not yet marked.",
    reads: &[Kind::Motion],
    writes: &[Output {
        name: "non_wear",
        unit: "{code}",
        summary: "1 if nothing moved for an hour, else 0",
        feeds: "",
    }],
    needs: &[],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "van Hees VT et al. PLoS ONE 2013;8:e61691. doi:10.1371/journal.pone.0061691 (13 mg, 50 mg, two axes, one \
         hour)",
        "van Hees VT et al. PLoS ONE 2011;6:e22922. doi:10.1371/journal.pone.0022922 (the rule)",
    ],
    bounds: &[SD, RANGE],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        SD.check(params.sd_g)?;
        RANGE.check(params.range_g)?;
        Ok(Box::new(NonWear { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::super::bench;
    use super::*;

    fn after(seconds: i64, wave: impl Fn(f64) -> [f32; 3] + Copy) -> Result<f64, Missing> {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        (0..seconds)
            .filter_map(|s| bench::second(op.as_mut(), s, 8, 1.0, wave).find("non_wear").map(|r| r.value))
            .last()
            .unwrap()
    }

    #[test]
    fn a_sensor_on_a_table_is_not_worn_and_one_on_a_chest_is() {
        let noise = |t: f64| 0.004 * libm::sin(t * 37.0) as f32;
        assert_eq!(after(3600, |t| [noise(t), 0.01, 1.0 + noise(t * 1.7)]), Ok(1.0));
        let breath = |t: f64| 0.02 * libm::sin(t * 1.6) as f32;
        assert_eq!(after(3600, |t| [breath(t), 0.3, 0.95 + breath(t)]), Ok(0.0));
        // Moved once: the range of two axes says so for the hour.
        let turned = |t: f64| if t < 1800.0 { [0.0, 0.0, 1.0] } else { [0.0, 1.0, 0.0] };
        assert_eq!(after(3600, turned), Ok(0.0));
        assert_eq!(after(7200, turned), Ok(1.0));
    }

    #[test]
    fn an_hour_is_needed() {
        assert_eq!(after(2400, |_| [0.0, 0.0, 1.0]), Err(Missing::Learning));
    }
}
