//! The steepest rise of each twentieth of a second of a wave: where upstrokes are, and how steep.
//! In: runs of raw samples. Out: time and slope (unit per second) of the steepest rise in a span of the last seconds.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Ring, tame};
use crate::signal::{EventTime, Run, Span};

/// A slope is taken over this long, or over one step of a slower wave (s).
const SLOPE_S: f64 = 0.016;
/// One rise is kept per this long (s).
const PIECE_S: f64 = 0.05;

/// A rise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rise {
    /// The middle of the steepest part.
    pub time: EventTime,
    /// Unit of the wave per second.
    pub slope: f32,
}

/// Rises of the last seconds of one wave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steepest {
    rate: f64,
    kept: u32,
    before: Ring,
    count: u32,
    best: Option<Rise>,
    rises: VecDeque<Rise>,
}

impl Steepest {
    /// None yet, of a wave with `rate` samples a second; those of the last `span_s` seconds will be kept.
    pub fn new(rate: f64, span_s: f64) -> Self {
        let rate = rate.clamp(1.0, 4_000.0);
        let before = Ring::new((rate * SLOPE_S).round().max(1.0) as usize);
        let kept = (span_s / PIECE_S).ceil().clamp(1.0, 400.0) as u32;
        Self { rate, kept, before, count: 0, best: None, rises: VecDeque::new() }
    }

    /// Whether it can go on with a wave of that rate.
    pub fn fits(&self, rate: f64) -> bool {
        self.rate == rate.clamp(1.0, 4_000.0)
    }

    /// Takes in a run.
    pub fn take(&mut self, run: &Run<'_>) {
        let step = self.before.capacity() as f64;
        let (per_s, half_us) = ((self.rate / step) as f32, (0.5e6 * step / self.rate) as i64);
        let piece = (self.rate * PIECE_S).round().max(1.0) as u32;
        for (i, x) in run.raw.iter().enumerate() {
            let x = tame(*x, -1e7, 1e7);
            if let Some(old) = self.before.push(x) {
                let slope = (x - old) * per_s;
                if self.best.is_none_or(|b| slope > b.slope) {
                    self.best = Some(Rise { time: run.time_of(i) - Span::from_micros(half_us), slope });
                }
            }
            self.count += 1;
            if self.count >= piece {
                self.count = 0;
                if let Some(rise) = self.best.take() {
                    if self.rises.len() >= self.kept as usize {
                        self.rises.pop_front();
                    }
                    self.rises.push_back(rise);
                }
            }
        }
    }

    /// The steepest of the rises after `from` up to `to`, the first of equals.
    pub fn within(&self, from: EventTime, to: EventTime) -> Option<Rise> {
        let inside = self.rises.iter().filter(|r| r.time > from && r.time <= to);
        inside.fold(
            None,
            |best: Option<Rise>, r| if best.is_none_or(|b| r.slope > b.slope) { Some(*r) } else { best },
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{ChannelId, Hertz};

    #[test]
    fn a_ramp_is_found_at_any_rate() {
        for rate in [62.5, 125.0, 500.0] {
            let mut steepest = Steepest::new(rate, 4.0);
            // Rises from 80 to 120 between 1.00 and 1.10 s: 400 a second.
            let raw: Vec<f32> = (0..(2.0 * rate) as usize)
                .map(|i| 80.0 + 400.0 * (i as f32 / rate as f32 - 1.0).clamp(0.0, 0.1))
                .collect();
            let (channel, start) = (ChannelId::named("abp").unwrap(), EventTime::from_seconds(0));
            let run =
                Run { channel, rate: Hertz(rate), start, reset: true, raw: &raw, clean: &raw, bridged: 0 };
            steepest.take(&run);
            let t = |ms: i64| EventTime::from_micros(ms * 1000);
            let rise = steepest.within(t(500), t(1500)).unwrap();
            assert!((rise.slope - 400.0).abs() < 1.0, "{rate}: {rise:?}");
            assert!(rise.time > t(1000) && rise.time < t(1100), "{rate}: {rise:?}");
            assert_eq!(steepest.within(t(0), t(900)).unwrap().slope, 0.0);
        }
    }
}
