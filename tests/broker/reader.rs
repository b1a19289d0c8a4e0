//! Reading back: assigned partitions, from where the reader is told to start.

use std::time::Duration;

use milena::broker::{ApiKey, Cluster};
use milena::record::batches;
use milena::{
    Compression, Consumer, ConsumerError, Header, ProducerRecord, StartAt, TimestampType,
    TopicPartition,
};

use crate::support::{SECOND, cluster, flat, in_memory, producer, read, reader, tp, write};

#[tokio::test(start_paused = true)]
async fn reads_back_what_was_written_from_the_beginning() {
    let cluster = cluster(|cluster| cluster.nodes(2)).await;
    cluster.create_topic(("orders", 2)).unwrap();
    write(&cluster, "orders", 0, &["a", "b", "c"]).await;
    write(&cluster, "orders", 1, &["x"]).await;

    let mut reader = reader(&cluster, &[]);
    reader
        .assign([(tp("orders", 0), StartAt::Earliest), (tp("orders", 1), StartAt::Earliest)])
        .unwrap();
    let mut all = read(&mut reader, 4).await;
    all.sort();
    let expected =
        [(0, 0, "a"), (0, 1, "b"), (0, 2, "c"), (1, 0, "x")].map(|(p, o, v)| (p, o, v.to_owned()));
    assert_eq!(all, expected);
    assert_eq!(reader.position(&tp("orders", 0)), Some(3));

    assert!(reader.poll(Duration::from_millis(1500)).await.unwrap().is_empty());
    write(&cluster, "orders", 1, &["y"]).await;
    assert_eq!(read(&mut reader, 1).await, [(1, 1, "y".to_owned())]);
    assert!(reader.close(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn starts_at_an_offset_or_at_the_end_and_seeks() {
    let cluster = cluster(|cluster| cluster).await;
    cluster.create_topic("orders").unwrap();
    write(&cluster, "orders", 0, &["a", "b", "c", "d"]).await;
    let orders = tp("orders", 0);

    let mut reader = reader(&cluster, &[]);
    reader.assign([(orders.clone(), StartAt::Offset(2))]).unwrap();
    assert_eq!(read(&mut reader, 2).await, [(0, 2, "c".to_owned()), (0, 3, "d".to_owned())]);

    reader.seek(&orders, StartAt::Offset(3)).unwrap();
    assert_eq!(reader.position(&orders), Some(3));
    assert_eq!(read(&mut reader, 1).await, [(0, 3, "d".to_owned())]);

    reader.assign([(orders.clone(), StartAt::Latest)]).unwrap();
    assert!(reader.poll(SECOND).await.unwrap().is_empty());
    assert_eq!(reader.position(&orders), Some(4));
    write(&cluster, "orders", 0, &["e"]).await;
    assert_eq!(read(&mut reader, 1).await, [(0, 4, "e".to_owned())]);

    reader.seek(&orders, StartAt::Earliest).unwrap();
    assert_eq!(read(&mut reader, 5).await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn every_codec_with_headers_and_nulls_comes_back_as_it_was() {
    let cluster = cluster(|cluster| cluster).await;
    let long = vec![b'x'; 40_000];
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer = producer(&cluster, &[("compression.type", codec), ("linger.ms", "10")]);
        let headers = [
            Header::new("trace", b"1"),
            Header { key: "empty", value: None },
            Header::new("trace", b"2"),
        ];
        let records = [
            ProducerRecord::new(codec, "plain").timestamp(1_000),
            ProducerRecord::new(codec, "keyed").key("k").headers(&headers).timestamp(900),
            ProducerRecord::tombstone(codec).key("").timestamp(1_100),
            ProducerRecord::new(codec, &long).timestamp(1_200),
        ];
        let mut deliveries = Vec::new();
        for record in &records {
            deliveries.push(producer.send(&record.partition(0)).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        let stored = cluster.batches(codec, 0);
        let compression: Compression = codec.parse().unwrap();
        let first = batches(stored[0].bytes.clone()).next().unwrap().unwrap();
        assert_eq!(first.header().attributes.compression(), Ok(compression));

        let mut reader = reader(&cluster, &[]);
        reader.assign([(tp(codec, 0), StartAt::Earliest)]).unwrap();
        let mut owned = Vec::new();
        while owned.len() < 4 {
            let records = reader.poll(10 * SECOND).await.unwrap();
            assert!(!records.is_empty());
            let part = records.partition(&tp(codec, 0)).unwrap();
            assert_eq!(part.len(), records.len());
            for record in part {
                assert_eq!(record.timestamp_type, TimestampType::CreateTime);
                assert_eq!(record.leader_epoch, Some(0));
                if record.offset == 1 {
                    assert_eq!(record.headers.len(), 3);
                    let last = record.headers.last_header("trace").unwrap();
                    assert_eq!(last.value, Some(&b"2"[..]));
                }
                owned.push(record.to_owned());
            }
        }
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map(|b| String::from_utf8_lossy(b).into_owned())
        };
        let seen: Vec<_> = owned
            .iter()
            .map(|record| (record.offset, record.timestamp, text(&record.key), text(&record.value)))
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            seen,
            [
                (0, 1_000, None, some("plain")),
                (1, 900, some("k"), some("keyed")),
                (2, 1_100, some(""), None),
                (3, 1_200, None, Some("x".repeat(40_000))),
            ]
        );
        let expected = [("trace", Some(b"1")), ("empty", None), ("trace", Some(b"2"))]
            .map(|(key, value)| (key.to_owned(), value.map(|value| value.to_vec())));
        assert_eq!(owned[1].headers, expected);
    }
}

/// A record that is larger than every limit of the reader's still comes.
#[tokio::test(start_paused = true)]
async fn a_record_larger_than_the_limits_gets_through() {
    let cluster = cluster(|cluster| cluster).await;
    cluster.create_topic(("orders", 2)).unwrap();
    let large = "x".repeat(500_000);
    write(&cluster, "orders", 0, &["a", &large, "b"]).await;
    write(&cluster, "orders", 1, &["c", &large, "d"]).await;
    let mut reader =
        reader(&cluster, &[("fetch.max.bytes", "1000"), ("max.partition.fetch.bytes", "100")]);
    reader
        .assign([(tp("orders", 0), StartAt::Earliest), (tp("orders", 1), StartAt::Earliest)])
        .unwrap();
    let mut lengths: Vec<_> =
        read(&mut reader, 6).await.into_iter().map(|(p, o, value)| (p, o, value.len())).collect();
    lengths.sort_unstable();
    assert_eq!(
        lengths,
        [(0, 0, 1), (0, 1, 500_000), (0, 2, 1), (1, 0, 1), (1, 1, 500_000), (1, 2, 1)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_dropped_loses_nothing() {
    let cluster = cluster(|cluster| cluster).await;
    cluster.create_topic("orders").unwrap();
    let values: Vec<_> = (0..50).map(|value| value.to_string()).collect();
    let values: Vec<_> = values.iter().map(String::as_str).collect();

    let mut reader = reader(&cluster, &[]);
    reader.assign([(tp("orders", 0), StartAt::Earliest)]).unwrap();
    let writing = write(&cluster, "orders", 0, &values);
    tokio::pin!(writing);
    let mut written = false;
    let mut seen = Vec::new();
    let mut dropped = 0;
    while seen.len() < values.len() {
        tokio::select! {
            biased;
            // Nearly every poll is dropped while it waits.
            () = tokio::task::yield_now() => dropped += 1,
            () = &mut writing, if !written => written = true,
            records = reader.poll(SECOND) => seen.extend(flat(&records.unwrap())),
        }
        if let Ok(records) = reader.poll(Duration::ZERO).await {
            seen.extend(flat(&records));
        }
    }
    let expected: Vec<_> =
        (0..).zip(&values).map(|(offset, value)| (0, offset, (*value).to_owned())).collect();
    assert_eq!(seen, expected);
    assert!(dropped > 0);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_polls_is_bounded() {
    let cluster = cluster(|cluster| cluster).await;
    cluster.create_topic(("orders", 4)).unwrap();
    let value = "x".repeat(9_000);
    for partition in 0..4 {
        write(&cluster, "orders", partition, &[&*value; 20]).await;
    }
    let limits = [("fetch.max.bytes", "100000"), ("max.partition.fetch.bytes", "20000")];
    let mut reader = reader(&cluster, &limits);
    reader.assign((0..4).map(|partition| (tp("orders", partition), StartAt::Earliest))).unwrap();
    tokio::time::sleep(60 * SECOND).await;
    let idle = cluster.requests(ApiKey::FETCH);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(cluster.requests(ApiKey::FETCH), idle, "nothing more is fetched");
    assert!(idle <= 5, "{idle} fetches for 100,000 bytes");
    // 720,000 bytes in all, through a buffer of 100,000.
    assert_eq!(read(&mut reader, 80).await.len(), 80);
}

#[tokio::test(start_paused = true)]
async fn a_silent_partition_does_not_slow_a_busy_one_on_the_same_broker() {
    let cluster = cluster(|cluster| cluster).await;
    cluster.create_topic(("orders", 2)).unwrap();
    let value = "x".repeat(5_000);
    write(&cluster, "orders", 0, &[&*value; 100]).await;
    let mut reader = reader(&cluster, &[("max.partition.fetch.bytes", "5000")]);
    reader
        .assign([(tp("orders", 0), StartAt::Earliest), (tp("orders", 1), StartAt::Earliest)])
        .unwrap();
    let began = tokio::time::Instant::now();
    read(&mut reader, 100).await;
    // With the whole fetch.max.wait.ms for each answer it would be 50 s.
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_logs_are_looked_up() {
    let cluster = cluster(|cluster| cluster.nodes(3)).await;
    cluster.create_topic(("orders", 6)).unwrap();
    write(&cluster, "orders", 0, &["a", "b", "c"]).await;
    write(&cluster, "orders", 2, &["d"]).await;
    cluster.delete_records("orders", 0, 2).unwrap();
    let reader = reader(&cluster, &[]);
    let all = || (0..6).map(|partition| tp("orders", partition));
    let begin = reader.beginning_offsets(all(), SECOND).await.unwrap();
    assert_eq!(begin.into_values().collect::<Vec<_>>(), [2, 0, 0, 0, 0, 0]);
    assert_eq!(cluster.requests(ApiKey::LIST_OFFSETS), 3, "one for each node");
    let end = reader.end_offsets(all(), SECOND).await.unwrap();
    assert_eq!(end.into_values().collect::<Vec<_>>(), [3, 0, 1, 0, 0, 0]);

    let error = reader.end_offsets([tp("orders", 7)], SECOND).await.unwrap_err();
    assert!(
        matches!(&error, ConsumerError::Lookup { partition, .. } if *partition == tp("orders", 7))
    );
    assert!(error.to_string().contains("orders-7"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn misuse_is_a_typed_error_and_changes_nothing() {
    let cluster = cluster(|cluster| cluster).await;
    let mut reader = reader(&cluster, &[]);
    assert!(matches!(reader.poll(SECOND).await, Err(ConsumerError::NothingAssigned)));
    let orders = tp("orders", 0);
    let seek = reader.seek(&orders, StartAt::Earliest);
    assert!(matches!(seek, Err(ConsumerError::NotAssigned { partition }) if partition == orders));
    let assign = reader
        .assign([(tp("payments", 0), StartAt::Earliest), (orders.clone(), StartAt::Offset(-1))]);
    assert!(matches!(assign, Err(ConsumerError::InvalidOffset { offset: -1, .. })));
    assert_eq!(reader.assignment(), []);
    reader.assign([(orders.clone(), StartAt::Offset(3))]).unwrap();
    assert!(reader.seek(&orders, StartAt::Offset(i64::MIN)).is_err());
    assert_eq!(reader.position(&orders), Some(3));
    assert_eq!(reader.assignment(), [orders]);
    reader.assign([]).unwrap();
    assert!(matches!(reader.poll(SECOND).await, Err(ConsumerError::NothingAssigned)));
}

#[tokio::test(start_paused = true)]
async fn time_outs_of_any_length_are_taken() {
    let cluster = cluster(|cluster| cluster).await;
    cluster.create_topic("orders").unwrap();
    let mut reader = reader(&cluster, &[]);
    let orders = tp("orders", 0);
    reader.assign([(orders.clone(), StartAt::Earliest)]).unwrap();
    assert!(reader.poll(Duration::ZERO).await.unwrap().is_empty());
    let end = reader.end_offsets([orders.clone()], Duration::MAX).await.unwrap();
    assert_eq!(end[&orders], 0);
    write(&cluster, "orders", 0, &["a"]).await;
    assert_eq!(reader.poll(Duration::MAX).await.unwrap().len(), 1);
    assert!(reader.close(Duration::MAX).await);
}

/// Dropping or closing a reader ends its task and its connections, in the middle of a fetch too.
#[tokio::test(start_paused = true)]
async fn a_reader_that_is_gone_leaves_nothing_behind() {
    for close in [false, true] {
        let cluster = cluster(|cluster| cluster).await;
        cluster.create_topic("orders").unwrap();
        let mut reader = reader(&cluster, &[("fetch.max.wait.ms", "100000")]);
        reader.assign([(tp("orders", 0), StartAt::Earliest)]).unwrap();
        cluster.received(ApiKey::FETCH, 1).await;
        if close {
            assert!(reader.close(SECOND).await);
        } else {
            drop(reader);
        }
        tokio::time::sleep(SECOND).await;
        let (opened, closed) = connections(&cluster);
        assert!(opened > 0);
        assert_eq!(opened, closed, "close: {close}");
    }
}

fn connections(cluster: &Cluster) -> (usize, usize) {
    use milena::broker::Event;
    let events = cluster.events();
    let count = |of: fn(&Event) -> bool| events.iter().filter(|event| of(event)).count();
    (
        count(|event| matches!(event, Event::Connected { .. })),
        count(|event| matches!(event, Event::Disconnected { .. })),
    )
}

#[test]
fn the_reader_can_be_moved_between_threads() {
    fn moves<T: Send + Sync + 'static>() {}
    moves::<Consumer>();
    moves::<milena::Records>();
    moves::<ConsumerError>();
    fn future_moves<T: Send>(_: T) {}
    fn check(reader: &mut Consumer, partition: TopicPartition) {
        future_moves(reader.poll(SECOND));
        future_moves(reader.end_offsets([partition], SECOND));
    }
    let _ = check;
    let _ = in_memory;
}
