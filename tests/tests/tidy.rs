//! Style that can be counted, over every tracked file; each check is seen to reject a canary.
//! In: `git ls-files`, the registry of operators, `cargo tree`. Out: one failure a check that names every place.

#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/text.rs"]
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;

use auscult_operators::registry::OPERATORS;
use text::Fault;

/// Files that may be longer than [`text::FILE_LINES`], each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that may be longer than [`text::FUNCTION_LINES`], as file and name, each with its reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// Lines that may be wider than [`text::LINE_COLUMNS`] or hold a marker, by file, each with its reason.
const WIDE_FILES: &[(&str, &str)] =
    &[("operators/src/signal/channel.rs", "one row of the clinical table stands on one line")];

/// Rust files of an operator family that are no operator: helpers of one, or of the family.
const NOT_OPERATORS: &[(&str, &str)] = &[
    ("alarm/beat_trains", "what alarm_evidence remembers of each signal"),
    ("ecg/average_beat", "the beat that ecg_intervals and st_level measure"),
    ("ecg/beat_odds", "how beat_class judges"),
    ("ecg/beat_shape", "what beat_class measures"),
    ("ecg/delineation", "how ecg_intervals measures it"),
    ("ecg/ecg_intervals_tests", "tests of ecg_intervals"),
    ("ecg/leads", "what rpeaks knows of each lead"),
    ("ecg/qrs", "the detector that rpeaks runs"),
    ("ecg/qrs_features", "what the detector measures"),
    ("ecg/qrs_flutter", "what the detector asks of flutter"),
    ("ecg/qrs_odds", "how the detector judges"),
    ("ecg/qrs_tests", "tests of the detector"),
    ("ecg/records", "tests on recordings"),
    ("ecg/rpeaks_records", "tests of rpeaks on recordings"),
    ("ecg/synthetic", "an ECG of known waves, for tests"),
    ("pressure/simulated", "pressure waves of known faults, for tests"),
    ("quality/limits", "the constants of signal_quality"),
    ("quality/noise", "what signal_quality measures"),
    ("quality/sentinel", "numbers that stand in place of a measurement"),
    ("quality/survey", "what signal_quality counts"),
    ("respiration/apnoea_tests", "tests of apnoea"),
    ("respiration/breath_count", "what resp_rate_wave counts"),
    ("respiration/breath_series", "breaths that rates and patterns are made of"),
    ("respiration/capnogram_tests", "tests of capnogram"),
    ("spectrum/fft", "the transform"),
    ("spectrum/lomb_scargle", "a transform, offered as a function"),
    ("spectrum/multitaper", "a transform, offered as a function"),
    ("spectrum/stft", "a transform, offered as a function"),
    ("spectrum/stockham", "the transform"),
    ("spectrum/stockham_lanes", "the transform"),
    ("spectrum/wavelet", "a transform, offered as a function"),
    ("spectrum/window_spectrum_tests", "tests of window_spectrum"),
    ("spectrum/windowed", "the transform that window_spectrum uses"),
    ("spectrum/low_welch", "the estimate that band_power uses"),
    ("spectrum/welch", "the estimate that low_welch is held against"),
    ("trend/burden", "the last hour, minute by minute, for burdens"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every tracked text file with its content, by path below the root.
fn tracked() -> Vec<(String, String)> {
    let git =
        Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git ls-files");
    assert!(git.status.success(), "git ls-files: {}", String::from_utf8_lossy(&git.stderr));
    let names = String::from_utf8(git.stdout).expect("names of files in UTF-8");
    let files: Vec<(String, String)> = names
        .split_terminator('\0')
        .filter_map(|name| Some((name.into(), std::fs::read_to_string(root().join(name)).ok()?)))
        .collect();
    assert!(files.len() > 100, "only {} tracked text files", files.len());
    files
}

/// Runs a check over every file whose name ends so, and fails with all it found.
fn over(suffix: &str, check: impl Fn(&str, &str) -> Vec<Fault>) {
    let files = tracked();
    let faults: Vec<String> = files
        .iter()
        .filter(|(name, _)| name.ends_with(suffix))
        .flat_map(|(name, text)| {
            check(name, text).into_iter().map(move |f| format!("{name}:{}: {}", f.0, f.1))
        })
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn excused(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|e| e.0 == name)
}

#[test]
fn every_file_opens_with_what_it_does() {
    over(".rs", |_, text| text::opening(text));
    assert!(!text::opening("use std::fs;\n").is_empty(), "canary");
}

#[test]
fn files_hold_one_idea() {
    over(".rs", |name, text| if excused(LONG_FILES, name) { vec![] } else { text::length(text) });
    let long = "//! Canary.\n".to_string() + &"const A: u8 = 0;\n".repeat(text::FILE_LINES);
    assert!(!text::length(&long).is_empty(), "canary");
    let tested = long.replacen("const A: u8 = 0;\n", "#[cfg(test)]\nmod tests {\n", 1);
    assert!(text::length(&tested).is_empty(), "tests do not count");
}

#[test]
fn lines_fit() {
    over(".rs", |name, text| if excused(WIDE_FILES, name) { vec![] } else { text::width(text) });
    assert!(!text::width(&"x".repeat(text::LINE_COLUMNS + 1)).is_empty(), "canary");
    assert!(text::width(&"é".repeat(text::LINE_COLUMNS)).is_empty(), "characters, not bytes");
}

#[test]
fn functions_fit_a_screen() {
    over(".rs", |name, text| {
        let mut faults = text::functions(text);
        faults.retain(|f| !LONG_FUNCTIONS.iter().any(|e| format!("{name} {}", e.0).ends_with(&f.1)));
        faults
    });
    let body = "    let a = 1;\n".repeat(text::FUNCTION_LINES);
    assert!(!text::functions(&format!("pub fn canary() {{\n{body}}}\n")).is_empty(), "canary");
    assert!(
        !text::functions(&format!("    const fn canary(\n        a: u8,\n    ) {{\n{body}    }}\n"))
            .is_empty()
    );
    assert!(text::functions("fn short() {}\nfn also() {\n}\ntrait T {\n    fn none(&self);\n}\n").is_empty());
}

#[test]
fn nothing_is_left_undone() {
    over(".rs", |_, text| text::markers(text));
    for word in text::markers_forbidden() {
        assert!(!text::markers(&format!("    // {word}\n")).is_empty(), "canary {word}");
    }
}

#[test]
fn no_path_of_one_machine() {
    over("", |_, text| text::machine_paths(text));
    for path in text::machine_paths_forbidden() {
        assert!(!text::machine_paths(&format!("see {path}notes")).is_empty(), "canary {path}");
    }
}

#[test]
fn exceptions_are_needed() {
    let files = tracked();
    let text = |name: &str| files.iter().find(|f| f.0 == name).map(|f| f.1.as_str()).unwrap_or("");
    for (name, why) in LONG_FILES {
        assert!(!text::length(text(name)).is_empty(), "{name} is no longer too long ({why}): strike it off");
    }
    for (name, why) in WIDE_FILES {
        assert!(!text::width(text(name)).is_empty(), "{name} is no longer too wide ({why}): strike it off");
    }
    for (name, why) in NOT_OPERATORS {
        let file = format!("operators/src/{name}.rs");
        assert!(!text(&file).is_empty(), "{file} is not there ({why}): strike it off");
    }
}

/// Rust files in the folder of a family that are neither in the registry nor excused.
fn unregistered(files: &[String], operators: &[&str], excuses: &[(&str, &str)]) -> Vec<String> {
    let nested = |f: &&String| f.matches('/').count() > 2;
    let families: Vec<&str> = operators
        .iter()
        .filter_map(|name| {
            let end = format!("/{name}.rs");
            files.iter().filter(nested).find(|f| f.ends_with(&end))?.strip_suffix(&end)
        })
        .collect();
    files
        .iter()
        .filter_map(|f| {
            let (family, file) = f.strip_suffix(".rs")?.rsplit_once('/')?;
            let known =
                operators.contains(&file) || excuses.iter().any(|e| f.ends_with(&format!("/{}.rs", e.0)));
            (families.contains(&family) && !known).then(|| f.clone())
        })
        .collect()
}

#[test]
fn every_operator_stands_in_the_registry_under_its_file_name() {
    let files: Vec<String> =
        tracked().into_iter().map(|f| f.0).filter(|f| f.starts_with("operators/src/")).collect();
    let names: Vec<&str> = OPERATORS.iter().map(|s| s.name).collect();
    for name in &names {
        let end = format!("/{name}.rs");
        assert!(files.iter().any(|f| f.ends_with(&end)), "operator {name} is in no file {name}.rs");
    }
    let lost = unregistered(&files, &names, NOT_OPERATORS);
    assert!(lost.is_empty(), "without a line in operators/src/registry.rs: {lost:?}");
    let canary = [files, vec!["operators/src/ecg/canary.rs".into()]].concat();
    assert_eq!(unregistered(&canary, &names, NOT_OPERATORS), ["operators/src/ecg/canary.rs"], "canary");
}

#[test]
fn crates_know_only_what_is_below_them() {
    for (package, never) in crates::NEVER {
        let found = crates::forbidden(&crates::tree(package), never);
        assert!(found.is_empty(), "{package} depends on {found:?}");
    }
    // The engine does depend on them: were the listing empty, nothing above would mean anything.
    let engine = crates::tree("auscult");
    assert_eq!(crates::forbidden(&engine, &["tokio", "rdkafka", "auscult-models"]).len(), 3, "canary");
}
