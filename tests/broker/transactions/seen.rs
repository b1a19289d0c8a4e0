//! What others see of transactions: metrics, and interceptors.

use std::sync::Arc;

use milena::broker::{ApiKey, Fault};
use milena::{
    Acknowledgement, ConsumerGroupMetadata, OffsetAndMetadata, ProducerInterceptor,
    TransactionOutcome, TransactionalProducer,
};
use parking_lot::Mutex;

use super::stage::{VERSIONS, all_committed, cluster, config, producer, put};
use crate::support::{SECOND, in_memory, tp};

/// Nanoseconds of a `txn-…-time-ns-total` as seconds.
fn seconds(producer: &TransactionalProducer, of: &str) -> f64 {
    let metrics = producer.metrics();
    let name = format!("txn-{of}-time-ns-total");
    let metric = metrics.get("producer-metrics", &name, &[]).unwrap_or_else(|| panic!("{name}"));
    metric.value().as_f64().unwrap() / 1e9
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_how_long_each_call_took() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let slow = |api, time: u32| cluster.inject(Fault::delay_response(api, time * SECOND));
        slow(ApiKey::INIT_PRODUCER_ID, 1);
        let mut producer = producer(&cluster, &[]).await;
        assert_eq!(seconds(&producer, "init"), 1.0);
        slow(ApiKey::TXN_OFFSET_COMMIT, 2);
        slow(ApiKey::END_TXN, 3);
        let transaction = producer.begin().await.unwrap();
        put(&transaction, "a", 0, "x").await;
        let group = ConsumerGroupMetadata::no_member("g");
        let offsets = [(tp("a", 0), OffsetAndMetadata::new(5))];
        transaction.send_offsets(&group, offsets).await.unwrap();
        transaction.commit().await.unwrap();
        slow(ApiKey::END_TXN, 4);
        let transaction = producer.begin().await.unwrap();
        put(&transaction, "a", 0, "x").await;
        transaction.flush().await;
        transaction.abort().await.unwrap();
        slow(ApiKey::END_TXN, 5);
        let transaction = producer.begin().await.unwrap();
        put(&transaction, "a", 0, "x").await;
        transaction.flush().await;
        drop(transaction);
        drop(producer.begin().await.unwrap());
        slow(ApiKey::END_TXN, 6);
        let transaction = producer.begin().await.unwrap();
        put(&transaction, "a", 0, "x").await;
        transaction.flush().await;
        drop(transaction);
        assert_eq!(producer.settle().await.unwrap(), Some(TransactionOutcome::Aborted));
        for (of, expected) in [
            ("init", 1.0),
            ("send-offsets", 2.0),
            ("commit", 3.0),
            ("abort", 4.0 + 6.0),
            ("begin", 5.0),
        ] {
            let took = seconds(&producer, of);
            // A millisecond of linger is within.
            assert!((took - expected).abs() < 0.05, "{version} {of}: {took}");
        }
    }
}

/// Writes down how each record ended.
struct Ends(Arc<Mutex<Vec<bool>>>);

impl ProducerInterceptor for Ends {
    fn on_acknowledgement(&self, acknowledgement: &Acknowledgement<'_>) {
        self.0.lock().push(acknowledgement.result.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn interceptors_hear_of_each_record_how_it_ended() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let ends = Arc::<Mutex<Vec<bool>>>::default();
        let config = config(&cluster, &[("linger.ms", "1000"), ("max.request.size", "1000")]);
        let builder = TransactionalProducer::builder(config).connector(in_memory(&cluster)).seed(1);
        let mut producer = builder.interceptor(Ends(Arc::clone(&ends))).init().await.unwrap();
        let transaction = producer.begin().await.unwrap();
        put(&transaction, "a", 0, "x").await;
        put(&transaction, "a", 1, "x").await;
        transaction.commit().await.unwrap();
        assert_eq!(std::mem::take(&mut *ends.lock()), [true, true]);
        let transaction = producer.begin().await.unwrap();
        put(&transaction, "a", 0, "void").await;
        transaction.abort().await.unwrap();
        assert_eq!(std::mem::take(&mut *ends.lock()), [false], "it was not sent");
        let transaction = producer.begin().await.unwrap();
        let large = "x".repeat(2000);
        transaction.send(&super::stage::to("a", 0, &large)).await.unwrap_err();
        transaction.abort().await.unwrap();
        assert_eq!(*ends.lock(), [false], "it was not taken");
        assert_eq!(all_committed(&cluster, "a").await, ["x", "x"]);
    }
}
