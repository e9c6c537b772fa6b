//! What is read from the configuration file.
//! In: TOML. Out: [`Config`], every key known and of the right type; [`crate::check`] turns it into a plan.

use std::collections::BTreeMap;

use auscult_models::predict::DRIVERS;
use auscult_operators::filter::Conditioning;
use auscult_operators::operator::Spec;
use auscult_operators::score;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::risk::{Category, Harm, Onset};

/// The configuration file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The broker and its topics.
    pub kafka: Kafka,
    /// Event time: lateness and silence.
    pub input: Input,
    /// What is computed.
    pub pipeline: Pipeline,
    /// Conditioning filters of the waveforms.
    pub conditioning: Conditioning,
    /// Parameters of operators, by name.
    pub operators: BTreeMap<String, Value>,
    /// Parameters of scores.
    pub scores: BTreeMap<String, score::Params>,
    /// Models.
    pub models: Models,
    /// Rules. Giving any replaces the shipped ones.
    pub rules: Vec<RuleConfig>,
    /// The Parquet archive.
    pub archive: Archive,
    /// Snapshots for recovery.
    pub state: State,
    /// Dashboard, metrics and health.
    pub http: Http,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            input: Input::default(),
            pipeline: Pipeline::default(),
            conditioning: Conditioning::default(),
            operators: BTreeMap::new(),
            scores: BTreeMap::new(),
            models: Models::default(),
            rules: default_rules(),
            archive: Archive::default(),
            state: State::default(),
            http: Http::default(),
        }
    }
}

/// The broker and its topics.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// Bootstrap servers, separated by commas.
    pub brokers: String,
    /// Consumer group.
    pub group: String,
    /// Name of this instance: stable across restarts, different for each process of the group.
    pub instance: String,
    /// Prefix of every topic.
    pub prefix: String,
    /// Topic of the frames, without the prefix.
    pub frames: String,
    /// Create topics that are missing.
    pub create_topics: bool,
    /// Partitions of topics that are created.
    pub partitions: i32,
    /// Replication factor of topics that are created.
    pub replication: i32,
    /// Longest time between two transactions, in milliseconds.
    pub commit_ms: u64,
    /// An instance that says nothing for this long is taken for dead and its partitions are given to others, in
    /// milliseconds. A restart within it moves nothing. Brokers take none below 6,000 unless their
    /// `group.min.session.timeout.ms` says so; where they refuse a shorter one, that is logged and 6,000 is used.
    pub session_timeout_ms: u64,
    /// Give the partitions up at once when told to stop, instead of keeping them for a restart within the session.
    pub leave_on_stop: bool,
    /// Let time pass in idle partitions by appending ticks to the frames topic.
    pub ticks: bool,
    /// Any key of librdkafka but those that Auscult must set itself, for TLS, SASL and tuning. A value `env:NAME` or
    /// `file:PATH` is read from there.
    pub properties: BTreeMap<String, String>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            group: "auscult".into(),
            instance: "auscult-1".into(),
            prefix: "auscult.".into(),
            frames: "frames".into(),
            create_topics: false,
            partitions: 4,
            replication: 1,
            commit_ms: 50,
            session_timeout_ms: 6_000,
            leave_on_stop: false,
            ticks: true,
            properties: BTreeMap::new(),
        }
    }
}

/// Event time: lateness and silence.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// How far a frame may lag behind the patient's newest event time, in seconds.
    pub lateness_s: f64,
    /// Broker time without a frame of the patient after which what has arrived is computed, in seconds.
    pub quiet_s: f64,
    /// Broker time without a frame of the patient after which it counts as silent, in seconds.
    pub silent_s: f64,
    /// Records are not frames but plain 16-bit counts of one channel each, see `docs/inputs.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

/// Records of plain counts: what key and counts mean.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// What stands between patient and channel in the key: everything before its last occurrence is the patient.
    #[serde(default = "default_separator")]
    pub separator: String,
    /// Event time from one record of a channel to the next, in seconds: of two records that begin in the same such
    /// stretch the second counts as a duplicate.
    #[serde(default = "default_every")]
    pub every_s: f64,
    /// Channels by their name in the key. Records of others go to the dead-letter topic.
    pub channels: BTreeMap<String, CountsChannel>,
}

/// One channel of plain counts: value = count * scale + offset.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountsChannel {
    /// Name in the channel table.
    pub channel: String,
    /// Value of one count, in the channel's unit.
    pub scale: f64,
    /// Value of count zero.
    #[serde(default)]
    pub offset: f64,
    /// The count that means "no sample", if there is one.
    #[serde(default)]
    pub missing: Option<i16>,
}

fn default_separator() -> String {
    "/".into()
}

fn default_every() -> f64 {
    1.0
}

impl Default for Input {
    fn default() -> Self {
        Self { lateness_s: 2.0, quiet_s: 5.0, silent_s: 10.0, counts: None }
    }
}

/// What is computed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pipeline {
    /// Operators and scores left out, by name.
    pub disabled: Vec<String>,
    /// Operators that run besides the usual ones, by name.
    pub enabled: Vec<String>,
    /// Publish features to the features topic.
    pub features: bool,
}

impl Pipeline {
    /// Whether an operator is asked for.
    pub fn runs(&self, operator: &Spec) -> bool {
        let named = |list: &[String]| list.iter().any(|n| n == operator.name);
        !named(&self.disabled) && (operator.by_default || named(&self.enabled))
    }
}

/// Models.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Models to run, by name: shipped ones, and those in `folder`.
    pub run: Vec<String>,
    /// Folder of the hospital's own models: one folder each, holding a `model.toml`.
    pub folder: Option<String>,
    /// Most drivers that are told with a probability, 0 to 5: which inputs moved it. Each input costs one more run.
    pub drivers: usize,
    /// The ONNX Runtime library. Without it, it is looked for.
    pub onnxruntime: Option<String>,
}

impl Default for Models {
    fn default() -> Self {
        Self { run: vec!["sepsis_vitals".into()], folder: None, drivers: DRIVERS, onnxruntime: None }
    }
}

/// One rule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Name, unique.
    pub name: String,
    /// Kind of rule, see `auscult list rules`.
    pub kind: String,
    /// What may come of the condition if nobody responds.
    pub harm: Harm,
    /// How soon.
    pub onset: Onset,
    /// What it speaks of.
    pub category: Category,
    /// The condition must hold this long before the alert starts, in seconds.
    #[serde(default)]
    pub for_s: f64,
    /// The condition must be gone this long before the alert ends, in seconds.
    #[serde(default = "default_keep")]
    pub keep_for_s: f64,
    /// Keep the alert until acknowledged.
    #[serde(default)]
    pub latch: bool,
    /// Parameters of the kind.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
}

fn default_keep() -> f64 {
    10.0
}

/// The Parquet archive.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Archive {
    /// Root folder; without it nothing is archived.
    pub dir: Option<String>,
    /// Files end once in so many seconds of the partition's time, each partition's at a moment of its own.
    pub roll_s: f64,
}

impl Default for Archive {
    fn default() -> Self {
        Self { dir: None, roll_s: 60.0 }
    }
}

/// Snapshots for recovery.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// Each patient that has changed is written to the state topic about this often, in seconds of partition time.
    pub every_s: f64,
    /// Folder in which starts are written down, against crash loops. By default that which systemd gives
    /// (`STATE_DIRECTORY`), else none.
    pub dir: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self { every_s: 60.0, dir: None }
    }
}

/// Dashboard, metrics and health.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port; loopback only.
    pub listen: String,
    /// Serve the live ward view.
    pub live: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8642".into(), live: true }
    }
}

/// The shipped rules.
pub fn default_rules() -> Vec<RuleConfig> {
    use Category::{Physiological, Technical};
    use Harm::{Death, Minor, Reversible};
    use Onset::{Delayed, Prompt};
    let news2 = &[("score", text("news2")), ("level", text("medium"))];
    let sepsis = &[("model", text("sepsis_vitals"))];
    let mut rules = vec![rule("news2", "score_level", (Death, Delayed), Physiological, 5.0, news2)];
    rules.extend(heart_rules());
    rules.extend([
        rule("signal_lost", "signal_lost", (Reversible, Delayed), Technical, 0.0, &[]),
        rule("source_silent", "source_silent", (Reversible, Prompt), Technical, 0.0, &[]),
        rule("sepsis_risk", "model_probability", (Death, Delayed), Physiological, 0.0, sepsis),
        rule("model_failed", "model_failed", (Minor, Prompt), Technical, 0.0, &[]),
    ]);
    rules
}

/// How long a heart rate must be beyond its limit. The rate is a median of eight intervals, so that single beats do not
/// move it; this is against artefacts of some seconds. With the three seconds that a slow beat takes the detector, the
/// epoch and the default lateness it makes ten in all, which an alarm of high priority should not exceed.
const HEART_RATE_FOR_S: f64 = 4.0;

fn heart_rules() -> [RuleConfig; 3] {
    let rule = |name, for_s, params: &[(&str, Value)]| {
        rule(name, "threshold", (Harm::Death, Onset::Prompt), Category::Physiological, for_s, params)
    };
    [
        rule(
            "heart_rate_high",
            HEART_RATE_FOR_S,
            &[
                ("input", text("heart_rate")),
                ("above", number(150.0)),
                ("clear", number(140.0)),
                ("label", text("heart rate")),
                ("event", text("ecg.extreme_tachycardia")),
            ],
        ),
        rule(
            "heart_rate_low",
            HEART_RATE_FOR_S,
            &[
                ("input", text("heart_rate")),
                ("below", number(40.0)),
                ("clear", number(45.0)),
                ("label", text("heart rate")),
                ("event", text("ecg.extreme_bradycardia")),
            ],
        ),
        rule(
            "asystole",
            0.0,
            &[
                ("input", text("since_last_qrs")),
                ("above", number(4.0)),
                ("label", text("no heartbeat in the ECG for")),
                ("event", text("ecg.asystole")),
            ],
        ),
    ]
}

fn number(n: f64) -> Value {
    n.into()
}

fn text(t: &str) -> Value {
    t.into()
}

fn rule(
    name: &str,
    kind: &str,
    (harm, onset): (Harm, Onset),
    category: Category,
    for_s: f64,
    params: &[(&str, Value)],
) -> RuleConfig {
    RuleConfig {
        name: name.into(),
        kind: kind.into(),
        harm,
        onset,
        category,
        for_s,
        keep_for_s: default_keep(),
        latch: false,
        params: params.iter().map(|(k, v)| ((*k).to_string(), v.clone())).collect(),
    }
}
