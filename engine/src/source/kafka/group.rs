//! The consumer group, for those who do not read from it: what it has committed, and who owns what.
//! In: the source's own client. Out: offsets, and counts of partitions by member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Ownership;

/// What others must know of the group: the committer, and whoever rebuilds a partition's state.
#[derive(Clone)]
pub struct Group {
    topic: Arc<str>,
    client: Arc<RwLock<Arc<Client>>>,
}

/// The client that is the member.
pub(super) type Client = BaseConsumer<Ownership>;

/// A group that may be gone.
pub struct WeakGroup(Arc<str>, Weak<RwLock<Arc<Client>>>);

impl WeakGroup {
    /// The group, if it is still there.
    pub fn upgrade(&self) -> Option<Group> {
        self.1.upgrade().map(|client| Group { topic: self.0.clone(), client })
    }
}

/// The members of a group.
#[derive(Clone, Debug)]
pub struct Members {
    /// Whether it is at rest.
    pub stable: bool,
    /// Partitions of the frames topic.
    pub partitions: usize,
    /// Of each member, how many of them it owns.
    pub counts: BTreeMap<String, usize>,
    /// Which of them is this process.
    pub me: String,
    /// Instances that are members.
    pub instances: BTreeSet<String>,
}

impl Members {
    /// Partitions that somebody owns.
    pub fn owned(&self) -> usize {
        self.counts.values().sum()
    }
}

impl Group {
    pub(super) fn new(topic: &str, client: Client) -> Self {
        Self { topic: topic.into(), client: Arc::new(RwLock::new(Arc::new(client))) }
    }

    /// The client that is the member now.
    pub(super) fn client(&self) -> Arc<Client> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another client is the member from now on. The one that was.
    pub(super) fn replace(&self, client: Client) -> Arc<Client> {
        let mut place = self.client.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, Arc::new(client))
    }

    /// The same, for whoever must not keep it.
    pub fn weak(&self) -> WeakGroup {
        WeakGroup(self.topic.clone(), Arc::downgrade(&self.client))
    }

    /// Name of the frames topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What the producer must know to commit offsets for the group.
    pub fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.client().group_metadata()
    }

    /// Offsets committed for these partitions; 0 where there is none.
    ///
    /// # Errors
    /// [`KafkaError`] if the coordinator does not answer in time.
    pub fn committed(&self, partitions: &[i32], wait: Duration) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let mut tpl = TopicPartitionList::new();
        for p in partitions {
            tpl.add_partition(self.topic(), *p);
        }
        let found = self.client().committed_offsets(tpl, wait)?;
        let mut out = BTreeMap::new();
        for e in found.elements() {
            e.error()?;
            out.insert(e.partition(), if let Offset::Offset(o) = e.offset() { o } else { 0 });
        }
        Ok(out)
    }

    /// First offset of a partition, and the one after its last.
    ///
    /// # Errors
    /// [`KafkaError`] if the broker does not answer in time.
    pub fn reach(&self, partition: i32, wait: Duration) -> Result<(i64, i64), KafkaError> {
        self.client().fetch_watermarks(self.topic(), partition, wait)
    }

    /// The group as the broker describes it. With the newer group protocol, where the broker itself sees to it that
    /// every partition is owned, it has no members.
    ///
    /// # Errors
    /// [`KafkaError`] if the brokers do not answer in time.
    pub fn members(&self, wait: Duration) -> Result<Members, KafkaError> {
        let client = self.client();
        let context = client.context();
        let metadata = client.fetch_metadata(Some(&context.topic), wait)?;
        let partitions = metadata.topics().iter().map(|t| t.partitions().len()).sum();
        let groups = client.fetch_group_list(Some(&context.group), wait)?;
        let mut members = Members {
            stable: false,
            partitions,
            counts: BTreeMap::new(),
            me: String::new(),
            instances: BTreeSet::new(),
        };
        for group in groups.groups().iter().filter(|g| g.name() == context.group) {
            members.stable = group.state() == "Stable" && group.protocol_type() == "consumer";
            for member in group.members() {
                members.instances.insert(member.client_id().to_owned());
                let count = member.assignment().and_then(|bytes| owned(bytes, &context.topic));
                let Some(count) = count else { continue };
                members.counts.insert(member.id().to_owned(), count);
                if member.client_id() == context.instance {
                    members.me = member.id().to_owned();
                }
            }
        }
        Ok(members)
    }
}

/// Partitions of a topic in an assignment, as the consumer protocol writes it: a version, then topics, each with its
/// partitions.
fn owned(mut bytes: &[u8], topic: &str) -> Option<usize> {
    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (head, rest) = bytes.split_at_checked(count)?;
        *bytes = rest;
        Some(head)
    }
    fn number(bytes: &mut &[u8]) -> Option<usize> {
        usize::try_from(i32::from_be_bytes(take(bytes, 4)?.try_into().ok()?)).ok()
    }
    take(&mut bytes, 2)?;
    let mut count = 0;
    for _ in 0..number(&mut bytes)? {
        let length = u16::from_be_bytes(take(&mut bytes, 2)?.try_into().ok()?);
        let name = take(&mut bytes, usize::from(length))?;
        let partitions = number(&mut bytes)?;
        take(&mut bytes, partitions.checked_mul(4)?)?;
        if name == topic.as_bytes() {
            count += partitions;
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::owned;

    #[test]
    fn an_assignment_is_read_as_the_protocol_writes_it() {
        // Version 1; topic `ab` with partitions 0 and 7, topic `c` with 3; no user data.
        let bytes = [
            0, 1, 0, 0, 0, 2, 0, 2, b'a', b'b', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, b'c', 0, 0, 0, 1,
            0, 0, 0, 3, 255, 255, 255, 255,
        ];
        assert_eq!(
            [owned(&bytes, "ab"), owned(&bytes, "c"), owned(&bytes, "d")],
            [Some(2), Some(1), Some(0)]
        );
        for cut in 0..32 {
            assert_eq!(owned(&bytes[..cut], "ab"), None, "cut at {cut}");
        }
        assert_eq!(owned(&[0, 1, 255, 255, 255, 255], "ab"), None);
    }
}
