//! The documents: generated pages are those of this code, and every example in them is one.
//! In: `docs/`, `examples/`. Out: the names of pages that differ; to write them anew, run
//! `AUSCULT_RENEW=1 cargo test -p auscult-tests --test docs`, or `cargo run -- docs --write docs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use auscult::decode::{Decoded, decode};
use auscult::describe::{self, Page};
use auscult::risk::{RiskEvent, deterministic_id};
use auscult::source::Record;
use auscult::{check, config::Config};
use auscult_operators::signal::EventTime;

const RENEW: &str =
    "run `AUSCULT_RENEW=1 cargo test -p auscult-tests --test docs`, or `cargo run -- docs --write docs`";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Pages that are not what stands in the folder, and files in the folder that no page explains.
fn differing(pages: &[Page], docs: &Path) -> Vec<String> {
    let mut wrong: Vec<String> = pages
        .iter()
        .filter(|p| std::fs::read_to_string(docs.join(&p.path)).ok().as_deref() != Some(p.text.as_str()))
        .map(|p| p.path.clone())
        .collect();
    let known: BTreeSet<&str> = pages.iter().map(|p| p.path.as_str()).collect();
    for folder in ["reference", "schema"] {
        for file in std::fs::read_dir(docs.join(folder)).into_iter().flatten().flatten() {
            let path = format!("{folder}/{}", file.file_name().to_string_lossy());
            if !known.contains(path.as_str()) {
                wrong.push(path);
            }
        }
    }
    wrong
}

#[test]
fn generated_pages_are_those_of_this_code() {
    let docs = root().join("docs");
    let pages = describe::pages();
    if std::env::var_os("AUSCULT_RENEW").is_some() {
        for page in &pages {
            let path = docs.join(&page.path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("create the folder");
            std::fs::write(&path, &page.text).expect("write the page");
        }
    }
    assert_eq!(differing(&pages, &docs), Vec::<String>::new(), "{RENEW}");
}

#[test]
fn a_page_that_differs_is_noticed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let page = |text: &str| Page { path: "reference/canary.md".into(), text: text.into() };
    std::fs::create_dir(folder.path().join("reference")).expect("create the folder");
    std::fs::write(folder.path().join("reference/canary.md"), "old\n").expect("write");
    assert_eq!(differing(&[page("new\n")], folder.path()), ["reference/canary.md"]);
    assert_eq!(differing(&[], folder.path()), ["reference/canary.md"]);
    assert_eq!(differing(&[page("old\n")], folder.path()), Vec::<String>::new());
}

#[test]
fn pages_are_the_same_each_time() {
    assert_eq!(describe::pages(), describe::pages());
}

#[test]
fn every_page_says_something() {
    for page in describe::pages() {
        assert!(page.text.len() > 300, "{} is empty", page.path);
        for bad in ["| any |", "| inf", "`null`"] {
            assert!(!page.path.ends_with(".md") || !page.text.contains(bad), "{} holds `{bad}`", page.path);
        }
    }
}

#[test]
fn examples_pass_the_check() {
    let mut seen = 0;
    for file in std::fs::read_dir(root().join("examples")).expect("examples").flatten() {
        let path = file.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let (text, name) = (read(&path), path.display().to_string());
        let config = check::read(&text, &name).unwrap_or_else(|e| panic!("{e}"));
        if let Err(faults) = check::plan(&config, &text, &name, false) {
            panic!("{faults}");
        }
        seen += 1;
    }
    assert!(seen > 0, "no examples");
    assert!(check::read("[kafka]\nbroker = \"a\"\n", "canary").is_err());
}

#[test]
fn the_starting_configuration_shows_the_defaults() {
    let json = |c: &Config| serde_json::to_value(c).expect("a configuration is JSON");
    let shown = check::read(&read(&root().join("examples/auscult.toml")), "examples/auscult.toml");
    assert_eq!(json(&shown.unwrap_or_else(|e| panic!("{e}"))), json(&Config::default()));
    let other = check::read("[input]\nlateness_s = 3.0\n", "canary").expect("a configuration");
    assert_ne!(json(&other), json(&Config::default()), "canary");
}

/// Fenced blocks of that language in a document.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_string())).collect()
}

#[test]
fn frames_shown_are_frames() {
    let examples = blocks(&read(&root().join("docs/inputs.md")), "json");
    assert!(examples.len() >= 4, "{} examples", examples.len());
    for text in examples {
        let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let record = Record {
            offset: 0,
            timestamp: EventTime::from_micros(body["time_us"].as_i64().expect("time_us")),
            key: body["patient"].as_str().expect("patient").to_owned().into(),
            value: text.clone().into(),
            json: true,
        };
        assert!(matches!(decode(&record), Decoded::Frame(_)), "{:?}: {text}", decode(&record));
    }
}

#[test]
fn bodies_shown_are_bodies() {
    let examples = blocks(&read(&root().join("docs/outputs.md")), "json");
    let events: Vec<RiskEvent> = examples
        .iter()
        .filter(|t| t.contains("\"alert_id\""))
        .map(|t| serde_json::from_str(t).expect(t))
        .collect();
    assert!(!events.is_empty(), "no risk event is shown");
    for e in events {
        let id = deterministic_id(&[e.alert_id.as_bytes(), &e.revision.to_le_bytes()]);
        assert_eq!(e.id, id, "the event shown was not written by Auscult");
    }
    let own = check::default_plan().expect("the shipped configuration").config_hash;
    let mut hashes = examples.iter().flat_map(|t| t.split("\"config_hash\": \"").skip(1));
    assert!(
        hashes.all(|h| h.starts_with(&own) || h.starts_with("HASH")),
        "the shipped configuration is {own}"
    );
    let shown = |key: &str| examples.iter().any(|t| t.contains(key));
    assert!(
        shown("\"table_version\"") && shown("\"lag_records\""),
        "a score event and a heartbeat are shown"
    );
}

/// Links of a document to files, without their anchors.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets
        .filter(|t| !t.starts_with("http") && !t.starts_with('#'))
        .map(|t| t.split_once('#').map_or(t, |s| s.0))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    assert_eq!(links("see [a](b.md#c), [d](#e)"), ["b.md"]);
    let mut files: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "STYLE.md"]
            .map(|name| root().join(name))
            .into_iter()
            .collect();
    for folder in ["docs", "docs/reference"] {
        let all = std::fs::read_dir(root().join(folder)).expect("docs").flatten().map(|f| f.path());
        files.extend(all.filter(|p| p.extension().is_some_and(|e| e == "md")));
    }
    for file in files {
        let folder = file.parent().expect("a folder");
        for link in links(&read(&file)) {
            assert!(folder.join(link).exists(), "{}: nothing at {link}", file.display());
        }
    }
}
