//! What an operator is: three methods and a hint, and a card.
//! In: sealed epochs of one patient, in order. Out: readings and beats; state that can be saved and loaded anywhere.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::filter::dispatch::Far;
use crate::params::{Bound, ParamError};
use crate::signal::{Epoch, EventTime, Kind, Readings, Span};

/// A causal computation over the epochs of one patient. It reads no clock, does no I/O and cannot fail: what it
/// cannot answer is a reading with the reason why.
///
/// Operators run in graph order: `out` already holds what earlier operators said of this epoch.
pub trait Operator: Send {
    /// Takes in one epoch. Epochs come in order; a silent second comes as an epoch without runs.
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings);
    /// Notes where the memory lies that [`Operator::apply`] will read of an epoch that ends at `next`, beside the
    /// operator itself. It is asked for shortly before; what is not noted must be waited for. Changes nothing but time.
    fn far(&self, _next: EventTime, _to: &mut Far) {}
    /// Appends the whole state, so that an operator of the same parameters that loads it goes on with the same bits.
    fn save(&self, out: &mut Vec<u8>);
    /// Takes over a saved state.
    ///
    /// # Errors
    /// [`StateError`] if the bytes are not a state of this operator; the operator is then unchanged.
    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError>;
}

/// A saved state that cannot be read.
#[derive(Debug, Error)]
#[error("state of operator {operator} is not readable: {reason}")]
pub struct StateError {
    /// Whose state.
    pub operator: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// One output of an operator.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Name of the reading.
    pub name: &'static str,
    /// UCUM code of its unit.
    pub unit: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// The quantity (a channel name) that this reading feeds as a derived value, empty if none.
    pub feeds: &'static str,
}

impl Output {
    /// An output that feeds no quantity.
    pub const fn new(name: &'static str, unit: &'static str, summary: &'static str) -> Self {
        Self { name, unit, summary, feeds: "" }
    }
}

/// The card of an operator: all that configuration, documents and tests need to know.
pub struct Spec {
    /// Name in configuration; name of the file and of the page.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// How it works, its limits, and where it differs from its sources.
    pub description: &'static str,
    /// Kinds of channel it reads; empty if it reads only earlier readings or values.
    pub reads: &'static [Kind],
    /// Everything it can write.
    pub writes: &'static [Output],
    /// Earlier operators without whose beats or readings it says nothing, by name.
    pub needs: &'static [&'static str],
    /// The longest time between a sample and the reading that it first shows in, beyond its epoch.
    pub latency: Span,
    /// Whether it runs unless it is left out; the others run where they are asked for by name.
    pub by_default: bool,
    /// Papers, standards, tables.
    pub sources: &'static [&'static str],
    /// Bounds of its parameters.
    pub bounds: &'static [Bound],
    /// JSON Schema of its parameters.
    pub schema: fn() -> schemars::Schema,
    /// Its parameters by default.
    pub defaults: fn() -> serde_json::Value,
    /// Makes one for one patient.
    pub build: fn(&serde_json::Value) -> Result<Box<dyn Operator>, ParamError>,
}

/// Reads parameters from configuration; used by every [`Spec::build`].
///
/// # Errors
/// [`ParamError::Shape`] for unknown keys and wrong types.
pub fn params<P: DeserializeOwned>(value: &serde_json::Value) -> Result<P, ParamError> {
    serde_json::from_value(value.clone()).map_err(|e| ParamError::Shape(e.to_string()))
}

/// Default parameters as configuration shows them; used by every [`Spec::defaults`].
pub fn defaults<P: Default + Serialize>() -> serde_json::Value {
    serde_json::to_value(P::default()).unwrap_or_default()
}

/// Appends a state; used by every [`Operator::save`].
pub fn save_state<S: Serialize>(state: &S, out: &mut Vec<u8>) {
    if let Ok(bytes) = postcard::to_stdvec(state) {
        out.extend_from_slice(&bytes);
    }
}

/// Reads a state; used by every [`Operator::load`].
///
/// # Errors
/// [`StateError`] if the bytes are cut, too many, or of another shape.
pub fn load_state<S: DeserializeOwned>(operator: &'static str, bytes: &[u8]) -> Result<S, StateError> {
    match postcard::take_from_bytes(bytes) {
        Ok((state, [])) => Ok(state),
        Ok((_, rest)) => Err(StateError { operator, reason: format!("{} bytes too many", rest.len()) }),
        Err(e) => Err(StateError { operator, reason: e.to_string() }),
    }
}
