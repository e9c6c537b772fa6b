//! What a model says of itself: `model.toml`, checked as a whole before anything is opened.
//! In: TOML text. Out: a manifest whose features exist, whose units are those of the engine and whose numbers are
//! sound, or every fault at once with its key, what was found, what was expected and a hint.

use std::fmt;

use auscult_operators::registry::OPERATORS;
use auscult_operators::signal::{ChannelId, Kind, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most inputs a model may have.
pub const MAX_INPUTS: usize = 256;

/// A model's manifest. All text is for people; everything else is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name in configuration and events: lower-case letters, digits, `_`.
    pub name: String,
    /// Version, as three numbers.
    pub version: String,
    /// One line.
    pub summary: String,
    /// Format of the weights.
    pub kind: ModelKind,
    /// Weights, a file beside the manifest; a logistic model has none, its weights stand with its inputs.
    #[serde(default)]
    pub file: String,
    /// sha256 of the weights, lower-case hexadecimal; of a logistic model that of its manifest, which is not stated.
    #[serde(default)]
    pub sha256: String,
    /// Version of the default ONNX operator set that the weights declare; ONNX only.
    #[serde(default)]
    pub opset: u32,
    /// What is added to the weighted inputs; logistic models only.
    #[serde(default)]
    pub bias: Option<f64>,
    /// Inputs in the order of the model's columns.
    pub inputs: Vec<Input>,
    /// Fewest inputs, not counting context such as age, that must be there for an answer.
    pub at_least: usize,
    /// Where the probability is in the model's outputs; ONNX only.
    #[serde(default)]
    pub output: Option<Output>,
    /// Correction of the probability, if it was fitted.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// Suggested thresholds, rising.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
    /// How far ahead the model looks, in hours.
    pub horizon_h: f64,
    /// The plain score or feature that the model must beat to be worth running.
    pub baseline: String,
    /// Event time between two evaluations of a patient, in seconds.
    #[serde(default = "default_every")]
    pub evaluate_every_s: u32,
    /// Whether each patient's evaluations are at seconds of its own, so that a house of thousands of beds is not
    /// evaluated all at once; otherwise they are at multiples of `evaluate_every_s` since 1970, for all patients.
    #[serde(default)]
    pub staggered: bool,
    /// What it is meant for, and what it is not.
    pub intended_use: String,
    /// What it was trained on.
    pub training_data: String,
    /// Licence of the weights and of the training data.
    pub licence: String,
    /// Known weaknesses.
    pub limits: String,
}

fn default_every() -> u32 {
    60
}

/// Format of a model's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// An ONNX graph with one float32 input `[N, columns]`.
    Onnx,
    /// Weights that stand in the manifest: `1 / (1 + exp(-(bias + sum of weight * transform(value))))`.
    Logistic,
}

impl ModelKind {
    /// As in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            ModelKind::Onnx => "onnx",
            ModelKind::Logistic => "logistic",
        }
    }
}

/// What is done to a value before it is weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Nothing.
    #[default]
    None,
    /// Natural logarithm of value and `epsilon`.
    Ln,
}

/// One input of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// A channel (its latest valid value) or a reading of an operator.
    pub feature: String,
    /// Further features that measure the same thing, as an arterial line and a cuff do: the most recent valid value of
    /// all is taken. The input is named after the first.
    #[serde(default)]
    pub or: Vec<String>,
    /// The channel that the reading must be of, for readings that an operator gives of several channels.
    #[serde(default)]
    pub channel: Option<String>,
    /// UCUM code of the unit that the model was trained in; must be the engine's unit of that feature.
    pub unit: String,
    /// What happens when the value is missing.
    pub missing: MissingPolicy,
    /// The value given to the model in place of a missing one; with `missing = "fill"` only.
    #[serde(default)]
    pub fill: Option<f64>,
    /// Adds a column after this one: 1 if the value was missing, else 0; with `missing = "fill"` only.
    #[serde(default)]
    pub flag: bool,
    /// An unremarkable value: contributions are told against it, and the model is tried on it when opened.
    pub reference: f64,
    /// A value older than this, in seconds, is missing, even if its channel would still hold it.
    #[serde(default)]
    pub max_age_s: Option<f64>,
    /// A value of lower quality (0 to 1) is missing.
    #[serde(default)]
    pub min_quality: f32,
    /// Weight of the transformed value; logistic models only.
    #[serde(default)]
    pub weight: Option<f64>,
    /// What is done to the value before it is weighted; logistic models only.
    #[serde(default)]
    pub transform: Transform,
    /// What is added to the value before the logarithm; with `transform = "ln"` only.
    #[serde(default)]
    pub epsilon: f64,
}

/// What happens when an input is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingPolicy {
    /// The model is told so (NaN): only for models trained with missing values.
    Absent,
    /// A fixed value stands in, with a flag if the model has a column for one.
    Fill,
    /// No answer without it.
    Refuse,
}

/// Where the probability is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Name of the output tensor, float32 `[N, columns]` or `[N]`.
    pub name: String,
    /// Column.
    pub index: usize,
    /// What the number is.
    pub kind: OutputKind,
}

/// What a model's output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// A probability, 0 to 1.
    Probability,
}

/// Platt scaling: `logit(p') = a * logit(p) + b`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Slope, greater than 0 so that the order of patients stays.
    pub a: f64,
    /// Offset.
    pub b: f64,
}

/// A threshold that the makers of the model suggest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Name.
    pub name: String,
    /// Probability from which on it is reached.
    pub probability: f64,
    /// What it costs and yields: how many are found, how many alarms are true.
    pub note: String,
}

/// One thing wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Key, as in `inputs[2].unit`.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub expected: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, expected {}", self.key, self.found, self.expected)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

/// A manifest that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{file}: {}", faults.iter().map(|f| f.to_string()).collect::<Vec<_>>().join("\n  "))]
pub struct ManifestError {
    /// File.
    pub file: String,
    /// Everything wrong with it.
    pub faults: Vec<Fault>,
}

/// UCUM code of the unit in which the engine gives a feature: a channel that is not a waveform, or a reading.
///
/// ```
/// use auscult_models::manifest::feature_unit;
/// assert_eq!(feature_unit("temperature"), Some("Cel"));
/// assert_eq!(feature_unit("ecg_ii"), None); // a waveform is not one number
/// ```
pub fn feature_unit(name: &str) -> Option<&'static str> {
    let channel = ChannelId::named(name).map(|c| c.row()).filter(|c| !c.kind.is_wave());
    let reading = || OPERATORS.iter().flat_map(|s| s.writes).find(|w| w.name == name).map(|w| w.unit);
    channel.map(|c| c.unit.ucum()).or_else(reading)
}

impl Input {
    /// The features that it may be taken from, the one it is named after first.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.feature).chain(&self.or).map(String::as_str)
    }
    /// Whether it is known of the patient rather than measured.
    pub fn is_context(&self) -> bool {
        ChannelId::named(&self.feature).is_some_and(|c| c.row().kind == Kind::Context)
    }
    /// How many columns of the model it fills.
    pub fn columns(&self) -> usize {
        1 + usize::from(self.flag)
    }
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`ManifestError`] with every fault found.
    ///
    /// ```
    /// use auscult_models::{Registry, manifest::Manifest};
    /// let text = Registry::shipped()[0].1.replace("\"mm[Hg]\"", "\"kPa\"");
    /// let e = Manifest::parse(&text, "model.toml").unwrap_err();
    /// assert_eq!(e.faults[0].key, "inputs[3].unit");
    /// assert!(e.to_string().contains("is \"kPa\", expected \"mm[Hg]\""));
    /// ```
    pub fn parse(text: &str, file: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(0, |s| text[..s.start.min(text.len())].lines().count().max(1));
            let found = e.message().lines().collect::<Vec<_>>().join(" ");
            let (key, hint) = (format!("line {line}"), "`auscult schema` prints every key".into());
            ManifestError {
                file: file.into(),
                faults: vec![Fault { key, found, expected: "a model manifest".into(), hint }],
            }
        })?;
        let faults = manifest.faults();
        if faults.is_empty() { Ok(manifest) } else { Err(ManifestError { file: file.into(), faults }) }
    }

    /// Columns of the model's input.
    pub fn columns(&self) -> usize {
        self.inputs.iter().map(Input::columns).sum()
    }

    /// Everything wrong with it.
    fn faults(&self) -> Vec<Fault> {
        let mut out = Faults::default();
        let word =
            |s: &str| !s.is_empty() && s.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        let hex = |s: &str| s.len() == 64 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let numbers = self.version.split('.').filter(|p| p.parse::<u32>().is_ok()).count();
        let three = numbers == 3 && self.version.split('.').count() == 3;
        // A plain name cannot lead out of the model's folder.
        let plain =
            !self.file.is_empty() && !self.file.starts_with('.') && !self.file.contains(['/', '\\', '\0']);

        out.check(word(&self.name), "name", &self.name, "lower-case letters, digits and _", "");
        out.check(three, "version", &self.version, "three numbers such as 1.0.0", "");
        if self.kind == ModelKind::Onnx {
            out.check(plain, "file", &self.file, "a plain file name", "put the file beside the manifest");
            let digits = "64 lower-case hexadecimal digits";
            out.check(hex(&self.sha256), "sha256", &self.sha256, digits, "use `sha256sum`");
            out.within(self.opset.into(), "opset", 7.0, 26.0);
            out.check(self.output.is_some(), "output", "none", "name, index and kind of the output", "");
        }
        out.check(word(&self.baseline), "baseline", &self.baseline, "the name of a score or feature", "");
        out.within(self.horizon_h, "horizon_h", 0.01, 8784.0);
        out.within(self.evaluate_every_s.into(), "evaluate_every_s", 1.0, 86_400.0);
        out.within(self.inputs.len() as f64, "the number of inputs", 1.0, MAX_INPUTS as f64);
        let measured = self.inputs.iter().filter(|i| !i.is_context()).count();
        out.within(self.at_least as f64, "at_least", 0.0, measured as f64);
        for (key, text) in [
            ("summary", &self.summary),
            ("intended_use", &self.intended_use),
            ("training_data", &self.training_data),
            ("licence", &self.licence),
            ("limits", &self.limits),
        ] {
            out.check(!text.trim().is_empty(), key, text, "a text", "a model without it must not be run");
        }
        if let Some(c) = self.calibration {
            out.within(c.a, "calibration.a", 0.01, 100.0);
            out.within(c.b, "calibration.b", -50.0, 50.0);
        }
        self.input_faults(&mut out);
        self.weight_faults(&mut out);
        self.threshold_faults(&mut out);
        out.0
    }

    fn input_faults(&self, out: &mut Faults) {
        for (i, input) in self.inputs.iter().enumerate() {
            let key = |name: &str| format!("inputs[{i}].{name}");
            let fill = input.missing == MissingPolicy::Fill;
            for (n, feature) in input.features().enumerate() {
                let key = if n == 0 { key("feature") } else { key("or") };
                let others = self.inputs[..i].iter().filter(|o| o.channel == input.channel);
                let before = others.flat_map(Input::features).chain(input.features().take(n));
                out.check(before.into_iter().all(|f| f != feature), &key, feature, "each feature once", "");
                let Some(unit) = feature_unit(feature) else {
                    out.check(false, &key, feature, "the name of a channel or reading", &meant(feature));
                    continue;
                };
                let hint = format!("the engine gives {feature} in that unit; train the model in it");
                let same = same_unit(&input.unit, unit);
                out.check(same, &format!("inputs[{i}].unit"), &input.unit, &format!("{unit:?}"), &hint);
            }
            out.check(
                fill == input.fill.is_some_and(f64::is_finite) && fill >= input.fill.is_some(),
                &key("fill"),
                &input.fill.map_or("none".into(), |v| v.to_string()),
                if fill { "a number" } else { "nothing" },
                "fill belongs to missing = \"fill\"",
            );
            let hint = "flag belongs to missing = \"fill\"";
            out.check(fill || !input.flag, &key("flag"), "true", "nothing", hint);
            if let Some(channel) = &input.channel {
                let wave = ChannelId::named(channel).is_some_and(|c| c.row().kind.is_wave());
                let reading = ChannelId::named(&input.feature).is_none();
                let hint = "a feature that is a channel itself has none";
                out.check(wave && reading, &key("channel"), channel, "the waveform of a reading", hint);
            }
            let limits = ChannelId::named(&input.feature).map_or((-1e9, 1e9), |c| c.row().plausible);
            out.within(input.reference, &key("reference"), limits.0, limits.1);
            if let Some(age) = input.max_age_s {
                out.within(age, &key("max_age_s"), 1.0, 31_557_600.0);
            }
            out.within(input.min_quality.into(), &key("min_quality"), 0.0, 1.0);
        }
    }

    /// Weights stand in the manifest of a logistic model, and in no other.
    fn weight_faults(&self, out: &mut Faults) {
        let logistic = self.kind == ModelKind::Logistic;
        let expected = if logistic { "a number" } else { "nothing" };
        let mut number = |key: &str, found: Option<f64>| {
            let good = found.is_some() == logistic && found.is_none_or(f64::is_finite);
            let shown = found.map_or("none".into(), |v| v.to_string());
            out.check(good, key, &shown, expected, "weights and bias belong to kind = \"logistic\"");
        };
        number("bias", self.bias);
        for (i, input) in self.inputs.iter().enumerate() {
            number(&format!("inputs[{i}].weight"), input.weight);
        }
        for (key, there) in [
            ("file", !self.file.is_empty()),
            ("opset", self.opset != 0),
            ("output", self.output.is_some()),
            ("inputs.missing", self.inputs.iter().any(|i| i.missing == MissingPolicy::Absent)),
            ("inputs.flag", self.inputs.iter().any(|i| i.flag)),
        ] {
            let hint = "a logistic model has no file, and each input is there, filled or required";
            out.check(!(logistic && there), key, "there", "nothing", hint);
        }
        for (i, input) in self.inputs.iter().enumerate() {
            let ln = input.transform == Transform::Ln;
            let good = logistic && ln && input.epsilon.is_finite() && input.epsilon >= 0.0;
            let none = !ln && input.epsilon == 0.0;
            let (key, found) = (format!("inputs[{i}].transform"), format!("{:?}", input.transform));
            let hint = "transform belongs to kind = \"logistic\", epsilon to transform = \"ln\"";
            out.check(good || none, &key, &found, "ln with an epsilon of at least 0, or neither", hint);
        }
    }

    fn threshold_faults(&self, out: &mut Faults) {
        let mut before = 0.0;
        for (i, t) in self.thresholds.iter().enumerate() {
            let rises = t.probability > before && t.probability < 1.0;
            let expected = format!("more than {before} and less than 1");
            out.check(
                rises,
                &format!("thresholds[{i}].probability"),
                &t.probability.to_string(),
                &expected,
                "",
            );
            before = t.probability;
        }
    }
}

/// A hint at the feature that somebody may have meant.
fn meant(name: &str) -> String {
    let channel = ChannelId::from_label(name).map(|c| c.row()).filter(|c| !c.kind.is_wave());
    channel.map_or("`auscult list` shows them".into(), |c| format!("did you mean {}", c.name))
}

/// The same unit under this code or another: `{beats}/min` and `/min` are, `kPa` and `mm[Hg]` are not.
fn same_unit(found: &str, expected: &str) -> bool {
    match (Unit::from_ucum(found), Unit::from_ucum(expected)) {
        (Some(a), Some(b)) => a == b,
        _ => found == expected,
    }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn check(&mut self, good: bool, key: &str, found: &str, expected: &str, hint: &str) {
        if !good {
            let found = if found.parse::<f64>().is_ok() { found.into() } else { format!("{found:?}") };
            self.0.push(Fault { key: key.into(), found, expected: expected.into(), hint: hint.into() });
        }
    }
    fn within(&mut self, found: f64, key: &str, min: f64, max: f64) {
        let expected = format!("{min} to {max}");
        self.check(found >= min && found <= max, key, &found.to_string(), &expected, "");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at once")]
mod tests {
    use super::*;
    use crate::Registry;

    fn parse_with(from: &str, to: &str) -> Result<Manifest, ManifestError> {
        let text = &Registry::shipped()[0].1;
        assert!(text.contains(from), "{from:?} is not in the shipped manifest");
        Manifest::parse(&text.replacen(from, to, 1), "m/model.toml")
    }

    #[test]
    fn each_fault_is_told_with_key_and_hint() {
        for (from, to, expected) in [
            ("name = \"sepsis", "name = \"Sepsis", "name is \"Sepsis_vitals\", expected lower-case"),
            (
                "file = \"model.onnx\"",
                "file = \"../model.onnx\"",
                "file is \"../model.onnx\", expected a plain file",
            ),
            (
                "feature = \"heart_rate\"",
                "feature = \"HR\"",
                "\"HR\", expected the name of a channel or reading; did you mean heart_rate",
            ),
            ("feature = \"heart_rate\"", "feature = \"ecg_ii\"", "inputs[0].feature is \"ecg_ii\""),
            (
                "feature = \"spo2\"",
                "feature = \"heart_rate\"",
                "inputs[1].feature is \"heart_rate\", expected each feature once",
            ),
            ("unit = \"Cel\"", "unit = \"[degF]\"", "inputs[2].unit is \"[degF]\", expected \"Cel\""),
            (
                "or = [\"pulse_rate\"]",
                "or = [\"pulse_rate\", \"heart_rate\"]",
                "inputs[0].or is \"heart_rate\", expected each feature once",
            ),
            (
                "or = [\"pulse_rate\"]",
                "or = [\"etco2\"]",
                "inputs[0].unit is \"/min\", expected \"mm[Hg]\"; the engine gives etco2",
            ),
            (
                "or = [\"pulse_rate\"]",
                "or = [\"PULSE\"]",
                "inputs[0].or is \"PULSE\", expected the name of a channel or reading; did you mean pulse_rate",
            ),
            ("unit = \"Cel\"", "unit = \"furlong\"", "inputs[2].unit is \"furlong\""),
            ("reference = 84", "reference = 840", "inputs[0].reference is 840, expected 0 to 350"),
            ("reference = 84", "reference = nan", "inputs[0].reference is NaN"),
            ("missing = \"absent\"", "missing = \"fill\"", "inputs[0].fill is \"none\", expected a number"),
            (
                "missing = \"absent\"",
                "missing = \"absent\"\nfill = 1.0",
                "inputs[0].fill is 1, expected nothing",
            ),
            ("missing = \"absent\"", "missing = \"absent\"\nflag = true", "inputs[0].flag is \"true\""),
            ("missing = \"absent\"", "missing = \"zero\"", "unknown variant `zero`"),
            ("at_least = 3", "at_least = 7", "at_least is 7, expected 0 to 6"),
            ("horizon_h = 6", "horizon_h = 0", "horizon_h is 0"),
            ("baseline = \"news2\"", "baseline = \"\"", "baseline is \"\""),
            ("baseline = \"news2\"", "", "missing field `baseline`"),
            (
                "probability = 0.06",
                "probability = 0.03",
                "thresholds[1].probability is 0.03, expected more than 0.03",
            ),
            ("opset = 17", "opset = 17\ncolour = \"red\"", "unknown field `colour`"),
        ] {
            let message = parse_with(from, to).expect_err(to).to_string();
            assert!(message.starts_with("m/model.toml: ") && message.contains(expected), "{to}: {message}");
        }
    }

    #[test]
    fn all_faults_come_at_once_and_spellings_of_a_unit_are_one_unit() {
        let two = parse_with("feature = \"heart_rate\"", "feature = \"x\"\nflag = true");
        assert_eq!(two.unwrap_err().faults.len(), 2);
        assert!(parse_with("unit = \"/min\"", "unit = \"{beats}/min\"").is_ok());
        assert!(parse_with("missing = \"absent\"", "missing = \"fill\"\nfill = 80.0\nflag = true").is_ok());
    }
}
