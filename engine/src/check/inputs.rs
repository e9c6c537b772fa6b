//! What the rules need and who writes it; and how late a rule of high priority may speak.
//! In: the rules as configured, the operators and models that run. Out: faults for what nothing writes, warnings for
//! what may be meant but is rarely wise.

use std::fmt::Write;

use auscult_operators::operator::Spec;
use auscult_operators::registry;
use auscult_operators::signal::{ChannelId, Span};
use serde_json::Value;

use super::Check;
use crate::config::{Config, RuleConfig};
use crate::plan::Plan;
use crate::risk::Priority;

/// From the onset of a condition to the alert a rule of high priority should take no longer.
const DELAY_MOST: Span = Span::seconds_const(10);

/// Whether an operator runs, and all that it works on.
fn runs(config: &Config, spec: &Spec) -> bool {
    config.pipeline.runs(spec) && needed(spec).all(|n| runs(config, n))
}

/// The operators that one works on.
fn needed(spec: &Spec) -> impl Iterator<Item = &'static Spec> {
    spec.needs.iter().filter_map(|n| registry::find(n))
}

/// Operators that write a reading of this name, or feed the quantity of this name.
fn writers(input: &str) -> Vec<&'static Spec> {
    let writes = |s: &&&'static Spec| s.writes.iter().any(|o| o.name == input || o.feeds == input);
    registry::OPERATORS.iter().filter(writes).copied().collect()
}

fn input_of(rule: &RuleConfig) -> Option<String> {
    let default = || crate::risk::RULES.iter().find(|r| r.name == rule.kind).map(|r| (r.defaults)());
    let given = rule.params.get("input").cloned();
    given.or_else(|| default()?.get("input").cloned()).and_then(|v| Some(v.as_str()?.to_string()))
}

/// Refuses rules whose input nothing writes.
pub(super) fn refuse_dead(check: &mut Check<'_>, config: &Config) {
    for rule in config.rules.iter().filter(|r| r.kind == "threshold") {
        let Some(input) = input_of(rule) else { continue };
        let writers = writers(&input);
        // A quantity of the channel table can be sent by a device; a reading has only its operators.
        if ChannelId::named(&input).is_some() || writers.iter().any(|w| runs(config, w)) {
            continue;
        }
        let mut names = String::new();
        for writer in &writers {
            let _ = write!(names, "{}`{}`", if names.is_empty() { "" } else { " or " }, writer.name);
            for needed in writer.needs {
                let _ = write!(names, " from `{needed}`");
            }
        }
        if names.is_empty() {
            continue;
        }
        let reason =
            format!("rule `{}` needs `{input}`, which only {names} writes, and that does not run", rule.name);
        let (key, hint) = match writers.iter().all(|w| w.by_default) {
            true => ("pipeline.disabled", "leave the operator in, or give `[[rules]]` without this rule"),
            false => ("pipeline.enabled", "name the operator there, or give `[[rules]]` without this rule"),
        };
        check.fault(key, reason, hint);
    }
}

/// What may be meant, and is rarely wise.
pub(super) fn warnings(config: &Config, plan: &Plan) -> Vec<String> {
    let mut out = Vec::new();
    for (rule, planned) in config.rules.iter().zip(&plan.rules) {
        let name = &rule.name;
        let model = rule.params.get("model").and_then(Value::as_str);
        if let Some(model) = model.filter(|m| !config.models.run.iter().any(|r| r == m)) {
            out.push(format!("rule `{name}` waits for model `{model}`, which is not among `models.run`"));
        }
        let Some(input) = input_of(rule).filter(|_| rule.kind == "threshold") else { continue };
        let writers = writers(&input);
        if !writers.is_empty() && !writers.iter().any(|w| runs(config, w)) {
            out.push(format!(
                "rule `{name}` looks at `{input}`, which no operator derives any more: it works only where a device \
                 sends it"
            ));
        }
        let delay = delay(config, &writers, rule);
        if planned.priority == Priority::High && delay > DELAY_MOST {
            out.push(format!(
                "rule `{name}` is of high priority and may speak {:.1} s after its condition begins: an epoch of 1 s, \
                 {:.1} s of lateness, {:.1} s in its operators, `for_s` {:.1}; more than {:.0} s are rarely accepted",
                delay.seconds(),
                config.input.lateness_s,
                detection(config, &writers).seconds(),
                rule.for_s,
                DELAY_MOST.seconds()
            ));
        }
    }
    out
}

/// The longest that an operator keeps what it sees to itself.
fn detection(config: &Config, writers: &[&'static Spec]) -> Span {
    let running = writers.iter().filter(|w| runs(config, w));
    running.map(|w| latency(w)).max().unwrap_or(Span::ZERO)
}

/// Latency of an operator and of the slowest of those that it works on.
fn latency(spec: &Spec) -> Span {
    spec.latency + needed(spec).map(latency).max().unwrap_or(Span::ZERO)
}

fn delay(config: &Config, writers: &[&'static Spec], rule: &RuleConfig) -> Span {
    let lateness = Span::from_seconds(config.input.lateness_s);
    Span::EPOCH + lateness + detection(config, writers) + Span::from_seconds(rule.for_s)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use crate::check::{plan, read};

    fn warned(text: &str) -> Vec<String> {
        plan(&read(text, "c").unwrap(), text, "c", false).unwrap().warnings
    }

    fn refused(text: &str) -> Vec<(usize, String)> {
        let faults = plan(&read(text, "c").unwrap(), text, "c", false).err().unwrap_or_default();
        faults.list.into_iter().map(|f| (f.line, f.reason)).collect()
    }

    #[test]
    fn a_rule_that_nothing_feeds_is_refused() {
        for operator in ["rpeaks", "heart_rate"] {
            let text = format!("\n[pipeline]\ndisabled = [\"{operator}\"]\n");
            let faults = refused(&text);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].0, 3);
            for word in ["`asystole`", "`since_last_qrs`", "`heart_rate`", "`rpeaks`"] {
                assert!(faults[0].1.contains(word), "{word}: {}", faults[0].1);
            }
        }
        assert_eq!(refused(""), []);
        assert_eq!(refused("[pipeline]\ndisabled = [\"trend\"]\n"), []);
        // Without the rules that need it, an operator may be left out; the rate may come from a device.
        let rule = "[[rules]]\nname = \"a\"\nkind = \"threshold\"\nharm = \"death\"\nonset = \"prompt\"\n\
                    category = \"physiological\"\nparams = { input = \"heart_rate\", above = 150.0 }\n\
                    [pipeline]\ndisabled = [\"rpeaks\"]\n";
        assert_eq!(refused(rule), []);
        assert!(
            warned(rule).iter().any(|w| w.contains("only where a device sends it")),
            "{:?}",
            warned(rule)
        );
    }

    #[test]
    fn a_high_priority_that_comes_late_is_warned_of() {
        // The slowest beat takes the detector three seconds: with their four the shipped rules come to ten.
        assert_eq!(warned(""), [] as [&str; 0]);
        let late = warned("[input]\nlateness_s = 2.1\n");
        assert_eq!(late.len(), 2, "{late:?}");
        assert!(late.iter().all(|w| w.contains("`heart_rate_") && w.contains("10.1 s")), "{late:?}");
        let late = warned("[input]\nlateness_s = 5.0\n");
        assert!(late.iter().all(|w| w.contains("13.0 s") && w.contains("5.0 s of lateness")), "{late:?}");
        let models = warned("[models]\nrun = []\n");
        assert!(models.iter().any(|w| w.contains("waits for model `sepsis_vitals`")), "{models:?}");
    }
}
