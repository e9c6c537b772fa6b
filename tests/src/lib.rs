//! Harness of the end-to-end tests: a real Kafka broker, the built binary, third-party readers of what it writes.
//! In: what the machine has (java, maven, python3, cargo), fetched once into a cache outside the checkout.
//! Out: handles that tests drive; a failure panics with what was attempted, the log's end and what to install.
//!
//! Reading order: [`cache`] (fetched once), [`process`] (children that die with the test), [`kafka`] (the broker and
//! a client of it), [`binary`] (`auscult` itself), [`site`] (a configuration with its topics and services), [`http`],
//! [`python`] and [`promtool`] (the third parties), [`recordings`] (real data, if it is there).

#![allow(clippy::disallowed_methods, reason = "a test waits by the wall clock")]

pub mod binary;
pub mod cache;
pub mod checker;
pub mod faults;
pub mod hostile;
pub mod http;
pub mod kafka;
pub mod load;
pub mod process;
pub mod promtool;
pub mod proxy;
pub mod python;
pub mod recordings;
pub mod site;
pub mod trial;
pub mod walk;
pub mod watcher;

use std::time::{Duration, Instant};

/// Asks `probe` every 50 ms until it answers `Some`, for at most `limit`; `None` when time ran out.
///
/// ```
/// use std::time::Duration;
/// let mut asked = 0;
/// let found = auscult_tests::poll(Duration::from_secs(5), || {
///     asked += 1;
///     (asked == 3).then_some("third")
/// });
/// assert_eq!(found, Some("third"));
/// ```
pub fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if start.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether folders of runs stay, to be looked at: `AUSCULT_KEEP` is in the environment.
///
/// ```
/// assert_eq!(auscult_tests::keep(), std::env::var_os("AUSCULT_KEEP").is_some());
/// ```
pub fn keep() -> bool {
    std::env::var_os("AUSCULT_KEEP").is_some()
}

/// A temporary folder, gone when it is dropped unless [`keep`] says otherwise.
///
/// ```
/// let folder = auscult_tests::scratch("auscult-example-");
/// assert!(folder.path().is_dir());
/// ```
pub fn scratch(prefix: &str) -> tempfile::TempDir {
    let made = tempfile::Builder::new().prefix(prefix).disable_cleanup(keep()).tempdir();
    made.expect("temporary folder")
}
