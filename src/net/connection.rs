//! One connection to one broker: opened, introduced by ApiVersions, then good for requests until it
//! ends.
//!
//! It decides which version of an API is spoken. It never connects again: that is the pool's
//! business.

use super::apis::BrokerApis;
use super::connector::{Connect, ResolveError};
use super::driver::Driver;
use super::link::{Closed, End, Link, api_name};
use super::meter::Meter;
use crate::error::{ClientError, DisconnectReason, ErrorCode, Peer, VersionSpan};
use crate::protocol::header::decode_response;
use crate::protocol::messages::api_versions::ApiVersionsRequest;
use crate::protocol::{Message, Request, VersionRange};
use crate::time::Duration;
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::{oneshot, watch};

/// What a connection needs to know of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    /// `client.id`.
    pub(crate) client_id: String,
    /// `receive.message.max.bytes`.
    pub(crate) max_frame: usize,
    /// `connections.max.idle.ms`; `None` for ever.
    pub(crate) max_idle: Option<Duration>,
    /// `request.timeout.ms`, for the connection's own requests.
    pub(crate) request_timeout: Duration,
}

/// What is accepted from a server that has not shown yet that it speaks Kafka.
pub(super) const MAX_FIRST_FRAME: usize = 64 * 1024;

/// A connection that is ready for requests.
///
/// Requests are sent in the order of the calls, without waiting for each other's answers. Dropping
/// the connection ends it, and with it the requests that are still unanswered.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    apis: BrokerApis,
}

impl Connection {
    /// Connects within `setup_timeout` (`socket.connection.setup.timeout.ms`) and asks for the
    /// broker's versions. `meter` is told.
    ///
    /// Cancel safe: dropping the future closes the socket.
    pub(crate) async fn open(
        connector: &dyn Connect,
        peer: Peer,
        settings: &ConnectionSettings,
        setup_timeout: Duration,
        mut meter: Meter,
    ) -> Result<Arc<Self>, ClientError> {
        let connecting = connector.connect(peer.host(), peer.port());
        let io = match tokio::time::timeout(setup_timeout, connecting).await {
            Ok(Ok(io)) => io,
            Ok(Err(error)) => {
                let error = not_connected(peer, &error);
                if matches!(error, ClientError::Resolve { .. }) {
                    meter.not_resolved();
                }
                return Err(error);
            }
            Err(_) => return Err(ClientError::SetupTimeout { peer, after: setup_timeout }),
        };
        meter.connected();
        let first = settings.max_frame.min(MAX_FIRST_FRAME);
        let link = Link::new(peer, &settings.client_id, first);
        let (running, ended) = watch::channel(());
        tokio::spawn(Driver::new(link.clone(), io, meter, settings.max_idle, running).run());
        let socket = Socket { link, ended };
        let apis = negotiate(&socket, settings.request_timeout).await?;
        socket.link.set_max_frame(settings.max_frame);
        Ok(Arc::new(Self { socket, apis }))
    }

    /// The broker at the other end.
    pub(crate) fn peer(&self) -> &Peer {
        &self.socket.link.peer
    }

    /// The highest version of an API that both sides speak.
    pub(crate) fn version<R: Request>(&self) -> Result<i16, ClientError> {
        self.version_up_to::<R>(i16::MAX)
    }

    /// The highest version of an API, up to `cap`, that both sides speak.
    pub(crate) fn version_up_to<R: Request>(&self, cap: i16) -> Result<i16, ClientError> {
        self.version_within::<R>(i16::MIN..=cap)
    }

    /// The highest version of an API, within a range, that both sides speak.
    pub(crate) fn version_within<R: Request>(
        &self,
        range: RangeInclusive<i16>,
    ) -> Result<i16, ClientError> {
        let (min, max) = (R::VERSIONS.min.max(*range.start()), R::VERSIONS.max.min(*range.end()));
        let ours = VersionRange::new(min, max);
        let theirs = self.apis.range(R::API);
        theirs
            .and_then(|theirs| ours.pick(theirs))
            .ok_or_else(|| unsupported::<R>(self.peer(), theirs, ours))
    }

    /// The level of a feature that the cluster has finalized, such as `transaction.version`, as of
    /// the connecting.
    pub(crate) fn finalized_feature(&self, name: &str) -> Option<i16> {
        self.apis.finalized_feature(name)
    }

    /// Sends a request in the highest version that both sides speak; see [`Connection::call_at`].
    pub(crate) fn call<R: Request>(&self, request: &R, timeout: Duration) -> Call<R> {
        match self.version::<R>() {
            Ok(version) => self.call_at(request, version, timeout),
            Err(error) => Call::failed(error),
        }
    }

    /// Sends a request in a version that was got from [`Connection::version`] or
    /// [`Connection::version_up_to`].
    ///
    /// The request has its place in the order when this returns, not when the future is first
    /// polled. If no answer comes within `timeout`, the connection is closed and every request on
    /// it fails. Cancel safe: dropping the future abandons the wait, and the request takes its
    /// course.
    pub(crate) fn call_at<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Call<R> {
        self.socket.call(request, version, timeout)
    }

    /// Sends a request that the broker will not answer, such as Produce with acks=0.
    ///
    /// As [`Connection::call_at`], but the future ends when the socket has taken the last byte.
    pub(crate) fn send_at<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Sending {
        Sending(match self.socket.link.submit(request, version, timeout, false) {
            Ok(written) => Answer::Awaited(written, self.socket.link.clone()),
            Err(error) => Answer::Failed(Some(error)),
        })
    }

    /// How many requests have been sent or queued and have not ended.
    pub(crate) fn in_flight(&self) -> usize {
        self.socket.link.in_flight()
    }

    /// Whether requests are still taken.
    pub(crate) fn is_open(&self) -> bool {
        self.socket.link.is_open()
    }

    /// Why no more requests are taken, if so, and since when.
    pub(crate) fn end(&self) -> Option<Closed> {
        self.socket.link.closed()
    }

    /// Ends the connection and the requests on it, without waiting for either.
    pub(crate) fn close(&self) {
        self.socket.link.close(End::Disconnect(DisconnectReason::ClosedByClient));
    }

    /// Waits until the socket is closed and the requests have ended. Cancel safe.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.socket.ended.clone();
        // Nothing is ever sent: the change is that the driver drops its end.
        async move { while ended.changed().await.is_ok() {} }
    }
}

/// The callers' end of a connection, from before the broker's versions are known. Closes when
/// dropped.
#[derive(Debug)]
struct Socket {
    link: Arc<Link>,
    ended: watch::Receiver<()>,
}

impl Socket {
    fn call<R: Request>(&self, request: &R, version: i16, timeout: Duration) -> Call<R> {
        match self.link.submit(request, version, timeout, true) {
            Ok(answer) => Call {
                answer: Answer::Awaited(answer, self.link.clone()),
                version,
                response: PhantomData,
            },
            Err(error) => Call::failed(error),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.link.close(End::Disconnect(DisconnectReason::ClosedByClient));
    }
}

fn not_connected(peer: Peer, error: &io::Error) -> ClientError {
    let cause = error.to_string().into();
    match error.get_ref() {
        Some(inner) if inner.is::<ResolveError>() => ClientError::Resolve { peer, cause },
        _ => ClientError::Connect { peer, kind: error.kind(), cause },
    }
}

/// Asks for the broker's versions in our newest version of ApiVersions; a broker that does not have
/// it says which it has (KIP-511), or, before 2.4, nothing, and then version 0 serves.
async fn negotiate(socket: &Socket, timeout: Duration) -> Result<BrokerApis, ClientError> {
    const OURS: VersionRange = ApiVersionsRequest::VERSIONS;
    let peer = &socket.link.peer;
    let request = ApiVersionsRequest {
        client_software_name: "milena".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut version = OURS.max;
    loop {
        let answer = socket.call(&request, version, timeout).await;
        let response = answer.map_err(before_the_first_answer)?;
        let apis = BrokerApis::new(&response);
        match response.error_code {
            ErrorCode::NONE => return Ok(apis),
            ErrorCode::UNSUPPORTED_VERSION => {
                let theirs = apis.range(ApiVersionsRequest::API);
                let lower = match theirs {
                    Some(theirs) => OURS.pick(theirs),
                    None => Some(0),
                };
                // Strictly lower each time, so this ends whatever the broker says.
                version = lower
                    .filter(|lower| *lower < version)
                    .ok_or_else(|| unsupported::<ApiVersionsRequest>(peer, theirs, OURS))?;
            }
            code => {
                let api = api_name::<ApiVersionsRequest>();
                let subject = Some(peer.to_string().into());
                return Err(ClientError::Broker { code, api, subject, message: None });
            }
        }
    }
}

/// A listener that expects TLS or SASL commonly just hangs up on an ApiVersions request.
fn before_the_first_answer(error: ClientError) -> ClientError {
    match error {
        ClientError::Disconnected { peer, reason: DisconnectReason::ClosedByPeer, .. } => {
            ClientError::Disconnected {
                peer,
                reason: DisconnectReason::ClosedBeforeFirstAnswer,
                maybe_written: true,
            }
        }
        other => other,
    }
}

fn unsupported<R: Request>(
    peer: &Peer,
    theirs: Option<VersionRange>,
    ours: VersionRange,
) -> ClientError {
    let span = |range: VersionRange| VersionSpan { min: range.min, max: range.max };
    ClientError::UnsupportedVersion {
        api: api_name::<R>(),
        peer: peer.clone(),
        broker: theirs.map(span),
        client: span(ours),
    }
}

enum Answer {
    Awaited(oneshot::Receiver<Result<Bytes, ClientError>>, Arc<Link>),
    /// `None` once it has been told.
    Failed(Option<ClientError>),
}

impl Answer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, ClientError>> {
        match self {
            Self::Awaited(answer, _) => match ready!(Pin::new(answer).poll(cx)) {
                Ok(answer) => Poll::Ready(answer),
                // The driver ends every request before it goes.
                Err(_) => Poll::Ready(Err(ClientError::Closed)),
            },
            Self::Failed(error) => Poll::Ready(Err(error.take().unwrap_or(ClientError::Closed))),
        }
    }
}

/// The answer to a request, to be awaited; see [`Connection::call_at`].
#[must_use = "the request has been sent, but its answer is lost unless this is awaited"]
pub(crate) struct Call<R> {
    answer: Answer,
    version: i16,
    response: PhantomData<fn() -> R>,
}

impl<R> Call<R> {
    fn failed(error: ClientError) -> Self {
        Self { answer: Answer::Failed(Some(error)), version: 0, response: PhantomData }
    }
}

impl<R: Request> Call<R> {
    /// The answer, and the length of its frame, which is how much memory any part of it keeps.
    pub(crate) async fn with_frame_len(mut self) -> Result<(R::Response, usize), ClientError> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(R::Response, usize), ClientError>> {
        let frame = ready!(self.answer.poll(cx))?;
        let frame_len = frame.len();
        let decoded = decode_response::<R>(frame, self.version);
        Poll::Ready(decoded.map(|(_, response)| (response, frame_len)).map_err(|error| {
            let Answer::Awaited(_, link) = &self.answer else { return ClientError::Closed };
            let cause = error.to_string().into();
            let error = ClientError::Decode { peer: link.peer.clone(), cause };
            // Bytes that make no sense once are not to be trusted further.
            link.close(End::Protocol(error.clone()));
            error
        }))
    }
}

impl<R: Request> Future for Call<R> {
    type Output = Result<R::Response, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map_ok(|(response, _)| response)
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("version", &self.version).finish_non_exhaustive()
    }
}

/// The writing of a request without an answer, to be awaited; see [`Connection::send_at`].
#[must_use = "whether the request was written is lost unless this is awaited"]
pub(crate) struct Sending(Answer);

impl Future for Sending {
    type Output = Result<(), ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map_ok(|_| ())
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sending")
    }
}
