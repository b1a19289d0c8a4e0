//! Interceptors (KIP-42): what they change is sent, what becomes of each record they are told, and what goes wrong in
//! them goes no further.

use std::error::Error;
use std::sync::Arc;

use milena::broker::{ApiKey, Cluster, Fault};
use milena::serialize::{StringSerializer, VoidSerializer, serialize_with};
use milena::{
    Acknowledgement, ErrorCode, Header, InterceptedRecord, ProduceError, Producer, ProducerConfig,
    ProducerInterceptor, ProducerRecord, SendError, TypedRecord,
};
use parking_lot::Mutex;

use crate::support::{SECOND, cluster, in_memory, values};

type Log = Arc<Mutex<Vec<String>>>;

/// Marks each record, and writes down what it is told.
struct Marker {
    name: &'static str,
    log: Log,
}

impl ProducerInterceptor for Marker {
    fn on_send(
        &self,
        record: &mut InterceptedRecord<'_>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        record.add_header(self.name, b"");
        let value = String::from_utf8(record.value().unwrap_or(b"null").to_vec())?;
        self.log.lock().push(format!("{} sees {value}", self.name));
        record.set_value(Some(format!("{value}{}", self.name).into_bytes()));
        Ok(())
    }

    fn on_acknowledgement(&self, acknowledgement: &Acknowledgement<'_>) {
        let Acknowledgement { topic, partition, headers, result, .. } = acknowledgement;
        let names: Vec<_> = headers.iter().map(|header| header.key).collect();
        let end = match result {
            Ok(metadata) => format!("at {:?}", metadata.offset()),
            Err(ProduceError::Send(error)) => format!("refused: {error}"),
            Err(error) => format!("lost: {error}"),
        };
        let text = format!("{} {topic}-{partition:?} {} {end}", self.name, names.concat());
        self.log.lock().push(text);
    }
}

/// Spoils a record and then fails.
struct Faulty {
    panics: bool,
}

impl ProducerInterceptor for Faulty {
    fn on_send(
        &self,
        record: &mut InterceptedRecord<'_>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        record.set_value(None::<&[u8]>);
        record.set_topic("elsewhere");
        record.remove_headers("a");
        assert!(!self.panics, "on_send");
        Err("no".into())
    }

    fn on_acknowledgement(&self, _acknowledgement: &Acknowledgement<'_>) {
        panic!("on_acknowledgement");
    }
}

fn intercepted(
    cluster: &Cluster,
    properties: &[(&str, &str)],
    interceptors: impl FnOnce(milena::ProducerBuilder) -> milena::ProducerBuilder,
) -> Producer {
    let config = ProducerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .properties(properties.iter().copied())
        .build()
        .unwrap();
    interceptors(Producer::builder(config).connector(in_memory(cluster)).seed(1)).build()
}

fn marker(name: &'static str, log: &Log) -> Marker {
    Marker { name, log: Arc::clone(log) }
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock())
}

/// In order, each sees what the one before left, past those that fail; and each is told of the end.
#[tokio::test(start_paused = true)]
async fn in_order_and_past_those_that_fail() {
    let cluster = cluster(|c| c).await;
    let log = Log::default();
    let producer = intercepted(&cluster, &[], |builder| {
        builder
            .interceptor(marker("a", &log))
            .interceptor(Faulty { panics: false })
            .interceptor(Faulty { panics: true })
            .interceptor(marker("b", &log))
    });
    let headers = [Header::new("own", b"1")];
    producer.send_and_wait(&ProducerRecord::new("t", "x").headers(&headers)).await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["xab"]);
    let names: Vec<_> = cluster.records("t", 0)[0].headers.iter().map(|h| h.0.clone()).collect();
    assert_eq!(names, ["own", "a", "b"]);
    assert_eq!(cluster.partitions("elsewhere"), None);
    let told =
        ["a sees x", "b sees xa", "a t-Some(0) ownab at Some(0)", "b t-Some(0) ownab at Some(0)"];
    assert_eq!(take(&log), told);
}

/// Each way to send passes them, and an acknowledgement comes before the record's own callback.
#[tokio::test(start_paused = true)]
async fn every_way_to_send() {
    let cluster = cluster(|c| c).await;
    let log = Log::default();
    let producer = intercepted(&cluster, &[("linger.ms", "0")], |builder| {
        builder.interceptor(marker("a", &log))
    });
    producer.send(&ProducerRecord::new("t", "1")).await.unwrap().await.unwrap();
    producer.try_send(&ProducerRecord::new("t", "2")).unwrap().await.unwrap();
    let callback = {
        let log = Arc::clone(&log);
        move |end: Result<milena::RecordMetadata, _>| {
            log.lock().push(format!("callback {:?}", end.unwrap().offset()));
        }
    };
    producer.send_with(&ProducerRecord::new("t", "3"), callback).await.unwrap();
    producer.flush().await;
    producer
        .typed(VoidSerializer, StringSerializer)
        .send_and_wait(&TypedRecord::new("t", "4"))
        .await
        .unwrap();
    drop(producer.send(&ProducerRecord::new("t", "5")).await.unwrap());
    producer.close(SECOND).await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["1a", "2a", "3a", "4a", "5a"]);
    let ends: Vec<_> = take(&log).into_iter().filter(|line| !line.contains("sees")).collect();
    let end = |offset| format!("a t-Some(0) a at Some({offset})");
    assert_eq!(ends, [end(0), end(1), end(2), "callback Some(2)".to_owned(), end(3), end(4)]);
}

/// What is refused before it is sent, what is lost afterwards, and what cannot be serialized.
#[tokio::test(start_paused = true)]
async fn records_that_do_not_arrive() {
    let cluster = cluster(|c| c).await;
    let log = Log::default();
    let producer = intercepted(&cluster, &[], |builder| builder.interceptor(marker("a", &log)));
    producer.partitions_for("t").await.unwrap();

    producer.send(&ProducerRecord::new("t", "1").partition(-1)).await.unwrap_err();
    producer.try_send(&ProducerRecord::new("no such", "2")).unwrap_err();
    let told = take(&log);
    assert_eq!((told.len(), told[0].as_str(), told[2].as_str()), (4, "a sees 1", "a sees 2"));
    assert!(told[1].starts_with("a t-Some(-1) a refused: topic t has no partition -1"), "{told:?}");
    assert!(told[3].starts_with("a no such-None a refused: "), "{told:?}");

    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    cluster.inject(Fault::error(ApiKey::PRODUCE, code));
    producer.send_and_wait(&ProducerRecord::new("t", "3")).await.unwrap_err();
    let told = take(&log);
    assert!(
        told[1].starts_with("a t-Some(0) a lost: ") && told[1].contains(code.name()),
        "{told:?}"
    );

    let fails = serialize_with(|(): &(), _: &mut Vec<u8>| Err("never".into()));
    let record = TypedRecord::new("t", &());
    let error = producer.typed(VoidSerializer, fails).send(&record).await.unwrap_err();
    assert!(matches!(error, SendError::Serialization(_)), "{error}");
    let told = take(&log);
    assert!(matches!(&told[..], [one] if one.starts_with("a t-None  refused: ")), "{told:?}");
    assert_eq!(values(&cluster, "t", 0).len(), 0);
}

/// All of a record can be changed; what is left is borrowed.
#[tokio::test(start_paused = true)]
async fn every_part_can_be_changed() {
    struct Redirect;

    impl ProducerInterceptor for Redirect {
        fn on_send(
            &self,
            record: &mut InterceptedRecord<'_>,
        ) -> Result<(), Box<dyn Error + Send + Sync>> {
            assert_eq!((record.topic(), record.partition(), record.timestamp()), ("t", None, None));
            assert_eq!((record.key(), record.headers().count()), (None, 2));
            record.set_topic("audit");
            record.set_partition(Some(1));
            record.set_timestamp(Some(77));
            record.set_key(Some(&b"k"[..]));
            record.remove_headers("gone");
            Ok(())
        }
    }

    let cluster = cluster(|c| c).await;
    cluster.create_topic(("audit", 2)).unwrap();
    let producer = intercepted(&cluster, &[], |builder| builder.interceptor(Redirect));
    let headers = [Header::new("gone", b""), Header { key: "kept", value: None }];
    let record = ProducerRecord::new("t", "x").headers(&headers);
    let metadata = producer.send_and_wait(&record).await.unwrap();
    assert_eq!((metadata.topic(), metadata.partition(), metadata.timestamp()), ("audit", 1, 77));
    let stored = &cluster.records("audit", 1)[0];
    assert_eq!(stored.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(stored.headers, [("kept".to_owned(), None)]);
}
