//! Dependencies: each earns a comment that says why, and none brings a licence that was not agreed to.
//! In: `Cargo.toml`, `cargo tree`. Out: the names of those that fail.

use std::collections::BTreeSet;
use std::process::Command;

/// Licences under which a dependency may be used.
const ALLOWED: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "0BSD",
    "BSL-1.0",
    "CC0-1.0",
    "bzip2-1.0.6",
];

/// Dependencies of the workspace table without a comment above; a comment counts for all lines up to the next blank
/// line or table.
fn unexplained(manifest: &str) -> Vec<String> {
    let table = manifest.lines().skip_while(|l| *l != "[workspace.dependencies]").skip(1);
    let mut explained = false;
    let mut missing = Vec::new();
    for line in table.take_while(|l| !l.starts_with('[')) {
        match line.trim() {
            "" => explained = false,
            comment if comment.starts_with('#') => {
                explained = comment.trim_start_matches('#').trim().len() > 10
            }
            entry => {
                // Our own crates explain themselves.
                let ours = entry.contains("{ path =");
                let name = entry.split_once('=').map_or(entry, |e| e.0).trim();
                if !explained && !ours {
                    missing.push(name.to_owned());
                }
            }
        }
    }
    missing
}

/// Whether one of the choices that an SPDX expression offers is allowed. Brackets bind one choice inside a sum.
fn allowed(expression: &str) -> bool {
    let flat = expression.replace('/', " OR ");
    let term = |t: &str| {
        let bare = t.trim().trim_start_matches('(').trim_end_matches(')');
        bare.split(" OR ").any(|one| ALLOWED.contains(&one.trim()))
    };
    if flat.contains(" AND ") { flat.split(" AND ").all(term) } else { term(&flat) }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("the workspace manifest");
    assert_eq!(unexplained(&manifest), Vec::<String>::new());
    let canary =
        "[workspace.dependencies]\n# Error enums with their messages.\nthiserror = \"2\"\n\nserde = \"1\"\n";
    assert_eq!(unexplained(canary), ["serde"], "canary");
    assert!(!manifest.is_empty() && manifest.contains("[workspace.dependencies]"));
}

#[test]
fn every_licence_is_allowed() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // What is built here: of crates for other systems nothing is fetched, so nothing is known.
    let output = Command::new(cargo)
        .args(["tree", "--workspace", "-e", "normal,build,dev", "--offline", "--locked"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let packages: BTreeSet<&str> = text.lines().filter(|l| !l.is_empty()).collect();
    assert!(packages.len() > 100, "{} packages", packages.len());
    let licence = |p: &str| p.rsplit_once('|').map(|(_, licence)| licence.to_owned());
    let refused: Vec<&&str> = packages.iter().filter(|p| !licence(p).is_some_and(|l| allowed(&l))).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn expressions_are_read_as_they_mean() {
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "(MIT OR GPL-2.0) AND Unicode-3.0"] {
        assert!(allowed(good), "{good}");
    }
    for bad in
        ["GPL-3.0-only", "MIT AND GPL-2.0", "SSPL-1.0 OR AGPL-3.0", "", "(GPL-2.0 OR LGPL-2.1) AND MIT"]
    {
        assert!(!allowed(bad), "canary {bad}");
    }
}
