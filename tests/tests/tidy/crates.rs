//! What each crate may depend on, told by cargo itself.
//! In: the name of a package. Out: everything it is built with, and which of that it must not know.

use std::process::Command;

/// Packages, and what must not be below them.
pub const NEVER: &[(&str, &[&str])] = &[
    (
        "auscult-operators",
        &[
            "tokio",
            "rdkafka",
            "ort",
            "arrow",
            "parquet",
            "axum",
            "auscult",
            "auscult-models",
            "auscult-datasets",
        ],
    ),
    ("auscult-models", &["tokio", "rdkafka", "arrow", "parquet", "axum", "auscult", "auscult-datasets"]),
    ("auscult-datasets", &["tokio", "rdkafka", "ort", "arrow", "axum", "auscult", "auscult-models"]),
];

/// Names of everything a package is built with, itself included.
pub fn tree(package: &str) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "-p",
            package,
            "-e",
            "normal",
            "--offline",
            "--locked",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let names: Vec<String> = text.lines().filter_map(|l| l.split(' ').next()).map(String::from).collect();
    assert!(names.iter().any(|n| n == package), "cargo tree lists nothing: {text}");
    names
}

/// Those of the names that must not be there, each once.
pub fn forbidden(names: &[String], never: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = names.iter().filter(|n| never.contains(&n.as_str())).cloned().collect();
    found.sort();
    found.dedup();
    found
}
