//! The copy: what is read goes out in a transaction, and so do the offsets up to where it was read.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use milena::{
    Consumer, ConsumerError, ConsumerGroupMetadata, ConsumerHandle, ConsumerRecord, ErrorCode,
    FatalError, ProducerRecord, RebalanceListener, Records, SendError, StartAt, TopicPartition,
    Transaction, TransactionError, TransactionOutcome, TransactionalProducer,
};

use crate::args::Options;
use crate::status::{Stage, Status};

/// Records wake a poll; this only bounds it, as in Kafka's tool.
const POLL: Duration = Duration::from_millis(200);
/// How long brokers have to tell an offset.
const LOOKUP: Duration = Duration::from_secs(60);

/// Begins to read, and finds out how much there is to copy.
pub(crate) async fn begin(
    options: &Options,
    consumer: &mut Consumer,
    status: &Arc<Status>,
) -> Result<(), ConsumerError> {
    let topic = &options.input_topic;
    if options.group_mode {
        return consumer.subscribe_with([topic], Counter(status.clone()));
    }
    let partition = TopicPartition::new(topic, options.input_partition);
    consumer.assign([(partition.clone(), StartAt::Committed)])?;
    status.at_most(left(consumer, vec![partition]).await?);
    Ok(())
}

/// Copies what is left. Dropped in the middle of a transaction, it aborts that one.
pub(crate) async fn copy(
    options: &Options,
    consumer: &mut Consumer,
    producer: &mut TransactionalProducer,
    status: &Status,
) -> Result<(), Box<dyn Error>> {
    while status.remaining() > 0 {
        status.print(Stage::ProcessLoop);
        let polled = consumer.poll(POLL).await;
        status.check()?;
        let records = match polled {
            Ok(records) if records.is_empty() => continue,
            Ok(records) => records,
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "still trying to read");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match copy_batch(options, consumer, producer, &records).await {
            Ok(true) => status.committed(records.len()),
            Ok(false) => rewind(consumer, &records).await?,
            Err(TransactionError::Fatal(error)) if fenced(&error) => {
                let id = &options.transactional_id;
                let claimed = format!(
                    "The transactional.id {id} has been claimed by another process: {error}"
                );
                return Err(claimed.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether another producer has this one's `transactional.id`.
fn fenced(error: &FatalError) -> bool {
    [ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_PRODUCER_EPOCH].contains(&error.code)
}

/// Copies these records in a transaction; whether it was committed. If not, nothing of it will be visible.
async fn copy_batch(
    options: &Options,
    consumer: &Consumer,
    producer: &mut TransactionalProducer,
    records: &Records,
) -> Result<bool, TransactionError> {
    // First on its own: a transaction that did not begin has no outcome to go by.
    let transaction = loop {
        match producer.begin().await {
            Err(error) if error.is_retriable() => tracing::warn!(%error),
            began => break began?,
        }
    };
    match transact(options, consumer, transaction, records).await {
        Ok(committed) => return Ok(committed),
        Err(error) if error.is_fatal() => return Err(error),
        Err(error) => tracing::warn!(%error, "the transaction is not committed"),
    }
    // It is aborted by now, or soon; or it was to be committed and nobody knows yet.
    loop {
        match producer.settle().await {
            Err(error) if error.is_retriable() => tracing::warn!(%error),
            outcome => return Ok(outcome? == Some(TransactionOutcome::Committed)),
        }
    }
}

/// Whether it was committed, if nothing went wrong.
async fn transact(
    options: &Options,
    consumer: &Consumer,
    transaction: Transaction<'_>,
    records: &Records,
) -> Result<bool, TransactionError> {
    for record in records {
        match transaction.send(&output(&options.output_topic, &record)).await {
            // The commit waits for it.
            Ok(delivery) => drop(delivery),
            Err(SendError::Fatal(error)) => return Err(TransactionError::Fatal(error)),
            Err(SendError::Transaction(error)) => return Err(TransactionError::Abortable(error)),
            Err(error) => {
                tracing::warn!(%error, "a record was not accepted");
                transaction.abort().await?;
                return Ok(false);
            }
        }
    }
    let Some(group) = group(options, consumer) else {
        tracing::warn!("the consumer is no member of its group any more");
        transaction.abort().await?;
        return Ok(false);
    };
    match transaction.send_offsets(&group, consumer.positions()).await {
        // It goes on, and the commit waits for it.
        Err(error) if error.is_retriable() => tracing::warn!(%error),
        sent => sent?,
    }
    if options.enable_random_aborts && fastrand::u8(0..3) == 0 {
        transaction.abort().await?;
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

/// The record as it was read, for the partition of the same number.
fn output<'a>(topic: &'a str, record: &ConsumerRecord<'a>) -> ProducerRecord<'a> {
    let output = match record.value {
        Some(value) => ProducerRecord::new(topic, value),
        None => ProducerRecord::tombstone(topic),
    };
    let output = output.partition(record.partition);
    match record.key {
        Some(key) => output.key(key),
        None => output,
    }
}

/// As whom to commit offsets. A member that was expelled must not commit as nobody, which would be allowed to.
fn group(options: &Options, consumer: &Consumer) -> Option<ConsumerGroupMetadata> {
    if !options.use_group_metadata {
        return Some(ConsumerGroupMetadata::no_member(&options.consumer_group));
    }
    consumer.group_metadata().filter(|group| group.is_member() || !options.group_mode)
}

/// Goes back to what the group has committed, or before the records where it has committed nothing.
async fn rewind(consumer: &Consumer, records: &Records) -> Result<(), ConsumerError> {
    let partitions = records.partitions().map(|records| records.partition().clone());
    let committed = consumer.committed(partitions).await?;
    for records in records.partitions() {
        let partition = records.partition();
        let first = || records.iter().next().map(|record| record.offset);
        let committed = committed.get(partition).and_then(Option::as_ref);
        let Some(offset) = committed.map(|committed| committed.offset).or_else(first) else {
            continue;
        };
        match consumer.seek(partition, StartAt::Offset(offset)) {
            // Somebody else reads it now, from there.
            Err(ConsumerError::NotAssigned { .. }) => {}
            sought => sought?,
        }
    }
    Ok(())
}

/// How many offsets lie between what the group has committed and the end.
async fn left(
    consumer: &ConsumerHandle,
    partitions: Vec<TopicPartition>,
) -> Result<i64, ConsumerError> {
    let mut positions = consumer.beginning_offsets(partitions.clone(), LOOKUP).await?;
    for (partition, committed) in consumer.committed(partitions.clone()).await? {
        if let Some(committed) = committed {
            positions.insert(partition, committed.offset);
        }
    }
    let ends = consumer.end_offsets(partitions, LOOKUP).await?;
    let position = |partition| positions.get(partition).copied().unwrap_or_default();
    Ok(ends.iter().map(|(partition, end)| (end - position(partition)).max(0)).sum())
}

/// Counts anew what is left, whenever the partitions are others.
struct Counter(Arc<Status>);

impl RebalanceListener for Counter {
    async fn on_partitions_assigned(
        &mut self,
        consumer: &ConsumerHandle,
        added: &[TopicPartition],
    ) {
        // All, not only those that were added: with some protocols a member keeps its others.
        let assigned = consumer.assignment();
        if assigned.is_empty() && added.is_empty() {
            // Its share is not free yet.
            return;
        }
        match left(consumer, assigned).await {
            Ok(left) => {
                self.0.rebalanced(left);
                self.0.print(Stage::RebalanceComplete);
            }
            Err(error) => self.0.rebalance_failed(error),
        }
    }
}
