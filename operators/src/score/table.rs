//! Band tables as data: how a published chart turns a number into points.
//! In: a value in the chart's unit (f64). Out: whole points of the one band that holds the value once it is
//! rounded to the chart's resolution (1 or 0.1 of the unit, half away from zero).
//!
//! Charts are written for whole numbers, or for tenths of a degree: what lies between two bands belongs to
//! neither. Therefore a value is rounded first and all further work is done on integers ("steps" of the
//! resolution). [`BandTable::check_total`] proves that no step is without a band or in two.

use thiserror::Error;

use super::outcomes::PointSet;

/// Values are read to a hundred-thousandth of their unit before they are rounded to the chart. The number
/// nearest to 36.05 in binary is a little less than 36.05; without this it would be read as 36.0. The grain
/// is coarse enough for numbers that travelled as 32-bit floats or came from degrees Fahrenheit.
const GRAINS_PER_UNIT: i64 = 100_000;

/// Beyond this (in the unit of the chart) a value is not read at all. No vital sign comes near.
const GREATEST: f64 = 1e9;

/// The finest difference a chart knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Whole units.
    Whole,
    /// Tenths of the unit.
    Tenth,
}

impl Resolution {
    /// Steps in one unit.
    pub const fn per_unit(self) -> i64 {
        match self {
            Resolution::Whole => 1,
            Resolution::Tenth => 10,
        }
    }

    /// The value in whole steps, rounded half away from zero; none if it is not a number or absurdly large.
    ///
    /// ```
    /// use auscult_operators::score::table::Resolution;
    /// assert_eq!(Resolution::Whole.steps(24.4), Some(24));
    /// assert_eq!(Resolution::Whole.steps(24.5), Some(25));
    /// assert_eq!(Resolution::Tenth.steps(36.05), Some(361));
    /// assert_eq!(Resolution::Tenth.steps(-0.05), Some(-1));
    /// assert_eq!(Resolution::Tenth.steps(f64::NAN), None);
    /// ```
    pub fn steps(self, value: f64) -> Option<i64> {
        if !value.is_finite() || value.abs() > GREATEST {
            return None;
        }
        let grains = libm::round(value * GRAINS_PER_UNIT as f64) as i64;
        let step = GRAINS_PER_UNIT / self.per_unit();
        Some(grains.signum() * ((grains.abs() + step / 2) / step))
    }

    /// The value that so many steps stand for.
    pub fn value(self, steps: i64) -> f64 {
        steps as f64 / self.per_unit() as f64
    }
}

/// One band of a chart: both ends included, in steps of the table's resolution; no end means unbounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// Lowest step, none in the first band.
    pub from: Option<i64>,
    /// Highest step, none in the last band.
    pub to: Option<i64>,
    /// Points.
    pub points: u8,
}

impl Band {
    /// Everything up to and including `to`.
    pub const fn up_to(to: i64, points: u8) -> Self {
        Self { from: None, to: Some(to), points }
    }
    /// From `from` to `to`, both included.
    pub const fn between(from: i64, to: i64, points: u8) -> Self {
        Self { from: Some(from), to: Some(to), points }
    }
    /// Everything from `from` on.
    pub const fn at_least(from: i64, points: u8) -> Self {
        Self { from: Some(from), to: None, points }
    }
    /// Whether the band holds that step.
    pub fn holds(&self, steps: i64) -> bool {
        self.from.is_none_or(|from| steps >= from) && self.to.is_none_or(|to| steps <= to)
    }
}

/// The bands of one parameter of one chart.
#[derive(Debug)]
pub struct BandTable {
    /// What is banded.
    pub parameter: &'static str,
    /// UCUM code of the unit.
    pub unit: &'static str,
    /// The finest difference.
    pub resolution: Resolution,
    /// The bands, in rising order.
    pub bands: &'static [Band],
}

/// One line of a table of boundaries: a value on the chart and the points it must get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// The value in the unit of the chart.
    pub value: f64,
    /// Its points.
    pub points: u8,
}

/// Why a table cannot be used. Bands are counted from 1; places are given in the unit of the table.
#[derive(Debug, Error, PartialEq)]
pub enum TableError {
    /// No bands at all.
    #[error("band table {parameter} has no bands")]
    Empty {
        /// Table.
        parameter: &'static str,
    },
    /// A band that ends before it begins.
    #[error("band table {parameter}: band {band} runs backwards, from {from} to {to} {unit}")]
    Backwards {
        /// Table.
        parameter: &'static str,
        /// Which band.
        band: usize,
        /// Its lower end.
        from: f64,
        /// Its upper end.
        to: f64,
        /// Unit.
        unit: &'static str,
    },
    /// A band in the middle without an end, or an outermost band with one: values beyond it would have no
    /// points.
    #[error("band table {parameter}: band {band} of {bands} {fault}")]
    End {
        /// Table.
        parameter: &'static str,
        /// Which band.
        band: usize,
        /// How many there are.
        bands: usize,
        /// What is wrong with its end.
        fault: &'static str,
    },
    /// A band that begins below the one before it.
    #[error("band table {parameter}: band {band} begins at {from} {unit}, below band {before} at {previous}")]
    Disordered {
        /// Table.
        parameter: &'static str,
        /// Which band.
        band: usize,
        /// The band before.
        before: usize,
        /// Where it begins.
        from: f64,
        /// Where the band before begins.
        previous: f64,
        /// Unit.
        unit: &'static str,
    },
    /// Values between two bands that belong to neither.
    #[error(
        "band table {parameter}: no band holds {first} to {last} {unit} (between bands {before} and {band})"
    )]
    Gap {
        /// Table.
        parameter: &'static str,
        /// The band above the gap.
        band: usize,
        /// The band below it.
        before: usize,
        /// First value without a band.
        first: f64,
        /// Last value without a band.
        last: f64,
        /// Unit.
        unit: &'static str,
    },
    /// Values that belong to two bands.
    #[error("band table {parameter}: bands {before} and {band} both hold {first} to {last} {unit}")]
    Overlap {
        /// Table.
        parameter: &'static str,
        /// The upper band.
        band: usize,
        /// The lower band.
        before: usize,
        /// First value in both.
        first: f64,
        /// Last value in both.
        last: f64,
        /// Unit.
        unit: &'static str,
    },
}

impl BandTable {
    /// Points of a value, none if it is not a number (or if the table is not total).
    ///
    /// ```
    /// use auscult_operators::score::news2::RESPIRATION;
    /// assert_eq!(RESPIRATION.points(24.4), Some(2)); // read as 24
    /// assert_eq!(RESPIRATION.points(24.5), Some(3)); // read as 25
    /// assert_eq!(RESPIRATION.points(f64::NAN), None);
    /// ```
    pub fn points(&self, value: f64) -> Option<u8> {
        self.points_at(self.resolution.steps(value)?)
    }

    /// Points of a value that is given in whole steps of the resolution.
    pub fn points_at(&self, steps: i64) -> Option<u8> {
        self.bands.iter().find(|b| b.holds(steps)).map(|b| b.points)
    }

    /// All points that some value can get: what is possible while the value is not known.
    ///
    /// ```
    /// use auscult_operators::score::news2::CONSCIOUSNESS;
    /// assert_eq!(CONSCIOUSNESS.possible().iter().collect::<Vec<_>>(), [0, 3]);
    /// ```
    pub fn possible(&self) -> PointSet {
        self.bands.iter().fold(PointSet::EMPTY, |set, band| set.with(band.points))
    }

    /// Proves that every step has exactly one band.
    ///
    /// # Errors
    /// [`TableError`] naming the first place where that is not so.
    ///
    /// ```
    /// use auscult_operators::score::table::{Band, BandTable, Resolution};
    /// let mut table = BandTable {
    ///     parameter: "pulse",
    ///     unit: "/min",
    ///     resolution: Resolution::Whole,
    ///     bands: const { &[Band::up_to(40, 3), Band::at_least(41, 0)] },
    /// };
    /// assert_eq!(table.check_total(), Ok(()));
    /// table.bands = const { &[Band::up_to(40, 3), Band::at_least(43, 0)] };
    /// let error = table.check_total().unwrap_err().to_string();
    /// assert_eq!(error, "band table pulse: no band holds 41 to 42 /min (between bands 1 and 2)");
    /// ```
    pub fn check_total(&self) -> Result<(), TableError> {
        if self.bands.is_empty() {
            return Err(TableError::Empty { parameter: self.parameter });
        }
        for i in 0..self.bands.len() {
            self.check_ends(i)?;
        }
        self.bands.windows(2).enumerate().try_for_each(|(i, pair)| self.check_seam(i, pair[0], pair[1]))
    }

    /// Values around every edge, one step below, on and above it, in rising order, each with its points.
    ///
    /// ```
    /// use auscult_operators::score::news2::OXYGEN;
    /// let lines: Vec<_> = OXYGEN.boundary_vectors().iter().map(|b| (b.value, b.points)).collect();
    /// assert_eq!(lines, [(-1.0, 0), (0.0, 0), (1.0, 2), (2.0, 2)]);
    /// ```
    pub fn boundary_vectors(&self) -> Vec<Boundary> {
        let edges = self.bands.iter().flat_map(|b| [b.from, b.to]).flatten();
        let mut steps: Vec<i64> = edges.flat_map(|e| [e - 1, e, e + 1]).collect();
        steps.sort_unstable();
        steps.dedup();
        let line = |s| Some(Boundary { value: self.resolution.value(s), points: self.points_at(s)? });
        steps.into_iter().filter_map(line).collect()
    }

    /// The band at `i` begins and ends where a band of its place may.
    fn check_ends(&self, i: usize) -> Result<(), TableError> {
        let (parameter, bands, band) = (self.parameter, self.bands.len(), self.bands[i]);
        let fault = match (i == 0, band.from, i + 1 == bands, band.to) {
            (true, Some(_), _, _) => Some("must have no lower end: nothing below it has points"),
            (false, None, _, _) => Some("has no lower end, though bands stand below it"),
            (_, _, true, Some(_)) => Some("must have no upper end: nothing above it has points"),
            (_, _, false, None) => Some("has no upper end, though bands stand above it"),
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(TableError::End { parameter, band: i + 1, bands, fault });
        }
        match (band.from, band.to) {
            (Some(from), Some(to)) if from > to => Err(TableError::Backwards {
                parameter,
                band: i + 1,
                from: self.resolution.value(from),
                to: self.resolution.value(to),
                unit: self.unit,
            }),
            _ => Ok(()),
        }
    }

    /// The band after band `i` begins right where band `i` ends.
    fn check_seam(&self, i: usize, lower: Band, upper: Band) -> Result<(), TableError> {
        let (Some(end), Some(start)) = (lower.to, upper.from) else { return Ok(()) };
        let (parameter, unit, before, band) = (self.parameter, self.unit, i + 1, i + 2);
        let at = |steps| self.resolution.value(steps);
        if let Some(previous) = lower.from
            && start < previous
        {
            let (from, previous) = (at(start), at(previous));
            return Err(TableError::Disordered { parameter, band, before, from, previous, unit });
        }
        if start > end + 1 {
            let (first, last) = (at(end + 1), at(start - 1));
            return Err(TableError::Gap { parameter, band, before, first, last, unit });
        }
        if start <= end {
            let (first, last) = (at(start), at(upper.to.map_or(end, |to| to.min(end))));
            return Err(TableError::Overlap { parameter, band, before, first, last, unit });
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;

    fn table(bands: &'static [Band]) -> BandTable {
        BandTable { parameter: "temperature", unit: "Cel", resolution: Resolution::Tenth, bands }
    }

    /// The canary: tables as they are found in print, each with a fault that must be seen and named.
    #[test]
    fn faulty_tables_are_refused_and_the_place_is_named() {
        let check = |bands, expected: &str| {
            assert_eq!(table(bands).check_total().unwrap_err().to_string(), expected);
        };
        check(&[], "band table temperature has no bands");
        check(
            const { &[Band::up_to(350, 3), Band::between(352, 360, 1), Band::at_least(361, 0)] },
            "band table temperature: no band holds 35.1 to 35.1 Cel (between bands 1 and 2)",
        );
        check(
            const { &[Band::up_to(350, 3), Band::between(351, 361, 1), Band::at_least(361, 0)] },
            "band table temperature: bands 2 and 3 both hold 36.1 to 36.1 Cel",
        );
        check(
            const {
                &[
                    Band::up_to(350, 3),
                    Band::between(361, 380, 0),
                    Band::between(351, 360, 1),
                    Band::at_least(381, 1),
                ]
            },
            "band table temperature: no band holds 35.1 to 36 Cel (between bands 1 and 2)",
        );
        check(
            const {
                &[
                    Band::up_to(350, 3),
                    Band::between(351, 380, 0),
                    Band::between(341, 345, 1),
                    Band::at_least(381, 1),
                ]
            },
            "band table temperature: band 3 begins at 34.1 Cel, below band 2 at 35.1",
        );
        check(
            const { &[Band::up_to(350, 3), Band::between(360, 351, 1), Band::at_least(361, 0)] },
            "band table temperature: band 2 runs backwards, from 36 to 35.1 Cel",
        );
        check(
            const { &[Band::between(300, 350, 3), Band::at_least(351, 0)] },
            "band table temperature: band 1 of 2 must have no lower end: nothing below it has points",
        );
        check(
            const { &[Band::up_to(350, 3), Band::between(351, 360, 0)] },
            "band table temperature: band 2 of 2 must have no upper end: nothing above it has points",
        );
        check(
            const { &[Band::up_to(350, 3), Band::at_least(351, 0), Band::at_least(391, 2)] },
            "band table temperature: band 2 of 3 has no upper end, though bands stand above it",
        );
        check(
            const { &[Band::up_to(350, 3), Band::up_to(360, 1), Band::at_least(361, 0)] },
            "band table temperature: band 2 of 3 has no lower end, though bands stand below it",
        );
    }

    #[test]
    fn a_single_unbounded_band_is_total() {
        assert_eq!(table(const { &[Band { from: None, to: None, points: 0 }] }).check_total(), Ok(()));
    }

    /// Decimal halves go away from zero although binary cannot hold them, also after a trip through f32 or
    /// through degrees Fahrenheit.
    #[test]
    fn every_half_step_is_rounded_away_from_zero() {
        for tenths in 200..=450_i64 {
            let half = format!("{}.{}5", tenths / 10, tenths % 10);
            let value: f64 = half.parse().unwrap();
            let narrow: f32 = half.parse().unwrap();
            let fahrenheit = (value * 9.0 / 5.0 + 32.0) * (5.0 / 9.0) + (-160.0 / 9.0);
            for v in [value, f64::from(narrow), fahrenheit] {
                assert_eq!(Resolution::Tenth.steps(v), Some(tenths + 1), "{v}");
                assert_eq!(Resolution::Tenth.steps(-v), Some(-tenths - 1), "-{v}");
            }
            let under: f64 = format!("{}.{}4999", tenths / 10, tenths % 10).parse().unwrap();
            assert_eq!(Resolution::Tenth.steps(under), Some(tenths), "{under}");
        }
        for whole in 0..=350_i64 {
            assert_eq!(Resolution::Whole.steps(whole as f64 + 0.5), Some(whole + 1));
            assert_eq!(Resolution::Whole.steps(whole as f64 + 0.4999), Some(whole));
        }
        assert_eq!(Resolution::Whole.steps(f64::INFINITY), None);
        assert_eq!(Resolution::Whole.steps(1e300), None);
    }
}
