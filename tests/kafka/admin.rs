//! Our administrator on real Kafka, whose transactions are those of our own producer.

use milena::admin::{Admin, TransactionFilter, TransactionState};
use milena::{
    AdminConfig, AdminError, BrokerId, ErrorCode, ProducerConfig, ProducerRecord, TopicPartition,
    TransactionError, TransactionalProducer,
};
use tokio::time::Duration;

use crate::runner::Kafka;

tests![an_open_transaction_is_seen_and_fenced[since(3, 0)]];

async fn an_open_transaction_is_seen_and_fenced(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(cluster, "admin", 2).await;
    let id = kafka.fresh("admin");
    let admin =
        Admin::new(AdminConfig::from_properties([("bootstrap.servers", &bootstrap)]).unwrap());
    let config =
        ProducerConfig::builder().bootstrap_servers(&bootstrap).transactional_id(id.as_str());
    let config = config.transaction_timeout(Duration::from_secs(50)).build_transactional();
    let mut producer = TransactionalProducer::new(config.unwrap()).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    let record = ProducerRecord::new(&topic, "value").partition(1);
    let at = transaction.send_and_wait(&record).await.unwrap().offset();

    let open = TransactionFilter::new().states([TransactionState::Ongoing]);
    let listed = admin.list_transactions(&open).await.unwrap().all().unwrap();
    let listed = listed.iter().find(|listing| listing.transactional_id == id).expect("it is open");
    let mut described = admin.describe_transactions([id.as_str(), "no such id"]).await;
    let unknown = described.remove("no such id").unwrap().unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND));
    let described = described.remove(&id).unwrap().unwrap();
    assert_eq!(described.state, TransactionState::Ongoing);
    assert_eq!(described.producer.id, listed.producer_id);
    assert_eq!(described.transaction_timeout, Duration::from_secs(50));
    assert!(described.transaction_start_time.is_some());
    assert!(cluster.ids().contains(&described.coordinator.0));
    let written = TopicPartition::new(&topic, 1);
    assert_eq!(described.partitions, [written.clone()].into());

    let unwritten = TopicPartition::new(&topic, 0);
    let mut producers = admin.describe_producers([written.clone(), unwritten.clone()]).await;
    assert_eq!(producers.remove(&unwritten), Some(Ok(Vec::new())));
    let producers = producers.remove(&written).unwrap().unwrap();
    let [writes] = &producers[..] else { panic!("{producers:?}") };
    assert_eq!(writes.producer_id, described.producer.id);
    assert_eq!(writes.current_transaction_start_offset, at);

    filters(&kafka, &admin, &id, listed.producer_id).await;

    let fenced = admin.fence_producers([&id]).await.remove(&id).unwrap().unwrap();
    assert!(fenced.id == described.producer.id && fenced.epoch > described.producer.epoch);
    let told = transaction.commit().await.unwrap_err();
    assert!(matches!(told, TransactionError::Fatal(_)), "{told}");
    let producers = admin.describe_producers([written.clone()]).await;
    let [writes] = &producers[&written].as_ref().unwrap()[..] else { panic!("{producers:?}") };
    assert_eq!(writes.current_transaction_start_offset, None, "it was aborted");
    assert!(admin.close(Duration::from_secs(5)).await);
}

/// Those that a release does not have are told so, and not passed over.
async fn filters(kafka: &Kafka, admin: &Admin, id: &str, producer_id: i64) {
    let count = async |filter: TransactionFilter| -> Result<usize, AdminError> {
        let filter = filter.producer_ids([producer_id]);
        Ok(admin.list_transactions(&filter).await?.all()?.len())
    };
    assert_eq!(count(TransactionFilter::new()).await, Ok(1));
    let aborted = TransactionFilter::new().states([TransactionState::CompleteAbort]);
    assert_eq!(count(aborted).await, Ok(0));
    let release = kafka.release();
    let long = TransactionFilter::new().longer_than(Duration::from_secs(600));
    let named = TransactionFilter::new().transactional_id_pattern(format!("{id}|x"));
    for (filter, has, found) in
        [(long, release.at_least(3, 8), 0), (named, release.at_least(4, 1), 1)]
    {
        match count(filter).await {
            Ok(count) => assert!(has && count == found, "{count}"),
            Err(error) => {
                assert!(!has, "{error}");
                assert!(matches!(error, AdminError::UnsupportedFilter { .. }), "{error}");
            }
        }
    }
    let listings = admin.list_transactions(&TransactionFilter::new()).await.unwrap();
    assert!(listings.by_broker().keys().all(|BrokerId(broker)| *broker >= 0));
}
