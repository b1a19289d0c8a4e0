use std::time::Duration;

use bytes::BufMut;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::broker::testing::{RawClient, batch, in_memory, one_node, outcome, produce};
use crate::broker::{Cluster, Event};
use crate::protocol::header::encode_request;
use crate::protocol::messages::metadata::MetadataRequest;
use crate::protocol::messages::produce::ProduceRequest;

/// Why the node closed the connections that it closed.
fn reasons(cluster: &Cluster) -> Vec<String> {
    let reason = |event| match event {
        Event::Disconnected { reason, .. } => reason,
        _ => None,
    };
    cluster.events().into_iter().filter_map(reason).collect()
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (cluster, mut client) = one_node().await;
    for _ in 0..50 {
        client.send(&produce("t", 0, batch(&["a"])), 9).await;
        client.send(&MetadataRequest::default(), 12).await;
    }
    for n in 0..50 {
        let response = client.receive::<ProduceRequest>(9).await;
        assert_eq!(outcome(&response.responses[0].partition_responses[0]), Ok(n));
        client.receive::<MetadataRequest>(12).await;
    }
    assert_eq!(cluster.offsets("t", 0), Some(0..50));
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte() {
    let (_cluster, mut client) = one_node().await;
    let frame = encode_request(1, None, &produce("t", 0, batch(&["a"])), 9).unwrap().concat();
    for byte in frame {
        client.stream.write_u8(byte).await.unwrap();
        client.stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let response = client.receive::<ProduceRequest>(9).await;
    assert_eq!(outcome(&response.responses[0].partition_responses[0]), Ok(0));
}

#[tokio::test]
async fn a_frame_larger_than_all_buffers_arrives_whole() {
    let cluster = in_memory().topic_config("max.message.bytes", "9000000").start().await.unwrap();
    cluster.create_topic("t").unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let value = "x".repeat(3_000_000);
    assert_eq!(client.produce(batch(&[&value, &value])).await, Ok(0));
    let records = cluster.records("t", 0);
    assert!(records.iter().all(|record| record.value.as_deref() == Some(value.as_bytes())));
    assert_eq!(records.len(), 2);
}

#[tokio::test]
async fn other_protocols_and_oversized_frames_are_shown_out() {
    let cluster = in_memory().max_request_bytes(1000).start().await.unwrap();
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], "exceeds"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"\xff\xff\xff\xff", "negative"),
        (&1001_i32.to_be_bytes(), "exceeds"),
        (&[0; 4], "RequestHeader"),
        (&[0, 0, 0, 1, 7], "RequestHeader"),
    ] {
        let mut client = RawClient::connect(&cluster, 1);
        client.stream.write_all(bytes).await.unwrap();
        assert!(client.is_closed().await, "{bytes:?}");
        let reasons = reasons(&cluster);
        assert!(reasons.last().is_some_and(|reason| reason.contains(expected)), "{reasons:?}");
    }
}

/// A request with anything wrong in it ends its own connection, and nothing else.
#[tokio::test]
async fn hostile_frames_close_their_connection_and_no_more() {
    let (cluster, mut bystander) = one_node().await;
    let good = encode_request(1, Some("x"), &produce("t", 0, batch(&["a", "b"])), 9).unwrap();
    let good = good.concat();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut closed = 0;
    for round in 0..400 {
        let mut frame = good.clone();
        match round % 3 {
            0 => frame.truncate(rng.usize(4..good.len())),
            1 => {
                for _ in 0..rng.usize(1..4) {
                    let at = rng.usize(4..good.len());
                    frame[at] = rng.u8(..);
                }
            }
            _ => frame[4..].iter_mut().skip(8).for_each(|byte| *byte = rng.u8(..)),
        }
        let length = frame.len() - 4;
        frame[..4].copy_from_slice(&(length as i32).to_be_bytes());
        let mut client = RawClient::connect(&cluster, 1);
        client.stream.write_all(&frame).await.unwrap();
        client.stream.shutdown().await.unwrap();
        // It is answered (a refused batch, say) or closed; either way the stream ends.
        while client.frame().await.is_ok() {}
        closed += usize::from(!reasons(&cluster).is_empty());
    }
    assert!(closed > 0);
    assert!(bystander.produce(batch(&["c"])).await.is_ok());
}

#[tokio::test]
async fn a_count_without_the_bytes_to_it_reserves_nothing() {
    let (cluster, mut client) = one_node().await;
    // Metadata version 4 with two billion topics.
    let mut request = vec![0, 3, 0, 4, 0, 0, 0, 1, 0xFF, 0xFF];
    request.put_i32(i32::MAX);
    client.send_bytes(&request).await;
    assert!(client.is_closed().await);
    assert!(reasons(&cluster)[0].contains("MetadataRequest.topics"), "{:?}", reasons(&cluster));
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_waits_and_ends_with_the_stream() {
    let (cluster, mut client) = one_node().await;
    client.stream.write_all(&[0, 0, 0, 100, 1, 2, 3]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    client.stream.shutdown().await.unwrap();
    assert!(client.is_closed().await);
    let ended = Event::Disconnected { node: BrokerId(1), reason: None };
    assert!(cluster.events().contains(&ended));
}
