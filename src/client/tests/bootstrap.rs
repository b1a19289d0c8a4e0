//! Finding the cluster: at the start, by servers that refuse, keep silent or cannot be resolved;
//! and over again, when all brokers are gone, have fallen silent, ask for it, or have erred for too
//! long.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_cluster_that_refuses_is_tried_by_the_rule_and_named_in_the_end() {
    let cluster = Cluster::new(&[1]);
    cluster.door("boot", Door::Refuses);
    let client = cluster.client(&[]);
    let error = client.topic("t", within(SOON)).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("topic 't'") && text.contains("cannot connect to bootstrap server boot"),
        "{text}"
    );
    // At most 1 s between attempts, at least 0.8 s once the back-off has grown.
    let attempts = cluster.attempts("boot");
    assert!((50..=80).contains(&attempts.len()), "{}", attempts.len());
    for (n, pair) in attempts.windows(2).enumerate() {
        let wait = pair[1] - pair[0];
        // The metadata's own back-off of 100 ms, doubling, is the longer of the two at first.
        let longest = MS((100 << n.min(5)).min(1000));
        assert!(wait >= longest.mul_f64(0.8) && wait <= longest.mul_f64(1.2), "{n}: {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_spins_while_all_brokers_are_dead_and_it_goes_on_when_they_are_back() {
    let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    cluster.door("boot", Door::Refuses);
    cluster.door("host1", Door::Refuses);
    cluster.0.lock().hang_up.insert(ApiKey::METADATA);
    client.request_refresh();
    let before = cluster.0.lock().attempts.len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let attempts = cluster.0.lock().attempts.len() - before;
    assert!((300..=800).contains(&attempts), "{attempts}");
    cluster.0.lock().hang_up.clear();
    cluster.door("host1", Door::Open);
    cluster.door("boot", Door::Open);
    let changed = tokio::time::timeout(Duration::from_secs(3), client.changed()).await;
    assert_eq!(changed, Ok(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn one_of_several_servers_is_enough() {
    for door in [Door::Refuses, Door::Silent] {
        let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
        for dead in ["a", "b", "c"] {
            cluster.door(dead, door);
        }
        let client = cluster.client(&[("bootstrap.servers", "a:1,b:1,c:1,d:1")]);
        client.topic("t", within(Duration::from_secs(45))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_resolve_is_named() {
    let connector = crate::net::connect_fn(|_, _| async {
        let cause = io::Error::new(io::ErrorKind::NotFound, "no such host is known");
        Err(crate::net::ResolveError::new(cause).into_io())
    });
    let config = ClientConfig::builder().set("bootstrap.servers", "nowhere:9092").build().unwrap();
    let client = Client::start(&config, Some(Arc::new(connector)), true, ClientKind::Producer);
    let text = client.topic("t", within(MS(3000))).await.unwrap_err().to_string();
    assert!(text.contains("cannot resolve the name of bootstrap server nowhere"), "{text}");
    assert!(text.contains("no such host is known"), "{text}");
}

/// The cluster moves: other brokers, found by the same bootstrap server.
async fn moved(brokers: i32, door: Door) -> (Cluster, Client) {
    let ids: Vec<_> = (1..=brokers).collect();
    let cluster = Cluster::new(&ids).with_topic("t", &[(1, 0)]);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    for gone in &ids {
        cluster.door(&format!("host{gone}"), door);
    }
    {
        let mut script = cluster.0.lock();
        script.brokers = vec![8, 9];
        script.topics.insert("t".to_owned(), Ok(vec![(9, 1)]));
        script.hang_up.insert(ApiKey::FIND_COORDINATOR);
    }
    // Ends the connection that may be open, by a request that the brokers hang up on.
    for id in ids {
        if let Some(open) = client.connection(BrokerId(id)) {
            let request = FindCoordinatorRequest::default();
            open.call(&request, SOON).await.unwrap_err();
        }
    }
    (cluster, client)
}

#[tokio::test(start_paused = true)]
async fn brokers_that_are_all_gone_are_looked_for_from_the_start() {
    for brokers in [1, 2, 3, 5] {
        let (_cluster, client) = moved(brokers, Door::Refuses).await;
        let start = Instant::now();
        client.request_refresh();
        until(&client, || leader(&client, "t", 0) == Some((9, 1))).await;
        // One round over the brokers, and one back-off.
        assert!(start.elapsed() < Duration::from_secs(2), "{brokers}: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn brokers_that_all_fell_silent_are_looked_for_from_the_start() {
    let (cluster, client) = moved(3, Door::Silent).await;
    client.request_refresh();
    // By the set-up time-out of each, and long before the trigger of five minutes.
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(leader(&client, "t", 0), Some((9, 1)));
    for gone in ["host1", "host2", "host3"] {
        let tried = cluster.attempts(gone).len();
        assert!((1..=2).contains(&tried), "{gone}: {tried}");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_refuse_do_not_hold_up_the_first_metadata() {
    let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
    for dead in ["a", "b", "c", "d"] {
        cluster.door(dead, Door::Refuses);
    }
    let client = cluster.client(&[("bootstrap.servers", "a:1,b:1,c:1,d:1,e:1")]);
    let start = Instant::now();
    client.topic("t", within(SOON)).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_the_strategy_the_known_brokers_are_kept() {
    let cluster = Cluster::new(&[1]);
    let client = cluster.client(&[("metadata.recovery.strategy", "none")]);
    known(&client).await;
    cluster.door("host1", Door::Refuses);
    cluster.0.lock().hang_up.insert(ApiKey::METADATA);
    let before = cluster.attempts("boot").len();
    client.request_refresh();
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert_eq!(cluster.attempts("boot").len(), before);
    assert!(cluster.attempts("host1").len() > 500);
}

#[tokio::test(start_paused = true)]
async fn a_broker_may_ask_to_start_over() {
    let cluster = Cluster::new(&[1]);
    let client = cluster.client(&[]);
    known(&client).await;
    // From here on the broker itself is asked, not the bootstrap server.
    client.connect(BrokerId(1)).await.unwrap();
    let before = cluster.attempts("boot").len();
    cluster.0.lock().metadata_error = ErrorCode::REBOOTSTRAP_REQUIRED;
    client.request_refresh();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(cluster.attempts("boot").len() > before);
    cluster.0.lock().metadata_error = ErrorCode::NONE;
    tokio::time::timeout(SOON, client.changed()).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_only_errs_is_given_up_after_the_trigger() {
    let cluster = Cluster::new(&[1]);
    let client = cluster.client(&[("metadata.recovery.rebootstrap.trigger.ms", "20000")]);
    known(&client).await;
    client.connect(BrokerId(1)).await.unwrap();
    let before = cluster.attempts("boot").len();
    cluster.0.lock().metadata_error = ErrorCode::UNKNOWN_SERVER_ERROR;
    client.request_refresh();
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert_eq!(cluster.attempts("boot").len(), before);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(cluster.attempts("boot").len() > before);
}
