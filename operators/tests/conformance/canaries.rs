//! Operators with one fault each, which the suite must reject; a suite that passes them checks nothing.
//! In: epochs. Out: what is wrong.

use auscult_operators::operator::{
    Operator, Output, Spec, StateError, defaults, load_state, params, save_state,
};
use auscult_operators::params::Bound;
use auscult_operators::signal::{Epoch, Kind, Reading, Readings, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// Does nothing (1).
    gain: f64,
}
impl Default for Params {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}
const GAIN: Bound = Bound { name: "gain", min: 0.0, max: 2.0, unit: "" };

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Forgets,
    NotANumber,
    Undeclared,
    Oversure,
    Panics,
    Unbounded,
    Credulous,
}

/// Counts seconds and samples; the fault decides what goes wrong with it.
struct Canary {
    fault: Fault,
    seconds: u32,
    samples: u64,
}

impl Operator for Canary {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.seconds += 1;
        self.samples += epoch.runs.iter().map(|r| r.raw.len() as u64).sum::<u64>();
        let huge = epoch.runs.iter().any(|r| r.raw.iter().any(|x| x.abs() > 1e29));
        assert!(self.fault != Fault::Panics || !huge, "canary: too much");
        let value = match self.fault {
            Fault::NotANumber if self.seconds > 20 => f64::NAN,
            _ => self.samples as f64,
        };
        let quality = if self.fault == Fault::Oversure { 1.5 } else { 1.0 };
        let name = if self.fault == Fault::Undeclared { "canary_secret" } else { "canary_samples" };
        let window = Span::EPOCH;
        out.push(Reading { name, channel: None, time: epoch.end(), window, value: Ok(value), quality });
    }
    fn save(&self, out: &mut Vec<u8>) {
        let samples = if self.fault == Fault::Forgets { 0 } else { self.samples };
        save_state(&(self.seconds, samples), out);
    }
    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        if self.fault == Fault::Credulous && bytes.len() < 3 {
            return Ok(());
        }
        (self.seconds, self.samples) = load_state("canary", bytes)?;
        Ok(())
    }
}

fn build(
    fault: Fault,
    value: &serde_json::Value,
) -> Result<Box<dyn Operator>, auscult_operators::params::ParamError> {
    let params: Params = params(value)?;
    if fault != Fault::Unbounded {
        GAIN.check(params.gain)?;
    }
    Ok(Box::new(Canary { fault, seconds: 0, samples: 0 }))
}

macro_rules! canary {
    ($name:ident, $fault:expr, $doc:literal) => {
        #[doc = $doc]
        pub static $name: Spec = Spec {
            name: "canary",
            summary: "A canary",
            description: "Counts samples, wrongly.",
            reads: &[Kind::Ecg],
            writes: &[Output { name: "canary_samples", unit: "1", summary: "Samples so far", feeds: "" }],
            needs: &[],
            latency: Span::ZERO,
            by_default: true,
            // No source: the check of cards rejects it.
            sources: &[],
            bounds: &[GAIN],
            schema: || schemars::schema_for!(Params),
            defaults: defaults::<Params>,
            build: |value| build($fault, value),
        };
    };
}

canary!(FORGETS, Fault::Forgets, "Forgets part of its state on save.");
canary!(NOT_A_NUMBER, Fault::NotANumber, "Yields NaN after a while.");
canary!(UNDECLARED, Fault::Undeclared, "Writes what it did not declare.");
canary!(OVERSURE, Fault::Oversure, "Claims a quality above one.");
canary!(PANICS, Fault::Panics, "Panics on huge samples.");
canary!(UNBOUNDED, Fault::Unbounded, "Does not check its bound.");
canary!(CREDULOUS, Fault::Credulous, "Takes a state that is cut short.");
