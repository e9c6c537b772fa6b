//! Logistic models: weights that stand in the manifest, for models that need no runtime.
//! In: one value per input. Out: the logistic function of their weighted, transformed sum, in double precision and one
//! order, so that a row gives the same bits on every machine.

use crate::manifest::{Manifest, Transform};
use crate::predict::{Failure, Network};

/// As it stands in events.
pub const RUNTIME: &str = "built in";

/// One input's part of the sum.
#[derive(Clone, Copy, Debug)]
struct Term {
    weight: f64,
    transform: Transform,
    epsilon: f64,
}

/// The weights of a manifest.
#[derive(Clone, Debug)]
pub struct Logistic {
    bias: f64,
    terms: Vec<Term>,
}

impl Logistic {
    /// The weights that the manifest states.
    pub fn new(manifest: &Manifest) -> Self {
        let term = |i: &crate::manifest::Input| Term {
            weight: i.weight.unwrap_or(0.0),
            transform: i.transform,
            epsilon: i.epsilon,
        };
        Self { bias: manifest.bias.unwrap_or(0.0), terms: manifest.inputs.iter().map(term).collect() }
    }
}

impl Network for Logistic {
    fn run(&mut self, columns: &[f64]) -> Result<f64, Failure> {
        if columns.len() != self.terms.len() {
            return Err(Failure::Row { found: columns.len(), expected: self.terms.len() });
        }
        let mut z = 0.0;
        for (t, value) in self.terms.iter().zip(columns) {
            z += t.weight
                * match t.transform {
                    Transform::None => *value,
                    Transform::Ln => libm::log(value + t.epsilon),
                };
        }
        Ok(1.0 / (1.0 + libm::exp(-(z + self.bias))))
    }

    fn is_exact(&self) -> bool {
        true
    }
}
