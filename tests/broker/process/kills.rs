//! Workers that end in the middle of anything: at each await, and at random.

use std::pin::pin;
use std::task::Poll;

use super::*;

/// Polls a future so often and then no more; what it gave by then.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Waits for what wakes it, also when it will not be polled again: then it is dropped there.
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The future of the run is dropped at each of its awaits, and the worker runs again.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_anywhere_goes_on_later() {
    for version in VERSIONS {
        for times in 1.. {
            let cluster = filled(version, 2, 4).await;
            let mut worker = worker(&cluster, "w", &[]).await;
            let ended = polled(times, run(&mut worker, 8)).await;
            let done = worker.progress().get().records;
            if let Some(ended) = ended {
                ended.unwrap();
                assert!(times > 10, "it has been dropped {times} times");
                break;
            }
            run(&mut worker, 8).await.unwrap();
            let what = format!("dropped after {times} polls, {done} done, version {version}");
            assert_once(&cluster, 2, 4, &what).await;
        }
    }
}

/// The worker is dropped as a whole, as by a crash, and another one takes its place.
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_dropped_anywhere_is_replaced() {
    for (version, protocol) in [(1, "classic"), (2, "classic"), (2, "consumer")] {
        for times in 1.. {
            let cluster = filled(version, 2, 4).await;
            let mut first = worker(&cluster, "w", &[("group.protocol", protocol)]).await;
            let ended = polled(times, run(&mut first, 8)).await.is_some();
            drop(first);
            if ended {
                assert!(times > 10, "it has been dropped {times} times");
                break;
            }
            let mut second = worker(&cluster, "w", &[("group.protocol", protocol)]).await;
            let stop = all_committed(cluster.clone(), 2, 4);
            tokio::time::timeout(LIMIT, second.run_until(stop, copy)).await.unwrap().unwrap();
            let what = format!("killed after {times} polls, version {version}, {protocol}");
            assert_once(&cluster, 2, 4, &what).await;
        }
    }
}

const PARTITIONS: usize = 3;
const EACH: usize = 40;

/// Two workers, killed and replaced at random while coordinators and leaders move.
async fn random_kills(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    fastrand::seed(seed);
    let version = VERSIONS[random.usize(0..2)];
    let cluster = filled(version, PARTITIONS, EACH).await;
    let mut of_consumer = vec![("max.poll.records", "5")];
    match random.u8(0..3) {
        0 => of_consumer.push(("group.protocol", "consumer")),
        1 => of_consumer.push(("partition.assignment.strategy", "cooperative-sticky")),
        _ => {}
    }
    if !of_consumer.contains(&("group.protocol", "consumer")) {
        of_consumer.extend([("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "1000")]);
    }
    let start = |id: &'static str| {
        let (cluster, of_consumer) = (cluster.clone(), of_consumer.clone());
        tokio::spawn(async move {
            let mut worker = worker(&cluster, id, &of_consumer).await;
            let slow = async move |batch: &Records, transaction: &Transaction<'_>| {
                copy(batch, transaction).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok::<_, SendError>(())
            };
            worker.run(slow).await
        })
    };
    let ids = ["w-0", "w-1"];
    let mut workers = ids.map(start);
    let mut done = pin!(all_committed(cluster.clone(), PARTITIONS, EACH));
    let mut turns = 0;
    loop {
        let pause = Duration::from_millis(random.u64(50..2000));
        if tokio::time::timeout(pause, &mut done).await.is_ok() {
            break;
        }
        turns += 1;
        assert!(turns < 2000, "seed {seed}: stuck");
        if turns > 40 {
            // A time without trouble, in which it has to end.
            continue;
        }
        let node = cluster.nodes()[random.usize(0..3)];
        match random.u8(0..6) {
            0 | 1 => {
                let which = random.usize(0..2);
                workers[which].abort();
                workers[which] = start(ids[which]);
            }
            2 => cluster.move_coordinator("g", node).unwrap(),
            3 => cluster.move_transaction_coordinator(ids[random.usize(0..2)], node).unwrap(),
            4 => {
                let (topic, partition) = (["in", "out"][random.usize(0..2)], random.i32(0..3));
                cluster.move_leader(topic, partition, node).unwrap();
            }
            _ => {}
        }
    }
    for worker in &workers {
        assert!(!worker.is_finished(), "seed {seed}: it has ended");
        worker.abort();
    }
    // What the last ones have left open is ended by the next ones, or by its time-out.
    tokio::time::sleep(120 * SECOND).await;
    assert_once(&cluster, PARTITIONS, EACH, &format!("seed {seed}")).await;
}

#[tokio::test(start_paused = true)]
async fn two_workers_under_random_kills() {
    for seed in 0..30 {
        random_kills(seed).await;
    }
}
