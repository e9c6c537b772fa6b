//! Where the real recordings lie that some tests read; they are never part of the repository.
//! In: `AUSCULT_DATA`, else `../shared/data` beside the workspace. Out: the folder of one set, or nothing.
//! A test without its recordings says so in one line and proves nothing else.

use std::path::{Path, PathBuf};

use crate::binary;

/// The folder of the set `name` (`mitdb`, `challenge2019`); when absent, one line says what `test` did not run.
pub fn folder(name: &str, test: &str) -> Option<PathBuf> {
    let set = std::env::var_os("AUSCULT_DATA").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let root = set.unwrap_or_else(|| binary::workspace().join("../shared/data"));
    found(&root, name, test)
}

/// MIT-BIH records of every kind: normal, paced-like, bigeminy, fibrillation, flutter, noise.
pub const EIGHT: [&str; 8] = ["100", "101", "106", "119", "203", "207", "208", "217"];

/// Paths of the eight records, as `auscult` takes them.
pub fn eight(mitdb: &Path) -> Vec<String> {
    EIGHT.iter().map(|r| mitdb.join(r).to_string_lossy().into_owned()).collect()
}

#[allow(clippy::print_stderr, reason = "the reader of a test run must see what was not run")]
fn found(root: &Path, name: &str, test: &str) -> Option<PathBuf> {
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("not run: {test}: no recordings at {} (set AUSCULT_DATA)", folder.display());
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn present_or_not() {
        let root = tempfile::tempdir().expect("temporary folder");
        assert_eq!(found(root.path(), "mitdb", "present_or_not"), None);
        std::fs::create_dir(root.path().join("mitdb")).expect("create");
        assert_eq!(found(root.path(), "mitdb", "present_or_not"), Some(root.path().join("mitdb")));
    }
}
