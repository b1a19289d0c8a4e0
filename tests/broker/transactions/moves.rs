//! Coordinators and leaders that move, or whose nodes stop, between each pair of steps of a transaction.

use milena::broker::{ApiKey, Cluster, Fault};
use milena::{BrokerId, ConsumerGroupMetadata, OffsetAndMetadata, TransactionalProducer};

use super::stage::{ID, VERSIONS, all_committed, cluster, producer, put, to};
use crate::support::{SECOND, tp};

/// Who is struck, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    CoordinatorMoves,
    CoordinatorStops,
    GroupMoves,
    GroupStops,
    LeaderMoves,
    LeaderStops,
}

pub(super) const BLOWS: [Blow; 6] = [
    Blow::CoordinatorMoves,
    Blow::CoordinatorStops,
    Blow::GroupMoves,
    Blow::GroupStops,
    Blow::LeaderMoves,
    Blow::LeaderStops,
];

/// Gives the node that was stopped.
pub(super) async fn strike(cluster: &Cluster, blow: Blow) -> Option<BrokerId> {
    let at = match blow {
        Blow::CoordinatorMoves | Blow::CoordinatorStops => cluster.transaction_coordinator(ID),
        Blow::GroupMoves | Blow::GroupStops => cluster.coordinator("g"),
        Blow::LeaderMoves | Blow::LeaderStops => cluster.leader("a", 0).map(|(node, _)| node),
    };
    let at = at.expect("a node");
    let other = BrokerId(at.0 % 3 + 1);
    match blow {
        Blow::CoordinatorMoves => cluster.move_transaction_coordinator(ID, other).unwrap(),
        Blow::GroupMoves => cluster.move_coordinator("g", other).unwrap(),
        Blow::LeaderMoves => cluster.move_leader("a", 0, other).unwrap(),
        Blow::CoordinatorStops | Blow::GroupStops | Blow::LeaderStops => {
            cluster.stop_node(at).await.unwrap();
            return Some(at);
        }
    }
    None
}

const STEPS: usize = 8;

/// A transaction with a blow before the given step.
async fn transact(
    cluster: &Cluster,
    producer: &mut TransactionalProducer,
    blow: Blow,
    when: usize,
    commits: bool,
) {
    let group = ConsumerGroupMetadata::no_member("g");
    let offsets = |offset| [(tp("b", 0), OffsetAndMetadata::new(offset))];
    let mut stopped = None;
    let name = format!("{blow:?} {when}");
    if when == 0 {
        stopped = strike(cluster, blow).await;
    }
    let transaction = producer.begin().await.unwrap();
    if when == 1 {
        stopped = strike(cluster, blow).await;
    }
    put(&transaction, "a", 0, &format!("{name} one")).await;
    if when == 2 {
        stopped = strike(cluster, blow).await;
    }
    transaction.send_and_wait(&to("a", 1, &format!("{name} two"))).await.unwrap();
    if when == 3 {
        stopped = strike(cluster, blow).await;
    }
    transaction.send_offsets(&group, offsets(1)).await.unwrap();
    if when == 4 {
        stopped = strike(cluster, blow).await;
    }
    // The node goes away while it holds the answer.
    if when == 5 {
        cluster.inject(Fault::delay_response(ApiKey::TXN_OFFSET_COMMIT, SECOND));
        let before = cluster.requests(ApiKey::TXN_OFFSET_COMMIT);
        let meanwhile = async {
            cluster.received(ApiKey::TXN_OFFSET_COMMIT, before + 1).await;
            strike(cluster, blow).await
        };
        let (sent, node) = tokio::join!(transaction.send_offsets(&group, offsets(2)), meanwhile);
        sent.unwrap();
        stopped = node;
    }
    transaction.send_and_wait(&to("a", 0, &format!("{name} three"))).await.unwrap();
    if when == 6 {
        stopped = strike(cluster, blow).await;
    }
    let end =
        async { if commits { transaction.commit().await } else { transaction.abort().await } };
    if when == 7 {
        cluster.inject(Fault::delay_response(ApiKey::END_TXN, SECOND));
        let before = cluster.requests(ApiKey::END_TXN);
        let meanwhile = async {
            cluster.received(ApiKey::END_TXN, before + 1).await;
            strike(cluster, blow).await
        };
        let (ended, node) = tokio::join!(end, meanwhile);
        ended.unwrap();
        stopped = node;
    } else {
        end.await.unwrap();
    }
    if let Some(node) = stopped {
        cluster.restart_node(node).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_blow_between_each_pair_of_steps() {
    for version in VERSIONS {
        for blow in BLOWS {
            let cluster = cluster(version, |it| it.nodes(3)).await;
            let mut producer = producer(&cluster, &[("request.timeout.ms", "5000")]).await;
            let mut expected = Vec::new();
            for when in 0..STEPS {
                for commits in [true, false] {
                    transact(&cluster, &mut producer, blow, when, commits).await;
                }
                let three = ["one", "three", "two"].map(|n| format!("{blow:?} {when} {n}"));
                expected.extend(three);
                let visible = all_committed(&cluster, "a").await;
                assert_eq!(visible, expected, "version {version}, {blow:?} at {when}");
            }
        }
    }
}

/// Row 48: librdkafka#5511, KAFKA-10520: offsets hung when the coordinator that was known had left the cluster for good.
#[tokio::test(start_paused = true)]
async fn row_48_a_coordinator_that_left_for_good() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it.nodes(3)).await;
        let properties = [("max.in.flight.requests.per.connection", "1")];
        let mut producer = producer(&cluster, &properties).await;
        let group = ConsumerGroupMetadata::no_member("g");
        for round in 0..3 {
            let transaction = producer.begin().await.unwrap();
            put(&transaction, "a", 0, &round.to_string()).await;
            let offsets = [(tp("b", 0), OffsetAndMetadata::new(round))];
            transaction.send_offsets(&group, offsets).await.unwrap();
            if round < 2 {
                let gone = if round == 0 { cluster.coordinator("g") } else { None };
                let gone = gone.or(cluster.transaction_coordinator(ID)).unwrap();
                cluster.stop_node(gone).await.unwrap();
            }
            let offsets = [(tp("b", 0), OffsetAndMetadata::new(round + 10))];
            let sent = transaction.send_offsets(&group, offsets);
            tokio::time::timeout(10 * SECOND, sent).await.expect("soon").unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(cluster.group("g").unwrap().offsets[&tp("b", 0)].offset, round + 10);
        }
        assert_eq!(all_committed(&cluster, "a").await, ["0", "1", "2"]);
    }
}
