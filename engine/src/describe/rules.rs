//! Page of the rules: the kinds from their cards, the shipped rules with priority and delays as they follow.
//! In: the registry and the default configuration. Out: Markdown.

use auscult_models::Registry;
use auscult_operators::operator::Spec;
use auscult_operators::registry::OPERATORS;
use serde_json::Value;

use super::markdown::{code, default, head, parameters, seconds, table};
use crate::config::{Config, RuleConfig};
use crate::risk::{CONTINUE, Harm, Onset, Priority, RULES, RuleSpec, UNKNOWN_MAX};

/// `rules.md`.
pub(super) fn page() -> String {
    let about = "A rule is a condition, judged at the end of every epoch (a whole second of event time), and the state \
                 machine around it, which is the same for all: the condition must hold for `for_s` before the alert \
                 starts, and be gone for `keep_for_s` before it ends. A condition that cannot be judged, because its \
                 input is missing, neither starts nor ends an alert.";
    let mut out = head("Rules", about);
    out += &format!(
        "An alert that goes on gives a sign of life every {}; one whose input has been missing for {} ends and says \
         so.\n\n",
        seconds(CONTINUE.seconds()),
        seconds(UNKNOWN_MAX.seconds())
    );
    out += &priorities();
    out += &shipped(&Config::default());
    out += "## Kinds\n\nThe defaults shown are those of a rule without any `params`.\n\n";
    RULES.iter().for_each(|r| out += &kind(r));
    out
}

fn word(name: impl std::fmt::Debug) -> String {
    format!("{name:?}").to_lowercase()
}

fn priorities() -> String {
    let onsets = [Onset::Immediate, Onset::Prompt, Onset::Delayed];
    let rows = [Harm::Death, Harm::Reversible, Harm::Minor].map(|harm| {
        let cells = onsets.map(|onset| word(Priority::derived(harm, onset)));
        [vec![word(harm)], cells.to_vec()].concat()
    });
    let about = "## Priority\n\nDerived from the harm that may come if nobody responds and how soon (after \
                 IEC 60601-1-8); it cannot be set.\n\n";
    about.to_string() + &table(&["`harm` / `onset`", "immediate", "prompt", "delayed"], rows)
}

fn kind(r: &RuleSpec) -> String {
    let parameters =
        parameters((r.schema)().as_value(), &(r.defaults)(), &r.bounds.iter().collect::<Vec<_>>());
    format!("### {}\n\n{}.\n\n{}\n\n{parameters}", r.name, r.summary, r.description)
}

/// The rules of the default configuration.
fn shipped(config: &Config) -> String {
    let mut out =
        String::from("## Shipped rules\n\nGiving any rule in the configuration replaces all of these.\n\n");
    out += &table(
        &["Rule", "Kind", "Parameters", "Harm, onset", "Priority", "Category", "`for_s`", "`keep_for_s`"],
        config.rules.iter().map(row),
    );
    out += "### Delays\n\nWith the default configuration. *Condition delay* is the longest time from the moment at \
            which the condition holds in the data to the decision, in event time: the operators' latencies, the rest \
            of the epoch, `input.lateness_s` and `for_s`. It does not hold the averaging that the operator's page \
            states, nor the span of one frame, which the source decides; scores and models are reckoned on reported \
            values, those derived from a waveform add their operator's latency. *Signal delay* is the longest time \
            from the decision to the transaction that tells it (`kafka.commit_ms`), without the broker's own.\n\n";
    out += &table(
        &["Rule", "Condition delay", "Made of", "Signal delay"],
        config.rules.iter().map(|r| {
            let (total, parts) = delay(r, config);
            let parts: Vec<String> =
                parts.iter().map(|(s, what)| format!("{} {what}", seconds(*s))).collect();
            vec![
                code(&r.name),
                seconds(total),
                parts.join(" + "),
                seconds(config.kafka.commit_ms as f64 / 1000.0),
            ]
        }),
    );
    out
}

fn row(r: &RuleConfig) -> Vec<String> {
    let params: Vec<String> = r.params.iter().map(|(k, v)| format!("`{k} = {v}`")).collect();
    vec![
        code(&r.name),
        format!("[{0}](#{0})", r.kind),
        params.join(", "),
        format!("{}, {}", word(r.harm), word(r.onset)),
        word(Priority::derived(r.harm, r.onset)),
        word(r.category),
        default(&r.for_s.into()),
        default(&r.keep_for_s.into()),
    ]
}

/// The longest condition delay of a rule, and what it is made of.
fn delay(r: &RuleConfig, config: &Config) -> (f64, Vec<(f64, String)>) {
    let defaults = RULES.iter().find(|k| k.name == r.kind).map(|k| (k.defaults)()).unwrap_or_default();
    let param = |key: &str| r.params.get(key).cloned().unwrap_or_else(|| defaults[key].clone());
    let mut parts: Vec<(f64, String)> = match r.kind.as_str() {
        "threshold" => operators(param("input").as_str().unwrap_or("")),
        "signal_lost" => {
            vec![(param("after_s").as_f64().unwrap_or(0.0), "without samples (`after_s`)".into())]
        }
        "model_probability" | "model_failed" => vec![(every(&param("model")), "between evaluations".into())],
        _ => Vec::new(),
    };
    if r.kind == "source_silent" {
        // Judged by the log's own time: lateness and epochs play no part, but the log must move on.
        parts.push((config.input.silent_s, "of silence (`input.silent_s`)".into()));
        parts.push((1.0, "until a tick".into()));
    } else {
        parts.push((1.0, "epoch".into()));
        parts.push((config.input.lateness_s, "lateness".into()));
    }
    parts.push((r.for_s, "`for_s`".into()));
    parts.retain(|p| p.0 > 0.0);
    (parts.iter().map(|p| p.0).sum(), parts)
}

/// Latencies of the operator behind an input and of those before it that read the same kinds of channel.
fn operators(input: &str) -> Vec<(f64, String)> {
    let wrote = |s: &&&Spec| s.writes.iter().any(|o| o.name == input || o.feeds == input);
    let Some(last) = OPERATORS.iter().rposition(|s| wrote(&s)) else { return Vec::new() };
    let same = |s: &&&Spec| {
        s.name == OPERATORS[last].name || s.reads.iter().any(|k| OPERATORS[last].reads.contains(k))
    };
    OPERATORS[..=last].iter().filter(same).map(|s| (s.latency.seconds(), code(s.name))).collect()
}

fn every(model: &Value) -> f64 {
    let all = Registry::embedded();
    let of = |name: &str| all.find(name).map(|p| p.manifest.evaluate_every_s);
    let longest = || all.packages().iter().map(|p| p.manifest.evaluate_every_s).max();
    model.as_str().and_then(of).or_else(longest).unwrap_or(0).into()
}
