//! Connections to brokers: who shares an attempt, how long the next one is put off and how much
//! time it gets, and which connections are closed.

use super::*;
use crate::error::DisconnectReason;

async fn ready() -> (Cluster, Client) {
    let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 0)]);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    (cluster, client)
}

#[tokio::test(start_paused = true)]
async fn all_who_want_a_connection_share_one_attempt() {
    let (cluster, client) = ready().await;
    let before = cluster.attempts("host2").len();
    let connecting: Vec<_> = (0..20).map(|_| client.connect(BrokerId(2))).collect();
    let mut connections = Vec::new();
    for connecting in connecting {
        connections.push(connecting.await.unwrap());
    }
    assert!(cluster.attempts("host2").len() - before <= 1);
    assert!(connections.iter().all(|connection| Arc::ptr_eq(connection, &connections[0])));
    assert!(Arc::ptr_eq(&client.connection(BrokerId(2)).unwrap(), &connections[0]));
    assert_eq!(connections[0].peer().id(), Some(BrokerId(2)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_goes_on_when_nobody_waits() {
    let (_cluster, client) = ready().await;
    drop(client.connect(BrokerId(2)));
    tokio::time::sleep(MS(10)).await;
    assert!(client.connection(BrokerId(2)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_refusing_broker_is_tried_by_the_rule() {
    let (cluster, client) = ready().await;
    cluster.door("host2", Door::Refuses);
    let start = Instant::now();
    let first = cluster.attempts("host2").len();
    let mut tries = 0;
    while start.elapsed() < SOON {
        // As eager as can be.
        let error = client.connect(BrokerId(2)).await.unwrap_err();
        assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
        tries += 1;
    }
    let attempts = cluster.attempts("host2").split_off(first);
    // Metadata may have been fetched from it, and then its attempts are among these.
    assert!(attempts.len() >= tries && attempts.len() <= 80, "{tries} {}", attempts.len());
    for (n, pair) in attempts.windows(2).enumerate() {
        let wait = MS((50 << n.min(5)).min(1000));
        let waited = pair[1] - pair[0];
        assert!(waited >= wait.mul_f64(0.8) && waited <= wait.mul_f64(1.2) + MS(1), "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_has_failed() {
    let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 0)]);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    cluster.door("host2", Door::Panics);
    let start = Instant::now();
    for attempt in 0..4 {
        match client.connect(BrokerId(2)).await.unwrap_err() {
            ClientError::Connect { peer, cause, .. } => {
                assert_eq!(peer.id(), Some(BrokerId(2)));
                assert!(cause.contains("panicked"), "{cause}");
            }
            other => panic!("{attempt}: {other:?}"),
        }
    }
    // After 50, 100 and 200 ms, give or take a fifth.
    assert!((MS(280)..=MS(430)).contains(&start.elapsed()), "{:?}", start.elapsed());
    cluster.door("host2", Door::Open);
    client.connect(BrokerId(2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_gets_longer_each_time() {
    let (cluster, client) = ready().await;
    cluster.door("host2", Door::Silent);
    let mut allowances = Vec::new();
    for _ in 0..4 {
        match client.connect(BrokerId(2)).await.unwrap_err() {
            ClientError::SetupTimeout { after, .. } => allowances.push(after.as_secs_f64()),
            other => panic!("{other:?}"),
        }
    }
    for (allowance, middle) in allowances.iter().zip([10.0, 20.0, 30.0, 30.0]) {
        assert!(
            (0.8 * middle..=1.2 * middle).contains(allowance) && *allowance <= 30.0,
            "{allowances:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_opened_again_after_the_back_off_and_an_idle_one_at_once() {
    let cluster = Cluster::new(&[1]);
    let client = cluster.client(&[("connections.max.idle.ms", "10000")]);
    known(&client).await;
    client.connect(BrokerId(1)).await.unwrap().ended().await;
    assert!(client.connection(BrokerId(1)).is_none());
    let start = Instant::now();
    let connection = client.connect(BrokerId(1)).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);

    cluster.0.lock().hang_up.insert(ApiKey::FIND_COORDINATOR);
    let error = client.call(BrokerId(1), &FindCoordinatorRequest::default()).await;
    let reason = DisconnectReason::ClosedByPeer;
    let lost =
        ClientError::Disconnected { peer: connection.peer().clone(), reason, maybe_written: true };
    assert_eq!(error, Err(lost));
    let start = Instant::now();
    client.connect(BrokerId(1)).await.unwrap();
    assert!((MS(40)..=MS(61)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_bootstrap_connection_is_closed_when_the_brokers_are_known() {
    let (cluster, client) = ready().await;
    client.connect(BrokerId(1)).await.unwrap();
    client.request_refresh();
    client.changed().await.unwrap();
    tokio::time::sleep(MS(10)).await;
    let known = [1, 2].map(|id| client.connection(BrokerId(id)).is_some());
    assert_eq!(cluster.open(), known.into_iter().filter(|open| *open).count());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_not_in_the_cluster_is_an_error() {
    let (_cluster, client) = ready().await;
    let error = client.connect(BrokerId(77)).await.unwrap_err();
    assert_eq!(error, ClientError::UnknownBroker { id: BrokerId(77) });
}
