//! What transactions change about Produce, Fetch and ListOffsets.

use std::time::Duration;

use super::fetch::{fetch, only, values, waiting};
use super::list_offsets::ask;
use crate::broker::testing::{RawClient, build, one_node, outcome, produce};
use crate::error::ErrorCode;
use crate::protocol::ApiKey;
use crate::protocol::messages::fetch::{FetchPartitionData, FetchRequest};
use crate::protocol::messages::list_offsets::ListOffsetsRequest;
use crate::protocol::messages::produce::ProduceRequest;
use crate::time::Instant;
use crate::types::{Compression, ProducerIdentity};

fn committed(request: FetchRequest) -> FetchRequest {
    FetchRequest { isolation_level: 1, ..request }
}

fn aborted(data: &FetchPartitionData) -> Option<Vec<(i64, i64)>> {
    let told = data.aborted_transactions.as_ref()?;
    Some(told.iter().map(|t| (t.producer_id, t.first_offset)).collect())
}

fn transactional(producer: ProducerIdentity, sequence: i32) -> ProduceRequest {
    let records = [(crate::broker::testing::NOW, None, "x")];
    let batch = build(&records, Compression::None, |batch| batch.stamp(producer, sequence, true));
    ProduceRequest { transactional_id: Some("tx".to_owned()), ..produce("t", 0, batch) }
}

#[tokio::test]
async fn a_committed_read_ends_at_the_last_stable_offset_and_knows_what_was_aborted() {
    let (cluster, mut client) = one_node().await;
    let (mut one, mut two) = (cluster.writer(), cluster.writer());
    let first = one.producer().id;
    one.begin().unwrap();
    two.begin().unwrap();
    assert_eq!(one.write("t", 0, ["a", "b"]).unwrap(), 0);
    assert_eq!(two.write("t", 0, ["c"]).unwrap(), 2);
    one.abort().unwrap();
    cluster.writer().write("t", 0, ["d"]).unwrap();

    let response = client.call(&committed(fetch(0)), 12).await;
    let data = only(&response);
    assert_eq!((data.high_watermark, data.last_stable_offset), (5, 2));
    assert_eq!(values(data), ["0:a", "1:b"]);
    assert_eq!(aborted(data), Some(vec![(first, 0)]));
    let response = client.call(&committed(fetch(3)), 12).await;
    assert_eq!(only(&response).error_code, ErrorCode::NONE, "behind it is not out of range");
    assert_eq!(values(only(&response)).len(), 0);

    let response = client.call(&fetch(0), 12).await;
    let data = only(&response);
    assert_eq!((data.high_watermark, data.last_stable_offset), (5, 2), "told to all");
    assert_eq!(aborted(data), None);
    let bytes = data.records.clone().unwrap();
    let batches: Vec<_> =
        crate::record::batches(bytes).map(|b| b.unwrap().header().clone()).collect();
    assert_eq!(batches.len(), 4);
    assert!(batches[2].attributes.is_control() && batches[2].attributes.is_transactional());
    assert_eq!((batches[2].base_offset, batches[2].producer.id), (3, first));

    two.commit().unwrap();
    let response = client.call(&committed(fetch(2)), 12).await;
    assert_eq!(only(&response).last_stable_offset, 6);
    assert_eq!(aborted(only(&response)), Some(vec![(first, 0)]), "its marker is at 3");
    let response = client.call(&committed(fetch(4)), 12).await;
    assert_eq!(aborted(only(&response)), Some(vec![]));
    assert_eq!(cluster.records("t", 0).len(), 4, "markers are no records");
    assert_eq!(cluster.batches("t", 0).iter().filter(|batch| batch.control).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_committed_fetch_waits_for_the_end_of_the_transaction() {
    let (cluster, _) = one_node().await;
    let mut client = RawClient::connect(&cluster, 1);
    let mut writer = cluster.writer();
    writer.begin().unwrap();
    let before = Instant::now();
    client.send(&committed(waiting(0, 60_000, 1)), 12).await;
    cluster.received(ApiKey::FETCH, 1).await;
    writer.write("t", 0, ["a"]).unwrap();
    let mut uncommitted = RawClient::connect(&cluster, 1);
    let response = uncommitted.call(&waiting(0, 60_000, 1), 12).await;
    assert_eq!(values(only(&response)), ["0:a"]);
    writer.commit().unwrap();
    let response = client.receive::<FetchRequest>(12).await;
    assert_eq!(only(&response).last_stable_offset, 2);
    assert_eq!(only(&response).high_watermark, 2, "answered after the marker, not before");
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn offsets_for_a_committed_reader_end_at_the_last_stable_offset() {
    let (cluster, mut client) = one_node().await;
    cluster.writer().write("t", 0, ["a"]).unwrap();
    let mut writer = cluster.writer();
    writer.begin().unwrap();
    writer
        .write("t", 0, [crate::broker::NewRecord::from("b").timestamp(cluster.now_ms() + 50)])
        .unwrap();
    assert_eq!(cluster.last_stable_offset("t", 0), Some(1));
    let late = cluster.now_ms() + 20;
    for (isolation_level, timestamp, expected) in
        [(0, -1, 2), (1, -1, 1), (0, -3, 1), (1, -3, -1), (0, late, 1), (1, late, -1), (1, 0, 0)]
    {
        let request = ListOffsetsRequest { isolation_level, ..ask("t", &[0], timestamp) };
        let response = client.call(&request, 7).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!(found.error_code, ErrorCode::NONE);
        assert_eq!(found.offset, expected, "{timestamp} at isolation {isolation_level}");
    }
}

#[tokio::test]
async fn a_transactional_batch_needs_an_open_transaction_of_its_identity() {
    let (cluster, mut client) = one_node().await;
    let mut writer = cluster.writer();
    let producer = writer.producer();
    let mut send = async |request: &ProduceRequest| {
        outcome(&client.call(request, 9).await.responses[0].partition_responses[0])
    };
    let batch = transactional(producer, 0);
    let nobody = Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(send(&batch).await, nobody);
    writer.begin().unwrap();
    let unnamed = ProduceRequest { transactional_id: None, ..batch.clone() };
    let unauthorized = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    assert_eq!(send(&unnamed).await, Err(unauthorized));
    let other = ProducerIdentity { epoch: 1, ..producer };
    assert_eq!(send(&transactional(other, 0)).await, Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(send(&batch).await, Ok(0));
    assert_eq!(send(&batch).await, Ok(0), "a retry is a duplicate");
    assert_eq!(send(&transactional(producer, 1)).await, Ok(1));
    writer.abort().unwrap();
    assert_eq!(send(&transactional(producer, 2)).await, nobody);
    assert_eq!(cluster.last_stable_offset("t", 0), Some(3));
    assert!(writer.commit().is_err(), "nothing is open");
    writer.begin().unwrap();
    assert!(writer.begin().is_err());
    writer.commit().unwrap();
    assert_eq!(cluster.offsets("t", 0), Some(0..3), "a transaction without records has no marker");
}
