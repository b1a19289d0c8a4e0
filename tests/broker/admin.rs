//! What an administrator sees of transactions and does to them, against the in-process cluster.

use std::time::Duration;

use milena::admin::{Admin, TransactionFilter, TransactionState};
use milena::broker::{ApiKey, Cluster, ClusterBuilder, Fault, TopicSpec};
use milena::{
    AdminConfig, AdminError, BrokerId, ErrorCode, ProducerConfig, ProducerRecord, Transaction,
    TransactionError, TransactionalProducer,
};
use tokio::time::Instant;

use crate::support::{self, SECOND, in_memory, tp};

const VERSIONS: [i16; 2] = [1, 2];
const NODES: [BrokerId; 3] = [BrokerId(1), BrokerId(2), BrokerId(3)];

/// Three nodes, and topic `t` of three partitions.
async fn cluster(version: i16, build: impl FnOnce(ClusterBuilder) -> ClusterBuilder) -> Cluster {
    let cluster = support::cluster(|it| build(it.nodes(3).transaction_version(version))).await;
    cluster.create_topic(TopicSpec::new("t").partitions(3)).unwrap();
    cluster
}

fn admin(cluster: &Cluster, properties: &[(&str, &str)]) -> Admin {
    let config = AdminConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .properties(properties.iter().copied())
        .build()
        .unwrap();
    Admin::builder(config).connector(in_memory(cluster)).seed(1).build()
}

async fn producer(cluster: &Cluster, id: &str) -> TransactionalProducer {
    let config = ProducerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .transactional_id(id)
        .build_transactional()
        .unwrap();
    let builder = TransactionalProducer::builder(config).connector(in_memory(cluster)).seed(1);
    builder.init().await.unwrap()
}

async fn put(transaction: &Transaction<'_>, partition: i32) {
    let record = ProducerRecord::new("t", "value").partition(partition);
    transaction.send_and_wait(&record).await.unwrap();
}

/// The ids that fit a filter, in alphabetical order.
async fn listed(admin: &Admin, filter: &TransactionFilter) -> Vec<String> {
    let all = admin.list_transactions(filter).await.unwrap().all().unwrap();
    let mut ids: Vec<_> = all.into_iter().map(|listing| listing.transactional_id).collect();
    ids.sort();
    ids
}

async fn state(admin: &Admin, id: &str) -> TransactionState {
    admin.describe_transactions([id]).await.remove(id).unwrap().unwrap().state
}

fn code(error: &AdminError) -> Option<ErrorCode> {
    error.code()
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_seen_from_its_beginning_to_its_end() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let admin = admin(&cluster, &[]);
        let mut producer = producer(&cluster, "billing").await;
        assert_eq!(state(&admin, "billing").await, TransactionState::Empty);
        for (commits, ended) in
            [(true, TransactionState::CompleteCommit), (false, TransactionState::CompleteAbort)]
        {
            let transaction = producer.begin().await.unwrap();
            put(&transaction, 0).await;
            put(&transaction, 2).await;
            let identity = cluster.transaction("billing").unwrap().producer;

            let all = admin.list_transactions(&TransactionFilter::new()).await.unwrap();
            let [open] = &all.all().unwrap()[..] else { panic!("not one transaction") };
            assert_eq!(open.transactional_id, "billing");
            assert_eq!((open.producer_id, open.state), (identity.id, TransactionState::Ongoing));

            let mut described = admin.describe_transactions(["billing", "billing"]).await;
            assert_eq!(described.len(), 1);
            let open = described.remove("billing").unwrap().unwrap();
            assert_eq!(Some(open.coordinator), cluster.transaction_coordinator("billing"));
            assert_eq!((open.producer, open.state), (identity, TransactionState::Ongoing));
            assert_eq!(open.transaction_timeout, 60 * SECOND);
            assert!(open.transaction_start_time.is_some_and(|began| began <= cluster.now_ms()));
            assert_eq!(open.partitions, [tp("t", 0), tp("t", 2)].into());

            let start = cluster.last_stable_offset("t", 0);
            let mut producers = admin.describe_producers((0..3).map(|n| tp("t", n))).await;
            let [writes] = &producers.remove(&tp("t", 0)).unwrap().unwrap()[..] else {
                panic!("not one producer")
            };
            assert_eq!(writes.current_transaction_start_offset, start);
            assert_eq!(writes.producer_id, identity.id);
            assert_eq!(writes.producer_epoch, i32::from(identity.epoch));
            assert!(writes.last_sequence.is_some() && writes.last_timestamp.is_some());
            assert_eq!(producers.remove(&tp("t", 1)), Some(Ok(Vec::new())), "nobody wrote there");

            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.abort().await.unwrap();
            }
            assert_eq!(state(&admin, "billing").await, ended);
            let producers = admin.describe_producers([tp("t", 0)]).await;
            let [writes] = &producers[&tp("t", 0)].as_ref().unwrap()[..] else {
                panic!("not one producer")
            };
            assert_eq!(writes.current_transaction_start_offset, None);
            assert!(writes.coordinator_epoch.is_some(), "its marker was written: {writes:?}");
        }
        assert!(admin.close(SECOND).await);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_fenced_is_out_and_its_transaction_aborted() {
    for version in VERSIONS {
        // Markers take their time, so that the coordinator says CONCURRENT_TRANSACTIONS at first.
        let cluster = cluster(version, |it| it.transaction_marker_delay(SECOND)).await;
        let admin = admin(&cluster, &[]);
        let mut zombie = producer(&cluster, "billing").await;
        let transaction = zombie.begin().await.unwrap();
        put(&transaction, 1).await;
        let before = cluster.transaction("billing").unwrap().producer;

        let fenced = admin.fence_producers(["billing", "fresh", ""]).await;
        let now = *fenced["billing"].as_ref().unwrap();
        assert!(now.id == before.id && now.epoch > before.epoch, "{before:?}, then {now:?}");
        assert_eq!(fenced["fresh"].as_ref().unwrap().epoch, 0, "an unused id is made");
        assert_eq!(fenced[""], Err(AdminError::EmptyTransactionalId));
        assert_eq!(state(&admin, "fresh").await, TransactionState::Empty);
        let end = cluster.offsets("t", 1).unwrap().end;
        assert_eq!((end, cluster.last_stable_offset("t", 1)), (2, Some(2)), "its marker is there");
        let told = transaction.commit().await.unwrap_err();
        assert!(matches!(told, TransactionError::Fatal(_)), "{told}");

        let mut next = producer(&cluster, "billing").await;
        let transaction = next.begin().await.unwrap();
        put(&transaction, 1).await;
        transaction.commit().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_told_beside_what_does() {
    let cluster = cluster(2, |it| it).await;
    let admin = admin(&cluster, &[("default.api.timeout.ms", "40000")]);
    let _billing = producer(&cluster, "billing").await;
    let told = admin.describe_transactions(["none", "billing", ""]).await;
    assert!(told["billing"].is_ok());
    assert_eq!(told[""], Err(AdminError::EmptyTransactionalId));
    let error = told["none"].as_ref().unwrap_err();
    assert_eq!(code(error), Some(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND));
    assert!(error.to_string().contains("transactional id 'none'") && !error.is_retriable());
    assert!(admin.describe_transactions(Vec::<String>::new()).await.is_empty());

    // A topic, or a partition, may be about to be made.
    let began = Instant::now();
    let (none, beyond) = (tp("none", 0), tp("t", 3));
    let told = admin.describe_producers([none.clone(), beyond.clone(), tp("t", 0)]).await;
    assert_eq!(began.elapsed(), 40 * SECOND);
    assert_eq!(told[&tp("t", 0)], Ok(Vec::new()));
    let error = told[&none].as_ref().unwrap_err();
    assert!(matches!(error, AdminError::TimedOut { .. }), "{error}");
    assert_eq!(code(error), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let error = told[&beyond].as_ref().unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("t-3"), "{error}");

    let describe = admin.describe_producers([none.clone()]);
    let create = async {
        tokio::time::sleep(5 * SECOND).await;
        cluster.create_topic("none").unwrap();
    };
    let (told, ()) = tokio::join!(describe, create);
    assert_eq!(told[&none], Ok(Vec::new()), "it was waited for");
}

#[tokio::test(start_paused = true)]
async fn coordinators_are_asked_once_each_and_followed_when_they_move() {
    let cluster = cluster(2, |it| it).await;
    let ids: Vec<String> = (0..9).map(|n| format!("id-{n}")).collect();
    for id in &ids {
        drop(producer(&cluster, id).await);
    }
    let admin = admin(&cluster, &[]);
    let looked_up = cluster.requests(ApiKey::FIND_COORDINATOR);
    let told = admin.describe_transactions(&ids).await;
    for (id, told) in &told {
        let told = told.as_ref().unwrap();
        assert_eq!(Some(told.coordinator), cluster.transaction_coordinator(id));
    }
    let mut coordinators: Vec<_> =
        told.values().map(|it| it.as_ref().unwrap().coordinator).collect();
    coordinators.sort();
    coordinators.dedup();
    assert!(coordinators.len() > 1, "the ids are spread");
    assert_eq!(cluster.requests(ApiKey::FIND_COORDINATOR), looked_up + 1);
    let asked = cluster.requests(ApiKey::DESCRIBE_TRANSACTIONS);
    assert_eq!(asked, coordinators.len() as u64);

    // One moves while it is being asked; another one still loads.
    let old = cluster.transaction_coordinator("id-0").unwrap();
    let new = *NODES.iter().find(|node| **node != old).unwrap();
    let slow = Fault::delay_request(ApiKey::DESCRIBE_TRANSACTIONS, SECOND).on_node(old);
    cluster.inject(slow);
    let describe = admin.describe_transactions(["id-0"]);
    let moves = async {
        cluster.received(ApiKey::DESCRIBE_TRANSACTIONS, asked + 1).await;
        cluster.move_transaction_coordinator("id-0", new).unwrap();
        let loads = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
        cluster.inject(Fault::error(ApiKey::DESCRIBE_TRANSACTIONS, loads).on_node(new).times(2));
    };
    let (told, ()) = tokio::join!(describe, moves);
    assert_eq!(told["id-0"].as_ref().unwrap().coordinator, new);
    assert_eq!(cluster.requests(ApiKey::DESCRIBE_TRANSACTIONS), asked + 4);

    // The same to a producer that is fenced.
    cluster.inject(Fault::error(ApiKey::INIT_PRODUCER_ID, ErrorCode::NOT_COORDINATOR));
    assert!(admin.fence_producers(["id-0"]).await["id-0"].is_ok());
    // A leader, too.
    let leader = cluster.leader("t", 0).unwrap().0;
    assert!(admin.describe_producers([tp("t", 0)]).await[&tp("t", 0)].is_ok());
    cluster.move_leader("t", 0, *NODES.iter().find(|node| **node != leader).unwrap()).unwrap();
    assert!(admin.describe_producers([tp("t", 0)]).await[&tp("t", 0)].is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_or_silent_costs_only_what_it_has() {
    let cluster = cluster(2, |it| it).await;
    let ids: Vec<String> = (0..9).map(|n| format!("id-{n}")).collect();
    for id in &ids {
        drop(producer(&cluster, id).await);
    }
    let admin =
        admin(&cluster, &[("request.timeout.ms", "2000"), ("default.api.timeout.ms", "9000")]);
    let all = TransactionFilter::new();
    assert_eq!(listed(&admin, &all).await, ids);

    let down = cluster.transaction_coordinator("id-4").unwrap();
    cluster.stop_node(down).await.unwrap();
    let listings = admin.list_transactions(&all).await.unwrap();
    assert!(!listings.by_broker().contains_key(&down), "it has left the cluster");
    assert_eq!(listings.all().unwrap().len(), ids.len(), "others have its work");
    for (id, told) in admin.describe_transactions(&ids).await {
        assert_ne!(told.unwrap().coordinator, down, "{id}");
    }
    cluster.restart_node(down).await.unwrap();

    let silent = cluster.transaction_coordinator("id-4").unwrap();
    let theirs = |id: &&String| cluster.transaction_coordinator(id) != Some(silent);
    cluster.inject(Fault::drop_response(ApiKey::LIST_TRANSACTIONS).on_node(silent).always());
    cluster.inject(Fault::drop_response(ApiKey::DESCRIBE_TRANSACTIONS).on_node(silent).always());
    let began = Instant::now();
    let listings = admin.list_transactions(&all).await.unwrap();
    assert_eq!(began.elapsed(), 9 * SECOND);
    let told: usize = listings.by_broker().values().flatten().map(Vec::len).sum();
    assert_eq!(told, ids.iter().filter(theirs).count());
    let error = listings.by_broker()[&silent].as_ref().unwrap_err().clone();
    assert!(error.is_retriable() && error.to_string().contains(&format!("broker {silent}")));
    assert_eq!(listings.all(), Err(error), "an incomplete list is none");
    for (id, told) in admin.describe_transactions(&ids).await {
        assert_eq!(told.is_ok(), theirs(&&id), "{id}: {told:?}");
    }

    // Given up half-way, it leaves nothing behind.
    let impatient = tokio::time::timeout(SECOND, admin.describe_transactions(["id-4"])).await;
    assert!(impatient.is_err());
    cluster.clear_faults();
    assert!(admin.describe_transactions(["id-4"]).await["id-4"].is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_reached_is_told_in_time() {
    let cluster = cluster(2, |it| it).await;
    for node in NODES {
        cluster.stop_node(node).await.unwrap();
    }
    let admin = admin(&cluster, &[("default.api.timeout.ms", "30000")]);
    let began = Instant::now();
    let told = admin.list_transactions(&TransactionFilter::new()).await.unwrap_err();
    assert_eq!(began.elapsed(), 30 * SECOND);
    assert!(matches!(told, AdminError::Client { .. }) && told.is_retriable(), "{told}");
    assert!(told.to_string().contains("cannot connect"), "{told}");
    let told = admin.fence_producers(["billing"]).await;
    assert_eq!(began.elapsed(), 60 * SECOND);
    assert!(told["billing"].as_ref().unwrap_err().to_string().contains("'billing'"));

    let clone = admin.clone();
    assert!(admin.close(SECOND).await);
    let told = clone.describe_transactions(["billing"]).await;
    assert!(!told["billing"].as_ref().unwrap_err().is_retriable(), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn filters_choose() {
    let cluster = cluster(2, |it| it).await;
    let admin = admin(&cluster, &[]);
    let (mut old, mut new) = (producer(&cluster, "old").await, producer(&cluster, "new").await);
    let _idle = producer(&cluster, "idle").await;
    let first = old.begin().await.unwrap();
    put(&first, 0).await;
    tokio::time::sleep(20 * SECOND).await;
    let second = new.begin().await.unwrap();
    put(&second, 0).await;

    let filter = TransactionFilter::new;
    let open = || filter().states([TransactionState::Ongoing]);
    assert_eq!(listed(&admin, &filter()).await, ["idle", "new", "old"]);
    assert_eq!(listed(&admin, &open()).await, ["new", "old"]);
    assert_eq!(listed(&admin, &filter().states([TransactionState::Empty])).await, ["idle"]);
    let both = [TransactionState::Empty, TransactionState::Ongoing];
    assert_eq!(listed(&admin, &filter().states(both)).await, ["idle", "new", "old"]);
    let unknown = filter().states([TransactionState::Unknown]);
    assert_eq!(listed(&admin, &unknown).await, Vec::<String>::new());

    let id = cluster.transaction("new").unwrap().producer.id;
    assert_eq!(listed(&admin, &filter().producer_ids([id])).await, ["new"]);
    assert_eq!(listed(&admin, &filter().producer_ids([-7])).await, Vec::<String>::new());
    assert_eq!(listed(&admin, &open().longer_than(10 * SECOND)).await, ["old"]);
    let longest = open().longer_than(Duration::MAX);
    assert_eq!(listed(&admin, &longest).await, Vec::<String>::new());
    assert_eq!(
        listed(&admin, &filter().transactional_id_pattern("(new|id.*)")).await,
        ["idle", "new"]
    );
    assert_eq!(
        listed(&admin, &filter().transactional_id_pattern("ol")).await,
        Vec::<String>::new()
    );
    assert_eq!(listed(&admin, &filter().transactional_id_pattern("")).await.len(), 3);
    let together = open().transactional_id_pattern("..[wd]").producer_ids([id]);
    assert_eq!(listed(&admin, &together).await, ["new"]);

    let wrong = filter().transactional_id_pattern("(");
    let told = admin.list_transactions(&wrong).await.unwrap().all().unwrap_err();
    assert_eq!(code(&told), Some(ErrorCode::INVALID_REGULAR_EXPRESSION));
    assert!(told.to_string().contains("RE2") && !told.is_retriable(), "{told}");

    let metrics = admin.metrics();
    let requests = metrics.get("admin-client-metrics", "request-total", &[]).unwrap();
    let of_listing = cluster.requests(ApiKey::LIST_TRANSACTIONS) as f64;
    assert!(requests.value().as_f64().is_some_and(|sent| sent > of_listing), "{requests}");
}
