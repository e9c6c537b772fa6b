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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at once")]
mod tests {
    use auscult_operators::signal::Missing;

    use crate::manifest::Manifest;
    use crate::registry::{ModelError, Package};
    use crate::{Outcome, Predictor, Row};

    const TEXT: &str = r#"
name = "made_up"
version = "1.0.0"
summary = "made up"
kind = "logistic"
bias = -0.5
at_least = 1
horizon_h = 1
baseline = "heart_rate"
intended_use = "tests"
training_data = "none"
licence = "Apache-2.0"
limits = "made up"

[[inputs]]
feature = "heart_rate"
unit = "/min"
missing = "refuse"
reference = 80
weight = 0.25
transform = "ln"
epsilon = 1.0

[[inputs]]
feature = "spo2"
unit = "%"
missing = "fill"
fill = 98
reference = 98
weight = -0.01
"#;

    fn package(from: &str, to: &str) -> Result<Package, ModelError> {
        assert!(TEXT.contains(from), "{from}");
        let text = TEXT.replacen(from, to, 1);
        Package::new(Manifest::parse(&text, "made_up/model.toml")?, text.into_bytes(), "")
    }

    #[test]
    fn a_probability_is_that_of_the_formula_and_not_rounded() {
        let mut model = package("made_up", "made_up").unwrap().open(None).unwrap();
        assert_eq!(model.identity().runtime, "built in");
        assert_eq!(model.identity().sha256.len(), 64, "of the manifest");
        for (spo2, used) in [(Ok(91.5), 91.5), (Err(Missing::Stale), 98.0)] {
            let outcome = model.predict(&[Row { inputs: vec![Ok(119.0), spo2] }]).remove(0);
            let Outcome::Probability(p) = outcome else { panic!("{outcome:?}") };
            let z: f64 = 0.25 * 120f64.ln() - 0.01 * used - 0.5;
            assert!((p.value - 1.0 / (1.0 + (-z).exp())).abs() < 1e-15, "{}", p.value);
            assert_ne!(p.value, (p.value * 1e4).round() / 1e4);
        }
        let outcome = model.predict(&[Row { inputs: vec![Err(Missing::NoData), Ok(98.0)] }]).remove(0);
        assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    }

    #[test]
    fn another_text_is_another_model() {
        let sha = |from, to| package(from, to).unwrap().manifest.sha256;
        assert_ne!(sha("-0.5", "-0.5"), sha("-0.5", "-0.6"));
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        for (from, to, expected) in [
            ("bias = -0.5", "", "bias is \"none\", expected a number"),
            ("bias = -0.5", "bias = nan", "bias is NaN, expected a number"),
            ("weight = 0.25", "", "inputs[0].weight is \"none\", expected a number"),
            ("epsilon = 1.0", "epsilon = -1.0", "inputs[0].transform is \"Ln\""),
            ("transform = \"ln\"", "", "inputs[0].transform is \"None\", expected ln with an epsilon"),
            ("missing = \"refuse\"", "missing = \"absent\"", "inputs.missing is \"there\", expected nothing"),
            ("bias = -0.5", "bias = -0.5\nopset = 17", "opset is \"there\", expected nothing"),
            ("kind = \"logistic\"", "kind = \"onnx\"", "bias is -0.5, expected nothing"),
            ("unit = \"%\"", "unit = \"%\"\nchannel = \"ecg_ii\"", "inputs[1].channel is \"ecg_ii\""),
        ] {
            let found = package(from, to).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(found.contains(expected), "{to}: {found}");
        }
    }
}
