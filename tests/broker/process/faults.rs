//! Faults at each request of a transaction, and commits whose outcome comes late.

use milena::broker::{ApiKey, Fault};
use milena::{ErrorCode, ExactlyOnceError};

use super::*;

/// After these it goes on by itself.
fn passing() -> Vec<(&'static str, Fault)> {
    use ApiKey as A;
    use ErrorCode as E;
    let late = Duration::from_secs(2);
    vec![
        ("generation", Fault::error(A::TXN_OFFSET_COMMIT, E::ILLEGAL_GENERATION)),
        ("member", Fault::error(A::TXN_OFFSET_COMMIT, E::UNKNOWN_MEMBER_ID).times(2)),
        ("offsets abortable", Fault::error(A::TXN_OFFSET_COMMIT, E::TRANSACTION_ABORTABLE)),
        ("offsets moved", Fault::error(A::TXN_OFFSET_COMMIT, E::NOT_COORDINATOR).times(3)),
        ("offsets lost", Fault::close_after(A::TXN_OFFSET_COMMIT)),
        ("offsets late", Fault::delay_response(A::TXN_OFFSET_COMMIT, late)),
        ("produce abortable", Fault::error(A::PRODUCE, E::TRANSACTION_ABORTABLE).times(2)),
        ("produce again", Fault::error(A::PRODUCE, E::NOT_LEADER_OR_FOLLOWER).times(2)),
        ("produce lost", Fault::close_after(A::PRODUCE)),
        ("end abortable", Fault::error(A::END_TXN, E::TRANSACTION_ABORTABLE)),
        ("end loading", Fault::error(A::END_TXN, E::COORDINATOR_LOAD_IN_PROGRESS).times(3)),
        ("end answered wrongly", Fault::error_after(A::END_TXN, E::COORDINATOR_NOT_AVAILABLE)),
        ("end lost", Fault::close_after(A::END_TXN)),
        ("end not sent", Fault::close_before(A::END_TXN)),
        ("end late", Fault::delay_response(A::END_TXN, late)),
        ("add offsets", Fault::error(A::ADD_OFFSETS_TO_TXN, E::CONCURRENT_TRANSACTIONS).times(3)),
        ("add offsets lost", Fault::close_after(A::ADD_OFFSETS_TO_TXN)),
        ("add partitions", Fault::error(A::ADD_PARTITIONS_TO_TXN, E::CONCURRENT_TRANSACTIONS)),
        ("add partitions lost", Fault::close_after(A::ADD_PARTITIONS_TO_TXN)),
        ("look-up of offsets", Fault::error(A::OFFSET_FETCH, E::UNSTABLE_OFFSET_COMMIT).times(3)),
        ("fetch", Fault::close_after(A::FETCH)),
        ("heartbeat", Fault::error(A::HEARTBEAT, E::UNKNOWN_MEMBER_ID)),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_passes_changes_nothing() {
    for version in VERSIONS {
        for (name, fault) in passing() {
            for skipped in [0, 1] {
                let cluster = filled(version, 2, 6).await;
                let mut worker = worker(&cluster, "w", &[]).await;
                cluster.inject(fault.clone().after(skipped));
                run(&mut worker, 12).await.unwrap();
                let progress = worker.progress().get();
                assert_eq!((progress.records, progress.failures), (12, 0));
                assert_eq!(progress.offsets, BTreeMap::from([(tp("in", 0), 6), (tp("in", 1), 6)]));
                worker.close(SECOND * 60).await.unwrap();
                let what = format!("{name}, after {skipped}, transaction.version={version}");
                assert_once(&cluster, 2, 6, &what).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_to_be_aborted_is_counted_and_done_again() {
    for version in VERSIONS {
        let cluster = filled(version, 1, 6).await;
        let mut worker = worker(&cluster, "w", &[]).await;
        let refusal = Fault::error(ApiKey::TXN_OFFSET_COMMIT, ErrorCode::ILLEGAL_GENERATION);
        cluster.inject(refusal.times(2));
        run(&mut worker, 6).await.unwrap();
        let progress = worker.progress().get();
        assert_eq!((progress.aborted, progress.records), (2, 6), "version {version}");
        assert_eq!(progress.committed, 2);
        assert_once(&cluster, 1, 6, "aborted twice").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_times_out_is_waited_for_and_not_repeated() {
    for version in VERSIONS {
        for fault in [
            Fault::delay_response(ApiKey::END_TXN, 20 * SECOND),
            Fault::delay_request(ApiKey::END_TXN, 20 * SECOND),
            Fault::error(ApiKey::END_TXN, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS).times(40),
        ] {
            let cluster = filled(version, 2, 6).await;
            let patience = [("max.block.ms", "3000")];
            let mut worker = builder(&cluster, "w", &[], &patience).start().await.unwrap();
            cluster.inject(fault.clone());
            run(&mut worker, 12).await.unwrap();
            let progress = worker.progress().get();
            assert_eq!((progress.records, progress.aborted), (12, 0), "{fault:?}");
            assert_once(&cluster, 2, 6, &format!("{fault:?}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_ends_it_and_it_can_be_run_again() {
    for version in VERSIONS {
        let cluster = filled(version, 1, 6).await;
        let mut worker = worker(&cluster, "w", &[]).await;
        let denied = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        cluster.inject(Fault::error(ApiKey::TXN_OFFSET_COMMIT, denied).always());
        let error = run(&mut worker, 6).await.unwrap_err();
        let ExactlyOnceError::Transaction(cause) = &error else { panic!("{error}") };
        assert!(cause.is_abortable() && !error.is_fatal(), "{error}");
        assert!(error.to_string().contains("GROUP_AUTHORIZATION_FAILED"), "{error}");
        assert_eq!(worker.progress().get().aborted, 1, "it is over when it is told");
        cluster.clear_faults();
        run(&mut worker, 6).await.unwrap();
        assert_once(&cluster, 1, 6, "run again").await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_fenced_ends_for_good() {
    for version in VERSIONS {
        let cluster = filled(version, 1, 6).await;
        let mut fenced = worker(&cluster, "w", &[]).await;
        // Another one with its transactional.id.
        let mut other = worker(&cluster, "w", &[]).await;
        for _ in 0..2 {
            let error = run(&mut fenced, 6).await.unwrap_err();
            assert!(error.is_fatal(), "{error}");
        }
        drop(fenced);
        run(&mut other, 6).await.unwrap();
        assert_once(&cluster, 1, 6, "two with one id").await;
    }
}

/// The group puts it out while it processes: what it has is not committed, and not under nobody's name, which would do.
#[tokio::test(start_paused = true)]
async fn one_that_is_expelled_does_its_records_again() {
    let (classic, modern) = (ApiKey::HEARTBEAT, ApiKey::CONSUMER_GROUP_HEARTBEAT);
    for version in VERSIONS {
        for (protocol, heartbeat) in [("classic", classic), ("consumer", modern)] {
            let cluster = filled(version, 1, 3).await;
            let patience = [("transaction.timeout.ms", "120000")];
            let worker = builder(&cluster, "w", &[("group.protocol", protocol)], &patience);
            let mut worker = worker.start().await.unwrap();
            let mut first = true;
            let expelled = async |batch: &Records, transaction: &Transaction<'_>| {
                copy(batch, transaction).await?;
                if first {
                    first = false;
                    // Longer than a session of 45 s, and then long enough to hear of it.
                    cluster.inject(Fault::close_before(heartbeat).always());
                    tokio::time::sleep(50 * SECOND).await;
                    cluster.clear_faults();
                    tokio::time::sleep(5 * SECOND).await;
                }
                Ok::<_, SendError>(())
            };
            let stop = until(worker.progress(), |progress| progress.records == 3);
            let running = tokio::time::timeout(LIMIT, worker.run_until(stop, expelled));
            running.await.unwrap().unwrap();
            assert_eq!(worker.progress().get().aborted, 1, "version {version}, {protocol}");
            assert_once(&cluster, 1, 3, protocol).await;
        }
    }
}

/// What the brokers do not take in time is aborted before the coordinator does, which would fence.
#[tokio::test(start_paused = true)]
async fn one_whose_records_take_too_long_goes_on() {
    for version in VERSIONS {
        let cluster = filled(version, 1, 6).await;
        let mut worker = worker(&cluster, "w", &[]).await;
        let progress = worker.progress();
        cluster.inject(Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS).always());
        let heals = async {
            until(progress.clone(), |progress| progress.aborted == 2).await;
            assert!(progress.get().failures >= 1);
            cluster.clear_faults();
        };
        let ((), ran) = tokio::join!(heals, run(&mut worker, 6));
        ran.unwrap();
        let progress = worker.progress().get();
        assert_eq!((progress.records, progress.failures), (6, 0));
        assert_once(&cluster, 1, 6, "in time").await;
    }
}
