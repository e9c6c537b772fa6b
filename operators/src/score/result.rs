//! The answer of a score: total or bounds, level, what to do, and how each part came about.
//! In: the parts and the totals that are possible. Out: a [`ScoreResult`] whose JSON has fixed keys in fixed
//! order (absent things are `null`), times in microseconds since 1970, ages in seconds.

use schemars::JsonSchema;
use serde::Serialize;

use super::ScoreSpec;
use super::input::{Pick, Refused, ScoreInput};
use super::outcomes::{Outcomes, PointSet};
use crate::signal::{EventTime, Missing, Origin};

/// How much of a score is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every part has its points.
    Complete,
    /// Something is missing: the total lies between `low` and `high`.
    Partial,
    /// The score does not apply to this patient.
    Invalid,
}

/// A level of the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Level {
    /// Its place, 0 is the mildest.
    pub rank: u8,
    /// Its name.
    pub name: &'static str,
}

/// One part of the score.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Part {
    /// Name of the input.
    pub name: &'static str,
    /// Value as observed, before it is rounded to the chart; null if there is none that can be used.
    pub value: Option<f64>,
    /// UCUM code of its unit.
    pub unit: &'static str,
    /// Points; null if they are not certain.
    pub points: Option<u8>,
    /// Fewest points that are possible.
    pub low: u8,
    /// Most points that are possible.
    pub high: u8,
    /// When the value, or the one that was refused, was observed: microseconds since 1970.
    pub observed_at_us: Option<i64>,
    /// Its age in seconds.
    pub age_s: Option<f64>,
    /// Its quality, 0 to 1.
    pub quality: Option<f32>,
    /// Reported, or derived from a waveform.
    pub origin: Option<Origin>,
    /// Channel it came from.
    pub channel: Option<&'static str>,
    /// Why there is no value; null if there is one.
    pub missing: Option<Missing>,
}

/// The answer of a score for one patient at one time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ScoreResult {
    /// Name of the score.
    pub score: &'static str,
    /// Edition of its tables.
    pub table_version: &'static str,
    /// How much is known.
    pub status: Status,
    /// The total, only if complete.
    pub total: Option<i64>,
    /// Lowest total that is possible; null if invalid.
    pub low: Option<i64>,
    /// Highest total that is possible; null if invalid.
    pub high: Option<i64>,
    /// The level, if it is the same whatever the missing values are.
    pub level: Option<Level>,
    /// Mildest level that is possible; null if invalid.
    pub level_low: Option<Level>,
    /// Gravest level that is possible; null if invalid.
    pub level_high: Option<Level>,
    /// What to do.
    pub recommendation: String,
    /// Parts in the order of the chart; empty if invalid.
    pub parts: Vec<Part>,
    /// Inputs whose absence leaves the score open.
    pub missing: Vec<&'static str>,
    /// What was assumed of the patient, in words.
    pub assumptions: Vec<&'static str>,
    /// Why the score does not apply, only if invalid.
    pub reason: Option<String>,
}

impl Part {
    /// A part as picked or refused, with the points that are possible for it.
    pub fn new(
        input: &ScoreInput,
        found: &Result<Pick, Refused>,
        now: EventTime,
        possible: PointSet,
    ) -> Self {
        let (pick, missing) = match found {
            Ok(pick) => (Some(*pick), None),
            Err(refused) => (refused.pick, Some(refused.reason)),
        };
        let row = pick.map(|p| p.channel.row()).or_else(|| input.first_channel());
        Self {
            name: input.name,
            value: found.as_ref().ok().map(|p| p.seen.value),
            unit: row.map_or("1", |r| r.unit.ucum()),
            points: possible.sure(),
            low: possible.low().unwrap_or_default(),
            high: possible.high().unwrap_or_default(),
            observed_at_us: pick.map(|p| p.seen.observed_at.micros()),
            age_s: pick.map(|p| (now - p.seen.observed_at).seconds()),
            quality: pick.map(|p| p.seen.quality),
            origin: pick.map(|p| p.seen.origin),
            channel: pick.map(|p| p.channel.row().name),
            missing,
        }
    }
}

impl ScoreResult {
    /// The answer for a patient to whom the score does not apply.
    pub fn invalid(spec: &ScoreSpec, reason: String, assumptions: Vec<&'static str>) -> Self {
        Self {
            score: spec.name,
            table_version: spec.table_version,
            status: Status::Invalid,
            total: None,
            low: None,
            high: None,
            level: None,
            level_low: None,
            level_high: None,
            recommendation: format!(
                "{} does not apply here: use the chart made for this patient.",
                spec.title
            ),
            parts: Vec::new(),
            missing: Vec::new(),
            assumptions,
            reason: Some(reason),
        }
    }

    /// The answer from the parts and from every total that is possible. It is complete exactly if nothing is
    /// in `missing`; the caller lists there each input whose absence leaves points open. What to do is left open:
    /// see [`ScoreResult::advised`].
    pub fn conclude(
        spec: &ScoreSpec,
        parts: Vec<Part>,
        outcomes: Outcomes,
        missing: Vec<&'static str>,
        assumptions: Vec<&'static str>,
    ) -> Self {
        let range = outcomes.range().map(|(low, high)| (i64::from(low), i64::from(high)));
        let ranks = || outcomes.iter().map(|(total, red)| (spec.rank)(total, red));
        let level_low = ranks().min().and_then(|r| spec.level(r));
        let level_high = ranks().max().and_then(|r| spec.level(r));
        let status = if missing.is_empty() { Status::Complete } else { Status::Partial };
        Self {
            score: spec.name,
            table_version: spec.table_version,
            status,
            total: range.filter(|_| status == Status::Complete).map(|(low, _)| low),
            low: range.map(|(low, _)| low),
            high: range.map(|(_, high)| high),
            level: level_low.filter(|_| level_low == level_high),
            level_low,
            level_high,
            recommendation: String::new(),
            parts,
            missing,
            assumptions,
            reason: None,
        }
    }

    /// The same with what to do, in words. They are for those who read the result, and most are never told.
    #[must_use]
    pub fn advised(mut self, spec: &ScoreSpec) -> Self {
        if self.recommendation.is_empty() {
            self.recommendation = self.advice(spec);
        }
        self
    }

    /// Whether another result says the same of the patient: all but the values, their ages and their quality.
    ///
    /// ```
    /// use auscult_operators::score::news2;
    /// use auscult_operators::signal::{EventTime, Values};
    /// let (a, b) = (EventTime::from_seconds(1), EventTime::from_seconds(2));
    /// let values = Values::default();
    /// assert!(news2::evaluate(&values, a).says_the_same(&news2::evaluate(&values, b)));
    /// ```
    pub fn says_the_same(&self, other: &Self) -> bool {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        self.saying(&mut a);
        other.saying(&mut b);
        a == b
    }

    /// What the result says of the patient, as bytes: two results say the same exactly if these are equal. They are
    /// all that need be remembered of a result that was told.
    pub fn saying(&self, out: &mut Vec<u8>) {
        let number = |n: Option<i64>, out: &mut Vec<u8>| {
            out.push(u8::from(n.is_some()));
            out.extend_from_slice(&n.unwrap_or_default().to_le_bytes());
        };
        let text = |t: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(&(t.len() as u64).to_le_bytes());
            out.extend_from_slice(t.as_bytes());
        };
        text(self.score, out);
        text(self.table_version, out);
        out.push(self.status as u8);
        [self.total, self.low, self.high].into_iter().for_each(|n| number(n, out));
        let ranks = [self.level, self.level_low, self.level_high].map(|l| l.map(|l| i64::from(l.rank)));
        ranks.into_iter().for_each(|n| number(n, out));
        for p in &self.parts {
            let missing = p.missing.map_or(0, |m| 1 + m as u8);
            out.extend_from_slice(&[
                u8::from(p.points.is_some()),
                p.points.unwrap_or_default(),
                p.low,
                p.high,
                missing,
            ]);
        }
        for list in [self.missing.len(), self.assumptions.len(), usize::from(self.reason.is_some())] {
            out.push(list as u8);
        }
        self.missing.iter().for_each(|m| text(m, out));
        let reason = self.reason.as_deref();
        self.assumptions.iter().copied().chain(reason).for_each(|a| text(a, out));
    }

    /// The response to the mildest level that is possible, and what is not known.
    pub fn advice(&self, spec: &ScoreSpec) -> String {
        let response = |l: Level| spec.levels.get(usize::from(l.rank)).map_or("", |s| s.response);
        let (Some(least), Some(most)) = (self.level_low, self.level_high) else { return String::new() };
        if self.missing.is_empty() {
            return response(least).to_owned();
        }
        let (low, high) = (self.low.unwrap_or_default(), self.high.unwrap_or_default());
        let unknown = self.missing.join(", ");
        if least == most {
            let sure = response(least);
            return format!("{sure} Not known: {unknown}; the total lies between {low} and {high}.");
        }
        format!(
            "Incomplete: complete the observations now. Not known: {unknown}; the total lies between {low} \
             and {high}, the level may be as high as {}. What is certain already calls for: {}",
            most.name,
            response(least)
        )
    }
}
