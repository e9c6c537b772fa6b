//! Units of measure by their UCUM codes, and sampling rates.
//! In: UCUM codes as sources write them. Out: a canonical unit and the factor and offset that lead to it.

use serde::{Deserialize, Serialize};

/// A sampling rate in samples per second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Hertz(pub f64);

impl Hertz {
    /// Samples per second.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// The canonical unit of a quantity. Sources may send any unit that [`Unit::from_ucum`] converts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Millivolt.
    Millivolt,
    /// Microvolt.
    Microvolt,
    /// Millimetre of mercury.
    MillimetreOfMercury,
    /// Per cent.
    Percent,
    /// Per minute (beats, breaths).
    PerMinute,
    /// Degree Celsius.
    Celsius,
    /// Ohm.
    Ohm,
    /// No unit: arbitrary or a ratio.
    One,
    /// Litre per minute.
    LitrePerMinute,
    /// Milligram per decilitre.
    MilligramPerDecilitre,
    /// Millimole per litre.
    MillimolePerLitre,
    /// Milliequivalent per litre.
    MilliequivalentPerLitre,
    /// Gram per decilitre.
    GramPerDecilitre,
    /// Unit per litre.
    UnitPerLitre,
    /// Nanogram per millilitre.
    NanogramPerMillilitre,
    /// Thousand per microlitre.
    ThousandPerMicrolitre,
    /// Year.
    Year,
    /// Second.
    Second,
    /// Millisecond.
    Millisecond,
    /// Hour.
    Hour,
    /// Standard gravity.
    Gravity,
    /// A change per minute of a per-minute quantity.
    PerMinutePerMinute,
    /// Millivolt squared.
    MillivoltSquared,
    /// Points of a score.
    Score,
    /// A code of a fixed list, written as a number.
    Code,
}

/// How a unit as sent becomes the canonical one: `canonical = value * factor + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conversion {
    /// The canonical unit reached.
    pub unit: Unit,
    /// Multiplier.
    pub factor: f64,
    /// Addend, in the canonical unit.
    pub offset: f64,
}

/// Every unit accepted: UCUM code, canonical unit, factor, offset. The first row of a unit is its own code.
const UNITS: &[(&str, Unit, f64, f64)] = &[
    ("mV", Unit::Millivolt, 1.0, 0.0),
    ("V", Unit::Millivolt, 1000.0, 0.0),
    ("uV", Unit::Microvolt, 1.0, 0.0),
    ("mm[Hg]", Unit::MillimetreOfMercury, 1.0, 0.0),
    ("kPa", Unit::MillimetreOfMercury, 7.500_616_827, 0.0),
    ("%", Unit::Percent, 1.0, 0.0),
    ("/min", Unit::PerMinute, 1.0, 0.0),
    ("{beats}/min", Unit::PerMinute, 1.0, 0.0),
    ("{breaths}/min", Unit::PerMinute, 1.0, 0.0),
    ("Cel", Unit::Celsius, 1.0, 0.0),
    ("[degF]", Unit::Celsius, 5.0 / 9.0, -160.0 / 9.0),
    ("Ohm", Unit::Ohm, 1.0, 0.0),
    ("1", Unit::One, 1.0, 0.0),
    ("L/min", Unit::LitrePerMinute, 1.0, 0.0),
    ("mg/dL", Unit::MilligramPerDecilitre, 1.0, 0.0),
    ("mmol/L", Unit::MillimolePerLitre, 1.0, 0.0),
    ("meq/L", Unit::MilliequivalentPerLitre, 1.0, 0.0),
    ("g/dL", Unit::GramPerDecilitre, 1.0, 0.0),
    ("U/L", Unit::UnitPerLitre, 1.0, 0.0),
    ("ng/mL", Unit::NanogramPerMillilitre, 1.0, 0.0),
    ("10*3/uL", Unit::ThousandPerMicrolitre, 1.0, 0.0),
    ("a", Unit::Year, 1.0, 0.0),
    ("s", Unit::Second, 1.0, 0.0),
    ("ms", Unit::Millisecond, 1.0, 0.0),
    ("h", Unit::Hour, 1.0, 0.0),
    ("[g]", Unit::Gravity, 1.0, 0.0),
    ("/min/min", Unit::PerMinutePerMinute, 1.0, 0.0),
    ("mV2", Unit::MillivoltSquared, 1.0, 0.0),
    ("{score}", Unit::Score, 1.0, 0.0),
    ("{code}", Unit::Code, 1.0, 0.0),
];

impl Unit {
    /// The UCUM code of this unit.
    pub fn ucum(self) -> &'static str {
        UNITS.iter().find(|row| row.1 == self).map_or("1", |row| row.0)
    }

    /// The conversion for a UCUM code, if it is one of those accepted.
    ///
    /// ```
    /// use auscult_operators::signal::Unit;
    /// let f = Unit::from_ucum("[degF]").unwrap();
    /// assert_eq!(f.unit, Unit::Celsius);
    /// assert!((98.6 * f.factor + f.offset - 37.0).abs() < 1e-9);
    /// assert!(Unit::from_ucum("furlong").is_none());
    /// ```
    pub fn from_ucum(code: &str) -> Option<Conversion> {
        UNITS.iter().find(|row| row.0 == code).map(|row| Conversion {
            unit: row.1,
            factor: row.2,
            offset: row.3,
        })
    }
}
