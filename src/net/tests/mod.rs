//! A connection against a scripted server over an in-memory stream.

mod endings;
mod opening;
mod pipelining;
mod versions;
mod without_answer;

use super::testing::{FakeBroker, connected, open_over, peer, settings};
use super::{Connection, ConnectionSettings};
use crate::error::ClientError;
use crate::protocol::ApiKey;
use crate::protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::time::{Duration, Instant};
use bytes::Bytes;

const TIMEOUT: Duration = Duration::from_secs(30);
const ROOM: usize = 1 << 20;

fn metadata() -> MetadataRequest {
    MetadataRequest::default()
}

/// An answer that can be told from others.
fn numbered(n: i32) -> MetadataResponse {
    MetadataResponse { controller_id: n, ..MetadataResponse::default() }
}

fn produce(bytes: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        topic_data: vec![TopicProduceData {
            name: "topic".to_owned(),
            partition_data: vec![PartitionProduceData { index: 0, records: Some(bytes) }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

fn controller(result: Result<MetadataResponse, ClientError>) -> i32 {
    result.unwrap().controller_id
}
