//! For this module's tests: batches as producers make them, and a client that speaks frames by hand.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

use super::{Cluster, ClusterBuilder};
use crate::error::ErrorCode;
use crate::protocol::Request;
use crate::protocol::header::{decode_response, encode_request};
use crate::protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use crate::record::{BatchBuilder, Codec};
use crate::types::{BrokerId, Compression, ProducerIdentity};

/// What a cluster's clock shows in tests.
pub(super) const NOW: i64 = 1_700_000_000_000;

pub(super) fn in_memory() -> ClusterBuilder {
    Cluster::builder().in_memory().seed(1).start_time_ms(NOW)
}

/// A batch of records without keys, all with the time [`NOW`].
pub(super) fn batch(values: &[&str]) -> Bytes {
    sequenced(values, ProducerIdentity::NONE, -1)
}

pub(super) fn sequenced(values: &[&str], producer: ProducerIdentity, sequence: i32) -> Bytes {
    let records: Vec<_> = values.iter().map(|value| (NOW, None, *value)).collect();
    build(&records, Compression::None, |sealed| sealed.stamp(producer, sequence, false))
}

/// A batch of (time, key, value).
pub(super) fn build(
    records: &[(i64, Option<&str>, &str)],
    compression: Compression,
    stamp: impl FnOnce(&mut crate::record::SealedBatch),
) -> Bytes {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (timestamp, key, value) in records {
        builder.append(*timestamp, key.map(str::as_bytes), Some(value.as_bytes()), &[]).unwrap();
    }
    let mut sealed = builder.seal(Codec::new(compression)).unwrap();
    sealed.stamp(ProducerIdentity::NONE, -1, false);
    stamp(&mut sealed);
    sealed.bytes()
}

/// The same batch with some bytes overwritten and, if `renew_crc`, a CRC that fits.
pub(super) fn forged(batch: &Bytes, at: usize, with: &[u8], renew_crc: bool) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    if renew_crc {
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    bytes.into()
}

/// Speaks Kafka's protocol by hand over any stream.
#[derive(Debug)]
pub(super) struct RawClient<S> {
    pub(super) stream: S,
    sent: i32,
    received: i32,
}

impl RawClient<DuplexStream> {
    /// Connects to a node of an in-memory cluster.
    pub(super) fn connect(cluster: &Cluster, node: i32) -> Self {
        let host = format!("broker-{node}.milena.internal");
        Self::over(cluster.connect(&host, 9092).unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    pub(super) fn over(stream: S) -> Self {
        Self { stream, sent: 0, received: 0 }
    }

    /// Sends a request without awaiting the response.
    pub(super) async fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.sent += 1;
        let frame = encode_request(self.sent, Some("raw"), request, version).unwrap();
        for segment in frame {
            self.stream.write_all(&segment).await.unwrap();
        }
    }

    /// The next frame; an error at the end of the stream.
    pub(super) async fn frame(&mut self) -> io::Result<Bytes> {
        let length = self.stream.read_i32().await?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await?;
        Ok(frame.into())
    }

    /// The response to the oldest request that has none yet.
    pub(super) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        self.received += 1;
        let frame = self.frame().await.unwrap();
        let (correlation_id, response) = decode_response::<R>(frame, version).unwrap();
        assert_eq!(correlation_id, self.received, "responses come in the order of the requests");
        response
    }

    pub(super) async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version).await;
        self.receive::<R>(version).await
    }

    /// Sends raw bytes behind their length.
    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_i32(bytes.len() as i32);
        frame.put_slice(bytes);
        // The node may close the connection before it has read all.
        let _ = self.stream.write_all(&frame).await;
    }

    /// Whether the node closed the connection without another byte.
    pub(super) async fn is_closed(&mut self) -> bool {
        let end = tokio::time::timeout(std::time::Duration::from_secs(5), self.stream.read_u8());
        matches!(end.await, Ok(Err(_)))
    }

    /// Produces to `t-0` with acks=all and gives the offset or the error.
    pub(super) async fn produce(&mut self, records: Bytes) -> Result<i64, ErrorCode> {
        let response = self.call(&produce("t", 0, records), 9).await;
        outcome(&response.responses[0].partition_responses[0])
    }
}

pub(super) fn produce(topic: &str, index: i32, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData { index, records: Some(records) }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(super) fn outcome(response: &PartitionProduceResponse) -> Result<i64, ErrorCode> {
    if response.error_code.is_ok() { Ok(response.base_offset) } else { Err(response.error_code) }
}

/// An in-memory cluster of one node with the topic `t`, and a connection to it.
pub(super) async fn one_node() -> (Cluster, RawClient<DuplexStream>) {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic("t").unwrap();
    let client = RawClient::connect(&cluster, 1);
    (cluster, client)
}

/// An in-memory cluster of `nodes` nodes with the topic `t` of one partition, replicated to all, led by node 1.
pub(super) async fn several_nodes(nodes: usize) -> Cluster {
    let cluster = in_memory().nodes(nodes).start().await.unwrap();
    cluster.create_topic("t").unwrap();
    assert_eq!(cluster.leader("t", 0), Some((BrokerId(1), 0)));
    cluster
}
