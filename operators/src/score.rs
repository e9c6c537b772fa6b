//! Scores: published tables that turn the values of one patient into points, a level and what to do.
//! In: the last known values of a patient and a point of event time. Out: a [`ScoreResult`] with points per
//! part, exact bounds while something is missing, and the reason wherever a number is not there.
//!
//! Rules of every score:
//! * A value is rounded to the resolution of the chart, half away from zero, before it is banded ([`table`]).
//! * What is missing, stale, poor, or implausible has no points. It is not 0, and it is not the last value:
//!   the result becomes `partial` and says between which totals and levels the truth lies ([`outcomes`]).
//! * Who the score is not made for gets no score but a reason. What had to be assumed stands in the result.
//!
//! ```
//! use auscult_operators::score::{self, Status};
//! use auscult_operators::signal::{ChannelId, EventTime, Observed, Origin, Values};
//!
//! let now = EventTime::from_seconds(60);
//! let mut values = Values::default();
//! let vitals = [("resp_rate", 22.0), ("spo2", 95.0), ("nibp_sys", 105.0), ("heart_rate", 112.0)];
//! for (channel, value) in vitals.into_iter().chain([("on_oxygen", 1.0)]) {
//!     let observed_at = EventTime::from_seconds(58);
//!     let valid_until = EventTime::from_seconds(68);
//!     let seen = Observed { value, observed_at, valid_until, quality: 1.0, origin: Origin::Reported };
//!     values.store(ChannelId::named(channel).unwrap(), seen);
//! }
//! let news2 = score::find("news2").unwrap();
//! let result = (news2.evaluate)(&values, now);
//! assert_eq!(result.status, Status::Partial);
//! assert_eq!(result.missing, ["consciousness", "temperature"]);
//! assert_eq!((result.total, result.low, result.high), (None, Some(8), Some(14)));
//! assert_eq!(result.level.unwrap().name, "high"); // whatever the missing values are
//! ```

pub mod input;
pub mod news2;
pub mod outcomes;
pub mod result;
pub mod table;

use serde::{Deserialize, Serialize};

use crate::signal::{EventTime, Values};

pub use input::{QUALITY_FLOOR, Role, ScoreInput};
pub use result::{Level, Part, ScoreResult, Status};

/// Every score.
pub static SCORES: &[&ScoreSpec] = &[&news2::SPEC];

/// The score of that name.
///
/// ```
/// assert_eq!(auscult_operators::score::find("news2").unwrap().table_version, "RCP 2017");
/// assert!(auscult_operators::score::find("NEWS2").is_none());
/// ```
pub fn find(name: &str) -> Option<&'static ScoreSpec> {
    SCORES.iter().copied().find(|s| s.name == name)
}

/// What may be assumed of a patient of whom too little is known. Assumptions made stand in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Score a patient of unknown age as an adult; if false, such a patient gets no score for adults.
    pub assume_adult: bool,
    /// Score a patient of whom no pregnancy flag is known as not pregnant; if false, such a patient gets no
    /// score that pregnancy rules out.
    pub assume_not_pregnant: bool,
}

impl Default for Params {
    /// Many hospitals send neither age nor pregnancy with the vital signs. No score at all would be the
    /// greater danger to them, so both are assumed, visibly.
    fn default() -> Self {
        Self { assume_adult: true, assume_not_pregnant: true }
    }
}

/// One level of a score.
#[derive(Debug)]
pub struct LevelSpec {
    /// Name, as in events: `news2.high`.
    pub name: &'static str,
    /// When it is reached.
    pub when: &'static str,
    /// What the source says is to be done, in our words.
    pub response: &'static str,
}

/// The card of a score: all that configuration, documents and tests need to know.
pub struct ScoreSpec {
    /// Name in configuration; name of the file and of the page.
    pub name: &'static str,
    /// Name as published.
    pub title: &'static str,
    /// Which edition of the tables; it changes whenever any band or level does.
    pub table_version: &'static str,
    /// One line.
    pub summary: &'static str,
    /// How it works, its limits, and where it differs from its sources.
    pub description: &'static str,
    /// How a fraction is read, as published tables are written for whole numbers.
    pub fractions: &'static str,
    /// Everything it reads, in the order of the chart.
    pub inputs: &'static [&'static ScoreInput],
    /// Its tables, printed in documents and tested at every edge.
    pub tables: &'static [&'static table::BandTable],
    /// For whom it is made, and for whom not.
    pub population: &'static str,
    /// Lowest and highest total.
    pub range: (u8, u8),
    /// A single part with so many points calls for action whatever the total is.
    pub red_at: u8,
    /// Levels, mildest first; the rank of a level is its place here.
    pub levels: &'static [LevelSpec],
    /// Rank of the level for a total, and for whether a part is red.
    pub rank: fn(total: u8, red: bool) -> usize,
    /// Papers, standards, tables.
    pub sources: &'static [&'static str],
    /// The score as of a point of time, with the default parameters.
    pub evaluate: fn(&Values, EventTime) -> ScoreResult,
    /// The score as of a point of time, without words on what to do: [`ScoreResult::advised`] adds them.
    pub assess: fn(&Values, EventTime, &Params) -> ScoreResult,
}

impl ScoreSpec {
    /// The level of that rank as results name it.
    pub fn level(&self, rank: usize) -> Option<Level> {
        Some(Level { name: self.levels.get(rank)?.name, rank: u8::try_from(rank).ok()? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;

    /// Every card: inputs have channels, tables are total, levels cover the range and rise with it.
    #[test]
    fn cards_hold_together() {
        for spec in SCORES {
            assert!(std::ptr::eq(find(spec.name).unwrap(), *spec), "{} stands twice", spec.name);
            for input in spec.inputs {
                assert!(!input.channels.is_empty(), "{}", input.name);
            }
            for table in spec.tables {
                assert_eq!(table.check_total(), Ok(()));
            }
            assert!(spec.range.1 <= outcomes::GREATEST_TOTAL, "{}: outcomes cannot hold it", spec.name);
            let mut seen = vec![false; spec.levels.len()];
            for red in [false, true] {
                let ranks: Vec<usize> = (spec.range.0..=spec.range.1).map(|t| (spec.rank)(t, red)).collect();
                assert!(ranks.is_sorted(), "{}: a higher total may not lower the level", spec.name);
                ranks.iter().for_each(|&r| seen[r] = true);
            }
            assert_eq!(seen, vec![true; spec.levels.len()], "{}: a level that is never reached", spec.name);
            for text in [spec.summary, spec.description, spec.fractions, spec.population] {
                assert!(!text.is_empty(), "{}", spec.name);
            }
        }
    }

    #[test]
    fn parameters_refuse_unknown_keys_and_have_defaults() {
        assert_eq!(serde_json::from_str::<Params>("{}").unwrap(), Params::default());
        assert!(serde_json::from_str::<Params>(r#"{"assume_adlut": false}"#).is_err());
    }
}
