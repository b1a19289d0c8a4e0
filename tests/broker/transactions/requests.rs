//! T8: how many requests a transaction takes in both versions of the protocol: no more than it needs.

use milena::OffsetAndMetadata;
use milena::broker::{ApiKey, Cluster};

use super::stage::{VERSIONS, all_committed, cluster, producer, put, to};
use crate::support::tp;

const APIS: [ApiKey; 7] = [
    ApiKey::FIND_COORDINATOR,
    ApiKey::INIT_PRODUCER_ID,
    ApiKey::ADD_PARTITIONS_TO_TXN,
    ApiKey::PRODUCE,
    ApiKey::ADD_OFFSETS_TO_TXN,
    ApiKey::TXN_OFFSET_COMMIT,
    ApiKey::END_TXN,
];

/// How many requests of each were received, in the order of `APIS`.
fn counts(cluster: &Cluster) -> [u64; 7] {
    APIS.map(|api| cluster.requests(api))
}

fn since(cluster: &Cluster, before: [u64; 7]) -> [u64; 7] {
    let now = counts(cluster);
    std::array::from_fn(|at| now[at] - before[at])
}

/// Many records to five partitions, with offsets: a Produce to each broker, and of the rest one of each kind that the
/// version has.
#[tokio::test(start_paused = true)]
async fn a_transaction_takes_the_fewest_requests() {
    for version in VERSIONS {
        for nodes in [1, 3] {
            let cluster = cluster(version, |it| it.nodes(nodes)).await;
            let mut producer = producer(&cluster, &[("linger.ms", "1000")]).await;
            assert_eq!(counts(&cluster), [1, 1, 0, 0, 0, 0, 0], "to begin with");
            producer.partitions_for("a").await.unwrap();
            producer.partitions_for("b").await.unwrap();
            let leaders = |topic: &'static str, count| {
                let cluster = &cluster;
                (0..count).map(move |partition| cluster.leader(topic, partition).unwrap().0)
            };
            let leaders: std::collections::BTreeSet<_> =
                leaders("a", 3).chain(leaders("b", 2)).collect();
            let produce = leaders.len() as u64;
            for round in 0..4 {
                let before = counts(&cluster);
                let transaction = producer.begin().await.unwrap();
                for number in 0..50 {
                    put(&transaction, "a", number % 3, "x").await;
                    put(&transaction, "b", number % 2, "x").await;
                }
                let offsets = [(tp("a", 0), OffsetAndMetadata::new(1))];
                let group = milena::ConsumerGroupMetadata::no_member("g");
                transaction.send_offsets(&group, offsets).await.unwrap();
                transaction.commit().await.unwrap();
                // The group's coordinator is looked up once.
                let find = u64::from(round == 0);
                let added = u64::from(version == 1);
                let fewest = [find, 0, added, produce, added, 1, 1];
                assert_eq!(since(&cluster, before), fewest, "{version}, {nodes}, {round}");
            }
            assert_eq!(all_committed(&cluster, "a").await.len(), 200);
        }
    }
}

/// An abort of what was written takes EndTxn; with version 2 the next epoch comes with its answer.
#[tokio::test(start_paused = true)]
async fn an_abort_takes_one_request() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut producer = producer(&cluster, &[]).await;
        for _ in 0..3 {
            let transaction = producer.begin().await.unwrap();
            transaction.send_and_wait(&to("a", 0, "x")).await.unwrap();
            let before = counts(&cluster);
            put(&transaction, "a", 0, "y").await;
            transaction.abort().await.unwrap();
            assert_eq!(since(&cluster, before), [0, 0, 0, 0, 0, 0, 1], "{version}");
        }
        assert!(all_committed(&cluster, "a").await.is_empty());
    }
}
