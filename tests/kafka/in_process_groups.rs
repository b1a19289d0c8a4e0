//! Kafka's `kafka-consumer-groups` against `milena::broker`: groups are listed, described and deleted, and their offsets
//! set and deleted, as on a broker.

use milena::broker::{Cluster, TopicSpec};
use milena::{Consumer, OffsetAndMetadata, TopicPartition};
use tokio::time::{Duration, Instant};

use crate::ours;
use crate::runner::Kafka;

tests![a_classic_group, a_group_of_the_consumer_protocol[since(4, 0)], offsets_without_members];

const LIMIT: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 2;
const RECORDS: usize = 5;

/// A cluster with five records in each of two partitions.
async fn cluster() -> Cluster {
    let cluster = Cluster::builder().nodes(3).start().await.unwrap();
    cluster.create_topic(TopicSpec::new("t").partitions(PARTITIONS as usize)).unwrap();
    for partition in 0..PARTITIONS {
        cluster.writer().write("t", partition, ["value"; RECORDS]).unwrap();
    }
    cluster
}

/// A member that has read all of the topic, and committed three of each partition.
async fn member(cluster: &Cluster, properties: &[(&str, &str)]) -> Consumer {
    let usual = [("group.id", "g"), ("enable.auto.commit", "false"), ("client.id", "me")];
    let earliest = [("auto.offset.reset", "earliest")];
    let all = [&usual[..], properties].concat();
    let config = milena::ConsumerConfig::from_properties(
        [("bootstrap.servers", cluster.bootstrap_servers().as_str())]
            .into_iter()
            .chain(earliest)
            .chain(all),
    );
    let mut consumer = Consumer::new(config.unwrap());
    consumer.subscribe(["t"]).unwrap();
    let (start, mut read) = (Instant::now(), 0);
    while read < RECORDS * PARTITIONS as usize {
        assert!(start.elapsed() < LIMIT, "only {read} came");
        read += consumer.poll(Duration::from_millis(100)).await.unwrap().len();
    }
    let three = |partition| (TopicPartition::new("t", partition), OffsetAndMetadata::new(3));
    consumer.commit_offsets((0..PARTITIONS).map(three)).await.unwrap();
    consumer
}

/// A table's rows below the one that begins with these words, in columns.
fn table(printed: &str, first: &str) -> Vec<Vec<String>> {
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = printed
        .lines()
        .map(columns)
        .skip_while(|line| line.first().map(String::as_str) != Some(first));
    let header = lines.next();
    assert!(header.is_some(), "no table of {first} in\n{printed}");
    lines.take_while(|line| !line.is_empty()).collect()
}

async fn a_classic_group(kafka: Kafka) {
    active(&kafka, &[("partition.assignment.strategy", "range")], "range").await;
}

async fn a_group_of_the_consumer_protocol(kafka: Kafka) {
    active(&kafka, &[("group.protocol", "consumer")], "uniform").await;
}

/// The group `g` with a member.
async fn active(kafka: &Kafka, properties: &[(&str, &str)], assignor: &str) {
    let cluster = cluster().await;
    let bootstrap = cluster.bootstrap_servers();
    let consumer = member(&cluster, properties).await;
    let id = cluster.group("g").unwrap().members[0].id.clone();
    let tool = async |arguments: &str| {
        kafka.release().consumer_groups(&bootstrap, arguments).await.unwrap()
    };

    let (listed, described, members, state) = tokio::join!(
        tool("--list --state"),
        tool("--describe --group g"),
        tool("--describe --group g --members --verbose"),
        tool("--describe --group g --state"),
    );

    let listed = table(&listed, "GROUP");
    assert_eq!(listed[0].last().map(String::as_str), Some("Stable"), "{listed:?}");
    assert_eq!((listed.len(), listed[0][0].as_str()), (1, "g"));
    let rows = table(&described, "GROUP");
    assert_eq!(rows.len(), PARTITIONS as usize, "{described}");
    for (partition, mut row) in ["0", "1"].into_iter().zip(sorted(rows)) {
        // Since 4.0 there is a column for the epoch of the leader.
        if row.len() > 9 {
            row.remove(3);
        }
        let expected = ["g", "t", partition, "3", "5", "2", &id, "/127.0.0.1", "me"];
        assert_eq!(row, expected, "{described}");
    }
    let rows = table(&members, "GROUP");
    assert_eq!(rows.len(), 1, "{members}");
    assert_eq!(rows[0][..2], ["g".to_owned(), id.clone()], "{members}");
    let assignment = rows[0].join(" ");
    assert!(assignment.contains("t(0,1)") || assignment.contains("t:0,1"), "{members}");
    assert!(state.contains("Stable") && state.contains(assignor), "{state}");

    let deleted = tool("--delete --group g").await;

    assert!(deleted.contains("could not be deleted"), "{deleted}");
    assert!(deleted.contains("GroupNotEmptyException"), "{deleted}");
    let group = cluster.group("g").unwrap();
    assert_eq!((group.members.len(), group.offsets.len()), (1, PARTITIONS as usize));
    ours::close_reader(consumer).await;
}

fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}

/// The group `g` when its member has left, and one that is not there.
async fn offsets_without_members(kafka: Kafka) {
    let cluster = cluster().await;
    let bootstrap = cluster.bootstrap_servers();
    ours::close_reader(member(&cluster, &[]).await).await;
    let tool = async |arguments: &str| {
        kafka.release().consumer_groups(&bootstrap, arguments).await.unwrap()
    };
    let offset = |partition| {
        let offsets = cluster.group("g").unwrap().offsets;
        offsets.get(&TopicPartition::new("t", partition)).map(|committed| committed.offset)
    };

    let (listed, described, unknown) = tokio::join!(
        tool("--list --state Empty"),
        tool("--describe --group g"),
        tool("--describe --group nobody"),
    );
    assert_eq!(table(&listed, "GROUP")[0][0], "g");
    assert!(described.contains("has no active members"), "{described}");
    assert_eq!(table(&described, "GROUP").len(), PARTITIONS as usize, "{described}");
    assert!(
        unknown.contains("nobody' does not exist") || unknown.contains("nobody not found"),
        "{unknown}"
    );

    tool("--reset-offsets --group g --topic t:1 --to-earliest --execute").await;
    assert_eq!([offset(0), offset(1)], [Some(3), Some(0)]);
    tool("--delete-offsets --group g --topic t:0").await;
    assert_eq!([offset(0), offset(1)], [None, Some(0)]);
    let deleted = tool("--delete --group g").await;
    assert!(deleted.contains("was successful"), "{deleted}");
    assert_eq!(cluster.group("g"), None);
}
