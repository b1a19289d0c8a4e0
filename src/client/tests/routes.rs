//! Requests that look for their broker: any one that can be reached, or the leader of a partition,
//! wherever it moves; and the error when time is up.

use super::*;
use crate::client::{Led, Unanswered};
use crate::error::Peer;
use crate::protocol::messages::list_offsets::ListOffsetsRequest;
use crate::types::TopicPartition;

fn list_offsets(_: &[Led]) -> ListOffsetsRequest {
    ListOffsetsRequest::default()
}

fn read(response: ListOffsetsResponse) -> Vec<(TopicPartition, Result<i64, ErrorCode>)> {
    let answer = &response.topics[0].partitions[0];
    let result = if answer.error_code.is_ok() { Ok(answer.offset) } else { Err(answer.error_code) };
    vec![(TopicPartition::new("t", 0), result)]
}

fn only(partition: &TopicPartition) -> BTreeSet<TopicPartition> {
    BTreeSet::from([partition.clone()])
}

#[tokio::test(start_paused = true)]
async fn any_broker_that_can_be_reached_will_do() {
    let cluster = Cluster::new(&[1, 2, 3]);
    let client = cluster.client(&[]);
    known(&client).await;
    cluster.door("host1", Door::Refuses);
    cluster.door("host3", Door::Refuses);
    for _ in 0..10 {
        let request = FindCoordinatorRequest { coordinator_keys: vec![], ..Default::default() };
        let response = client.call_any(&request, within(SOON)).await.unwrap();
        assert_eq!(response.coordinators[0].host, "host2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_follows_the_leader() {
    let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 0)]);
    let client = cluster.client(&[]);
    let partition = TopicPartition::new("t", 0);
    let answers =
        client.call_leaders(only(&partition), within(SOON), list_offsets, read).await.unwrap();
    assert_eq!(answers, BTreeMap::from([(partition.clone(), 42)]));
    // The leader moves, and the client finds out by being refused.
    let _ = cluster.clone().with_topic("t", &[(2, 1)]);
    let start = Instant::now();
    let mut epochs = Vec::new();
    let request = |led: &[Led]| {
        epochs.push(led[0].epoch);
        list_offsets(led)
    };
    client.call_leaders(only(&partition), within(SOON), request, read).await.unwrap();
    assert_eq!((epochs.first(), epochs.last()), (Some(&0), Some(&1)));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_runs_out_of_time_says_who_did_not_answer() {
    let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
    let client = cluster.client(&[]);
    client.topic("t", within(SOON)).await.unwrap();
    for door in ["boot", "host1"] {
        cluster.door(door, Door::Silent);
    }
    let waited = MS(5000);
    let partition = TopicPartition::new("t", 0);
    let call = client.call_leaders(only(&partition), within(waited), list_offsets, read);
    let Unanswered { partition: about, cause: error } = call.await.unwrap_err();
    assert_eq!(about, partition);
    let peer = Peer::new(Some(BrokerId(1)), "host1", 9092);
    assert_eq!(error, ClientError::NoAnswerYet { peer, waited });
    assert!(error.is_retriable() && error.maybe_written());

    // The time-out of that attempt, of at most 12 s, and the middle of the next one.
    let request = FindCoordinatorRequest::default();
    let error = client.call_any(&request, within(MS(20_000))).await.unwrap_err();
    assert!(matches!(error, ClientError::SetupTimeout { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn time_is_bounded_and_the_last_error_told() {
    let cluster = Cluster::new(&[1]).with_topic("t", &[(-1, 0)]);
    let client = cluster.client(&[]);
    let partition = TopicPartition::new("t", 0);
    let start = Instant::now();
    let call = client.call_leaders(only(&partition), within(MS(5000)), list_offsets, read);
    assert_eq!(call.await.unwrap_err().cause, ClientError::NoLeader { partition });
    assert!(start.elapsed() <= MS(5000));
}
