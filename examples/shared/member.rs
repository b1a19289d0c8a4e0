//! A member of a group that commits by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use milena::{Consumer, ConsumerConfig, OffsetReset, Producer, TopicPartition};

use crate::demo::{Demo, Failure, TIMEOUT};

/// Records wake a poll; this bounds it where there are none.
pub(crate) const POLL: Duration = Duration::from_millis(200);

pub(crate) fn member(demo: &Demo, topic: &str) -> Result<Consumer, Failure> {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(&demo.servers)
        .group_id(&demo.group)
        // Whoever comes back under this name takes its place in the group at once, not when its session has ended.
        .set("group.instance.id", "worker-0")
        .enable_auto_commit(false)
        .auto_offset_reset(OffsetReset::Earliest)
        // So that a few polls do not read everything here.
        .max_poll_records(10)
        .build()?;
    let mut consumer = Consumer::new(config);
    consumer.subscribe([topic])?;
    Ok(consumer)
}

/// Where the partitions of a topic end.
pub(crate) type Ends = BTreeMap<TopicPartition, i64>;

pub(crate) async fn ends(
    consumer: &Consumer,
    producer: &Producer,
    topic: &str,
) -> Result<Ends, Failure> {
    let partitions = 0..producer.partitions_for(topic).await?;
    let names = partitions.map(|number| TopicPartition::new(topic, number as i32));
    Ok(consumer.end_offsets(names, TIMEOUT).await?)
}

/// Whether it has not read as far as there, or does not know its partitions yet.
pub(crate) fn is_behind(consumer: &Consumer, ends: &Ends) -> bool {
    ends.iter().any(|(name, end)| consumer.position(name).is_none_or(|at| at < *end))
}
