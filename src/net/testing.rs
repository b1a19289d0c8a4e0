//! The other end of an in-memory connection, scripted by a test: reads requests, answers as told.

use crate::error::Peer;
use crate::metrics::{ClientKind, ClientMetrics, Windows};
use crate::net::{Connection, ConnectionSettings, Meter, Transport, connect_fn};
use crate::protocol::header::{decode_request_header, encode_response};
use crate::protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use crate::protocol::messages::{APIS, Api};
use crate::protocol::{ApiKey, Message, Reader, Request};
use crate::time::{Duration, Instant};
use crate::types::BrokerId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

/// A request as it came in.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<String>,
    pub(crate) body: Reader,
}

impl Incoming {
    pub(crate) fn read<R: Request>(&mut self) -> R {
        assert_eq!(self.api, R::API);
        R::decode(&mut self.body, self.version).unwrap()
    }

    /// The bytes of the answer.
    pub(crate) fn answer<M: Message>(&self, response: &M) -> Vec<u8> {
        encode_response(self.correlation_id, self.version, response).unwrap().concat()
    }
}

/// A server's end of a connection.
pub(crate) struct FakeBroker {
    read: ReadHalf<Box<dyn Transport>>,
    pub(crate) write: WriteHalf<Box<dyn Transport>>,
}

impl FakeBroker {
    pub(crate) fn new(io: impl Transport) -> Self {
        let (read, write) = tokio::io::split(Box::new(io) as Box<dyn Transport>);
        Self { read, write }
    }

    /// The next request, or `None` when the client has closed.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        let length = self.read.read_u32().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.read.read_exact(&mut frame).await.ok()?;
        let mut body = Reader::new(Bytes::from(frame));
        let header = decode_request_header(&mut body).unwrap();
        Some(Incoming {
            api: header.api_key,
            version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            body,
        })
    }

    /// The next request, which has to be there.
    pub(crate) async fn expect(&mut self) -> Incoming {
        self.next().await.expect("the client closed the connection")
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn answer<M: Message>(&mut self, request: &Incoming, response: &M) {
        self.send(&request.answer(response)).await;
    }

    /// Reads an ApiVersions request and answers with all that the crate speaks.
    pub(crate) async fn introduce(&mut self) {
        let request = self.expect().await;
        self.answer(&request, &all_apis()).await;
    }
}

/// What a broker says that speaks all that the crate does.
pub(crate) fn all_apis() -> ApiVersionsResponse {
    let entry = |api: &Api| ApiVersion {
        api_key: api.key.0,
        min_version: api.versions.min,
        max_version: api.versions.max,
    };
    ApiVersionsResponse { api_keys: APIS.iter().map(entry).collect(), ..Default::default() }
}

/// As [`all_apis`], with one entry replaced.
pub(crate) fn apis_with(api: ApiKey, min_version: i16, max_version: i16) -> ApiVersionsResponse {
    let mut response = all_apis();
    response.api_keys.retain(|entry| entry.api_key != api.0);
    response.api_keys.push(ApiVersion { api_key: api.0, min_version, max_version });
    response
}

pub(crate) fn settings() -> ConnectionSettings {
    ConnectionSettings {
        client_id: "tester".to_owned(),
        max_frame: 100_000_000,
        max_idle: Some(Duration::from_secs(540)),
        request_timeout: Duration::from_secs(30),
    }
}

/// Metrics that nobody looks at.
pub(crate) fn meter() -> Meter {
    let windows = Windows { length: Duration::from_secs(30), count: 2 };
    let metrics = ClientMetrics::new(ClientKind::Producer, "tester", windows, Instant::now(), 0);
    Meter::connecting(Arc::new(metrics), BrokerId(1))
}

pub(crate) fn peer() -> Peer {
    Peer::new(Some(BrokerId(1)), "broker", 9092)
}

/// Opens a connection over a given stream.
pub(crate) async fn open_over(
    io: impl Transport,
    settings: &ConnectionSettings,
) -> Result<Arc<Connection>, crate::error::ClientError> {
    let io: Mutex<Option<Box<dyn Transport>>> = Mutex::new(Some(Box::new(io)));
    let connector = connect_fn(move |_, _| {
        let io = io.lock().take().ok_or_else(|| io::ErrorKind::ConnectionRefused.into());
        async move { io }
    });
    Connection::open(&connector, peer(), settings, Duration::from_secs(10), meter()).await
}

/// A connection that is ready, and its other end. `room` is what the stream holds each way.
pub(crate) async fn connected(
    settings: &ConnectionSettings,
    room: usize,
) -> (Arc<Connection>, FakeBroker) {
    let (ours, theirs) = tokio::io::duplex(room);
    let mut broker = FakeBroker::new(theirs);
    let (connection, ()) = tokio::join!(open_over(ours, settings), broker.introduce());
    (connection.unwrap(), broker)
}
