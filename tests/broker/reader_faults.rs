//! Reading while things go wrong: brokers, leaders, topics, logs, and what listens at the address.

use std::time::Duration;

use milena::broker::{ApiKey, Cluster, Fault};
use milena::net::{Transport, connect_fn};
use milena::{
    BrokerId, ClientError, Consumer, ConsumerConfig, ConsumerError, ErrorCode, ProducerRecord,
    StartAt,
};
use tokio::io::AsyncWriteExt;

use crate::support::{SECOND, cluster, producer, read, reader, tp, write};

const N: usize = 100;

/// A topic of two partitions with `N` records in each.
async fn filled(cluster: &Cluster) {
    cluster.create_topic(("orders", 2)).unwrap();
    let producer = producer(cluster, &[("linger.ms", "1"), ("batch.size", "100")]);
    for partition in 0..2 {
        let mut deliveries = Vec::new();
        for value in 0..N {
            let value = value.to_string();
            let record = ProducerRecord::new("orders", &value).partition(partition);
            deliveries.push(producer.send(&record).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    }
    producer.close(SECOND).await.unwrap();
}

fn both() -> [(milena::TopicPartition, StartAt); 2] {
    [(tp("orders", 0), StartAt::Earliest), (tp("orders", 1), StartAt::Earliest)]
}

/// Reads both partitions to their ends: each record once and in order.
async fn all_come(reader: &mut Consumer) {
    let all = read(reader, 2 * N).await;
    for partition in 0..2 {
        let part: Vec<_> =
            all.iter().filter(|(of, ..)| *of == partition).map(|(_, o, v)| (*o, &**v)).collect();
        let expected: Vec<_> = (0..N).map(|value| value.to_string()).collect();
        let expected: Vec<_> = (0..).zip(expected.iter().map(String::as_str)).collect();
        assert_eq!(part, expected);
    }
}

/// Small answers, so that faults strike in between.
const SMALL: [(&str, &str); 3] = [
    ("fetch.max.bytes", "2000"),
    ("max.partition.fetch.bytes", "500"),
    ("request.timeout.ms", "2000"),
];

#[tokio::test(start_paused = true)]
async fn passing_faults_are_not_seen_and_lose_or_double_nothing() {
    for (name, fault) in [
        ("answer dropped", Fault::drop_response(ApiKey::FETCH)),
        ("closed before", Fault::close_before(ApiKey::FETCH)),
        ("closed after", Fault::close_after(ApiKey::FETCH)),
        ("slow", Fault::delay_response(ApiKey::FETCH, Duration::from_millis(700))),
        ("not leader", Fault::error(ApiKey::FETCH, ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        ("fenced", Fault::error(ApiKey::FETCH, ErrorCode::FENCED_LEADER_EPOCH)),
        ("unknown epoch", Fault::error(ApiKey::FETCH, ErrorCode::UNKNOWN_LEADER_EPOCH)),
        ("unknown topic id", Fault::error(ApiKey::FETCH, ErrorCode::UNKNOWN_TOPIC_ID)),
        ("storage", Fault::error(ApiKey::FETCH, ErrorCode::KAFKA_STORAGE_ERROR)),
        ("offset lookup", Fault::error(ApiKey::LIST_OFFSETS, ErrorCode::OFFSET_NOT_AVAILABLE)),
        ("lookup closed", Fault::close_after(ApiKey::LIST_OFFSETS)),
        ("metadata closed", Fault::close_before(ApiKey::METADATA)),
    ] {
        let cluster = cluster(|cluster| cluster.nodes(2)).await;
        filled(&cluster).await;
        cluster.inject(fault.clone());
        cluster.inject(fault);
        let mut reader = reader(&cluster, &SMALL);
        reader.assign(both()).unwrap();
        all_come(&mut reader).await;
        assert_eq!(cluster.pending_faults(), 0, "{name} did not strike");
    }
}

#[tokio::test(start_paused = true)]
async fn leaders_that_move_and_nodes_that_stop_are_followed() {
    let cluster = cluster(|cluster| cluster.nodes(3).default_replication_factor(3)).await;
    filled(&cluster).await;
    let mut reader = reader(&cluster, &SMALL);
    reader.assign(both()).unwrap();
    let moves = cluster.clone();
    let moving = tokio::spawn(async move {
        let some_fetches = async || {
            moves.received(ApiKey::FETCH, moves.requests(ApiKey::FETCH) + 2).await;
        };
        for round in 0..6 {
            some_fetches().await;
            moves.move_leader("orders", round % 2, BrokerId(1 + round % 3)).unwrap();
        }
        moves.stop_node(BrokerId(1)).await.unwrap();
        some_fetches().await;
        moves.restart_node(BrokerId(1)).await.unwrap();
        moves.stop_node(BrokerId(2)).await.unwrap();
    });
    all_come(&mut reader).await;
    // The reader goes on fetching, so the moves come to their end.
    moving.await.unwrap();
    write(&cluster, "orders", 1, &["last"]).await;
    let offset = i64::try_from(N).unwrap();
    assert_eq!(read(&mut reader, 1).await, [(1, offset, "last".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_comes_later_is_found() {
    let cluster = cluster(|cluster| cluster.auto_create_topics(false)).await;
    let mut reader = reader(&cluster, &[]);
    reader.assign([(tp("orders", 0), StartAt::Earliest)]).unwrap();
    assert!(reader.poll(5 * SECOND).await.unwrap().is_empty());
    cluster.create_topic("orders").unwrap();
    write(&cluster, "orders", 0, &["a"]).await;
    assert_eq!(read(&mut reader, 1).await, [(0, 0, "a".to_owned())]);
}

/// What is in the way is told after `request.timeout.ms`, and the reader goes on.
#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_is_told_of() {
    let cluster = cluster(|cluster| cluster.auto_create_topics(false)).await;
    let mut reader = reader(&cluster, &[("request.timeout.ms", "7000")]);
    reader.assign([(tp("orders", 0), StartAt::Offset(5))]).unwrap();
    let began = tokio::time::Instant::now();
    let error = reader.poll(60 * SECOND).await.unwrap_err();
    assert!((7 * SECOND..8 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(error.is_retriable());
    let text = error.to_string();
    for part in ["orders-0", "position 5", "UNKNOWN_TOPIC_OR_PARTITION"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(reader.poll(SECOND).await.unwrap().is_empty());
    assert!(reader.poll(10 * SECOND).await.is_err(), "and again after as long");
}

/// Brokers create topics that are asked for, unless the request says that they may not (KIP-361).
#[tokio::test(start_paused = true)]
async fn reading_creates_no_topic_if_it_is_told_not_to() {
    let cluster = cluster(|cluster| cluster.auto_create_topics(true)).await;
    let mut strict = reader(&cluster, &[("allow.auto.create.topics", "false")]);
    strict.assign([(tp("ordres", 0), StartAt::Earliest)]).unwrap();
    assert!(strict.poll(10 * SECOND).await.unwrap().is_empty());
    assert!(strict.end_offsets([tp("ordres", 0)], SECOND).await.is_err());
    assert_eq!(cluster.partitions("ordres"), None);
    let creating = reader(&cluster, &[]);
    assert_eq!(creating.end_offsets([tp("ordres", 0)], SECOND).await.unwrap()[&tp("ordres", 0)], 0);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_created_again_is_told_of_and_read_after_a_seek() {
    let cluster = cluster(|cluster| cluster).await;
    let orders = tp("orders", 0);
    let first = cluster.create_topic("orders").unwrap();
    write(&cluster, "orders", 0, &["a", "b"]).await;
    let mut reader = reader(&cluster, &[]);
    reader.assign([(orders.clone(), StartAt::Earliest)]).unwrap();
    assert_eq!(read(&mut reader, 2).await.len(), 2);

    cluster.delete_topic("orders").unwrap();
    let second = cluster.create_topic("orders").unwrap();
    write(&cluster, "orders", 0, &["c", "d", "e"]).await;
    for _ in 0..2 {
        match reader.poll(60 * SECOND).await {
            Err(ConsumerError::TopicRecreated { partition, offset, was, is }) => {
                assert_eq!((partition, offset), (orders.clone(), 2));
                assert_eq!((was, is), (first, second));
            }
            other => panic!("{other:?}"),
        }
    }
    reader.seek(&orders, StartAt::Earliest).unwrap();
    let expected = [(0, 0, "c".to_owned()), (0, 1, "d".to_owned()), (0, 2, "e".to_owned())];
    assert_eq!(read(&mut reader, 3).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_does_not_exist_is_told_of() {
    let cluster = cluster(|cluster| cluster).await;
    cluster.create_topic("orders").unwrap();
    let mut reader = reader(&cluster, &[]);
    reader.assign([(tp("orders", 3), StartAt::Earliest)]).unwrap();
    let error = reader.poll(60 * SECOND).await.unwrap_err();
    match error {
        ConsumerError::Unavailable { partition, offset: None, cause, .. } => {
            assert_eq!(partition, tp("orders", 3));
            assert_eq!(cause, ClientError::NoLeader { partition });
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_reset_an_offset_that_the_log_does_not_hold_is_told() {
    let cluster = cluster(|cluster| cluster).await;
    cluster.create_topic("orders").unwrap();
    write(&cluster, "orders", 0, &["a", "b", "c", "d"]).await;
    cluster.delete_records("orders", 0, 2).unwrap();
    let orders = tp("orders", 0);
    let mut reader = reader(&cluster, &[("auto.offset.reset", "none")]);
    for wrong in [0, 1, 5, 1_000] {
        reader.assign([(orders.clone(), StartAt::Offset(wrong))]).unwrap();
        for _ in 0..2 {
            match reader.poll(10 * SECOND).await {
                Err(ConsumerError::OffsetOutOfRange { partition, offset, .. }) => {
                    assert_eq!((partition, offset), (orders.clone(), wrong));
                }
                other => panic!("from {wrong}: {other:?}"),
            }
            assert_eq!(reader.position(&orders), Some(wrong));
        }
    }
    reader.seek(&orders, StartAt::Earliest).unwrap();
    assert_eq!(read(&mut reader, 2).await, [(0, 2, "c".to_owned()), (0, 3, "d".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_partition_leaves_the_others_alone() {
    let cluster = cluster(|cluster| cluster).await;
    filled(&cluster).await;
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    cluster.inject(Fault::error(ApiKey::FETCH, code).on_partition("orders", 0).times(3));
    let mut reader = reader(&cluster, &SMALL);
    reader.assign(both()).unwrap();
    let mut errors = 0;
    let mut counts = [0; 2];
    while counts != [N, N] {
        match reader.poll(10 * SECOND).await {
            Ok(records) => {
                assert!(!records.is_empty(), "{counts:?}");
                for part in records.partitions() {
                    counts[usize::try_from(part.partition().partition).unwrap()] += part.len();
                }
            }
            Err(error) => {
                assert_eq!((error.code(), error.partition()), (Some(code), Some(&tp("orders", 0))));
                errors += 1;
            }
        }
    }
    assert_eq!(errors, 3);
}

/// A reader whose connections all go to what `server` makes of them.
fn reader_of<F, Fut>(server: F) -> Consumer
where
    F: Fn(tokio::io::DuplexStream) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let connector = connect_fn(move |_host, _port| {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(server(theirs));
        async move { Ok(Box::new(ours) as Box<dyn Transport>) }
    });
    let config = ConsumerConfig::builder()
        .bootstrap_servers("broker.test:9092")
        .request_timeout(5 * SECOND)
        .build()
        .unwrap();
    Consumer::builder(config).connector(connector).seed(1).build()
}

async fn told(mut reader: Consumer) -> String {
    reader.assign([(tp("orders", 0), StartAt::Earliest)]).unwrap();
    let began = tokio::time::Instant::now();
    let error = reader.poll(60 * SECOND).await.unwrap_err();
    assert!(began.elapsed() < 8 * SECOND, "{:?}", began.elapsed());
    assert!(matches!(error, ConsumerError::Unavailable { .. }), "{error}");
    assert!(reader.close(SECOND).await);
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_address_is_told() {
    let refused = connect_fn(|_host, _port| async {
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
    });
    let config = ConsumerConfig::builder()
        .bootstrap_servers("broker.test:9092")
        .request_timeout(5 * SECOND)
        .build()
        .unwrap();
    let text = told(Consumer::builder(config).connector(refused).build()).await;
    assert!(text.contains("cannot connect to bootstrap server broker.test:9092"), "{text}");

    let http = |mut stream: tokio::io::DuplexStream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    };
    let text = told(reader_of(http)).await;
    assert!(text.contains("HTTP"), "{text}");

    let silent = |stream: tokio::io::DuplexStream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    };
    let text = told(reader_of(silent)).await;
    assert!(text.contains("still trying"), "{text}");
}
