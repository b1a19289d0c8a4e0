//! What cannot be, of configurations, brokers and neighbours: each a typed error that says which rule was broken.

use std::time::Duration;

use milena::{ConfigError, ErrorCode, ProducerConfig, TransactionError};
use tokio::time::Instant;

use super::stage::{VERSIONS, all_committed, cluster, producer, put, try_producer};
use crate::support::SECOND;

fn refused(properties: &[(&str, &str)]) -> ConfigError {
    ProducerConfig::builder()
        .bootstrap_servers("localhost:9092")
        .properties(properties.iter().copied())
        .build_transactional()
        .expect_err("a configuration that cannot be")
}

#[test]
fn configurations() {
    let id = ("transactional.id", "t");
    for (properties, property, says) in [
        (&[][..], "transactional.id", "transactional.id"),
        (&[("transactional.id", "")], "transactional.id", "not blank"),
        (&[id, ("enable.idempotence", "false")], "enable.idempotence", "transactional.id"),
        (&[id, ("acks", "1")], "acks", "enable.idempotence"),
        (&[id, ("acks", "0")], "acks", "enable.idempotence"),
        (&[id, ("retries", "0")], "retries", "enable.idempotence"),
        (
            &[id, ("max.in.flight.requests.per.connection", "6")],
            "max.in.flight.requests.per.connection",
            "at most 5",
        ),
        (&[id, ("transaction.timeout.ms", "0")], "transaction.timeout.ms", "1"),
        (&[id, ("transaction.timeout.ms", "soon")], "transaction.timeout.ms", "soon"),
    ] {
        let error = refused(properties);
        assert_eq!(error.property(), Some(property), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let plain = ProducerConfig::from_properties([("bootstrap.servers", "localhost:9092"), id]);
    assert!(plain.unwrap_err().to_string().contains("build_transactional"));
}

/// The broker has the last word on `transaction.timeout.ms`.
#[tokio::test(start_paused = true)]
async fn a_time_out_above_the_brokers_longest() {
    for version in VERSIONS {
        let longest = Duration::from_secs(30);
        let cluster = cluster(version, |it| it.transaction_max_timeout(longest)).await;
        let began = Instant::now();
        let too_long = [("transaction.timeout.ms", "30001")];
        let error = try_producer(&cluster, &too_long).await.unwrap_err();
        let TransactionError::Fatal(fatal) = &error else { panic!("{error}") };
        assert_eq!(fatal.code, ErrorCode::INVALID_TRANSACTION_TIMEOUT);
        assert!(began.elapsed() < SECOND, "at once");
        producer(&cluster, &[("transaction.timeout.ms", "30000")]).await;
    }
}

/// Nobody answers: it is told in time, and by which setting.
#[tokio::test(start_paused = true)]
async fn nobody_there() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        cluster.stop_node(cluster.nodes()[0]).await.unwrap();
        let began = Instant::now();
        let error = try_producer(&cluster, &[("max.block.ms", "3000")]).await.unwrap_err();
        assert!(matches!(error, TransactionError::TimedOut(_)), "{error}");
        assert!(error.to_string().contains("max.block.ms=3000"), "{error}");
        assert_eq!(began.elapsed(), 3 * SECOND);
        cluster.restart_node(cluster.nodes()[0]).await.unwrap();
        producer(&cluster, &[]).await;
    }
}

/// Two processes with one `transactional.id` take it from each other: the last one has it, and each of the others is told.
#[tokio::test(start_paused = true)]
async fn two_processes_with_one_id() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut one = producer(&cluster, &[]).await;
        let mut two = producer(&cluster, &[]).await;
        let transaction = two.begin().await.unwrap();
        put(&transaction, "a", 0, "two").await;
        transaction.commit().await.unwrap();
        let transaction = one.begin().await.unwrap();
        put(&transaction, "a", 0, "one").await;
        transaction.commit().await.unwrap_err();
        let error = one.begin().await.unwrap_err();
        let TransactionError::Fatal(fatal) = &error else { panic!("{error}") };
        let fenced = [ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_PRODUCER_EPOCH];
        assert!(fenced.contains(&fatal.code), "{error}");
        let transaction = two.begin().await.unwrap();
        put(&transaction, "a", 0, "two again").await;
        transaction.commit().await.unwrap();
        assert_eq!(all_committed(&cluster, "a").await, ["two", "two again"]);
    }
}
