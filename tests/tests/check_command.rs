//! `auscult check` as the person on call sees it: what is wrong, where, what to do, and the exit code that says so.
//! In: configurations, most of them broken, and brokers that answer or do not. Out: 0, 69 with the reason, 78 with line
//! and column.

use std::path::Path;
use std::process::Output;

use auscult_tests::site::{Options, Site};
use auscult_tests::{binary, kafka, process};

fn check(folder: &Path, text: &str, more: &[&str]) -> Output {
    let file = folder.join("c.toml");
    std::fs::write(&file, text).expect("write");
    let path = file.to_string_lossy();
    binary::run(more.iter().copied().chain(["check", "-c", &path]))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const RULE: &str = "harm = \"minor\"\nonset = \"prompt\"\ncategory = \"technical\"\n";

/// Name, text, place of the fault, what must be said.
fn broken() -> Vec<(&'static str, String, &'static str, Vec<&'static str>)> {
    let rule = |kind: &str, more: &str| format!("[[rules]]\nname = \"a\"\nkind = \"{kind}\"\n{RULE}{more}");
    let two = format!("{}\n{}", rule("signal_lost", ""), rule("signal_lost", ""));
    vec![
        ("not TOML", "[kafka\n".into(), ":1:", vec![]),
        ("unknown table", "[kafak]\nbrokers = \"b\"\n".into(), ":1:2", vec!["kafak", "kafka"]),
        ("unknown key", "[kafka]\nbroker = \"b\"\n".into(), ":2:1", vec!["broker", "brokers"]),
        ("wrong type", "[kafka]\ncommit_ms = \"fast\"\n".into(), ":2:13", vec!["string", "u64"]),
        (
            "below a bound",
            "[kafka]\ncommit_ms = 1\n".into(),
            ":2:1",
            vec!["kafka.commit_ms", "10", "10000", "ms"],
        ),
        ("above a bound", "[input]\nlateness_s = 1e9\n".into(), ":2:1", vec!["input.lateness_s", "600"]),
        (
            "spans out of order",
            "[input]\nquiet_s = 20.0\nsilent_s = 10.0\n".into(),
            ":1:2",
            vec!["quiet_s <= silent_s"],
        ),
        ("roll out of bounds", "\n[archive]\nroll_s = 0\n".into(), ":3:1", vec!["archive.roll_s"]),
        ("unknown operator", "[operators.rpeks]\n".into(), ":1:12", vec!["did you mean `rpeaks`?"]),
        ("operator's unknown key", "[operators.rpeaks]\nlaed = \"ecg_ii\"\n".into(), ":1:12", vec!["laed"]),
        (
            "unknown disabled",
            "[pipeline]\ndisabled = [\"trnd\"]\n".into(),
            ":2:1",
            vec!["did you mean `trend`?"],
        ),
        ("unknown score", "[scores.news3]\n".into(), ":1:9", vec!["did you mean `news2`?"]),
        (
            "unknown model",
            "[models]\nrun = [\"sepsis_vital\"]\n".into(),
            ":2:1",
            vec!["did you mean `sepsis_vitals`?"],
        ),
        ("unknown kind of rule", rule("treshold", ""), ":3:1", vec!["did you mean `threshold`?"]),
        ("two rules of one name", two, ":9:1", vec!["two rules are named `a`"]),
        (
            "rule without a limit",
            rule("threshold", "params = { input = \"heart_rate\" }\n"),
            ":7:1",
            vec!["`above`", "`below`"],
        ),
        (
            "rule's unknown input",
            rule("threshold", "params = { input = \"hart_rate\", above = 1.0 }\n"),
            ":7:1",
            vec!["hart_rate"],
        ),
        (
            "rule without harm",
            "[[rules]]\nname = \"a\"\nkind = \"signal_lost\"\n".into(),
            ":1:1",
            vec!["harm"],
        ),
        ("not an address", "[http]\nlisten = \"here\"\n".into(), ":2:1", vec!["ADDRESS:PORT"]),
        ("not loopback", "[http]\nlisten = \"0.0.0.0:80\"\n".into(), ":2:1", vec!["loopback", "hint:"]),
        (
            "a key that Auscult sets itself",
            "[kafka.properties]\n\"linger.ms\" = \"5\"\n\"client.id\" = \"me\"\n".into(),
            ":3:1",
            vec!["kafka.properties.client.id", "set `kafka.instance`"],
        ),
        ("mains", "[conditioning]\nmains_hz = 16.7\n".into(), ":1:2", vec!["mains"]),
    ]
}

#[test]
fn every_fault_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (name, text, place, words) in broken() {
        // Offline and connected alike: a bad configuration never reaches the broker.
        let output = check(folder.path(), &text, &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{name}: {said}");
        assert!(said.contains(&format!("c.toml{place}")), "{name}: no {place} in: {said}");
        assert!(words.iter().all(|w| said.contains(w)), "{name}: expected {words:?} in: {said}");
        let output = check(folder.path(), &text, &["--error-format", "json"]);
        let body: serde_json::Value =
            serde_json::from_str(stderr(&output).lines().last().unwrap_or_default())
                .unwrap_or_else(|e| panic!("{name}: {e}: {}", stderr(&output)));
        assert_eq!((&body["exit"], &body["code"]), (&78.into(), &"config".into()), "{name}: {body}");
        let fault = &body["faults"][0];
        assert!(fault["line"].as_u64().is_some_and(|n| n > 0), "{name}: {body}");
    }
}

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = "[kafka]\ncommit_ms = 1\n[http]\nlisten = \"0.0.0.0:80\"\n[operators.rpeks]\n";
    let said = stderr(&check(folder.path(), text, &[]));
    for place in ["c.toml:2:1", "c.toml:4:1", "c.toml:5:12"] {
        assert!(said.contains(place), "{place}: {said}");
    }
}

#[test]
fn the_broker_is_asked_and_the_answer_is_an_exit_code() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let client = kafka::shared();
    let prefix = client.unique("check");
    let text = |brokers: &str, create: bool| {
        format!("[kafka]\nbrokers = {brokers:?}\nprefix = \"{prefix}.\"\ncreate_topics = {create}\n")
    };
    let output = check(folder.path(), &text(client.bootstrap(), false), &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(
        said.contains(&format!("topic {prefix}.frames is not there")) && said.contains("create_topics"),
        "{said}"
    );

    let output = check(folder.path(), &text(client.bootstrap(), true), &[]);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(out.contains("will be created") && out.contains("dry run: 60 frames"), "{out}");

    // Once a service has made them, they are there for those who may not make any.
    let site = Site::new(&client, &Options { roll_s: None, ..Options::default() });
    let mut running = site.run();
    let made = std::fs::read_to_string(site.config()).expect("the configuration");
    let output = check(folder.path(), &made.replace("create_topics = true", "create_topics = false"), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(running.terminate(std::time::Duration::from_secs(10)), 0, "{}", running.tail(20));

    let nobody = format!("127.0.0.1:{}", process::free_ports(1)[0]);
    let output = check(folder.path(), &text(&nobody, true), &[]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot reach the broker"), "{}", stderr(&output));
    let output = binary::run(["check", "--offline", "-c", &folder.path().join("c.toml").to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "offline asks no broker: {}", stderr(&output));

    let secret =
        text(&nobody, true) + "[kafka.properties]\n\"sasl.password\" = \"env:AUSCULT_NO_SUCH_VARIABLE\"\n";
    let output = check(folder.path(), &secret, &[]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("env:AUSCULT_NO_SUCH_VARIABLE"), "{}", stderr(&output));
}
