//! The end of a client, by dropping the last clone or by closing it: no task and no connection
//! outlives it, and all who wait are told.

use super::*;

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_ends_every_task() {
    let before = tasks();
    let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 0)]);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    for id in [1, 2] {
        client.connect(BrokerId(id)).await.unwrap();
    }
    cluster.door("host1", Door::Silent);
    let other = client.clone();
    drop(client);
    tokio::time::sleep(MS(10)).await;
    assert!(cluster.open() >= 2 && tasks() > before);
    assert!(other.connection(BrokerId(2)).is_some());
    drop(other);
    tokio::time::sleep(MS(10)).await;
    assert_eq!((cluster.open(), tasks()), (0, before));
}

#[tokio::test(start_paused = true)]
async fn dropping_ends_attempts_too() {
    let before = tasks();
    let cluster = Cluster::new(&[1]);
    cluster.door("boot", Door::Silent);
    let client = cluster.client(&[]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((tasks(), cluster.attempts("boot").len()), (before + 2, 1));
    drop(client);
    tokio::time::sleep(MS(10)).await;
    assert_eq!(tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_all_that_waits_and_refuses_what_comes_later() {
    let before = tasks();
    let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
    cluster.door("host1", Door::Silent);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    let topic = tokio::spawn({
        let client = client.clone();
        async move { client.topic("absent", within(SOON)).await.map(|_| ()) }
    });
    let connect = tokio::spawn(client.connect(BrokerId(1)));
    let any = tokio::spawn({
        let client = client.clone();
        let request = FindCoordinatorRequest::default();
        async move { client.call_any(&request, within(SOON)).await.map(|_| ()) }
    });
    let changed = tokio::spawn(client.changed());
    tokio::task::yield_now().await;
    let start = Instant::now();
    assert!(client.close(within(SOON)).await);
    assert_eq!(topic.await.unwrap(), Err(ClientError::Closed));
    assert_eq!(connect.await.unwrap().map(|_| ()), Err(ClientError::Closed));
    assert!(any.await.unwrap().is_err());
    assert_eq!(changed.await.unwrap(), Err(ClientError::Closed));
    assert!(start.elapsed() < MS(10), "{:?}", start.elapsed());
    assert_eq!((tasks(), cluster.open()), (before, 0));

    assert!(client.is_closed());
    let refused = [
        client.topic("t", within(SOON)).await.map(|_| ()),
        client.topic("absent", within(SOON)).await.map(|_| ()),
        client.connect(BrokerId(1)).await.map(|_| ()),
        client.changed().await,
    ];
    assert_eq!(refused, [const { Err(ClientError::Closed) }; 4]);
    assert!(client.close(within(SOON)).await, "closing twice");
}
