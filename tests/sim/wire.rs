//! The simulated network as a client's process sees it: each connection is tapped, so that every request is known with
//! its bytes, and can be cut at any byte. It judges nothing.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use milena::net::{Connect, Transport, connect_fn};
use milena::protocol::header::{RequestHeader, decode_request_header, decode_response};
use milena::protocol::messages::produce::ProduceRequest;
use milena::protocol::{ApiKey, Message, Reader};
use milena::record::BatchHeader;
use milena::{ErrorCode, ProducerIdentity, TopicId};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use crate::history::{Journal, now};

/// A whole request that left the client.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) at: Duration,
    pub(crate) api: ApiKey,
    pub(crate) batches: Vec<Batch>,
}

/// What passed over the wire, for the invariants.
#[derive(Debug, Clone)]
pub(crate) enum Passed {
    Request(Request),
    /// A broker refused a batch as too large, so it was not written and never will be; it may be sent in halves.
    TooLarge(Batch),
}

/// A batch in a Produce request, with the name under which a broker knows it.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// By name or, in newer requests, by id.
    pub(crate) topic: (String, TopicId),
    pub(crate) partition: i32,
    pub(crate) producer: ProducerIdentity,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
    pub(crate) bytes: Bytes,
}

/// Somebody who hears each request as it leaves the client.
type Ear = Arc<dyn Fn(&RequestHeader, &mut Reader) + Send + Sync>;

#[derive(Default)]
struct State {
    ear: Option<Ear>,
    connects: Vec<Duration>,
    passed: Vec<Passed>,
    /// The Produce requests that are not answered yet, by connection and correlation id.
    unanswered: BTreeMap<(usize, i32), (i16, Vec<Batch>)>,
    open: BTreeMap<usize, Open>,
    /// What is left of a cut that waits: by host, how many more bytes its connections may write.
    cuts: BTreeMap<String, usize>,
}

/// A connection that has not been dropped.
struct Open {
    host: String,
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Wire {
    journal: Journal,
    state: Arc<Mutex<State>>,
}

impl Wire {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, state: Arc::default() }
    }

    /// Opens connections on the simulated network.
    pub(crate) fn connector(&self) -> impl Connect + use<> {
        let wire = self.clone();
        connect_fn(move |host, port| {
            let wire = wire.clone();
            async move {
                let id = wire.connecting(&host);
                let stream = TcpStream::connect((&host[..], port)).await?;
                Ok(Box::new(wire.opened(id, host, stream)) as Box<dyn Transport>)
            }
        })
    }

    /// Cuts the connections to `host` when `after` more bytes were written to them, which may be in the middle of a
    /// request.
    pub(crate) fn cut(&self, host: &str, after: usize) {
        let mut state = self.state.lock();
        if after == 0 {
            state.sever(host);
        } else {
            state.cuts.insert(host.to_owned(), after);
        }
    }

    /// Forgets cuts that have not happened yet.
    pub(crate) fn clear_cuts(&self) {
        self.state.lock().cuts.clear();
    }

    /// Lets somebody hear each request, with its header and its body, as it leaves the client.
    pub(crate) fn listen(&self, ear: impl Fn(&RequestHeader, &mut Reader) + Send + Sync + 'static) {
        self.state.lock().ear = Some(Arc::new(ear));
    }

    /// All that passed, in order.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        self.state.lock().passed.clone()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        let request = |passed: &Passed| match passed {
            Passed::Request(request) => Some(request.clone()),
            Passed::TooLarge(_) => None,
        };
        self.state.lock().passed.iter().filter_map(request).collect()
    }

    /// When attempts to connect were made.
    pub(crate) fn connects(&self) -> Vec<Duration> {
        self.state.lock().connects.clone()
    }

    fn connecting(&self, host: &str) -> usize {
        let mut state = self.state.lock();
        state.connects.push(now());
        let id = state.connects.len();
        drop(state);
        self.journal.note(format_args!("connection {id} to {host}"));
        id
    }

    fn opened(&self, id: usize, host: String, stream: TcpStream) -> Tapped {
        self.journal.note(format_args!("connection {id} opened"));
        let open = Open { host, cut: false, reader: None, writer: None };
        self.state.lock().open.insert(id, open);
        let (sent, got) = (BytesMut::new(), BytesMut::new());
        Tapped { wire: self.clone(), id, stream: Some(stream), sent, got }
    }
}

impl State {
    fn sever(&mut self, host: &str) {
        for open in self.open.values_mut().filter(|open| open.host == host) {
            open.cut = true;
            for waker in [open.reader.take(), open.writer.take()].into_iter().flatten() {
                waker.wake();
            }
        }
    }
}

/// A connection whose bytes are listened to.
struct Tapped {
    wire: Wire,
    id: usize,
    /// `None` once it was cut.
    stream: Option<TcpStream>,
    /// What is not a whole frame yet, in either direction.
    sent: BytesMut,
    got: BytesMut,
}

impl Tapped {
    /// The stream, unless it was cut; `register` keeps the waker for that.
    fn uncut(&mut self, register: impl FnOnce(&mut Open)) -> io::Result<&mut TcpStream> {
        let mut state = self.wire.state.lock();
        if let Some(open) = state.open.get_mut(&self.id) {
            if open.cut {
                self.stream = None;
            } else {
                register(open);
            }
        }
        drop(state);
        self.stream.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset))
    }

    /// How many of `wanted` bytes may be written before the connection is cut.
    fn allowance(&self, wanted: usize) -> usize {
        let state = self.wire.state.lock();
        let cut = state.open.get(&self.id).and_then(|open| state.cuts.get(&open.host));
        cut.map_or(wanted, |&left| left.min(wanted))
    }

    fn spend(&self, written: usize) {
        let mut state = self.wire.state.lock();
        let Some(host) = state.open.get(&self.id).map(|open| open.host.clone()) else { return };
        let Some(left) = state.cuts.get_mut(&host) else { return };
        *left -= written;
        if *left == 0 {
            state.cuts.remove(&host);
            state.sever(&host);
        }
    }

    fn hear_requests(&mut self) {
        while let Some(frame) = frame(&mut self.sent) {
            let digest = digest(&frame);
            let length = frame.len();
            let mut reader = Reader::new(frame);
            let header = decode_request_header(&mut reader).expect("the client's own header");
            let (api, version) = (header.api_key, header.api_version);
            self.wire.journal.note(format_args!(
                "connection {} > {api} v{version} #{} {length} bytes {digest:016x}",
                self.id, header.correlation_id
            ));
            let ear = self.wire.state.lock().ear.clone();
            if let Some(ear) = ear {
                ear(&header, &mut reader.clone());
            }
            let batches =
                if api == ApiKey::PRODUCE { batches(&mut reader, version) } else { Vec::new() };
            for Batch { partition, producer, base_sequence, count, .. } in &batches {
                let ProducerIdentity { id, epoch } = producer;
                self.wire.journal.note(format_args!(
                    "    partition {partition}: {count} records of {id}/{epoch} from {base_sequence}"
                ));
            }
            let mut state = self.wire.state.lock();
            if api == ApiKey::PRODUCE {
                let key = (self.id, header.correlation_id);
                state.unanswered.insert(key, (version, batches.clone()));
            }
            state.passed.push(Passed::Request(Request { at: now(), api, batches }));
        }
    }

    fn hear_answers(&mut self) {
        while let Some(frame) = frame(&mut self.got) {
            let correlation = frame.first_chunk().map_or(-1, |bytes| i32::from_be_bytes(*bytes));
            let (digest, length) = (digest(&frame), frame.len());
            let id = self.id;
            self.wire.journal.note(format_args!(
                "connection {id} < #{correlation} {length} bytes {digest:016x}"
            ));
            let mut state = self.wire.state.lock();
            if let Some((version, batches)) = state.unanswered.remove(&(id, correlation)) {
                let refused = refused_as_too_large(frame, version);
                let refused = batches.into_iter().filter(|b| refused.contains(&b.partition));
                state.passed.extend(refused.map(Passed::TooLarge));
            }
        }
    }
}

fn frame(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = usize::try_from(i32::from_be_bytes(*buffer.first_chunk()?)).expect("a length");
    (buffer.len() >= 4 + length).then(|| {
        buffer.advance(4);
        buffer.split_to(length).freeze()
    })
}

/// Equal in all runs, unlike the hash of a `HashMap`.
fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn batches(reader: &mut Reader, version: i16) -> Vec<Batch> {
    let request = ProduceRequest::decode(reader, version).expect("the client's own request");
    let mut batches = Vec::new();
    for topic in request.topic_data {
        for data in topic.partition_data {
            let bytes = data.records.expect("a batch");
            let header = BatchHeader::parse(&bytes).expect("the client's own batch");
            batches.push(Batch {
                topic: (topic.name.clone(), topic.topic_id),
                partition: data.index,
                producer: header.producer,
                base_sequence: header.base_sequence,
                count: header.count,
                bytes,
            });
        }
    }
    batches
}

/// The partitions, of the one topic there is, whose batches a broker found too large.
fn refused_as_too_large(frame: Bytes, version: i16) -> Vec<i32> {
    let decoded = decode_response::<ProduceRequest>(frame, version);
    let (_, response) = decoded.expect("the broker's own answer");
    let partitions = response.responses.into_iter().flat_map(|topic| topic.partition_responses);
    let too_large = partitions.filter(|p| p.error_code == ErrorCode::MESSAGE_TOO_LARGE);
    too_large.map(|partition| partition.index).collect()
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let stream = self.uncut(|open| open.reader = Some(cx.waker().clone()))?;
        let result = Pin::new(stream).poll_read(cx, buf);
        self.got.extend_from_slice(&buf.filled()[before..]);
        self.hear_answers();
        result
    }
}

/// Without vectored writes: each piece of a request is a segment of its own, so a cut can fall between any two.
impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = &buf[..self.allowance(buf.len())];
        let stream = self.uncut(|open| open.writer = Some(cx.waker().clone()))?;
        let result = Pin::new(stream).poll_write(cx, allowed);
        if let Poll::Ready(Ok(written)) = result {
            self.sent.extend_from_slice(&buf[..written]);
            self.hear_requests();
            self.spend(written);
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.uncut(|_| {})?).poll_shutdown(cx)
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        self.wire.state.lock().open.remove(&self.id);
    }
}
