//! Breaths of a simulated patient.
//! In: breathing rate per minute over time. Out: breath times in seconds, and the chest's level at any time
//! (0 expired, 1 inspired).

use std::collections::VecDeque;

use super::Draw;
use super::shapes::Shapes;

/// Part of a breath that is inspiration.
const INSPIRATION: f64 = 0.4;
/// Breaths kept after they are over, in seconds.
const KEEP_S: f64 = 30.0;

/// One breath.
#[derive(Clone, Copy, Debug)]
pub struct Breath {
    /// Start of inspiration, seconds.
    pub start: f64,
    /// Length, seconds.
    pub period: f64,
    /// Depth, about 1.
    pub depth: f32,
}

impl Breath {
    /// End of inspiration, seconds.
    pub fn top(&self) -> f64 {
        self.start + INSPIRATION * self.period
    }
}

/// Breathing.
#[derive(Clone, Debug)]
pub struct Lungs {
    breaths: VecDeque<Breath>,
    cursor: f64,
    draw: Draw,
}

impl Lungs {
    /// Lungs whose first breath begins before time 0.
    pub fn new(mut draw: Draw) -> Self {
        Self { breaths: VecDeque::with_capacity(64), cursor: -4.0 * draw.uniform() - 1.0, draw }
    }

    /// Adds breaths until after `until`; `rate` is breaths per minute. Forgets those long before `now`.
    pub fn advance(&mut self, now: f64, until: f64, rate: impl Fn(f64) -> f64) {
        while self.cursor <= until {
            let period = 60.0 / rate(self.cursor).max(2.0) * (1.0 + 0.06 * self.draw.normal());
            let depth = (1.0 + 0.10 * self.draw.normal()) as f32;
            self.breaths.push_back(Breath { start: self.cursor, period, depth });
            self.cursor += period;
        }
        while self.breaths.front().is_some_and(|b| b.start + b.period < now - KEEP_S) {
            self.breaths.pop_front();
        }
    }

    /// Breaths in time order.
    pub fn breaths(&self) -> impl DoubleEndedIterator<Item = &Breath> {
        self.breaths.iter()
    }

    /// The chest's level at `t`.
    pub fn level(&self, t: f64, shapes: &Shapes) -> f32 {
        let Some(b) = self.breaths.iter().rev().find(|b| b.start <= t) else { return 0.0 };
        let u = ((t - b.start) / b.period).clamp(0.0, 1.0);
        // Half a cosine up, half a longer one down.
        let turns = if u < INSPIRATION {
            0.5 * u / INSPIRATION
        } else {
            0.5 + 0.5 * (u - INSPIRATION) / (1.0 - INSPIRATION)
        };
        b.depth * 0.5 * (1.0 - shapes.sine(turns + 0.25))
    }

    /// Breaths per minute over the last four breaths that ended by `t`.
    pub fn measured_rate(&self, t: f64) -> Option<f64> {
        let done = self.breaths.iter().rev().filter(|b| b.start + b.period <= t).take(4);
        let (count, seconds) = done.fold((0, 0.0), |(n, s), b| (n + 1, s + b.period));
        (count > 0).then(|| 60.0 * f64::from(count) / seconds)
    }
}
