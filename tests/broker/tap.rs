//! What a producer really sends: connections to an in-memory cluster whose Produce requests are taken down batch by
//! batch, and whose bytes can be held back in either direction, as a broker does that was stopped with SIGSTOP. It judges
//! nothing but that a stamp keeps its bytes.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use milena::broker::Cluster;
use milena::net::{Connect, Transport, connect_fn};
use milena::protocol::header::decode_request_header;
use milena::protocol::messages::produce::ProduceRequest;
use milena::protocol::{ApiKey, Message, Reader};
use milena::record::BatchHeader;
use milena::{BrokerId, ProducerIdentity, TopicId};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// A batch that left the producer.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) node: BrokerId,
    pub(crate) topic: TopicId,
    pub(crate) partition: i32,
    pub(crate) producer: ProducerIdentity,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Default)]
struct State {
    sent: Vec<Sent>,
    /// The nodes to which nothing gets through, and those from which nothing comes.
    deaf: BTreeSet<BrokerId>,
    mute: BTreeSet<BrokerId>,
    held: Vec<Waker>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tap {
    state: Arc<Mutex<State>>,
}

impl Tap {
    pub(crate) fn connector(&self, cluster: &Cluster) -> impl Connect + use<> {
        let (tap, cluster) = (self.clone(), cluster.clone());
        connect_fn(move |host, port| {
            let (stream, tap) = (cluster.connect(&host, port), tap.clone());
            let number = host.trim_start_matches("broker-").split('.').next();
            let node = BrokerId(number.and_then(|number| number.parse().ok()).expect("a node"));
            async move {
                let stream = Tapped { tap, node, stream: stream?, frames: BytesMut::new() };
                Ok(Box::new(stream) as Box<dyn Transport>)
            }
        })
    }

    /// All batches that left so far, in order.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.state.lock().sent.clone()
    }

    /// Those that left for a partition of whatever topic.
    pub(crate) fn sent_to(&self, partition: i32) -> Vec<Sent> {
        let mut sent = self.sent();
        sent.retain(|batch| batch.partition == partition);
        sent
    }

    /// Forgets what has left.
    pub(crate) fn clear(&self) {
        self.state.lock().sent.clear();
    }

    /// Holds back what is sent to the node.
    pub(crate) fn hold_requests(&self, node: BrokerId) {
        self.state.lock().deaf.insert(node);
    }

    /// Holds back what the node answers.
    pub(crate) fn hold_answers(&self, node: BrokerId) {
        self.state.lock().mute.insert(node);
    }

    /// Lets everything through again.
    pub(crate) fn release(&self) {
        let mut state = self.state.lock();
        state.deaf.clear();
        state.mute.clear();
        let held = std::mem::take(&mut state.held);
        drop(state);
        held.into_iter().for_each(Waker::wake);
    }

    /// Makes sure that a stamp never changed its bytes and that no epoch came back once a later one was sent. With
    /// `splits`, the first half of a batch may take over the stamp of the whole.
    pub(crate) fn check_stamps(&self, splits: bool) {
        let mut known: HashMap<_, Sent> = HashMap::new();
        let mut newest = ProducerIdentity { id: -1, epoch: -1 };
        for batch in self.sent() {
            let Sent { topic, partition, producer, base_sequence, .. } = batch;
            if producer == ProducerIdentity::NONE {
                continue;
            }
            let identity = (producer.id, producer.epoch);
            assert!(identity >= (newest.id, newest.epoch), "{batch:?} after {newest:?}");
            newest = producer;
            let stamp = (topic, partition, producer, base_sequence);
            let first = known.entry(stamp).or_insert_with(|| batch.clone());
            if splits && batch.count < first.count {
                *first = batch;
            } else {
                assert_eq!(first.bytes, batch.bytes, "{first:?} was sent as {batch:?}");
            }
        }
    }
}

struct Tapped {
    tap: Tap,
    node: BrokerId,
    stream: DuplexStream,
    /// What is not a whole frame yet.
    frames: BytesMut,
}

impl Tapped {
    fn hear(&mut self) {
        while let Some(length) = self.frames.first_chunk().map(|bytes| i32::from_be_bytes(*bytes)) {
            let length = usize::try_from(length).expect("a length");
            if self.frames.len() < 4 + length {
                return;
            }
            self.frames.advance(4);
            let mut reader = Reader::new(self.frames.split_to(length).freeze());
            let header = decode_request_header(&mut reader).expect("a header");
            if header.api_key == ApiKey::PRODUCE {
                let request = ProduceRequest::decode(&mut reader, header.api_version);
                self.take_down(request.expect("a request"));
            }
        }
    }

    fn take_down(&self, request: ProduceRequest) {
        let mut state = self.tap.state.lock();
        for topic in request.topic_data {
            for data in topic.partition_data {
                let bytes = data.records.expect("a batch");
                let header = BatchHeader::parse(&bytes).expect("a batch");
                let batch = Sent {
                    node: self.node,
                    topic: topic.topic_id,
                    partition: data.index,
                    producer: header.producer,
                    base_sequence: header.base_sequence,
                    count: header.count,
                    bytes,
                };
                state.sent.push(batch);
            }
        }
    }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.tap.state.lock();
        if state.mute.contains(&self.node) {
            state.held.push(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.tap.state.lock();
        if state.deaf.contains(&self.node) {
            state.held.push(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = result {
            self.frames.extend_from_slice(&buf[..written]);
            self.hear();
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
