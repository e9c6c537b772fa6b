//! Event time and spans, in whole microseconds.
//! In: microseconds or seconds. Out: integers, so that sums never round and orders never tie by accident.

use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// Microseconds in one second.
pub const US_PER_S: i64 = 1_000_000;

/// A point of event time: microseconds since 1970-01-01T00:00:00Z, as the device said it.
///
/// ```
/// use auscult_operators::signal::{EventTime, Span};
/// let t = EventTime::from_micros(1_500_000);
/// assert_eq!(t.epoch_start(), EventTime::from_micros(1_000_000));
/// assert_eq!((t + Span::from_seconds(0.5)).micros(), 2_000_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct EventTime(i64);

/// A length of event time in microseconds; may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Span(i64);

impl EventTime {
    /// From microseconds since 1970.
    pub const fn from_micros(us: i64) -> Self {
        Self(us)
    }
    /// From whole seconds since 1970.
    pub const fn from_seconds(s: i64) -> Self {
        Self(s * US_PER_S)
    }
    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }
    /// Milliseconds since 1970, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
    /// Start of the epoch (whole second) that holds this time.
    pub const fn epoch_start(self) -> Self {
        Self(self.0 - self.0.rem_euclid(US_PER_S))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// One epoch.
    pub const EPOCH: Self = Self(US_PER_S);
    /// From microseconds.
    pub const fn from_micros(us: i64) -> Self {
        Self(us)
    }
    /// From whole seconds, usable in constants.
    pub const fn seconds_const(s: i64) -> Self {
        Self(s * US_PER_S)
    }
    /// From seconds, rounded to the nearest microsecond.
    pub fn from_seconds(s: f64) -> Self {
        Self(nearest(s * US_PER_S as f64))
    }
    /// Microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }
    /// Seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / US_PER_S as f64
    }
}

/// The nearest whole number, halves away from zero: what `f64::round` gives, without a call to it, which the plainest
/// x86-64 makes each time.
///
/// ```
/// use auscult_operators::signal::time::nearest;
/// assert_eq!([0.5, -0.5, 1.4, -2.5, 0.499_999_999_999_999_94].map(nearest), [1, -1, 1, -3, 0]);
/// assert_eq!([f64::NAN, f64::INFINITY, 9_007_199_254_740_992.0].map(nearest), [0, i64::MAX, 1 << 53]);
/// ```
#[inline]
pub fn nearest(x: f64) -> i64 {
    // The greatest number below one half: one half itself would lift what lies just below a half.
    const HALF: f64 = 0.499_999_999_999_999_94;
    (x + HALF.copysign(x)) as i64
}

impl Add<Span> for EventTime {
    type Output = EventTime;
    fn add(self, s: Span) -> EventTime {
        EventTime(self.0.saturating_add(s.0))
    }
}
impl Sub<Span> for EventTime {
    type Output = EventTime;
    fn sub(self, s: Span) -> EventTime {
        EventTime(self.0.saturating_sub(s.0))
    }
}
impl Sub for EventTime {
    type Output = Span;
    fn sub(self, other: EventTime) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}
impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}
