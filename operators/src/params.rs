//! Bounds of parameters: one constant that the check, the message and the page all read.
//! In: a value. Out: the value, or an error that names the parameter, the value, the bound and the unit.

use thiserror::Error;

/// The range a parameter may take, both ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Key in the configuration.
    pub name: &'static str,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Unit, empty if none.
    pub unit: &'static str,
}

/// A parameter that cannot be used.
#[derive(Debug, Error, PartialEq)]
pub enum ParamError {
    /// Outside its bound.
    #[error("{name} is {found}, outside {min}..={max} {unit}")]
    Outside {
        /// Key.
        name: &'static str,
        /// Value found.
        found: f64,
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
        /// Unit.
        unit: &'static str,
    },
    /// Not the shape that was expected: unknown key, wrong type.
    #[error("{0}")]
    Shape(String),
}

impl Bound {
    /// Lets a value inside the bound through.
    ///
    /// # Errors
    /// [`ParamError::Outside`] otherwise, also for NaN.
    ///
    /// ```
    /// use auscult_operators::params::Bound;
    /// const SPAN: Bound = Bound { name: "span_s", min: 1.0, max: 3600.0, unit: "s" };
    /// assert_eq!(SPAN.check(10.0), Ok(10.0));
    /// assert_eq!(SPAN.check(0.2).unwrap_err().to_string(), "span_s is 0.2, outside 1..=3600 s");
    /// ```
    pub fn check(&self, found: f64) -> Result<f64, ParamError> {
        if found >= self.min && found <= self.max {
            return Ok(found);
        }
        let Bound { name, min, max, unit } = *self;
        Err(ParamError::Outside { name, found, min, max, unit })
    }
}
