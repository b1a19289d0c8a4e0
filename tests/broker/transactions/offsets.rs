//! T4: consumed offsets within a transaction, and that those of a consumer which a rebalance has replaced are refused.

use milena::broker::{ApiKey, Cluster, Fault};
use milena::{
    Consumer, ConsumerGroupMetadata, ErrorCode, OffsetAndMetadata, TopicPartition, TransactionError,
};

use super::stage::{MS, VERSIONS, all_committed, cluster, producer, put};
use crate::support::{SECOND, seeded_reader, tp, write};

/// A member of the group `g` that reads `a`.
async fn member(cluster: &Cluster, protocol: &str, seed: u64) -> Consumer {
    let properties = [
        ("group.id", "g"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_committed"),
        ("group.protocol", protocol),
    ];
    let mut member = seeded_reader(cluster, &properties, seed);
    member.subscribe(["a"]).unwrap();
    while member.assignment().is_empty() {
        member.poll(MS(100)).await.unwrap();
    }
    member
}

fn offset(cluster: &Cluster, partition: i32) -> Option<i64> {
    Some(cluster.group("g")?.offsets.get(&tp("a", partition))?.offset)
}

#[track_caller]
fn abortable(result: Result<(), TransactionError>) -> ErrorCode {
    match result {
        Err(TransactionError::Abortable(error)) => error.code().expect("a code"),
        other => panic!("not abortable: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn t4_offsets_count_when_the_transaction_commits() {
    for version in VERSIONS {
        for protocol in ["classic", "consumer"] {
            let cluster = cluster(version, |it| it.nodes(3)).await;
            write(&cluster, "a", 0, &["x", "y", "z"]).await;
            let mut consumer = member(&cluster, protocol, 1).await;
            let mut positions = consumer.positions();
            while positions.get(&tp("a", 0)).map(|it| it.offset) != Some(3) {
                consumer.poll(MS(100)).await.unwrap();
                positions = consumer.positions();
            }
            let group = consumer.group_metadata().expect("it has a group");
            assert!(group.is_member());
            let mut producer = producer(&cluster, &[]).await;
            let last = positions[&tp("a", 0)].clone().with_metadata("mine");
            for (commits, expected) in [(false, None), (true, Some(3))] {
                let transaction = producer.begin().await.unwrap();
                put(&transaction, "b", 0, "out").await;
                transaction.send_offsets(&group, [(tp("a", 0), last.clone())]).await.unwrap();
                assert_eq!(offset(&cluster, 0), None, "not yet");
                if commits {
                    transaction.commit().await.unwrap();
                } else {
                    transaction.abort().await.unwrap();
                }
                assert_eq!(offset(&cluster, 0), expected, "{version} {protocol}");
            }
            let stored = cluster.group("g").unwrap().offsets[&tp("a", 0)].clone();
            assert_eq!((stored.leader_epoch, &*stored.metadata), (last.leader_epoch, "mine"));
            assert!(stored.leader_epoch.is_some(), "what the consumer knows arrives");
            assert_eq!(all_committed(&cluster, "b").await, ["out"]);
            assert_eq!(offset(&cluster, 0), Some(3));
        }
    }
}

/// The one that was there before sends offsets as the member that it was: nothing of its transaction counts.
#[tokio::test(start_paused = true)]
async fn t4_after_a_rebalance_offsets_of_the_one_before_are_refused() {
    for version in VERSIONS {
        for protocol in ["classic", "consumer"] {
            let cluster = cluster(version, |it| it).await;
            let mut first = member(&cluster, protocol, 1).await;
            let before = first.group_metadata().unwrap();
            let mut producer = producer(&cluster, &[]).await;
            let transaction = producer.begin().await.unwrap();
            put(&transaction, "b", 0, "zombie").await;
            let config =
                [("group.id", "g"), ("group.protocol", protocol), ("enable.auto.commit", "false")];
            let mut second = seeded_reader(&cluster, &config, 2);
            second.subscribe(["a"]).unwrap();
            while first.group_metadata().unwrap().generation_id == before.generation_id
                || second.assignment().is_empty()
            {
                first.poll(MS(20)).await.unwrap();
                second.poll(MS(20)).await.unwrap();
            }
            // What was taken from it.
            let moved = second.assignment()[0].partition;
            for _ in 0..2 {
                let refused = transaction.send_offsets(&before, one(moved)).await;
                assert_eq!(abortable(refused), ErrorCode::ILLEGAL_GENERATION);
            }
            assert_eq!(abortable(transaction.commit().await), ErrorCode::ILLEGAL_GENERATION);
            // As who it is now it may go on, until it leaves.
            let (now, kept) = (first.group_metadata().unwrap(), first.assignment()[0].partition);
            let transaction = producer.begin().await.unwrap();
            put(&transaction, "b", 0, "member").await;
            transaction.send_offsets(&now, one(kept)).await.unwrap();
            transaction.commit().await.unwrap();
            first.close(SECOND).await;
            let transaction = producer.begin().await.unwrap();
            put(&transaction, "b", 0, "gone").await;
            let code = abortable(transaction.send_offsets(&now, one(kept)).await);
            assert_eq!(code, ErrorCode::UNKNOWN_MEMBER_ID);
            transaction.abort().await.unwrap();
            assert_eq!(all_committed(&cluster, "b").await, ["member"]);
            assert_eq!((offset(&cluster, kept), offset(&cluster, moved)), (Some(5), None));
        }
    }
}

/// A static member whose place another one has taken.
#[tokio::test(start_paused = true)]
async fn t4_a_static_member_that_was_replaced_is_fenced() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let properties =
            [("group.id", "g"), ("enable.auto.commit", "false"), ("group.instance.id", "one")];
        let mut old = seeded_reader(&cluster, &properties, 1);
        old.subscribe(["a"]).unwrap();
        while old.assignment().is_empty() {
            old.poll(MS(20)).await.unwrap();
        }
        let before = old.group_metadata().unwrap();
        assert_eq!(before.group_instance_id.as_deref(), Some("one"));
        let mut new = seeded_reader(&cluster, &properties, 2);
        new.subscribe(["a"]).unwrap();
        while new.assignment().is_empty() {
            new.poll(MS(20)).await.unwrap();
        }
        let mut producer = producer(&cluster, &[]).await;
        let transaction = producer.begin().await.unwrap();
        let offsets = [(tp("a", 0), OffsetAndMetadata::new(7))];
        let code = abortable(transaction.send_offsets(&before, offsets).await);
        assert_eq!(code, ErrorCode::FENCED_INSTANCE_ID);
        drop(transaction);
        producer.begin().await.unwrap().commit().await.unwrap();
        assert_eq!(offset(&cluster, 0), None);
    }
}

/// Neither harms the transaction, nor is anything asked for.
#[tokio::test(start_paused = true)]
async fn no_offsets_and_no_group() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let consumer = crate::support::reader(&cluster, &[]);
        assert_eq!(consumer.group_metadata(), None, "its type says that there is none");
        let mut producer = producer(&cluster, &[]).await;
        let transaction = producer.begin().await.unwrap();
        let group = ConsumerGroupMetadata::no_member("g");
        transaction.send_offsets(&group, []).await.unwrap();
        let nobody = ConsumerGroupMetadata::no_member("");
        let error = transaction.send_offsets(&nobody, one(0)).await.unwrap_err();
        assert!(matches!(error, TransactionError::NoGroup), "{error}");
        assert!(error.to_string().contains("group.id"), "{error}");
        assert!(!error.is_fatal() && !error.is_abortable() && !error.is_retriable());
        put(&transaction, "b", 0, "x").await;
        transaction.commit().await.unwrap();
        assert_eq!(all_committed(&cluster, "b").await, ["x"]);
        assert_eq!(cluster.requests(ApiKey::TXN_OFFSET_COMMIT), 0);
        assert_eq!(cluster.requests(ApiKey::ADD_OFFSETS_TO_TXN), 0);
    }
}

fn one(partition: i32) -> [(TopicPartition, OffsetAndMetadata); 1] {
    [(tp("a", partition), OffsetAndMetadata::new(5))]
}

/// Offsets of two groups, in several calls, some at a time.
#[tokio::test(start_paused = true)]
async fn offsets_of_several_groups_and_calls() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it.nodes(3)).await;
        let mut producer = producer(&cluster, &[]).await;
        let transaction = producer.begin().await.unwrap();
        let (g, h) = (ConsumerGroupMetadata::no_member("g"), ConsumerGroupMetadata::no_member("h"));
        let sends = [
            transaction.send_offsets(&g, one(0)),
            transaction.send_offsets(&h, one(0)),
            transaction.send_offsets(&g, one(1)),
            transaction.send_offsets(&h, one(2)),
        ];
        for sent in futures_util::future::join_all(sends).await {
            sent.unwrap();
        }
        // Later ones count.
        let later = [(tp("a", 1), OffsetAndMetadata::new(9))];
        transaction.send_offsets(&g, later).await.unwrap();
        transaction.commit().await.unwrap();
        let stored = |group: &str| -> Vec<_> {
            let offsets = cluster.group(group).unwrap().offsets;
            offsets.iter().map(|(at, it)| (at.partition, it.offset)).collect()
        };
        assert_eq!(stored("g"), [(0, 5), (1, 9)]);
        assert_eq!(stored("h"), [(0, 5), (2, 5)]);
    }
}

/// Offsets alone make a transaction.
#[tokio::test(start_paused = true)]
async fn offsets_without_records() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut producer = producer(&cluster, &[]).await;
        let group = ConsumerGroupMetadata::no_member("g");
        for commits in [false, true] {
            let transaction = producer.begin().await.unwrap();
            transaction.send_offsets(&group, one(0)).await.unwrap();
            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.abort().await.unwrap();
            }
            assert_eq!(offset(&cluster, 0), commits.then_some(5));
        }
        assert_eq!(cluster.requests(ApiKey::END_TXN), 2);
    }
}

/// The group's coordinator is slow: the call ends in time, and the commit waits for the offsets.
#[tokio::test(start_paused = true)]
async fn offsets_that_time_out_go_on() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut producer = producer(&cluster, &[("max.block.ms", "2000")]).await;
        cluster.inject(Fault::delay_response(ApiKey::TXN_OFFSET_COMMIT, 3 * SECOND));
        let transaction = producer.begin().await.unwrap();
        let group = ConsumerGroupMetadata::no_member("g");
        let error = transaction.send_offsets(&group, one(0)).await.unwrap_err();
        assert!(matches!(error, TransactionError::TimedOut(_)) && error.is_retriable(), "{error}");
        transaction.commit().await.unwrap();
        assert_eq!(offset(&cluster, 0), Some(5));
    }
}
