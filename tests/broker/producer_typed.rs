//! P2: typed keys and values, tombstones among them.

use milena::serialize::{
    ByteArraySerializer, IntegerSerializer, Serializer, StringSerializer, VoidSerializer,
    serialize_with,
};
use milena::{Header, TypedRecord};

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
