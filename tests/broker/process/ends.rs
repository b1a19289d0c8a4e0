//! How it begins and ends: configurations that do not go, the closure's errors and panics, stops.

use std::cell::RefCell;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Once;

use futures_util::FutureExt;
use milena::{ConfigError, ExactlyOnceStartError};

use super::*;

#[tokio::test(start_paused = true)]
async fn configurations_that_do_not_go_are_refused() {
    let cluster = filled(2, 1, 1).await;
    let refused = async |of_consumer: Properties<'_>, of_producer: Properties<'_>| match builder(
        &cluster,
        "w",
        of_consumer,
        of_producer,
    )
    .start()
    .await
    {
        Err(ExactlyOnceStartError::Config(error)) => error,
        other => panic!("{other:?}"),
    };
    let error = refused(&[("enable.auto.commit", "true")], &[]).await;
    assert!(matches!(error, ConfigError::Invalid { property: "enable.auto.commit", .. }));
    let error = refused(&[("isolation.level", "read_uncommitted")], &[]).await;
    assert!(matches!(error, ConfigError::Invalid { property: "isolation.level", .. }));
    let error = refused(&[("max.poll.interval.ms", "50000")], &[]).await;
    assert!(matches!(
        error,
        ConfigError::Conflict {
            property: "transaction.timeout.ms",
            other: "max.poll.interval.ms",
            ..
        }
    ));
    assert!(error.to_string().contains("50000"), "{error}");

    let late = builder(&cluster, "w", &[], &[]).time_limit(60 * SECOND).start().await.unwrap_err();
    assert!(late.to_string().contains("transaction.timeout.ms"), "{late}");
    let anonymous = ConsumerConfig::builder().bootstrap_servers(cluster.bootstrap_servers());
    let anonymous = anonymous.enable_auto_commit(false).build().unwrap();
    let error = ExactlyOnce::builder(anonymous, producer(&cluster, "w", &[])).start().await;
    assert!(matches!(
        error,
        Err(ExactlyOnceStartError::Config(ConfigError::Missing { property: "group.id", .. }))
    ));

    // All of it before anybody is asked; and what is asked for is allowed.
    assert!(cluster.transaction("w").is_none());
    let dirty = builder(&cluster, "w", &[("isolation.level", "read_uncommitted")], &[]);
    dirty.allow_read_uncommitted().start().await.unwrap();
    let illegal = builder(&cluster, "w", &[], &[]).topics(["no topic"]).start().await;
    assert!(matches!(illegal, Err(ExactlyOnceStartError::Consumer(_))), "{illegal:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_closure_ends_it_and_leaves_nothing() {
    for version in VERSIONS {
        let cluster = filled(version, 1, 6).await;
        let mut worker = worker(&cluster, "w", &[]).await;
        let mut batches = 0;
        let failing = async |batch: &Records, transaction: &Transaction<'_>| {
            batches += 1;
            copy(batch, transaction).await.map_err(|error| error.to_string())?;
            if batches == 2 { Err("no".to_owned()) } else { Ok(()) }
        };
        let error = worker.run(failing).await.unwrap_err();
        assert!(matches!(&error, ExactlyOnceError::Processing(cause) if cause == "no"), "{error}");
        assert!(!error.is_fatal());
        assert_once(&cluster, 1, 3, "the first batch only").await;
        run(&mut worker, 6).await.unwrap();
        assert_once(&cluster, 1, 6, "run again").await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_closure_is_tried_again_as_often_as_is_allowed() {
    let cluster = filled(2, 1, 3).await;
    let mut worker = builder(&cluster, "w", &[], &[]).retries(2).start().await.unwrap();
    let mut tries = 0;
    let mut failing = async |batch: &Records, transaction: &Transaction<'_>| {
        tries += 1;
        copy(batch, transaction).await.map_err(|error| error.to_string())?;
        if tries < 6 { Err(format!("try {tries}")) } else { Ok(()) }
    };
    let error = worker.run(&mut failing).await.unwrap_err();
    assert!(error.to_string().contains("try 3"), "{error}");
    let progress = worker.progress();
    assert_eq!(progress.get().aborted, 3);
    let stop = until(progress, |progress| progress.records == 3);
    worker.run_until(stop, &mut failing).await.unwrap();
    assert_once(&cluster, 1, 3, "at the sixth try").await;
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_takes_too_long_is_dropped() {
    let cluster = filled(2, 1, 3).await;
    let limit = 5 * SECOND;
    let mut worker = builder(&cluster, "w", &[], &[]).time_limit(limit).start().await.unwrap();
    let slow = async |batch: &Records, transaction: &Transaction<'_>| {
        copy(batch, transaction).await?;
        tokio::time::sleep(6 * SECOND).await;
        Ok::<_, SendError>(())
    };
    let error = worker.run(slow).await.unwrap_err();
    assert!(matches!(error, ExactlyOnceError::TooSlow { limit: told, .. } if told == limit));
    run(&mut worker, 3).await.unwrap();
    assert_once(&cluster, 1, 3, "run again").await;
}

/// What is done and what goes wrong can be followed, and is counted.
#[tokio::test(start_paused = true)]
async fn it_tells_how_it_gets_on() {
    Log::start();
    let cluster = filled(2, 1, 6).await;
    let mut worker = builder(&cluster, "w", &[], &[]).retries(1).start().await.unwrap();
    let mut first = true;
    let failing = async |batch: &Records, transaction: &Transaction<'_>| {
        copy(batch, transaction).await.map_err(|error| error.to_string())?;
        if std::mem::take(&mut first) { Err("not yet".to_owned()) } else { Ok(()) }
    };
    let stop = until(worker.progress(), |progress| progress.records == 6);
    worker.run_until(stop, failing).await.unwrap();
    let progress = worker.progress().get();
    assert_eq!((progress.committed, progress.aborted, progress.failures), (2, 1, 0));
    let log = LOG.take();
    let lines = |of: &str| log.lines().filter(|line| line.contains(of)).count();
    assert_eq!(lines("a batch was committed records=3"), 2, "{log}");
    assert_eq!(lines("a batch was not committed"), 1, "{log}");
    assert_eq!(lines("the transaction was aborted"), 1, "{log}");
    assert_eq!(lines("it has stopped"), 1, "{log}");
    assert_eq!(lines("transactional_id=w}"), log.lines().count(), "{log}");
}

thread_local! {
    /// What the test of this thread has heard.
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Log;

impl Log {
    /// For all threads: with a subscriber in some only, an event that another thread comes by first may go unheard.
    fn start() {
        static START: Once = Once::new();
        START.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_env_filter("milena::process=debug");
            subscriber.with_writer(|| Self).with_ansi(false).init();
        });
    }
}

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.push_str(&String::from_utf8_lossy(line)));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_panics_leaves_nothing() {
    for version in VERSIONS {
        let cluster = filled(version, 1, 6).await;
        let mut worker = worker(&cluster, "w", &[]).await;
        let panicking = async |batch: &Records, transaction: &Transaction<'_>| {
            copy(batch, transaction).await?;
            transaction.flush().await;
            assert!(batch.len() > 10, "on purpose");
            Ok::<_, SendError>(())
        };
        let caught = AssertUnwindSafe(worker.run(panicking)).catch_unwind().await;
        assert!(caught.is_err());
        run(&mut worker, 6).await.unwrap();
        assert_once(&cluster, 1, 6, "after a panic").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_sent_ends_it_and_one_that_is_swallowed_does_too() {
    let cluster = filled(2, 1, 3).await;
    let small = [("max.request.size", "1000")];
    let mut worker = builder(&cluster, "w", &[], &small).retries(1).start().await.unwrap();
    let large = [0_u8; 2000];
    for swallowed in [false, true] {
        let too_large = async |batch: &Records, transaction: &Transaction<'_>| {
            copy(batch, transaction).await?;
            let sent = transaction.send(&ProducerRecord::new("out", &large)).await;
            if swallowed { Ok(()) } else { sent.map(drop) }
        };
        let error = worker.run(too_large).await.unwrap_err();
        match &error {
            ExactlyOnceError::Processing(SendError::RecordTooLarge { .. }) => assert!(!swallowed),
            ExactlyOnceError::Transaction(cause) => assert!(swallowed && cause.is_abortable()),
            other => panic!("{other}"),
        }
    }
    run(&mut worker, 3).await.unwrap();
    assert_once(&cluster, 1, 3, "without it").await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_the_transaction_and_a_close_leaves_the_group() {
    for protocol in ["classic", "consumer"] {
        let cluster = filled(2, 1, 6).await;
        let mut worker = worker(&cluster, "w", &[("group.protocol", protocol)]).await;
        let progress = worker.progress();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let mut stop = Some(stop);
        let told_within = async |batch: &Records, transaction: &Transaction<'_>| {
            copy(batch, transaction).await?;
            stop.take().unwrap().send(()).unwrap();
            tokio::time::sleep(SECOND).await;
            Ok::<_, SendError>(())
        };
        worker.run_until(async { stopped.await.unwrap() }, told_within).await.unwrap();
        let done = progress.get();
        assert_eq!((done.committed, done.aborted, done.records), (1, 0, 3));
        assert_eq!(done.assigned, [tp("in", 0)].into());
        worker.close(30 * SECOND).await.unwrap();
        assert!(progress.get().assigned.is_empty(), "the group was left");
        assert!(cluster.group("g").unwrap().members.is_empty());
        // Nobody's session has to end first.
        let mut next = self::worker(&cluster, "w", &[("group.protocol", protocol)]).await;
        tokio::time::timeout(20 * SECOND, run(&mut next, 3)).await.unwrap().unwrap();
        assert_once(&cluster, 1, 6, protocol).await;
    }
}

/// Where nothing can be reached a stop is heard all the same.
#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_without_brokers() {
    let cluster = filled(2, 1, 6).await;
    let mut worker = worker(&cluster, "w", &[]).await;
    run(&mut worker, 3).await.unwrap();
    for node in cluster.nodes() {
        cluster.stop_node(node).await.unwrap();
    }
    let stop = tokio::time::sleep(300 * SECOND);
    let began = tokio::time::Instant::now();
    let result = tokio::time::timeout(LIMIT, worker.run_until(stop, copy)).await.unwrap();
    assert!(began.elapsed() < 450 * SECOND, "{result:?}");
}
