//! Offsets that are part of our transactions: a Java consumer goes on where the last committed one ended, and those of a
//! member that has lost its partitions are refused.

use std::collections::BTreeMap;

use milena::{
    Consumer, ErrorCode, OffsetAndMetadata, ProducerRecord, TopicPartition, TransactionError,
};
use tokio::time::{Duration, sleep};

use crate::in_process_transactions::{COMMITTED, read, stable_end, values};
use crate::oracle::{Properties, Record};
use crate::ours;
use crate::runner::Kafka;
use crate::samples::numbered;

tests![
    offsets_of_a_transaction_are_resumed_by_java,
    offsets_of_a_transaction_are_resumed_by_java_in_the_consumer_protocol[since(4, 0)],
    offsets_of_a_stale_member_are_refused,
    offsets_of_a_stale_member_of_the_consumer_protocol_are_refused[since(4, 0)],
];

const CONSUMER_PROTOCOL: Properties<'static> = &[("group.protocol", "consumer")];
const POLL: Duration = Duration::from_millis(100);
const PARTITIONS: usize = 2;
const EACH: usize = 40;

async fn offsets_of_a_transaction_are_resumed_by_java(kafka: Kafka) {
    resumed(&kafka, &[]).await;
}

async fn offsets_of_a_transaction_are_resumed_by_java_in_the_consumer_protocol(kafka: Kafka) {
    resumed(&kafka, CONSUMER_PROTOCOL).await;
}

/// Two transactions are committed, and a third is aborted.
async fn resumed(kafka: &Kafka, protocol: Properties<'_>) {
    let cluster = kafka.shared().await;
    let (bootstrap, oracle) = (&cluster.bootstrap(), kafka.oracle());
    let from = kafka.topic(cluster, "from", PARTITIONS).await;
    let to = kafka.topic(cluster, "to", PARTITIONS).await;
    let records: Vec<Record> =
        (0..PARTITIONS * EACH).map(|n| numbered((n % PARTITIONS) as i32, n)).collect();
    oracle.produce(bootstrap, &from, &records, &[]).await.unwrap();
    let mut consumer = subscribed(bootstrap, &from, &from, protocol);
    let id = kafka.fresh("resumed");
    let mut producer = ours::transactional(bootstrap, &id, &[]).await.unwrap();

    let mut committed = BTreeMap::new();
    let mut round = 0;
    while round < 3 {
        let records = consumer.poll(POLL).await.unwrap();
        if records.is_empty() {
            continue;
        }
        round += 1;
        let transaction = producer.begin().await.unwrap();
        for record in &records {
            let copy = ProducerRecord::new(&to, record.value.unwrap()).partition(record.partition);
            drop(transaction.send(&copy).await.unwrap());
        }
        let group = consumer.group_metadata().unwrap();
        assert!(group.is_member(), "{group:?}");
        let positions = consumer.positions();
        transaction.send_offsets(&group, positions.clone()).await.unwrap();
        if round == 3 {
            transaction.abort().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            let offsets = positions.iter().map(|(at, position)| (at.partition, position.offset));
            committed.extend(offsets);
        }
    }
    ours::close_reader(consumer).await;
    ours::close_transactional(producer).await;

    let name = kafka.fresh("heir");
    let group = [&[("group.id", from.as_str()), ("auto.offset.reset", "earliest")], protocol];
    oracle.join(&name, bootstrap, &from, &group.concat()).await.unwrap();
    let of = |partition: i32| committed.get(&partition).map_or(0, |&offset| offset as usize);
    let rest: usize = (0..PARTITIONS as i32).map(|partition| EACH - of(partition)).sum();
    let mut seen = Vec::new();
    while seen.len() < rest {
        seen.append(&mut oracle.seen(&name).await.unwrap());
        // The helper has to be asked.
        sleep(POLL).await;
    }
    oracle.leave(&name).await.unwrap();
    for partition in 0..PARTITIONS as i32 {
        stable_end(kafka, bootstrap, (&to, partition)).await;
        let copied = values(&read(kafka, bootstrap, (&to, partition), COMMITTED).await);
        let all = values(&read(kafka, bootstrap, (&from, partition), COMMITTED).await);
        assert_eq!(copied, all[..of(partition)], "{partition} of {committed:?}");
        let resumed = seen.iter().filter(|(at, ..)| *at == partition).map(|(_, offset, _)| *offset);
        assert!(resumed.eq(of(partition) as i64..EACH as i64), "{partition}: {seen:?}");
    }
    assert!(rest < PARTITIONS * EACH && rest > 0, "{rest} records were left");
}

fn subscribed(bootstrap: &str, topic: &str, group: &str, more: Properties<'_>) -> Consumer {
    let properties = [
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("isolation.level", "read_committed"),
        ("max.poll.records", "15"),
    ];
    let mut consumer = ours::reader(bootstrap, &[&properties, more].concat());
    consumer.subscribe([topic]).unwrap();
    consumer
}

async fn offsets_of_a_stale_member_are_refused(kafka: Kafka) {
    stale(&kafka, &[("heartbeat.interval.ms", "200")]).await;
}

async fn offsets_of_a_stale_member_of_the_consumer_protocol_are_refused(kafka: Kafka) {
    stale(&kafka, CONSUMER_PROTOCOL).await;
}

/// A member sends offsets of a partition that a rebalance has taken from it since it was given its records.
async fn stale(kafka: &Kafka, protocol: Properties<'_>) {
    let cluster = kafka.shared().await;
    let bootstrap = &cluster.bootstrap();
    let from = kafka.topic(cluster, "stale", PARTITIONS).await;
    let to = kafka.topic(cluster, "stale-to", 1).await;
    let mut first = subscribed(bootstrap, &from, &from, protocol);
    while first.assignment().len() < PARTITIONS {
        first.poll(POLL).await.unwrap();
    }
    let before = first.group_metadata().unwrap();
    let mut second = subscribed(bootstrap, &from, &from, protocol);
    while second.assignment().is_empty() || first.assignment().len() == PARTITIONS {
        first.poll(POLL).await.unwrap();
        second.poll(POLL).await.unwrap();
    }
    let taken = second.assignment().remove(0);
    let mut producer = ours::transactional(bootstrap, &kafka.fresh("stale"), &[]).await.unwrap();

    let transaction = producer.begin().await.unwrap();
    transaction.send_and_wait(&ProducerRecord::new(&to, "stale")).await.unwrap();
    let refused = transaction.send_offsets(&before, five(&taken)).await.unwrap_err();
    let TransactionError::Abortable(error) = &refused else { panic!("{refused}") };
    let code = error.code();
    let stale = matches!(code, Some(ErrorCode::ILLEGAL_GENERATION | ErrorCode::STALE_MEMBER_EPOCH));
    assert!(stale && refused.to_string().contains(&from), "{refused}");
    let refused = transaction.commit().await.unwrap_err();
    assert!(refused.is_abortable(), "{refused}");

    // The same producer goes on, for the member that has the partition.
    let transaction = producer.begin().await.unwrap();
    drop(transaction.send(&ProducerRecord::new(&to, "fresh")).await.unwrap());
    transaction.send_offsets(&second.group_metadata().unwrap(), five(&taken)).await.unwrap();
    transaction.commit().await.unwrap();
    // And one that no group knows is refused, too.
    let mut stranger = before;
    stranger.member_id = "stranger".to_owned();
    let transaction = producer.begin().await.unwrap();
    let refused = transaction.send_offsets(&stranger, five(&taken)).await.unwrap_err();
    let TransactionError::Abortable(error) = &refused else { panic!("{refused}") };
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_MEMBER_ID), "{refused}");
    transaction.abort().await.unwrap();

    ours::close_transactional(producer).await;
    ours::close_reader(first).await;
    ours::close_reader(second).await;
    stable_end(kafka, bootstrap, (&to, 0)).await;
    assert_eq!(values(&read(kafka, bootstrap, (&to, 0), COMMITTED).await), ["fresh"]);
    let committed = kafka.oracle().committed(bootstrap, &from).await.unwrap();
    let committed = committed.into_iter().map(|((_, partition), at)| (partition, at.offset));
    assert!(committed.eq([(taken.partition, 5)]));
}

fn five(at: &TopicPartition) -> [(TopicPartition, OffsetAndMetadata); 1] {
    [(at.clone(), OffsetAndMetadata::new(5))]
}
