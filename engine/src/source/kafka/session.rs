//! The session of a member: brokers refuse one that is shorter than they allow, and by default that is six seconds.
//! In: how to join with a session, the one that is asked for. Out: a member, and the session that it has.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use tracing::warn;

use super::Ownership;
use super::hear::objection;
use crate::error::RunError;

/// The shortest session that brokers take by default.
const DEFAULT_LEAST: Duration = Duration::from_secs(6);

/// Joins with the session that is asked for. One that is shorter than brokers allow by default, and refused, is said
/// and replaced by the shortest that they do allow by default: a service with a longer session is better than none.
pub(super) fn joined<C>(
    join: impl Fn(Duration) -> Result<C, RunError>,
    refuses: impl Fn(&C) -> Result<bool, RunError>,
    asked: Duration,
) -> Result<(C, Duration), RunError> {
    let consumer = join(asked)?;
    if asked >= DEFAULT_LEAST || !refuses(&consumer)? {
        return Ok((consumer, asked));
    }
    drop(consumer);
    let (asked_ms, session_ms) = (asked.as_millis() as u64, DEFAULT_LEAST.as_millis() as u64);
    let what = "the brokers refuse a session as short as `kafka.session_timeout_ms`, so partitions of a dead instance \
                are taken over later: lower `group.min.session.timeout.ms` on the brokers";
    warn!(code = "session_refused", asked_ms, session_ms, "{what}");
    Ok((join(DEFAULT_LEAST)?, DEFAULT_LEAST))
}

/// Whether the broker refuses the session.
///
/// # Errors
/// [`RunError::Fenced`] if another process joins as this instance meanwhile. What else there is to hear comes again.
pub(super) fn refuses(
    consumer: &BaseConsumer<Ownership>,
    go_on: &dyn Fn() -> bool,
) -> Result<bool, RunError> {
    use RDKafkaErrorCode::{FencedInstanceId, InvalidSessionTimeout};
    match objection(consumer, go_on, &[InvalidSessionTimeout, FencedInstanceId]) {
        Some(FencedInstanceId) => Err(RunError::Fenced { instance: consumer.context().instance.clone() }),
        said => Ok(said.is_some()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_short_session_that_is_refused_is_replaced_by_the_shortest_that_brokers_take() {
        let seconds = Duration::from_secs;
        // Asked for, the shortest that the broker takes, and with which sessions the group was joined.
        for (asked, least, joins) in [(6, 6, vec![6]), (3, 6, vec![3, 6]), (3, 3, vec![3]), (9, 6, vec![9])] {
            let seen = RefCell::new(Vec::new());
            let join = |session: Duration| {
                seen.borrow_mut().push(session);
                Ok(session)
            };
            let (member, session) = joined(join, |s| Ok(*s < seconds(least)), seconds(asked)).unwrap();
            assert_eq!(*seen.borrow(), joins.iter().map(|s| seconds(*s)).collect::<Vec<_>>());
            assert_eq!((member, session), (seconds(joins[joins.len() - 1]), member), "asked for {asked} s");
        }
    }
}
