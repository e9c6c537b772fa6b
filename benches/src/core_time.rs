//! Time that this thread has had on a core: what else the machine does is not in it.
//! In: Linux's own count. Out: a duration in nanoseconds, of which differences mean something.

use std::time::Duration;

/// Time this thread has had on a core so far.
///
/// # Panics
/// If the system does not tell it, as only Linux does.
pub fn core_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = told.split_whitespace().next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.expect("the system tells the time that a thread had"))
}
