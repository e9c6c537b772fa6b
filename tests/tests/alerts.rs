//! The alert rules for Prometheus: clean, on metrics that there are, each firing on its fault and quiet without it.
//! In: `deploy/alerts.yaml`, `tests/promtool/alerts_test.yaml`. Out: what promtool has against them.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::BTreeSet;

use auscult::metrics::{METRICS, WATCH_METRICS};
use auscult_tests::{binary, promtool};

#[test]
fn rules_are_clean_and_each_fires_on_its_fault_only() {
    let rules = binary::workspace().join("deploy/alerts.yaml");
    promtool::check_rules(&rules).unwrap();
    let tests = binary::workspace().join("tests/promtool/alerts_test.yaml");
    let output = promtool::run(&["test", "rules", &tests.to_string_lossy()], "");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    // Each rule is there twice: with its fault and without.
    let (rules, tests) = (std::fs::read_to_string(rules).unwrap(), std::fs::read_to_string(tests).unwrap());
    let names: Vec<&str> = rules.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in &names {
        assert!(tests.contains(&format!("alertname: {name}, exp_alerts: []")), "{name} has no quiet test");
        assert!(tests.contains(&format!("  - name: {name}\n")), "{name} has no firing test");
    }

    // A rule that expects the wrong thing is seen.
    let dir = tempfile::tempdir().unwrap();
    let wrong = tests.replace("481x40", "481+40x40").replace("../../deploy", &deploy());
    std::fs::write(dir.path().join("t.yaml"), wrong).unwrap();
    let output = promtool::run(&["test", "rules", &dir.path().join("t.yaml").to_string_lossy()], "");
    assert!(!output.status.success(), "canary");
}

fn deploy() -> String {
    binary::workspace().join("deploy").to_string_lossy().into_owned()
}

#[test]
fn rules_look_at_metrics_that_there_are() {
    let rules = std::fs::read_to_string(binary::workspace().join("deploy/alerts.yaml")).unwrap();
    let known: BTreeSet<&str> = METRICS.iter().chain(WATCH_METRICS).map(|m| m.0).collect();
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let used: BTreeSet<&str> = words.filter(|w| w.starts_with("auscult_")).collect();
    assert!(used.len() >= 6, "{used:?}");
    assert_eq!(used.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new());
}
