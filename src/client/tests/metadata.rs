//! Metadata as users see it: when topics are asked for, who waits for an answer and for how long,
//! what is kept when an answer is worse than the one before, when it is fetched anew, and leaders
//! that are hinted at.

use super::*;
use crate::client::{BrokerNode, LeaderHint};
use crate::types::TopicPartition;

#[tokio::test(start_paused = true)]
async fn a_topic_is_fetched_when_it_is_asked_for_and_then_kept() {
    let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 3), (2, 4)]);
    let client = cluster.client(&[]);
    assert_eq!(client.metadata().generation(), 0);
    let topic = client.topic("t", within(SOON)).await.unwrap();
    assert_eq!((&*topic.name, topic.partitions.len()), ("t", 2));
    assert_eq!(leader(&client, "t", 1), Some((2, 4)));
    assert_eq!(client.metadata().brokers().len(), 2);
    let asked = cluster.asked();
    let again = client.topic("t", within(SOON)).await.unwrap();
    assert!(Arc::ptr_eq(&topic, &again));
    assert_eq!(cluster.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn creating_topics_is_forbidden_where_the_version_can() {
    for (may_create, version, expected) in
        [(true, 13, true), (false, 13, false), (false, 4, false), (false, 3, true)]
    {
        let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
        cluster.0.lock().metadata_version = version;
        let client = cluster.client_that(may_create, &[]);
        client.topic("t", within(SOON)).await.unwrap();
        let seen = std::mem::take(&mut cluster.0.lock().may_create);
        assert!(seen.iter().all(|seen| *seen == expected), "{may_create} {version}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_a_topic_wake() {
    let cluster = Cluster::new(&[1]);
    let client = cluster.client(&[]);
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.topic("t", within(SOON)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = cluster.asked();
    // Not one fetch for each who waits: 100 ms doubling to 1 s, give or take a fifth.
    assert!((6..=14).contains(&asked), "{asked}");
    let _ = cluster.clone().with_topic("t", &[(1, 0)]);
    for waiter in waiters {
        assert!(waiter.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_not_there_in_time_says_so() {
    let cluster = Cluster::new(&[1]);
    let client = cluster.client(&[]);
    let start = Instant::now();
    let error = client.topic("absent", within(MS(7000))).await.unwrap_err();
    assert_eq!(start.elapsed(), MS(7000));
    let ClientError::MetadataTimeout { topic: Some(topic), waited, last: Some(last) } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((&**topic, *waited), ("absent", MS(7000)));
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert!(matches!(**last, ClientError::Broker { code: answered, .. } if answered == code));
    let text = error.to_string();
    assert!(text.contains("absent") && text.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_brokers_is_a_failure_and_tried_again() {
    let cluster = Cluster::new(&[]).with_topic("t", &[(1, 0)]);
    let client = cluster.client(&[]);
    let error = client.topic("t", within(MS(5000))).await.unwrap_err();
    assert!(error.to_string().contains("names no broker"), "{error}");
    cluster.0.lock().brokers = vec![1];
    assert!(client.topic("t", within(MS(5000))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_at_once_and_asked_about_anew() {
    let cluster = Cluster::new(&[1]);
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    cluster.0.lock().topics.insert("t".to_owned(), Err(refused));
    let client = cluster.client(&[]);
    for _ in 0..2 {
        let start = Instant::now();
        let error = client.topic("t", within(SOON)).await.unwrap_err();
        assert!(matches!(error, ClientError::Broker { code, .. } if code == refused));
        assert!(start.elapsed() < MS(500), "{:?}", start.elapsed());
    }
    let _ = cluster.clone().with_topic("t", &[(1, 0)]);
    assert!(client.topic("t", within(SOON)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_vanishes_for_a_while_keeps_its_view() {
    let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    cluster.0.lock().topics.clear();
    client.request_refresh();
    until(&client, || client.metadata().trouble("t").is_some()).await;
    assert_eq!(leader(&client, "t", 0), Some((1, 0)));
    let _ = cluster.clone().with_topic("t", &[(1, 1)]);
    // Nobody has to ask: what is open is asked for again.
    until(&client, || client.metadata().trouble("t").is_none()).await;
    assert_eq!(leader(&client, "t", 0), Some((1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_is_asked_for_until_it_has_one() {
    let cluster = Cluster::new(&[1]).with_topic("t", &[(-1, 0)]);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    assert_eq!(leader(&client, "t", 0), None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let _ = cluster.clone().with_topic("t", &[(1, 1)]);
    until(&client, || leader(&client, "t", 0).is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_fetched_anew_at_its_age_and_unused_topics_are_dropped() {
    let cluster = Cluster::new(&[1]).with_topic("used", &[(1, 0)]).with_topic("idle", &[(1, 0)]);
    let client =
        cluster.client(&[("metadata.max.age.ms", "60000"), ("metadata.max.idle.ms", "150000")]);
    client.topic("idle", within(SOON)).await.unwrap();
    let used = client.topic("used", within(SOON)).await.unwrap();
    let asked = cluster.asked();
    for _ in 0..10 {
        used.touch();
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    let times = cluster.asked() - asked;
    assert!((4..=6).contains(&times), "{times}");
    assert!(client.metadata().topic("idle").is_none());
    assert!(client.metadata().topic("used").is_some());
    assert_eq!(cluster.0.lock().asked.last().unwrap().0, ["used"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_hinted_at_wakes_those_who_wait_for_news() {
    let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 5)]);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    let changed = client.changed();
    let node = BrokerNode { id: BrokerId(3), host: "host3".into(), port: 9092, rack: None };
    let hint = LeaderHint {
        partition: TopicPartition::new("t", 0),
        leader: BrokerId(3),
        epoch: 6,
        endpoint: Some(node),
    };
    let hints = [hint];
    assert!(client.update_leaders(&hints) && !client.update_leaders(&hints));
    changed.await.unwrap();
    assert_eq!(leader(&client, "t", 0), Some((3, 6)));
    assert!(client.connect(BrokerId(3)).await.is_ok());
}
