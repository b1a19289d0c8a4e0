//! The two ends of a connection's request queue: callers put requests in, the driver takes them out
//! and ends them.
//!
//! It decides when a connection takes no more requests and with what error each unfinished one
//! ends. It knows no socket and no particular API.

use super::inflight::{InFlight, Request as Registered};
use crate::error::{ClientError, DisconnectReason, Peer};
use crate::protocol::Request;
use crate::protocol::header::encode_request;
use crate::time::{Duration, Instant};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// Gets the frame of the answer, or why there is none.
pub(super) type Waiter = oneshot::Sender<Result<Bytes, ClientError>>;

/// The API that every connection begins with.
const OPENING: &str = "ApiVersions";

/// Why a connection ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    Disconnect(DisconnectReason),
    /// This request took too long.
    TimedOut(Registered),
    /// What the broker sent could not be understood.
    Protocol(ClientError),
}

impl End {
    /// What it means to a request that had nothing to do with it.
    fn reason(&self) -> DisconnectReason {
        match self {
            Self::Disconnect(reason) => reason.clone(),
            Self::TimedOut(request) => {
                DisconnectReason::RequestTimedOut { api: request.api, after: request.timeout }
            }
            Self::Protocol(error) => DisconnectReason::Protocol(error.to_string().into()),
        }
    }

    fn error_for(&self, request: &Registered, maybe_written: bool, peer: &Peer) -> ClientError {
        match self {
            Self::TimedOut(late) if late.correlation_id == request.correlation_id => {
                ClientError::RequestTimeout {
                    api: request.api,
                    peer: peer.clone(),
                    after: request.timeout,
                    maybe_written,
                }
            }
            // A greeting in another protocol may come before the first request has left, and
            // what that first one asks does no harm.
            Self::Protocol(error) if maybe_written || request.api == OPENING => error.clone(),
            _ => disconnected(peer, self.reason(), maybe_written),
        }
    }
}

fn disconnected(peer: &Peer, reason: DisconnectReason, maybe_written: bool) -> ClientError {
    ClientError::Disconnected { peer: peer.clone(), reason, maybe_written }
}

#[derive(Debug)]
enum State {
    Open,
    /// No more requests are taken; the driver has still to end those that are there.
    Closing(End),
    Closed(Closed),
}

/// Why and when a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) reason: DisconnectReason,
    pub(crate) at: Instant,
}

#[derive(Debug)]
struct Queue {
    state: State,
    inflight: InFlight<Waiter>,
    /// Requests that the driver has not taken yet, in the order in which they were registered.
    outbound: VecDeque<(i32, Vec<Bytes>)>,
    /// When a request was last put in or answered.
    last_used: Instant,
}

/// What the callers of a connection and its driver share.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    client_id: String,
    queue: Mutex<Queue>,
    /// The driver's.
    pub(super) waker: AtomicWaker,
    next_id: AtomicI32,
    max_frame: AtomicUsize,
}

impl Link {
    pub(super) fn new(peer: Peer, client_id: &str, max_frame: usize) -> Arc<Self> {
        Arc::new(Self {
            peer,
            client_id: client_id.to_owned(),
            queue: Mutex::new(Queue {
                state: State::Open,
                inflight: InFlight::new(),
                outbound: VecDeque::new(),
                last_used: Instant::now(),
            }),
            waker: AtomicWaker::new(),
            next_id: AtomicI32::new(0),
            max_frame: AtomicUsize::new(max_frame),
        })
    }

    /// The longest frame that is accepted at present.
    pub(super) fn max_frame(&self) -> usize {
        self.max_frame.load(Ordering::Relaxed)
    }

    pub(super) fn set_max_frame(&self, max: usize) {
        self.max_frame.store(max, Ordering::Relaxed);
    }

    // For callers.

    /// Queues a request: when this returns, its place is fixed, and nothing but the connection's
    /// end takes it out again.
    pub(super) fn submit<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
        answered: bool,
    ) -> Result<oneshot::Receiver<Result<Bytes, ClientError>>, ClientError> {
        let api = api_name::<R>();
        // Ids need not be in order, only distinct among those in flight; so encoding needs no lock.
        let correlation_id = self.next_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let pieces = encode_request(correlation_id, Some(&self.client_id), request, version)
            .map_err(|error| ClientError::Encode {
                api,
                peer: self.peer.clone(),
                cause: error.to_string().into(),
            })?;
        let (waiter, answer) = oneshot::channel();
        let now = Instant::now();
        let deadline = now + timeout;
        {
            let mut queue = self.queue.lock();
            match &queue.state {
                State::Open => {}
                State::Closing(end) => return Err(disconnected(&self.peer, end.reason(), false)),
                State::Closed(closed) => {
                    return Err(disconnected(&self.peer, closed.reason.clone(), false));
                }
            }
            queue.last_used = now;
            let registered = Registered { correlation_id, api, timeout, deadline, answered };
            queue.inflight.register(registered, waiter);
            queue.outbound.push_back((correlation_id, pieces));
        }
        self.waker.wake();
        Ok(answer)
    }

    /// Asks the driver to end the connection; only the first reason counts.
    pub(super) fn close(&self, end: End) {
        {
            let mut queue = self.queue.lock();
            if matches!(queue.state, State::Open) {
                queue.state = State::Closing(end);
            }
        }
        self.waker.wake();
    }

    /// How many requests have not ended.
    pub(super) fn in_flight(&self) -> usize {
        self.queue.lock().inflight.len()
    }

    /// Whether requests are still taken.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.queue.lock().state, State::Open)
    }

    /// Why no more requests are taken, if so, and since when.
    pub(super) fn closed(&self) -> Option<Closed> {
        match &self.queue.lock().state {
            State::Open => None,
            State::Closing(end) => Some(Closed { reason: end.reason(), at: Instant::now() }),
            State::Closed(closed) => Some(closed.clone()),
        }
    }

    // For the driver.

    /// Hands over what has been queued, or says that the connection is to end.
    pub(super) fn take_outbound(&self, mut take: impl FnMut(i32, Vec<Bytes>)) -> Result<(), End> {
        let mut queue = self.queue.lock();
        if let State::Closing(end) = &queue.state {
            return Err(end.clone());
        }
        for (correlation_id, pieces) in queue.outbound.drain(..) {
            take(correlation_id, pieces);
        }
        Ok(())
    }

    /// A request has been written; ends it if it waits for no more.
    pub(super) fn written(&self, correlation_id: i32) {
        let ended = self.queue.lock().inflight.written(correlation_id);
        if let Some((_, waiter)) = ended {
            let _ = waiter.send(Ok(Bytes::new()));
        }
    }

    /// Ends the request that a frame answers. Nobody need be waiting any more.
    pub(super) fn answer(
        &self,
        correlation_id: i32,
        frame: Bytes,
        now: Instant,
    ) -> Result<(), End> {
        let ended = {
            let mut queue = self.queue.lock();
            queue.last_used = now;
            queue.inflight.answer(correlation_id)
        };
        let (_, waiter) = ended.map_err(|mismatch| {
            End::Protocol(ClientError::CorrelationMismatch {
                peer: self.peer.clone(),
                expected: mismatch.expected,
                got: mismatch.got,
            })
        })?;
        let _ = waiter.send(Ok(frame));
        Ok(())
    }

    /// When the driver has to look again although nothing happened.
    pub(super) fn next_deadline(&self, max_idle: Option<Duration>) -> Option<Instant> {
        let queue = self.queue.lock();
        queue.inflight.next_deadline().or_else(|| queue.last_used.checked_add(max_idle?))
    }

    /// Ends the connection if a request is overdue, or if there is none and has been none for
    /// `max_idle`.
    pub(super) fn expire(&self, now: Instant, max_idle: Option<Duration>) -> Result<(), End> {
        let mut queue = self.queue.lock();
        if let Some(late) = queue.inflight.overdue(now) {
            return Err(End::TimedOut(late));
        }
        let idle = max_idle.and_then(|max_idle| queue.last_used.checked_add(max_idle));
        if queue.inflight.is_empty() && idle.is_some_and(|idle| idle <= now) {
            let end = End::Disconnect(DisconnectReason::Idle);
            // Here and not later, so that no request slips in between.
            queue.state = State::Closing(end.clone());
            return Err(end);
        }
        Ok(())
    }

    /// Ends every request, oldest first. `untouched` are those that the driver has taken and the
    /// socket has not.
    pub(super) fn finish(&self, end: &End, untouched: impl Iterator<Item = i32>, now: Instant) {
        let (unfinished, queued) = {
            let mut queue = self.queue.lock();
            if matches!(queue.state, State::Closed(_)) {
                return;
            }
            queue.state = State::Closed(Closed { reason: end.reason(), at: now });
            (queue.inflight.drain(), std::mem::take(&mut queue.outbound))
        };
        // Both are in the order of registration, so one walk tells which requests never left.
        let mut unsent = untouched.chain(queued.iter().map(|(id, _)| *id)).peekable();
        for (request, waiter) in unfinished {
            let never_left = unsent.next_if_eq(&request.correlation_id).is_some();
            let _ = waiter.send(Err(end.error_for(&request, !never_left, &self.peer)));
        }
    }
}

/// The name of an API, for errors.
pub(crate) fn api_name<R: Request>() -> &'static str {
    R::API.name().unwrap_or(R::NAME)
}
