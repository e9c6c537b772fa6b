//! What the broker says to a member that has just joined.
//! In: the consumer, what is listened for. Out: that, if it is said.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::{Ownership, lock};
use crate::clock;

/// A broker that has objected to nothing for so long is away, or has nothing against it.
const HEARD: Duration = Duration::from_secs(3);

/// The first of these objections, unless partitions are given or nothing is said for a while. What the broker says
/// otherwise is left for whoever reads.
pub(super) fn objection(
    consumer: &BaseConsumer<Ownership>,
    go_on: &dyn Fn() -> bool,
    codes: &[RDKafkaErrorCode],
) -> Option<RDKafkaErrorCode> {
    let began = clock::instant();
    while began.elapsed() < HEARD && lock(&consumer.context().changes).is_empty() && go_on() {
        let Some(Err(e)) = consumer.poll(HEARD / 60) else { continue };
        let said = e.rdkafka_error_code().filter(|code| codes.contains(code));
        if said.is_some() {
            return said;
        }
    }
    None
}
