//! What is written in `deploy/` fits this build: configuration, commands and versions.
//! In: the files as they are, the binary. Out: what the binary has against them; a version that stands elsewhere too.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::BTreeSet;

use auscult_models::onnxruntime::fetch::VERSION;
use auscult_tests::binary;

const COMPOSE: &str = include_str!("../../deploy/compose.yaml");
const DOCKERFILE: &str = include_str!("../../deploy/Dockerfile");
const SERVICE: &str = include_str!("../../deploy/auscult.service");

/// The block of text behind `key: |`, without its indentation.
fn block(yaml: &str, key: &str) -> String {
    let indent = |l: &str| l.len() - l.trim_start().len();
    let mut lines = yaml.lines().skip_while(|l| l.trim() != format!("{key}: |"));
    let outer = indent(lines.next().expect("the block is there"));
    let inside = lines.take_while(|l| l.trim().is_empty() || indent(l) > outer);
    inside.map(|l| l.trim_start().to_owned() + "\n").collect()
}

#[test]
fn the_configuration_of_the_container_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let text = block(COMPOSE, "content");
    assert!(text.contains("brokers = \"kafka:9092\""), "{text}");
    let check = |text: &str| {
        let file = dir.path().join("auscult.toml");
        std::fs::write(&file, text).unwrap();
        binary::run(["check", "--offline", "-c", &file.to_string_lossy()])
    };
    let output = check(&text);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(check(&text.replace("create_topics", "create_topic")).status.code(), Some(78), "canary");
}

/// Sub-commands with their options, as words that follow each other.
fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let joined = text.replace("\\\n#", " ").replace(['"', ',', '[', ']'], " ");
    let names = ["run", "check", "watch", "send"];
    let mut found = Vec::new();
    for line in joined.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for (n, pair) in words.windows(2).enumerate() {
            let binary =
                ["auscult", "command:", "CMD"].contains(&pair[0]) || pair[0].ends_with("/bin/auscult");
            if binary && names.contains(&pair[1]) {
                let options = words[n..].iter().filter(|w| w.starts_with('-')).map(|w| (*w).to_owned());
                found.push((pair[1].to_owned(), options.collect()));
            }
        }
    }
    found
}

#[test]
fn commands_and_options_exist() {
    let all: Vec<_> = [COMPOSE, DOCKERFILE, SERVICE].into_iter().flat_map(commands).collect();
    let names: BTreeSet<&str> = all.iter().map(|c| c.0.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["check", "run", "send", "watch"]), "{all:?}");
    for (name, options) in &all {
        let help = binary::run([name.as_str(), "--help"]);
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        let known = |option: &str| help.split([' ', ',', '\n']).any(|w| w == option);
        assert!(!options.is_empty(), "{name} has no options");
        for option in options {
            assert!(known(option), "`auscult {name}` knows no {option}");
        }
        assert!(!known("--no-such-option"), "canary");
    }
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before:?}")).1;
    rest.split_once(after).unwrap_or((rest, "")).0.trim()
}

#[test]
fn versions_are_those_of_the_build_and_its_tests() {
    assert_eq!(between(DOCKERFILE, "onnxruntime==", " "), VERSION);
    let workspace = include_str!("../../Cargo.toml");
    assert_eq!(between(DOCKERFILE, "FROM rust:", "-slim"), between(workspace, "rust-version = \"", "\""));
    let pom = include_str!("../kafka/pom.xml");
    assert_eq!(
        between(COMPOSE, "image: apache/kafka:", "\n"),
        between(pom, "<kafka.version>", "</kafka.version>")
    );
}
