//! The only caller of the system clock.
//! In: nothing. Out: wall-clock time and instants, for pacing, ticks, heartbeats and logs; never for content.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use auscult_operators::signal::EventTime;

/// Wall-clock time.
#[allow(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A point of monotonic time.
#[allow(clippy::disallowed_methods, reason = "the one place")]
pub fn instant() -> Instant {
    Instant::now()
}
