//! An answer with its quality, before it has a name: what most operators make of a window.
//! In: a value or the reason why there is none, a quality and the floor under it. Out: a reading that keeps the rules.

use super::{ChannelId, EventTime, Missing, Reading, Span};

/// A value or the reason for its absence, and how far to believe it (0 to 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Graded {
    /// The value in the unit of the card.
    pub value: Result<f64, Missing>,
    /// 0 to 1; 0 where there is no value.
    pub quality: f32,
}

impl Graded {
    /// A value, unless its quality lies below the floor or it is no number.
    ///
    /// ```
    /// use auscult_operators::signal::{Graded, Missing};
    /// assert_eq!(Graded::of(7.0, 0.9, 0.5).value, Ok(7.0));
    /// assert_eq!(Graded::of(7.0, 0.4, 0.5), Graded::missing(Missing::LowQuality));
    /// assert_eq!(Graded::of(f64::NAN, 1.0, 0.5).value, Err(Missing::Implausible));
    /// ```
    pub fn of(value: f64, quality: f32, floor: f64) -> Self {
        if !value.is_finite() {
            return Self::missing(Missing::Implausible);
        }
        let quality = if quality > 0.0 { quality.min(1.0) } else { 0.0 };
        if f64::from(quality) < floor {
            return Self::missing(Missing::LowQuality);
        }
        Self { value: Ok(value), quality }
    }

    /// No value.
    pub const fn missing(why: Missing) -> Self {
        Self { value: Err(why), quality: 0.0 }
    }

    /// The reading of that name of a window that ends at `time`.
    pub fn reading(
        self,
        name: &'static str,
        channel: Option<ChannelId>,
        time: EventTime,
        window: Span,
    ) -> Reading {
        let Self { value, quality } = self;
        Reading { name, channel, time, window, value, quality }
    }
}
