//! P2: typed keys and values, tombstones among them, and what a serializer that fails leaves behind.

use std::error::Error;
use std::fmt;

use milena::serialize::{
    ByteArraySerializer, IntegerSerializer, RecordPart, SerializeContext, Serializer,
    StringSerializer, VoidSerializer, serialize_with,
};
use milena::{Header, Persistence, ProduceError, SendError, SerializationError, TypedRecord};

use crate::support::{cluster, producer, values};

#[tokio::test(start_paused = true)]
async fn typed_records_are_what_javas_serializers_make() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[]);
    let ages = producer.typed(StringSerializer, IntegerSerializer);
    let headers = [Header::new("h", b"1")];
    let record = TypedRecord::new("t", &258).key("ann").partition(0).timestamp(7);
    let metadata = ages.send_and_wait(&record.headers(&headers)).await.unwrap();
    assert_eq!((metadata.offset(), metadata.timestamp()), (Some(0), 7));
    ages.send_and_wait(&TypedRecord::tombstone("t").key("ann")).await.unwrap();
    ages.producer()
        .typed(VoidSerializer, ByteArraySerializer)
        .send_and_wait(&TypedRecord::new("t", &[1, 2][..]).key(&()))
        .await
        .unwrap();

    let stored = cluster.records("t", 0);
    let parts: Vec<_> = stored.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    let ann = Some(&b"ann"[..]);
    assert_eq!(parts, [(ann, Some(&[0, 0, 1, 2][..])), (ann, None), (None, Some(&[1, 2][..]))]);
    assert_eq!(stored[0].headers[0].0, "h");
}

/// The four ways to send are there for typed records, too.
#[tokio::test(start_paused = true)]
async fn every_way_to_send() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[("linger.ms", "0")]);
    let text = producer.typed(VoidSerializer, StringSerializer);
    text.send_and_wait(&TypedRecord::new("t", "wait")).await.unwrap();
    text.send(&TypedRecord::new("t", "future")).await.unwrap().await.unwrap();
    let (told, ended) = tokio::sync::oneshot::channel();
    let callback =
        |end: Result<milena::RecordMetadata, _>| told.send(end.unwrap().offset()).unwrap();
    text.send_with(&TypedRecord::new("t", "callback"), callback).await.unwrap();
    assert_eq!(ended.await.unwrap(), Some(2));
    text.try_send(&TypedRecord::new("t", "now")).unwrap().await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["wait", "future", "callback", "now"]);
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

/// A serializer may be a function, and may be chosen at run time.
#[tokio::test(start_paused = true)]
async fn serializers_by_pointer_and_function() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[]);
    let upper = serialize_with(|text: &str, scratch: &mut Vec<u8>| {
        scratch.extend_from_slice(text.to_uppercase().as_bytes());
        Ok(())
    });
    for (loud, expected) in [(true, "HERE"), (false, "here")] {
        let value: Box<dyn Serializer<Data = str>> =
            if loud { Box::new(upper) } else { Box::new(StringSerializer) };
        let typed = producer.typed(VoidSerializer, value);
        let spawned = tokio::spawn(async move {
            typed.send_and_wait(&TypedRecord::new("t", "here")).await.unwrap();
        });
        spawned.await.unwrap();
        assert_eq!(values(&cluster, "t", 0).last().unwrap(), expected);
    }
}
