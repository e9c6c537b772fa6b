//! Burden of the last hour: for how long, and how far, a quantity lay beyond a limit.
//! In: once a second how far it lies beyond (its unit), or that it is not known. Out: minutes, unit times minutes, and
//! how much of the hour was seen at all.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::signal::{EventTime, Graded, Missing, Span};

/// Minutes that are kept.
const MINUTES: usize = 60;
const US_PER_MINUTE: i64 = 60_000_000;
/// Less than this seen, and nothing is said (s).
const LEAST_S: f64 = 300.0;
/// Less than this share of the time seen, and nothing is said.
const LEAST_SHARE: f64 = 0.5;

/// One minute: seconds seen, seconds beyond, and unit times seconds beyond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Minute {
    seen: u16,
    beyond: u16,
    area: f32,
}

/// The last hour, minute by minute.
///
/// ```
/// use auscult_operators::{signal::EventTime, trend::burden::Burden};
/// let mut burden = Burden::default();
/// for s in 0..600 {
///     burden.add(EventTime::from_seconds(s + 1), Some(if s < 90 { 4.0 } else { 0.0 }));
/// }
/// assert_eq!((burden.minutes(), burden.area(), burden.share()), (1.5, 6.0, 1.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Burden {
    /// Number of the newest minute, and how many seconds have passed since the first value, an hour at most.
    newest: i64,
    passed: u16,
    minutes: VecDeque<Minute>,
}

impl Burden {
    /// Takes in the second that ends at `end`: how far beyond the limit, 0 if within, `None` if not known.
    pub fn add(&mut self, end: EventTime, beyond: Option<f64>) {
        if self.minutes.is_empty() && beyond.is_none() {
            return;
        }
        let minute = (end.micros() - 1).div_euclid(US_PER_MINUTE);
        if self.minutes.is_empty() || minute < self.newest {
            *self = Self { newest: minute, passed: 0, minutes: VecDeque::with_capacity(MINUTES) };
            self.minutes.push_back(Minute::default());
        }
        let gone = (minute.saturating_sub(self.newest)).min(MINUTES as i64);
        for _ in 0..gone {
            if self.minutes.len() == MINUTES {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Minute::default());
        }
        self.newest = minute;
        self.passed = (self.passed + 1).min(60 * MINUTES as u16);
        let (Some(by), Some(now)) = (beyond.filter(|b| b.is_finite()), self.minutes.back_mut()) else {
            return;
        };
        now.seen = now.seen.saturating_add(1);
        if by > 0.0 {
            now.beyond = now.beyond.saturating_add(1);
            now.area += by.min(1e6) as f32;
        }
    }

    /// Minutes beyond the limit.
    pub fn minutes(&self) -> f64 {
        self.minutes.iter().map(|m| f64::from(m.beyond)).sum::<f64>() / 60.0
    }

    /// How far beyond the limit, times minutes.
    pub fn area(&self) -> f64 {
        self.minutes.iter().map(|m| f64::from(m.area)).sum::<f64>() / 60.0
    }

    /// Seconds in which the quantity was known.
    pub fn seen_s(&self) -> f64 {
        self.minutes.iter().map(|m| f64::from(m.seen)).sum()
    }

    /// The part of the hour that has passed since the first value.
    pub fn window(&self) -> Span {
        Span::seconds_const(i64::from(self.passed.max(1)))
    }

    /// Share of that part in which the quantity was known.
    pub fn share(&self) -> f64 {
        (self.seen_s() / f64::from(self.passed.max(1))).min(1.0)
    }

    /// Whether nothing was ever taken in.
    pub fn is_empty(&self) -> bool {
        self.minutes.is_empty()
    }

    /// A sum over the window with the share seen as its quality; absent while too little was seen.
    pub fn graded(&self, sum: f64) -> Graded {
        if self.is_empty() {
            return Graded::missing(Missing::NoData);
        }
        if f64::from(self.passed) < LEAST_S {
            return Graded::missing(Missing::Learning);
        }
        if self.seen_s() < LEAST_S {
            return Graded::missing(Missing::TooFew);
        }
        Graded::of(sum, self.share() as f32, LEAST_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> EventTime {
        EventTime::from_seconds(s + 1)
    }

    #[test]
    fn the_hour_slides_and_silence_is_not_health() {
        let mut burden = Burden::default();
        (0..600).for_each(|s| burden.add(at(s), Some(10.0)));
        (600..4200).for_each(|s| burden.add(at(s), Some(0.0)));
        assert_eq!((burden.minutes(), burden.area(), burden.share()), (0.0, 0.0, 1.0));
        (4200..6000).for_each(|s| burden.add(at(s), None));
        assert!((burden.share() - 0.5).abs() < 0.01 && burden.seen_s() == 1800.0);
        (6000..6120).for_each(|s| burden.add(at(s), None));
        assert_eq!(burden.graded(burden.minutes()).value, Err(Missing::LowQuality));
    }

    #[test]
    fn too_little_is_said_to_be_so() {
        let mut burden = Burden::default();
        assert_eq!(burden.graded(0.0).value, Err(Missing::NoData));
        (0..200).for_each(|s| burden.add(at(s), Some(1.0)));
        assert_eq!(burden.graded(1.0).value, Err(Missing::Learning));
        (200..400).for_each(|s| burden.add(at(s), None));
        assert_eq!(burden.graded(1.0).value, Err(Missing::TooFew));
        (400..600).for_each(|s| burden.add(at(s), Some(1.0)));
        assert!(burden.graded(1.0).value.is_ok());
    }
}
