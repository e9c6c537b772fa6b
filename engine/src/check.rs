//! From what is read to what runs: the only way from [`Config`] to [`Plan`].
//! In: the text of a configuration file. Out: a plan, or every fault at once with line, column, key and hint.

mod inputs;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use auscult_models::predict::DRIVERS;
use auscult_models::{Registry, Runtime, Search};
use auscult_operators::params::Bound;
use auscult_operators::signal::Span;
use auscult_operators::{registry, score};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::{Config, RuleConfig};
use crate::decode::{CountsForm, Form};
use crate::infer::PlannedModel;
use crate::plan::{BUILD, Plan};
use crate::risk::{self, Priority, Rule};
use crate::source::kafka;

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// File.
    pub file: String,
    /// Line, from 1; 0 if the key is not in the file.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Key path, such as `rules[0].params.above`.
    pub key: String,
    /// What was found and what was expected.
    pub reason: String,
    /// What to do, if that is not plain.
    pub hint: String,
}

/// Every fault of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Faults {
    /// In the order of the checks.
    pub list: Vec<Fault>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, key, reason, hint } = self;
        match line {
            0 => write!(f, "{file}: {key}: {reason}")?,
            _ => write!(f, "{file}:{line}:{column}: {key}: {reason}")?,
        }
        if hint.is_empty() { Ok(()) } else { write!(f, "\n  hint: {hint}") }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.list.iter().enumerate() {
            write!(f, "{}{fault}", if i > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

const LATENESS: Bound = Bound { name: "input.lateness_s", min: 0.0, max: 600.0, unit: "s" };
const QUIET: Bound = Bound { name: "input.quiet_s", min: 1.0, max: 3600.0, unit: "s" };
const SILENT: Bound = Bound { name: "input.silent_s", min: 1.0, max: 3600.0, unit: "s" };
const ROLL: Bound = Bound { name: "archive.roll_s", min: 1.0, max: 86_400.0, unit: "s" };
const STATE: Bound = Bound { name: "state.every_s", min: 1.0, max: 3600.0, unit: "s" };
const RULE_FOR: Bound = Bound { name: "rules.for_s", min: 0.0, max: 86_400.0, unit: "s" };
const RULE_KEEP: Bound = Bound { name: "rules.keep_for_s", min: 0.0, max: 86_400.0, unit: "s" };
const SESSION: Bound = Bound { name: "kafka.session_timeout_ms", min: 1_000.0, max: 300_000.0, unit: "ms" };
const COMMIT: Bound = Bound { name: "kafka.commit_ms", min: 10.0, max: 10_000.0, unit: "ms" };

/// Bounds of plain keys, by key path. The reference page prints them.
pub const BOUNDS: &[Bound] = &[LATENESS, QUIET, SILENT, ROLL, STATE, COMMIT, RULE_FOR, RULE_KEEP];

/// Reads a configuration.
///
/// # Errors
/// [`Faults`] for text that is not TOML, unknown keys and wrong types.
pub fn read(text: &str, file: &str) -> Result<Config, Faults> {
    toml::from_str(text).map_err(|e| {
        let (line, column) = e.span().map_or((0, 0), |s| place(text, s.start));
        let key = "configuration".to_string();
        let reason = e.message().trim().to_string();
        let hint = "`auscult schema config` prints every key".to_string();
        Faults { list: vec![Fault { file: file.into(), line, column, key, reason, hint }] }
    })
}

/// Checks a configuration and makes the plan. `strict` refuses models that cannot run; otherwise they are planned as
/// unavailable.
///
/// # Errors
/// Every fault found.
pub fn plan(config: &Config, text: &str, file: &str, strict: bool) -> Result<Plan, Faults> {
    let mut check = Check { text, file, faults: Faults::default() };
    let spans = [
        (&LATENESS, config.input.lateness_s),
        (&QUIET, config.input.quiet_s),
        (&SILENT, config.input.silent_s),
        (&ROLL, config.archive.roll_s),
        (&STATE, config.state.every_s),
        (&COMMIT, config.kafka.commit_ms as f64),
        (&SESSION, config.kafka.session_timeout_ms as f64),
    ];
    for (bound, value) in spans {
        if let Err(e) = bound.check(value) {
            check.fault(bound.name, e.to_string(), "");
        }
    }
    if config.input.silent_s < config.input.quiet_s || config.input.quiet_s < config.input.lateness_s {
        check.fault("input", "expected lateness_s <= quiet_s <= silent_s".into(), "");
    }
    if let Err(e) = config.conditioning.check() {
        check.fault("conditioning", e.to_string(), "");
    }
    for key in config.kafka.properties.keys() {
        if let Some(instead) = kafka::refused(key) {
            check.fault(&format!("kafka.properties.{key}"), "Auscult sets this key itself".into(), instead);
        }
    }
    check.loopback(&config.http.listen);
    let form = check.form(config);
    let operators = check.operators(config);
    let scores = check.scores(config);
    let models = check.models(config, strict);
    let rules = check.rules(&config.rules);
    inputs::refuse_dead(&mut check, config);
    if !check.faults.list.is_empty() {
        return Err(check.faults);
    }
    let mut plan = Plan {
        lateness: Span::from_seconds(config.input.lateness_s),
        quiet: Span::from_seconds(config.input.quiet_s),
        silent: Span::from_seconds(config.input.silent_s),
        form,
        conditioning: config.conditioning.clone(),
        config_hash: hash(config, &operators, &models),
        operators,
        scores,
        models,
        rules,
        archive_roll: Span::from_seconds(config.archive.roll_s),
        state_every: Span::from_seconds(config.state.every_s),
        features: config.pipeline.features,
        predictions: false,
        beats: false,
        live: config.http.live,
        strip_beds: usize::MAX,
        warnings: Vec::new(),
        build: BUILD,
    };
    plan.warnings = inputs::warnings(config, &plan);
    Ok(plan)
}

/// The plan of the shipped configuration.
///
/// # Errors
/// None that a released build has.
pub fn default_plan() -> Result<Plan, Faults> {
    plan(&Config::default(), "", "shipped configuration", false)
}

struct Check<'a> {
    text: &'a str,
    file: &'a str,
    faults: Faults,
}

impl Check<'_> {
    fn fault(&mut self, key: &str, reason: String, hint: &str) {
        let (line, column) = locate(self.text, key).map_or((0, 0), |at| place(self.text, at));
        let (file, key, hint) = (self.file.to_string(), key.to_string(), hint.to_string());
        self.faults.list.push(Fault { file, line, column, key, reason, hint });
    }

    fn loopback(&mut self, listen: &str) {
        match listen.parse::<SocketAddr>() {
            Ok(a) if a.ip().is_loopback() => {}
            Ok(_) => self.fault(
                "http.listen",
                format!("found {listen}, without TLS and authentication only loopback addresses are served"),
                "listen on 127.0.0.1 and put a proxy that authenticates in front",
            ),
            Err(_) => self.fault("http.listen", format!("found {listen}, expected ADDRESS:PORT"), ""),
        }
    }

    fn form(&mut self, config: &Config) -> Form {
        let Some(counts) = &config.input.counts else { return Form::Frames };
        match CountsForm::new(counts) {
            Ok(form) => Form::Counts(form),
            Err((key, reason)) => {
                self.fault(
                    &format!("input.counts.{key}"),
                    reason,
                    "`auscult list channels` shows the channels",
                );
                Form::Frames
            }
        }
    }

    fn operators(&mut self, config: &Config) -> Vec<(&'static auscult_operators::operator::Spec, Value)> {
        let names: Vec<&str> = registry::OPERATORS.iter().map(|s| s.name).collect();
        for name in config.operators.keys() {
            if !names.contains(&name.as_str()) {
                self.fault(
                    &format!("operators.{name}"),
                    "no such operator".into(),
                    &did_you_mean(name, &names),
                );
            }
        }
        for name in &config.pipeline.disabled {
            if !names.contains(&name.as_str()) && !score::SCORES.iter().any(|s| s.name == name) {
                let reason = format!("no operator or score `{name}`");
                self.fault("pipeline.disabled", reason, &did_you_mean(name, &names));
            }
        }
        for name in config.pipeline.enabled.iter().filter(|n| !names.contains(&n.as_str())) {
            let hint = did_you_mean(name, &names);
            self.fault("pipeline.enabled", format!("no operator `{name}`"), &hint);
        }
        let mut out = Vec::new();
        for spec in registry::OPERATORS.iter().filter(|s| config.pipeline.runs(s)) {
            let params = merged((spec.defaults)(), config.operators.get(spec.name));
            if let Err(e) = (spec.build)(&params) {
                self.fault(
                    &format!("operators.{}", spec.name),
                    e.to_string(),
                    "`auscult list operators` shows it",
                );
            }
            out.push((*spec, params));
        }
        out
    }

    fn scores(&mut self, config: &Config) -> Vec<(&'static score::ScoreSpec, score::Params)> {
        let names: Vec<&str> = score::SCORES.iter().map(|s| s.name).collect();
        for name in config.scores.keys() {
            if !names.contains(&name.as_str()) {
                self.fault(&format!("scores.{name}"), "no such score".into(), &did_you_mean(name, &names));
            }
        }
        let params = |name: &str| config.scores.get(name).cloned().unwrap_or_default();
        let there = |s: &&&score::ScoreSpec| !config.pipeline.disabled.iter().any(|d| d == s.name);
        score::SCORES.iter().filter(there).map(|s| (*s, params(s.name))).collect()
    }

    fn models(&mut self, config: &Config, strict: bool) -> Vec<PlannedModel> {
        if config.models.drivers > DRIVERS {
            self.fault(
                "models.drivers",
                format!("found {}, expected 0 to {DRIVERS}", config.models.drivers),
                "",
            );
        }
        let mut all = Registry::embedded();
        if let Some(folder) = &config.models.folder {
            match Registry::read(Path::new(folder)) {
                Ok(own) => all.extend(own),
                Err(e) => self.fault("models.folder", e.to_string(), ""),
            }
        }
        for refused in &all.refused {
            self.fault("models.folder", refused.to_string(), "");
        }
        if config.models.run.is_empty() {
            return Vec::new();
        }
        let search = Search { path: config.models.onnxruntime.as_ref().map(Into::into), ..Search::default() };
        let names: Vec<&str> = all.packages().iter().map(|p| p.manifest.name.as_str()).collect();
        let needed = config.models.run.iter().filter_map(|n| all.find(n)).any(|p| p.needs_runtime());
        let runtime = match needed {
            true => Runtime::start(&search).map_err(|e| e.to_string()),
            false => Err("not needed".into()),
        };
        let mut out = Vec::new();
        for name in &config.models.run {
            let Some(package) = all.find(name) else {
                self.fault("models.run", format!("no model `{name}`"), &did_you_mean(name, &names));
                continue;
            };
            let planned =
                PlannedModel::new(package.clone(), runtime.clone()).with_drivers(config.models.drivers);
            if let Some(why) = planned.unavailable.as_ref().filter(|_| strict) {
                self.fault("models.run", format!("model `{name}` cannot run: {why}"), "");
            }
            out.push(planned);
        }
        out
    }

    fn rules(&mut self, rules: &[RuleConfig]) -> Vec<Rule> {
        let mut seen = BTreeSet::new();
        let mut out = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let key = format!("rules[{at}]");
            if !seen.insert(&rule.name) {
                self.fault(&format!("{key}.name"), format!("two rules are named `{}`", rule.name), "");
            }
            for (bound, span) in [(&RULE_FOR, rule.for_s), (&RULE_KEEP, rule.keep_for_s)] {
                if let Err(e) = bound.check(span) {
                    self.fault(&key, e.to_string(), "");
                }
            }
            let kinds: Vec<&str> = risk::RULES.iter().map(|r| r.name).collect();
            let Some(spec) = risk::RULES.iter().find(|r| r.name == rule.kind) else {
                let reason = format!("no kind of rule `{}`", rule.kind);
                self.fault(&format!("{key}.kind"), reason, &did_you_mean(&rule.kind, &kinds));
                continue;
            };
            let given = Value::Object(rule.params.clone().into_iter().collect());
            let params =
                if given.as_object().is_some_and(|o| o.is_empty()) { (spec.defaults)() } else { given };
            match (spec.build)(&params) {
                Ok(condition) => out.push(Rule {
                    name: rule.name.clone(),
                    condition,
                    persist: Span::from_seconds(rule.for_s),
                    keep: Span::from_seconds(rule.keep_for_s),
                    latch: rule.latch,
                    priority: Priority::derived(rule.harm, rule.onset),
                    category: rule.category,
                    on_silence: spec.name == "source_silent",
                }),
                Err(e) => {
                    self.fault(&format!("{key}.params"), e.to_string(), "`auscult list rules` shows it")
                }
            }
        }
        out
    }
}

/// Defaults with the given keys over them. Unknown keys stay, so that the operator refuses them.
fn merged(mut defaults: Value, given: Option<&Value>) -> Value {
    if let (Some(base), Some(Value::Object(given))) = (defaults.as_object_mut(), given) {
        base.extend(given.clone());
    }
    defaults
}

/// Hash of everything that can change a result; what only concerns transport is left out.
fn hash(
    config: &Config,
    operators: &[(&'static auscult_operators::operator::Spec, Value)],
    models: &[PlannedModel],
) -> String {
    let operators: Vec<(&str, &Value)> = operators.iter().map(|(s, v)| (s.name, v)).collect();
    let models: Vec<_> = models.iter().map(|m| (&m.identity.name, &m.identity.sha256)).collect();
    let mut all = serde_json::json!({
        "input": config.input,
        "conditioning": config.conditioning,
        "operators": operators,
        "scores": config.scores,
        "models": models,
        "rules": config.rules,
    });
    if config.models.drivers != DRIVERS {
        all["drivers"] = config.models.drivers.into();
    }
    let digest = Sha256::digest(all.to_string().as_bytes());
    digest.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// Line and column, from 1, of a byte of a text.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    (line, before.chars().rev().take_while(|c| *c != '\n').count() + 1)
}

/// Where a key path stands, as far as the file goes along with it.
fn locate(text: &str, key: &str) -> Option<usize> {
    let root = toml::de::DeTable::parse(text).ok()?;
    let mut at = None;
    let mut value: Option<&toml::de::DeValue<'_>> = None;
    let key = key.replace('[', ".").replace(']', "");
    let mut parts = key.split('.');
    while let Some(part) = parts.next() {
        let next = match (value, part.parse::<usize>()) {
            (Some(toml::de::DeValue::Array(a)), Ok(i)) => a.get(i).map(|v| (v.span().start, v.get_ref())),
            (Some(toml::de::DeValue::Table(t)), _) => {
                // A key may have points in it: then it is the last.
                let rest = parts.clone().fold(part.to_string(), |all, p| all + "." + p);
                let found = t.get_key_value(part).or_else(|| t.get_key_value(rest.as_str()));
                found.map(|(k, v)| (k.span().start, v.get_ref()))
            }
            (None, _) => root.get_ref().get_key_value(part).map(|(k, v)| (k.span().start, v.get_ref())),
            _ => None,
        };
        let Some((start, inner)) = next else { break };
        (at, value) = (Some(start), Some(inner));
    }
    at
}

/// The nearest of the known names, as a hint.
fn did_you_mean(name: &str, known: &[&str]) -> String {
    let near =
        known.iter().min_by_key(|k| distance(name, k)).filter(|k| distance(name, k) <= 1 + name.len() / 3);
    match near {
        Some(k) => format!("did you mean `{k}`?"),
        None => format!("expected one of {}", known.join(", ")),
    }
}

/// Edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let change = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
