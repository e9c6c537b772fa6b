//! The cache outside the checkout: what tests fetch (jars, a Python environment, promtool) is fetched once.
//! In: a folder name that bears its version, and how to fill it. Out: the path of the complete folder.
//! Filled aside and renamed under a file lock, so that a cut or two test processes at once never leave half a folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// `$AUSCULT_CACHE`, else `$XDG_CACHE_HOME/auscult`, else `~/.cache/auscult`.
pub fn root() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("AUSCULT_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("auscult")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/auscult")))
        .expect("no cache folder: set AUSCULT_CACHE or HOME")
}

/// The folder `name` of the cache; `fill` is called with an empty folder aside when it is not there yet.
pub fn folder(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    folder_in(&root(), name, fill)
}

fn folder_in(root: &Path, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let complete = root.join(name);
    if complete.is_dir() {
        return complete;
    }
    fs::create_dir_all(root).unwrap_or_else(|e| panic!("cannot create the cache {}: {e}", root.display()));
    let lock_path = root.join(format!("{name}.lock"));
    let lock =
        File::create(&lock_path).unwrap_or_else(|e| panic!("cannot open {}: {e}", lock_path.display()));
    lock.lock().unwrap_or_else(|e| panic!("cannot lock {}: {e}", lock_path.display()));
    // Another process may have filled it while this one waited for the lock.
    if complete.is_dir() {
        return complete;
    }
    // What a cut process left aside is worthless: only the holder of the lock writes there.
    let aside = root.join(format!("{name}.partial"));
    if aside.exists() {
        fs::remove_dir_all(&aside).unwrap_or_else(|e| panic!("cannot clear {}: {e}", aside.display()));
    }
    fs::create_dir(&aside).unwrap_or_else(|e| panic!("cannot create {}: {e}", aside.display()));
    fill(&aside);
    fs::rename(&aside, &complete)
        .unwrap_or_else(|e| panic!("cannot rename {} to {}: {e}", aside.display(), complete.display()));
    complete
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn two_at_once_fill_once() {
        let root = tempfile::tempdir().expect("temporary folder");
        let filled = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let path = folder_in(root.path(), "thing-1", |aside| {
                        filled.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        fs::write(aside.join("content"), "x").expect("write");
                    });
                    assert_eq!(fs::read_to_string(path.join("content")).expect("read"), "x");
                });
            }
        });
        assert_eq!(filled.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_cut_fill_leaves_nothing_that_counts() {
        let root = tempfile::tempdir().expect("temporary folder");
        let cut = std::panic::catch_unwind(|| {
            folder_in(root.path(), "thing-1", |aside| {
                fs::write(aside.join("half"), "x").expect("write");
                panic!("cut");
            })
        });
        assert!(cut.is_err());
        assert!(!root.path().join("thing-1").exists());
        let path = folder_in(root.path(), "thing-1", |aside| {
            assert!(!aside.join("half").exists(), "what was cut must be cleared");
            fs::write(aside.join("whole"), "x").expect("write");
        });
        assert!(path.join("whole").exists());
    }
}
