//! Reading back: assigned partitions, from where the reader is told to start.

use std::time::Duration;

use milena::broker::Cluster;
use milena::{ProducerRecord, Reader, ReaderConfig, Records, StartAt, TopicPartition};

use crate::support::{SECOND, cluster, in_memory, producer};

/// A reader of the cluster with these properties.
fn reader(cluster: &Cluster, properties: &[(&str, &str)]) -> Reader {
    let config = ReaderConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .properties(properties.iter().copied())
        .build()
        .unwrap();
    Reader::builder(config).connector(in_memory(cluster)).seed(1).build()
}

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// Partition, offset and value of each record.
fn flat(records: &Records) -> Vec<(i32, i64, String)> {
    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    records.iter().map(|record| (record.partition, record.offset, text(record.value))).collect()
}

/// Polls until there are `count` records.
async fn read(reader: &mut Reader, count: usize) -> Vec<(i32, i64, String)> {
    let mut all = Vec::new();
    while all.len() < count {
        let records = reader.poll(10 * SECOND).await.unwrap();
        assert!(!records.is_empty(), "only {} of {count} records came: {all:?}", all.len());
        all.extend(flat(&records));
    }
    all
}

/// Sends values to a partition, one batch each, and waits for them.
async fn write(cluster: &Cluster, topic: &str, partition: i32, values: &[&str]) {
    let producer = producer(cluster, &[("linger.ms", "0")]);
    for value in values {
        let record = ProducerRecord::new(topic, *value).partition(partition);
        producer.send(&record).await.unwrap().await.unwrap();
    }
    producer.close(SECOND).await.unwrap();
}

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
