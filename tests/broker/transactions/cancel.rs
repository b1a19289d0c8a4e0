//! Futures that are dropped wherever they wait: the producer goes on, and what is visible is whole.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use milena::broker::{ApiKey, Cluster};
use milena::{ConsumerGroupMetadata, OffsetAndMetadata, TransactionOutcome, TransactionalProducer};

use super::stage::{VERSIONS, all_committed, cluster, producer, put, to};
use crate::support::tp;

/// Polls a future so many times, lets everything else have a turn in between, and drops it.
async fn drop_after<F: Future>(future: F, turns: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..turns {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// What is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Begin,
    Send,
    Offsets,
    Commit,
    Abort,
}

const ALL: [What; 5] = [What::Begin, What::Send, What::Offsets, What::Commit, What::Abort];

/// A transaction in which `what` is dropped after so many turns. Gives which of its records must be visible, and
/// whether `what` was over before.
async fn round(
    cluster: &Cluster,
    producer: &mut TransactionalProducer,
    what: What,
    turns: usize,
) -> (Vec<String>, bool) {
    let record = |name: &str| format!("{what:?} {turns} {name}");
    let (group, offsets) =
        (ConsumerGroupMetadata::no_member("g"), [(tp("a", 0), OffsetAndMetadata::new(5))]);
    if what == What::Begin {
        let over = drop_after(producer.begin(), turns).await.is_some();
        return (Vec::new(), over);
    }
    let transaction = producer.begin().await.unwrap();
    let values = [record("one"), record("two")];
    put(&transaction, "a", 0, &values[0]).await;
    put(&transaction, "a", 1, &values[1]).await;
    let mut all = values.to_vec();
    match what {
        What::Send => {
            // A topic that is not known yet, so that there is something to wait for.
            let topic = format!("new-{turns}");
            cluster.create_topic(&*topic).unwrap();
            let value = record("three");
            let sent = drop_after(transaction.send(&to(&topic, 0, &value)), turns).await;
            let over = sent.is_some();
            if let Some(sent) = sent {
                drop(sent.unwrap());
            }
            transaction.commit().await.unwrap();
            (all, over)
        }
        What::Offsets => {
            let over = drop_after(transaction.send_offsets(&group, offsets), turns).await.is_some();
            if turns.is_multiple_of(2) {
                transaction.commit().await.unwrap();
            } else {
                transaction.abort().await.unwrap();
                all.clear();
            }
            (all, over)
        }
        What::Commit => {
            let over = drop_after(transaction.commit(), turns).await.is_some();
            // Only one that was never polled aborts.
            let outcome = producer.settle().await.unwrap();
            let committed = outcome == Some(TransactionOutcome::Committed);
            assert_eq!(committed, turns > 0, "{what:?} {turns}");
            (if committed { all } else { Vec::new() }, over)
        }
        _ => {
            let over = drop_after(transaction.abort(), turns).await.is_some();
            (Vec::new(), over)
        }
    }
}

async fn dropped_everywhere(version: i16, what: What) -> usize {
    let cluster: Cluster = cluster(version, |it| it.nodes(2)).await;
    let mut producer = producer(&cluster, &[]).await;
    let mut expected = Vec::new();
    let mut turns = 0;
    loop {
        let (must, over) = round(&cluster, &mut producer, what, turns).await;
        expected.extend(must);
        // The next one is whole.
        let transaction = producer.begin().await.unwrap();
        let value = format!("{what:?} {turns} after");
        put(&transaction, "a", 2, &value).await;
        transaction.commit().await.unwrap();
        expected.push(value);
        if over {
            break;
        }
        turns += 1;
        assert!(turns < 300, "{what:?} is never over");
    }
    expected.sort();
    assert_eq!(all_committed(&cluster, "a").await, expected, "{version} {what:?}");
    for turns in 0..turns {
        // A send that was dropped has accepted the record or not.
        let topic = format!("new-{turns}");
        if cluster.partitions(&topic).is_some() {
            assert!(all_committed(&cluster, &topic).await.len() <= 1);
        }
    }
    // Nothing of it was taken for a new incarnation, or ended by time.
    assert_eq!(cluster.requests(ApiKey::INIT_PRODUCER_ID), 1);
    turns
}

#[tokio::test(start_paused = true)]
async fn whatever_is_dropped_wherever_it_waits() {
    for version in VERSIONS {
        for what in ALL {
            let turns = dropped_everywhere(version, what).await;
            assert!(turns > 1, "{what:?} was dropped amid its work: {turns}");
        }
    }
}

/// A producer that is dropped while it is initialised leaves nothing behind that keeps the next one from it.
#[tokio::test(start_paused = true)]
async fn an_init_that_is_dropped() {
    for version in VERSIONS {
        for turns in 0.. {
            let cluster = cluster(version, |it| it).await;
            let over = drop_after(super::stage::try_producer(&cluster, &[]), turns).await;
            let mut next = producer(&cluster, &[]).await;
            let transaction = next.begin().await.unwrap();
            put(&transaction, "a", 0, "x").await;
            transaction.commit().await.unwrap();
            if over.is_some() {
                break;
            }
            assert!(turns < 1000, "it is never over");
        }
    }
}
