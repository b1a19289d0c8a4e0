//! Other workers of the group: they join in the middle, take over from one that hangs, and coordinators move meanwhile.

use std::pin::pin;

use tokio::sync::Notify;

use super::*;

const CLASSIC: Properties<'_> =
    &[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "1000")];
const COOPERATIVE: Properties<'_> = &[
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "1000"),
    ("partition.assignment.strategy", "cooperative-sticky"),
];
const MODERN: Properties<'_> = &[("group.protocol", "consumer")];

async fn slow_copy(batch: &Records, transaction: &Transaction<'_>) -> Result<(), SendError> {
    copy(batch, transaction).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_second_worker_joins_in_the_middle_and_leaves_again() {
    for version in VERSIONS {
        for properties in [CLASSIC, COOPERATIVE, MODERN] {
            let cluster = filled(version, 4, 40).await;
            let mut first = worker(&cluster, "w-0", properties).await;
            let progress = first.progress();
            let stop = all_committed(cluster.clone(), 4, 40);
            let all = tokio::time::timeout(LIMIT, first.run_until(stop, slow_copy));
            let second = async {
                until(progress.clone(), |progress| progress.committed > 5).await;
                let mut second = worker(&cluster, "w-1", properties).await;
                let stop = until(second.progress(), |progress| progress.committed > 5);
                second.run_until(stop, slow_copy).await.unwrap();
                let share = second.progress().get().assigned.len();
                second.close(30 * SECOND).await.unwrap();
                share
            };
            let (all, share) = tokio::join!(all, second);
            all.unwrap().unwrap();
            assert_eq!(share, 2, "it got its share");
            let what = format!("version {version}, {properties:?}");
            assert_once(&cluster, 4, 40, &what).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn coordinators_and_leaders_move_all_the_time() {
    for version in VERSIONS {
        for properties in [CLASSIC, MODERN] {
            let cluster = filled(version, 2, 60).await;
            let mut worker = worker(&cluster, "w", properties).await;
            let mover = async {
                for turn in 0.. {
                    let nodes = cluster.nodes();
                    let node = nodes[turn % nodes.len()];
                    cluster.move_coordinator("g", node).unwrap();
                    cluster.move_transaction_coordinator("w", node).unwrap();
                    cluster
                        .move_leader(["in", "out"][turn % 2], (turn / 2 % 2) as i32, node)
                        .unwrap();
                    tokio::time::sleep(Duration::from_millis(350)).await;
                }
            };
            let stop = all_committed(cluster.clone(), 2, 60);
            let working = tokio::time::timeout(LIMIT, worker.run_until(stop, slow_copy));
            tokio::select! {
                worked = working => worked.unwrap().unwrap(),
                () = mover => unreachable!(),
            }
            assert_once(&cluster, 2, 60, &format!("version {version}, {properties:?}")).await;
        }
    }
}

/// A worker hangs as a whole in the middle of a transaction, longer than the group and the coordinator of its transaction
/// wait; another one does the work; then it goes on where it was.
#[tokio::test(start_paused = true)]
async fn a_zombie_writes_nothing() {
    let impatient = |more: Properties<'static>| -> Vec<(&'static str, &'static str)> {
        [more, &[("max.poll.interval.ms", "10000")]].concat()
    };
    for version in VERSIONS {
        for properties in [CLASSIC, COOPERATIVE, MODERN] {
            {
                let what = format!("version {version}, {properties:?}");
                let cluster = filled(version, 2, 12).await;
                let properties = impatient(properties);
                let short = [("transaction.timeout.ms", "8000")];
                let mut zombie =
                    builder(&cluster, "w-0", &properties, &short).start().await.unwrap();
                let (sent, go_on) = (Notify::new(), Notify::new());
                let mut first = true;
                let hanging = async |batch: &Records, transaction: &Transaction<'_>| {
                    copy(batch, transaction).await?;
                    transaction.flush().await;
                    if first {
                        first = false;
                        sent.notify_one();
                        go_on.notified().await;
                    }
                    Ok::<_, SendError>(())
                };
                let woken = all_committed(cluster.clone(), 2, 12);
                {
                    let mut hangs = pin!(zombie.run_until(woken, hanging));
                    tokio::select! {
                        ended = &mut hangs => panic!("{what}: {ended:?}"),
                        () = sent.notified() => {}
                    }
                    let mut other =
                        builder(&cluster, "w-1", &properties, &short).start().await.unwrap();
                    let stop = all_committed(cluster.clone(), 2, 12);
                    let working = tokio::time::timeout(LIMIT, other.run_until(stop, copy));
                    working.await.expect(&what).unwrap();
                    go_on.notify_one();
                    // Fenced, or it has found out that it owns nothing.
                    match tokio::time::timeout(LIMIT, hangs).await.expect(&what) {
                        Ok(()) => {}
                        Err(error) => assert!(error.is_fatal(), "{what}: {error}"),
                    }
                    other.close(30 * SECOND).await.unwrap();
                }
                assert_eq!(zombie.progress().get().records, 0, "{what}");
                drop(zombie);
                assert_once(&cluster, 2, 12, &what).await;
            }
        }
    }
}
