//! Bad input to a producer: each kind is a typed error, before anything is buffered where that can be, and the records
//! around it are unharmed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use milena::broker::{ApiKey, Cluster, Fault, TopicSpec};
use milena::serialize::{RecordPart, SerializeContext, Serializer};
use milena::{
    ClientError, ConfigError, DeliveryErrorKind, ErrorCode, FatalError, Persistence, ProduceError,
    Producer, ProducerConfig, ProducerRecord, SendError, SerializationError, TypedRecord,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::support::{SECOND, cluster, producer, values};

const SERVERS: (&str, &str) = ("bootstrap.servers", "localhost:9092");

fn config(properties: &[(&str, &str)]) -> ConfigError {
    let all = [SERVERS].into_iter().chain(properties.iter().copied());
    ProducerConfig::from_properties(all).expect_err("a configuration that cannot be")
}

/// Each property that is a number or one of some words, by name, from the table itself.
#[test]
fn a_wrong_or_out_of_range_property() {
    let mut checked = 0;
    for property in ProducerConfig::properties() {
        if property.expected.starts_with("text") {
            continue;
        }
        let mut wrong = vec!["certainly not".to_owned()];
        if let Some((low, high, also)) = property.range {
            wrong.extend([i128::from(low) - 1, i128::from(high) + 1].map(|n| n.to_string()));
            wrong.retain(|text| Some(text) != also.map(|also| also.to_string()).as_ref());
        }
        for text in wrong {
            let error = config(&[(property.name, &text)]);
            assert!(matches!(error, ConfigError::Invalid { .. }), "{error}");
            assert_eq!(error.property(), Some(property.name));
            let said = error.to_string();
            assert!(said.contains(property.name) && said.contains(&text), "{said}");
            assert!(said.contains(&property.allowed()), "{said}");
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn properties_that_contradict_each_other() {
    let on = ("enable.idempotence", "true");
    for (properties, names) in [
        (&[on, ("acks", "1")][..], ("acks", "enable.idempotence")),
        (&[on, ("acks", "0")], ("acks", "enable.idempotence")),
        (&[on, ("retries", "0")], ("retries", "enable.idempotence")),
        (
            &[("max.in.flight.requests.per.connection", "6")],
            ("max.in.flight.requests.per.connection", "enable.idempotence"),
        ),
        (
            &[("delivery.timeout.ms", "1000")],
            ("delivery.timeout.ms", "linger.ms + request.timeout.ms"),
        ),
        (&[("buffer.memory", "1000")], ("batch.size", "buffer.memory")),
    ] {
        match config(properties) {
            ConfigError::Conflict { property, other, .. } => assert_eq!((property, other), names),
            error => panic!("{properties:?}: {error}"),
        }
    }
}

#[test]
fn a_property_that_must_not_be_ignored() {
    for (name, value) in [
        ("transaction.two.phase.commit.enable", "true"),
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "PLAIN"),
        ("ssl.truststore.location", "/nowhere"),
    ] {
        let error = config(&[(name, value)]);
        assert!(matches!(error, ConfigError::NotSupported { .. }), "{error}");
        assert_eq!(error.property(), Some(name));
    }
    let other_kind = config(&[("transactional.id", "t")]);
    assert!(matches!(other_kind, ConfigError::Invalid { property: "transactional.id", .. }));
    let missing = ProducerConfig::builder().build().unwrap_err();
    assert!(matches!(missing, ConfigError::Missing { property: "bootstrap.servers", .. }));
}

/// Records before and after what `bad` does are one batch, and arrive.
async fn unharmed(cluster: &Cluster, producer: &Producer, bad: impl AsyncFnOnce(&Producer)) {
    producer.partitions_for("t").await.unwrap();
    let before = producer.send(&ProducerRecord::new("t", "before").partition(0)).await.unwrap();
    bad(producer).await;
    let after = producer.send(&ProducerRecord::new("t", "after").partition(0)).await.unwrap();
    producer.flush().await;
    before.await.unwrap();
    after.await.unwrap();
    assert_eq!(values(cluster, "t", 0), ["before", "after"]);
    assert_eq!(cluster.batches("t", 0).len(), 1);
}

/// Does not send by itself before it is flushed.
const PATIENT: [(&str, &str); 2] = [("linger.ms", "600000"), ("delivery.timeout.ms", "700000")];

/// What each way to send says of a record.
async fn refusals(producer: &Producer, record: &ProducerRecord<'_>) -> [SendError; 4] {
    let called = |_| panic!("the callback of a record that was refused");
    let waited = match producer.send_and_wait(record).await.unwrap_err() {
        ProduceError::Send(error) => error,
        error => panic!("{error}"),
    };
    [
        producer.send(record).await.unwrap_err(),
        producer.send_with(record, called).await.unwrap_err(),
        producer.try_send(record).unwrap_err(),
        waited,
    ]
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_an_illegal_name() {
    let cluster = cluster(|c| c).await;
    unharmed(&cluster, &producer(&cluster, &PATIENT), async |producer| {
        for topic in ["", ".", "..", "a b", "über", "a/b", "a\n", &"x".repeat(250)] {
            for error in refusals(producer, &ProducerRecord::new(topic, "x")).await {
                assert!(matches!(&error, SendError::InvalidTopic { topic: t } if t == topic));
                assert!(!error.is_retriable() && !error.is_fatal());
            }
            let error = producer.partitions_for(topic).await.unwrap_err();
            assert!(matches!(error, SendError::InvalidTopic { .. }), "{error}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_that_is_not_created() {
    let cluster = cluster(|c| c.auto_create_topics(false)).await;
    cluster.create_topic("t").unwrap();
    let properties = [PATIENT[0], PATIENT[1], ("max.block.ms", "2000")];
    unharmed(&cluster, &producer(&cluster, &properties), async |producer| {
        let record = ProducerRecord::new("missing", "x");
        let started = Instant::now();
        let errors = refusals(producer, &record).await;
        assert_eq!(started.elapsed(), 3 * 2 * SECOND, "try_send does not wait");
        for error in &errors {
            assert!(matches!(error, SendError::MetadataTimeout { .. }) && error.is_retriable());
        }
        let text = errors[0].to_string();
        assert!(text.starts_with("Topic missing not present in metadata after 2000 ms."), "{text}");
        assert!(text.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{text}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_a_request_may_be() {
    let cluster = cluster(|c| c).await;
    let properties = [PATIENT[0], PATIENT[1], ("max.request.size", "20000")];
    unharmed(&cluster, &producer(&cluster, &properties), async |producer| {
        for error in refusals(producer, &ProducerRecord::new("t", &[b'x'; 20_000])).await {
            match error {
                SendError::RecordTooLarge { size, max: 20_000, property: "max.request.size" } => {
                    assert_eq!(size, 20_000 + 87, "Java's estimate");
                }
                error => panic!("{error}"),
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_all_memory() {
    let cluster = cluster(|c| c).await;
    let properties = [PATIENT[0], PATIENT[1], ("buffer.memory", "20000")];
    unharmed(&cluster, &producer(&cluster, &properties), async |producer| {
        for error in refusals(producer, &ProducerRecord::new("t", &[b'x'; 20_000])).await {
            let property = "buffer.memory";
            assert!(matches!(&error, SendError::RecordTooLarge { max: 20_000, property: p, .. } if *p == property));
        }
    })
    .await;
}

/// A partition that no topic has is refused at once. One that the topic may come to have is waited for, as in Java.
#[tokio::test(start_paused = true)]
async fn a_partition_out_of_range() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(("t", 2)).unwrap();
    let properties = [PATIENT[0], PATIENT[1], ("max.block.ms", "2000")];
    unharmed(&cluster, &producer(&cluster, &properties), async |producer| {
        let started = Instant::now();
        for error in refusals(producer, &ProducerRecord::new("t", "x").partition(-1)).await {
            let matches =
                matches!(error, SendError::InvalidPartition { partition: -1, count: Some(2), .. });
            assert!(matches && !error.is_retriable(), "{error}");
        }
        assert!(started.elapsed().is_zero());

        let requests = cluster.requests(ApiKey::METADATA);
        let errors = refusals(producer, &ProducerRecord::new("t", "x").partition(2)).await;
        assert_eq!(started.elapsed(), 3 * 2 * SECOND, "try_send does not wait");
        for error in &errors {
            let matches =
                matches!(error, SendError::PartitionTimeout { partition: 2, count: 2, .. });
            assert!(matches && error.is_retriable(), "{error}");
        }
        assert_eq!(
            errors[0].to_string(),
            "Partition 2 of topic t with partition count 2 is not present in metadata after 2000 ms."
        );
        let requests = cluster.requests(ApiKey::METADATA) - requests;
        assert!((3..100).contains(&requests), "{requests} requests in 6 s");
    })
    .await;
}

/// What is wrong anyway is told before the topic is waited for.
#[tokio::test(start_paused = true)]
async fn bad_records_for_a_topic_that_is_not_known() {
    let cluster = cluster(|c| c.auto_create_topics(false)).await;
    let producer = producer(&cluster, &[]);
    let started = Instant::now();
    let record = ProducerRecord::new("missing", "x");
    for error in refusals(&producer, &record.partition(-7)).await {
        let matches =
            matches!(error, SendError::InvalidPartition { partition: -7, count: None, .. });
        assert!(matches, "{error}");
        let text = "topic missing has no partition -7: partitions are numbered from 0";
        assert_eq!(error.to_string(), text);
    }
    for error in refusals(&producer, &record.timestamp(-7)).await {
        assert!(matches!(error, SendError::InvalidTimestamp { timestamp: -7 }), "{error}");
    }
    assert!(started.elapsed().is_zero());
}

/// C5: partitions that are added while a send waits for them.
#[tokio::test(start_paused = true)]
async fn a_partition_that_comes_while_it_is_waited_for() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(("t", 1)).unwrap();
    let producer = producer(&cluster, &[]);
    let waiting = tokio::spawn({
        let producer = producer.clone();
        let record = ProducerRecord::new("t", "x").partition(2);
        async move { producer.send_and_wait(&record).await }
    });
    let requests = cluster.requests(ApiKey::METADATA);
    cluster.received(ApiKey::METADATA, requests + 4).await;
    assert!(!waiting.is_finished());
    cluster.add_partitions("t", 3).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().partition(), 2);
    assert_eq!(producer.partitions_for("t").await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_waited_for_no_longer_than_the_producer_is_open() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(("t", 1)).unwrap();
    let producer = producer(&cluster, &[]);
    let record = ProducerRecord::new("t", "x").partition(1);
    let (sent, closed) = tokio::join!(producer.send(&record), async {
        tokio::time::sleep(SECOND).await;
        producer.close(SECOND).await
    });
    closed.unwrap();
    assert!(matches!(sent.unwrap_err(), SendError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_negative_timestamp() {
    let cluster = cluster(|c| c).await;
    unharmed(&cluster, &producer(&cluster, &PATIENT), async |producer| {
        for timestamp in [-1, i64::MIN] {
            for error in
                refusals(producer, &ProducerRecord::new("t", "x").timestamp(timestamp)).await
            {
                let matches =
                    matches!(error, SendError::InvalidTimestamp { timestamp: t } if t == timestamp);
                assert!(matches && !error.is_retriable(), "{error}");
            }
        }
    })
    .await;
}

#[derive(Debug)]
struct TooOld(i32);

impl fmt::Display for TooOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is too old", self.0)
    }
}

impl Error for TooOld {}

/// A user's serializer: fails above 200, panics below 0.
struct Age;

impl Serializer for Age {
    type Data = i32;

    fn serialize<'a>(
        &self,
        _context: &SerializeContext<'_>,
        age: &'a i32,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, Box<dyn Error + Send + Sync>> {
        scratch.extend_from_slice(b"half of");
        assert!(*age >= 0, "not born yet: {age}");
        if *age > 200 {
            return Err(TooOld(*age).into());
        }
        scratch.clear();
        scratch.extend_from_slice(age.to_string().as_bytes());
        Ok(Some(scratch))
    }
}

fn serialization(error: SendError) -> SerializationError {
    match error {
        SendError::Serialization(error) => error,
        other => panic!("{other}"),
    }
}

/// A serializer that fails: a typed error with its cause before anything is buffered, and the next record is unharmed.
#[tokio::test(start_paused = true)]
async fn a_serializer_that_fails() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[]);
    let people = producer.typed(Age, Age);
    let before = people.send(&TypedRecord::new("t", &1)).await.unwrap();

    let error = serialization(people.send(&TypedRecord::new("t", &300)).await.unwrap_err());
    assert_eq!((error.topic(), error.part(), error.is_panic()), ("t", RecordPart::Value, false));
    assert_eq!(
        error.to_string(),
        "cannot serialize the value of a record for topic t: 300 is too old"
    );
    let source = error.source().and_then(|source| source.downcast_ref::<TooOld>());
    assert_eq!(source.unwrap().0, 300);

    let error = people.try_send(&TypedRecord::new("t", &2).key(&301)).unwrap_err();
    assert!(!error.is_retriable() && !error.is_fatal());
    assert!(error.source().is_some_and(|source| source.is::<TooOld>()), "through `SendError`");
    assert_eq!(serialization(error).part(), RecordPart::Key);

    let called = |_| panic!("the callback of a record that was refused");
    people.send_with(&TypedRecord::new("t", &302), called).await.unwrap_err();
    let error = people.send_and_wait(&TypedRecord::new("t", &303)).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::NotWritten);
    assert!(matches!(error, ProduceError::Send(SendError::Serialization(_))), "{error}");

    let after = people.send(&TypedRecord::new("t", &3)).await.unwrap();
    before.await.unwrap();
    after.await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["1", "3"]);
    let batches = cluster.batches("t", 0).len();
    assert_eq!(batches, 1, "the batch went on around them");
}

/// A serializer that panics: the same, and the panic goes no further.
#[tokio::test(start_paused = true)]
async fn a_serializer_that_panics() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[]);
    let people = producer.typed(Age, Age);
    let error = people.send(&TypedRecord::new("t", &1).key(&-1)).await.unwrap_err();
    let error = serialization(error);
    assert_eq!((error.topic(), error.part(), error.is_panic()), ("t", RecordPart::Key, true));
    assert!(error.to_string().contains("not born yet: -1"), "{error}");
    people.send_and_wait(&TypedRecord::new("t", &2).key(&2)).await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["2"]);
    assert_eq!(cluster.records("t", 0)[0].key.as_deref(), Some(&b"2"[..]));
}

/// The records of its batch get their callbacks, in order, and so do those that come later.
#[tokio::test(start_paused = true)]
async fn a_callback_that_panics() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &PATIENT);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for i in 0..9 {
        let seen = Arc::clone(&seen);
        let callback = move |end: Result<milena::RecordMetadata, _>| {
            assert_ne!(i % 3, 1, "a user's bug");
            seen.lock().push(end.unwrap().offset().unwrap());
        };
        producer.send_with(&ProducerRecord::new("t", "x"), callback).await.unwrap();
        if i == 5 {
            producer.flush().await;
        }
    }
    producer.close(SECOND).await.unwrap();
    assert_eq!(*seen.lock(), [0, 2, 3, 5, 6, 8]);
    assert_eq!(cluster.batches("t", 0).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn send_after_close() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &PATIENT);
    let accepted = producer.send(&ProducerRecord::new("t", "accepted")).await.unwrap();
    let clone = producer.clone();
    producer.close(SECOND).await.unwrap();
    accepted.await.unwrap();
    for error in refusals(&clone, &ProducerRecord::new("t", "late")).await {
        assert!(matches!(error, SendError::Closed) && error.is_fatal(), "{error}");
    }
    let error = refusals(&clone, &ProducerRecord::new("never seen", "late")).await;
    assert!(matches!(error[0], SendError::Closed), "before the record is looked at");
    assert!(matches!(clone.partitions_for("t").await, Err(SendError::Closed)));
    assert_eq!(values(&cluster, "t", 0), ["accepted"]);
}

/// A topic that may not be seen fails at once; other topics are unharmed.
#[tokio::test(start_paused = true)]
async fn describing_a_topic_is_not_allowed() {
    let cluster = cluster(|c| c).await;
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    cluster.create_topic("t").unwrap();
    cluster.inject(Fault::error(ApiKey::METADATA, code).on_partition("secret", 0).always());
    unharmed(&cluster, &producer(&cluster, &PATIENT), async |producer| {
        let started = Instant::now();
        let error = producer.send(&ProducerRecord::new("secret", "x")).await.unwrap_err();
        assert!(started.elapsed() < SECOND);
        let SendError::Metadata { topic, cause } = &error else { panic!("{error}") };
        let ClientError::Broker { code: named, .. } = &**cause else { panic!("{cause}") };
        assert_eq!((topic.as_str(), *named), ("secret", code));
        assert!(!error.is_retriable() && !error.is_fatal());
    })
    .await;
}

/// A topic that may not be written to: its records fail at once, those of another topic in the same request do not.
#[tokio::test(start_paused = true)]
async fn writing_to_a_topic_is_not_allowed() {
    let cluster = cluster(|c| c).await;
    for topic in ["t", "secret"] {
        cluster.create_topic(TopicSpec::new(topic).partitions(1)).unwrap();
    }
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    cluster.inject(Fault::error(ApiKey::PRODUCE, code).on_partition("secret", 0).always());
    let producer = producer(&cluster, &PATIENT);
    let secret = producer.send(&ProducerRecord::new("secret", "x")).await.unwrap();
    unharmed(&cluster, &producer, async |_| {}).await;
    let error = secret.await.unwrap_err();
    assert_eq!(error.kind(), &DeliveryErrorKind::Refused(code));
    assert_eq!((error.code(), error.persistence()), (Some(code), Persistence::NotWritten));
    assert_eq!((error.topic_partition().topic.as_str(), error.attempts()), ("secret", 1));
    assert!(!error.is_retriable() && !error.is_fatal());
    assert_eq!(values(&cluster, "secret", 0).len(), 0);
}

/// Without the right to write idempotently there is no producer id: what was accepted fails, and no more is.
#[tokio::test(start_paused = true)]
async fn idempotent_writing_is_not_allowed() {
    let cluster = cluster(|c| c).await;
    let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    cluster.inject(Fault::error(ApiKey::INIT_PRODUCER_ID, code).always());
    let refused = producer(&cluster, &[]);
    let error = refused.send_and_wait(&ProducerRecord::new("t", "x")).await.unwrap_err();
    assert!(error.is_fatal() && !error.is_retriable(), "{error}");
    assert_eq!(error.persistence(), Persistence::NotWritten);
    let ProduceError::Delivery(error) = error else { panic!("{error}") };
    assert!(
        matches!(error.kind(), DeliveryErrorKind::Fatal(FatalError { code: c, .. }) if *c == code)
    );
    for error in refusals(&refused, &ProducerRecord::new("t", "y")).await {
        let matches = matches!(error, SendError::Fatal(FatalError { code: c, .. }) if c == code);
        assert!(matches && error.is_fatal(), "{error}");
    }
    refused.close(SECOND).await.unwrap();
    // Who does not ask for it may write.
    let plain = producer(&cluster, &[("enable.idempotence", "false")]);
    plain.send_and_wait(&ProducerRecord::new("t", "z")).await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["z"]);
}

/// The same when the right is taken away while it writes.
#[tokio::test(start_paused = true)]
async fn writing_to_the_cluster_is_not_allowed_any_more() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[]);
    producer.send_and_wait(&ProducerRecord::new("t", "x")).await.unwrap();
    let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    cluster.inject(Fault::error(ApiKey::PRODUCE, code));
    let error = producer.send_and_wait(&ProducerRecord::new("t", "y")).await.unwrap_err();
    let ProduceError::Delivery(error) = error else { panic!("{error}") };
    assert!(error.is_fatal() && error.code() == Some(code), "{error}");
    let error = producer.send(&ProducerRecord::new("t", "z")).await.unwrap_err();
    assert!(matches!(error, SendError::Fatal(_)), "{error}");
    assert_eq!(values(&cluster, "t", 0), ["x"]);
}
