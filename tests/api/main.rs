//! What the types of the public interface promise without a method: that they cross threads, that errors are errors,
//! and that futures are small. Most of it is checked by the compiler.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use milena::broker::{self, Cluster, ClusterBuilder, ClusterError};
use milena::{
    AbortCause, AbortableError, Acknowledgement, Acks, AdminConfig, AdminError, AssignmentStrategy,
    BrokerId, Cause, ClientError, CloseError, CommitError, Compression, ConfigError, Consumer,
    ConsumerBuilder, ConsumerConfig, ConsumerError, ConsumerGroupMetadata, ConsumerHandle,
    ConsumerRecord, Delivery, DeliveryError, DeliveryErrorKind, DisconnectReason, ErrorCode,
    ExactlyOnce, ExactlyOnceBuilder, ExactlyOnceError, ExactlyOnceStartError, FatalError,
    GroupError, GroupProtocol, Header, InterceptedRecord, IsolationLevel, LeaveMode, Metric,
    MetricValue, Metrics, OffsetAndMetadata, OffsetAndTimestamp, OffsetReset, OwnedRecord,
    PartitionRecords, PartitionRecordsIter, PartitionerClass, Peer, Persistence, ProduceError,
    Producer, ProducerBuilder, ProducerConfig, ProducerIdentity, ProducerRecord, Progress,
    ProgressHandle, RecordDeserializationError, RecordHeader, RecordHeaders, RecordMetadata,
    RecordStream, Records, RecordsIter, SendError, SerializationError, StartAt,
    SubscriptionPattern, SystemClock, TimestampType, TopicId, TopicPartition, TopicPartitions,
    Transaction, TransactionError, TransactionOperation, TransactionOutcome, TransactionTimeout,
    TransactionalProducer, TransactionalProducerConfig, TypedConsumerRecord, TypedProducer,
    TypedRecord, TypedRecords, UnknownName, VersionSpan, admin, assignor, config, net, serialize,
};

fn owned<T: Send + Sync + Unpin + Debug + 'static>() {}
fn crosses<T: ?Sized + Send + Sync>() {}
fn shared<T: Clone + Send + Sync + Unpin + Debug + 'static>() {}
fn borrowing<T: Clone + Send + Sync + Unpin + Debug>() {}
fn error<T: Error + Clone + Send + Sync + 'static>() {}
fn value<T: Clone + PartialEq + Send + Sync + Debug + 'static>() {}

enum Unheard {}
impl milena::RebalanceListener for Unheard {}

#[test]
fn types_cross_threads_and_print() {
    use serialize::{LongDeserializer, StringDeserializer};
    shared::<Producer>();
    shared::<ProducerConfig>();
    shared::<ConsumerConfig>();
    shared::<AdminConfig>();
    shared::<admin::Admin>();
    owned::<admin::AdminBuilder>();
    shared::<TransactionalProducerConfig>();
    owned::<TransactionalProducer>();
    owned::<ProducerBuilder<TransactionalProducerConfig>>();
    shared::<SystemClock>();
    shared::<config::ClientConfig>();
    shared::<Cluster>();
    shared::<ClusterBuilder>();
    shared::<broker::TopicSpec>();
    shared::<broker::Fault>();
    shared::<broker::NewRecord>();
    owned::<broker::Writer>();
    shared::<broker::GroupDescription>();
    shared::<broker::GroupMember>();
    shared::<broker::GroupType>();
    shared::<broker::CommittedOffset>();
    shared::<broker::TransactionDescription>();
    shared::<broker::TransactionState>();
    shared::<TypedProducer<serialize::StringSerializer, serialize::VoidSerializer>>();
    shared::<serialize::SerializeWith<str, fn(&str)>>();
    shared::<Metric>();
    shared::<Metrics>();
    owned::<ProducerBuilder>();
    owned::<Delivery>();
    owned::<Consumer>();
    owned::<ConsumerBuilder>();
    owned::<ExactlyOnce>();
    owned::<ExactlyOnceBuilder>();
    shared::<Progress>();
    shared::<ProgressHandle>();
    shared::<ConsumerHandle>();
    shared::<SubscriptionPattern>();
    owned::<Records>();
    owned::<PartitionRecords>();
    owned::<config::ConfigBuilder<ProducerConfig>>();
    owned::<net::TcpConnector>();
    owned::<Box<dyn net::Connect>>();
    fn listens<T: milena::RebalanceListener>() {}
    let _ = listens::<Unheard>;
    crosses::<dyn milena::ConsumerInterceptor>();
    crosses::<dyn milena::ProducerInterceptor>();
    crosses::<TypedRecords<'_, RecordsIter<'_>, StringDeserializer, LongDeserializer>>();
    crosses::<serialize::DeserializeWith<u64, fn(Option<&[u8]>)>>();
    crosses::<dyn serialize::Serializer<Data = str>>();
    owned::<Box<dyn milena::Clock>>();
    owned::<Box<dyn milena::Partitioner>>();
    owned::<Box<dyn assignor::Assignor>>();
    owned::<assignor::RangeAssignor>();
    owned::<assignor::RoundRobinAssignor>();
    owned::<assignor::StickyAssignor>();
    owned::<assignor::CooperativeStickyAssignor>();
}

#[test]
fn what_borrows_crosses_threads_too() {
    fn moves<T: Send + Unpin + Debug>() {}
    moves::<RecordStream<'_>>();
    borrowing::<ProducerRecord<'_>>();
    borrowing::<Acknowledgement<'_>>();
    borrowing::<InterceptedRecord<'_>>();
    borrowing::<TypedRecord<'_, str, [u8]>>();
    borrowing::<serialize::SerializeContext<'_>>();
    borrowing::<serialize::DeserializeContext<'_>>();
    borrowing::<TypedConsumerRecord<'_, &str, i64>>();
    borrowing::<Header<'_>>();
    crosses::<Transaction<'_>>();
    borrowing::<ConsumerRecord<'_>>();
    borrowing::<RecordHeader<'_>>();
    borrowing::<RecordHeaders<'_>>();
    borrowing::<RecordsIter<'_>>();
    borrowing::<TopicPartitions<'_>>();
    borrowing::<PartitionRecordsIter<'_>>();
}

#[test]
fn values_compare() {
    value::<Acks>();
    value::<AdminError>();
    value::<admin::ProducerState>();
    value::<admin::TransactionDescription>();
    value::<admin::TransactionFilter>();
    value::<admin::TransactionListing>();
    value::<admin::TransactionListings>();
    value::<admin::TransactionState>();
    value::<AssignmentStrategy>();
    value::<BrokerId>();
    value::<assignor::Assignment>();
    value::<assignor::ClusterTopics>();
    value::<assignor::MemberSubscription>();
    value::<assignor::RebalanceProtocol>();
    value::<Compression>();
    value::<ConsumerGroupMetadata>();
    value::<DeliveryErrorKind>();
    value::<TransactionOperation>();
    value::<TransactionOutcome>();
    value::<TransactionTimeout>();
    value::<DisconnectReason>();
    value::<ErrorCode>();
    value::<GroupProtocol>();
    value::<IsolationLevel>();
    value::<MetricValue>();
    value::<OffsetAndMetadata>();
    value::<OffsetAndTimestamp>();
    value::<LeaveMode>();
    value::<OffsetReset>();
    value::<OwnedRecord>();
    value::<PartitionerClass>();
    value::<Peer>();
    value::<Persistence>();
    value::<ProducerIdentity>();
    value::<RecordMetadata>();
    value::<serialize::RecordPart>();
    value::<StartAt>();
    value::<TimestampType>();
    value::<TopicId>();
    value::<TopicPartition>();
    value::<VersionSpan>();
    shared::<Cause>();
}

#[test]
fn errors_are_errors_and_can_be_kept() {
    error::<AdminError>();
    error::<ClientError>();
    error::<CloseError>();
    error::<CommitError>();
    error::<DeliveryError>();
    error::<ExactlyOnceError<String>>();
    error::<FatalError>();
    error::<GroupError>();
    error::<ProduceError>();
    error::<ConsumerError>();
    error::<RecordDeserializationError>();
    error::<SendError>();
    error::<SerializationError>();
    error::<UnknownName>();
    error::<TransactionError>();
    error::<AbortableError>();
    error::<AbortCause>();
    // These hold what the operating system said, which cannot be cloned.
    owned::<ConfigError>();
    owned::<ExactlyOnceStartError>();
    owned::<ClusterError>();
    let _: fn(ConfigError) -> Box<dyn Error + Send + Sync> = Into::into;
    let _: fn(ClusterError) -> Box<dyn Error + Send + Sync> = Into::into;
}

/// A new public type comes with its lines above.
#[test]
fn every_public_name_is_checked() {
    let (library, here) = (include_str!("../../src/lib.rs"), include_str!("main.rs"));
    let mut missing = Vec::new();
    for exported in library.split("pub use ").skip(1) {
        let names = exported.split(';').next().unwrap_or_default();
        for name in names.split(|c: char| !c.is_alphanumeric()) {
            let checked =
                ["<", "::"].iter().any(|before| here.contains(&format!("{before}{name}")));
            if name.starts_with(char::is_uppercase) && !checked {
                missing.push(name);
            }
        }
    }
    assert!(library.contains("pub use") && missing.is_empty(), "not in tests/api: {missing:?}");
}

fn size_if_send<F: Future + Send>(future: F) -> usize {
    size_of_val(&future)
}

#[tokio::test]
async fn futures_of_the_producer_can_be_spawned_and_are_small() {
    let config = ProducerConfig::from_properties([("bootstrap.servers", "127.0.0.1:1")]);
    let producer = Producer::new(config.unwrap());
    let record = ProducerRecord::new("topic", "value");
    let callback = |_: Result<RecordMetadata, DeliveryError>| {};
    for size in
        [size_if_send(producer.send(&record)), size_if_send(producer.send_with(&record, callback))]
    {
        assert!(size <= 256, "made for every record, and {size} bytes");
    }
    let typed = producer.typed(serialize::StringSerializer, serialize::StringSerializer);
    let record_of_text = TypedRecord::new("topic", "value");
    assert!(size_if_send(typed.send(&record_of_text)) <= 512);
    for size in [
        size_if_send(producer.flush()),
        size_if_send(producer.close(Duration::ZERO)),
        size_if_send(producer.partitions_for("topic")),
        size_if_send(producer.send_and_wait(&record)),
    ] {
        assert!(size <= 1024, "{size} bytes in the future of whoever awaits it");
    }
}

#[tokio::test]
async fn futures_of_the_reader_can_be_spawned() {
    let config = ConsumerConfig::from_properties([("bootstrap.servers", "127.0.0.1:1")]);
    let mut reader = Consumer::new(config.unwrap());
    let partitions = || [TopicPartition::new("topic", 0)];
    for size in [
        size_if_send(reader.poll(Duration::ZERO)),
        size_if_send(reader.beginning_offsets(partitions(), Duration::ZERO)),
        size_if_send(reader.end_offsets(partitions(), Duration::ZERO)),
        size_if_send(reader.close(Duration::ZERO)),
    ] {
        assert!(size <= 1024, "{size} bytes in the future of whoever awaits it");
    }
}

#[tokio::test]
async fn futures_of_the_loop_can_be_spawned() {
    async fn ends_at_once(worker: &mut ExactlyOnce) -> usize {
        let note = String::from("captured");
        let mut batches = 0;
        size_if_send(worker.run(async move |records: &Records, transaction: &Transaction<'_>| {
            batches += 1;
            drop(transaction.send(&ProducerRecord::new("topic", &note)).await?);
            let _ = (batches, records.len());
            Ok::<_, SendError>(())
        }))
    }
    let _ = ends_at_once;
}

#[tokio::test]
async fn futures_of_the_administrator_can_be_spawned() {
    let config = AdminConfig::from_properties([("bootstrap.servers", "127.0.0.1:1")]);
    let admin = admin::Admin::new(config.unwrap());
    let filter = admin::TransactionFilter::new();
    for size in [
        size_if_send(admin.list_transactions(&filter)),
        size_if_send(admin.describe_transactions(["t"])),
        size_if_send(admin.describe_producers([TopicPartition::new("topic", 0)])),
        size_if_send(admin.fence_producers(["t"])),
    ] {
        assert!(size <= 4096, "{size} bytes in the future of whoever awaits it");
    }
}

/// These move for every record.
#[test]
fn what_a_send_returns_is_small() {
    assert!(size_of::<Result<Delivery, SendError>>() <= 128);
    assert!(size_of::<Result<RecordMetadata, DeliveryError>>() <= 96);
    assert!(size_of::<DeliveryError>() <= size_of::<usize>());
}
