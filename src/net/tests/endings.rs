//! How a connection ends (by the other side, by time-outs, by answers that make no sense, by
//! idleness, by being dropped), and what each of its requests is told: whether it may have been
//! carried out.

use super::*;
use crate::error::DisconnectReason;
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// A stream that breaks at the next write once there are last words, which can then be read.
struct Breaking {
    io: DuplexStream,
    last_words: Arc<Mutex<Option<Vec<u8>>>>,
    broken: bool,
}

impl AsyncRead for Breaking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.broken {
            buf.put_slice(&self.last_words.lock().take().unwrap_or_default());
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let breaks = self.last_words.lock().is_some();
        self.broken = breaks;
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

fn disconnected(error: &ClientError) -> (&DisconnectReason, bool) {
    match error {
        ClientError::Disconnected { reason, maybe_written, .. } => (reason, *maybe_written),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_ends_every_request_once_and_says_which_may_have_left() {
    let (connection, broker) = connected(&settings(), 256).await;
    let version = connection.version_up_to::<ProduceRequest>(9).unwrap();
    let large = Bytes::from(vec![1; 1000]);
    let first = connection.call(&metadata(), TIMEOUT);
    let second = connection.call_at(&produce(large), version, TIMEOUT);
    tokio::task::yield_now().await;
    // The stream is full of the second one; this one waits behind it.
    let third = connection.call(&metadata(), TIMEOUT);
    tokio::task::yield_now().await;
    drop(broker);
    let errors = [first.await.unwrap_err(), second.await.unwrap_err(), third.await.unwrap_err()];
    assert!(disconnected(&errors[0]).1 && disconnected(&errors[1]).1, "{errors:?}");
    assert!(!disconnected(&errors[2]).1, "{errors:?}");
    assert!(errors[0].to_string().contains("may have been carried out"), "{}", errors[0]);
    assert!(errors[2].to_string().contains("had not been sent"), "{}", errors[2]);
    connection.ended().await;
    let late = connection.call(&metadata(), TIMEOUT).await.unwrap_err();
    assert!(!disconnected(&late).1 && !late.maybe_written());
    assert!(!connection.is_open() && connection.in_flight() == 0);
}

#[tokio::test(start_paused = true)]
async fn answers_that_came_before_the_end_count() {
    let (connection, mut broker) = connected(&settings(), ROOM).await;
    let calls = [connection.call(&metadata(), TIMEOUT), connection.call(&metadata(), TIMEOUT)];
    let request = broker.expect().await;
    broker.answer(&request, &numbered(1)).await;
    drop(broker);
    let [first, second] = calls;
    assert_eq!(controller(first.await), 1);
    let error = second.await.unwrap_err();
    assert_eq!(disconnected(&error), (&DisconnectReason::ClosedByPeer, true));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_when_writing_fails_counts() {
    let (ours, theirs) = tokio::io::duplex(ROOM);
    let mut broker = FakeBroker::new(theirs);
    let last_words = Arc::new(Mutex::new(None));
    let io = Breaking { io: ours, last_words: last_words.clone(), broken: false };
    let settings = settings();
    let (connection, ()) = tokio::join!(open_over(io, &settings), broker.introduce());
    let connection = connection.unwrap();
    let first = connection.call(&metadata(), TIMEOUT);
    *last_words.lock() = Some(broker.expect().await.answer(&numbered(1)));
    let second = connection.call(&metadata(), TIMEOUT);
    assert_eq!(controller(first.await), 1);
    assert!(disconnected(&second.await.unwrap_err()).1);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_says_so() {
    let (connection, mut broker) = connected(&settings(), ROOM).await;
    let call = connection.call(&metadata(), TIMEOUT);
    let answer = broker.expect().await.answer(&numbered(1));
    broker.send(&answer[..answer.len() - 1]).await;
    drop(broker);
    let error = call.await.unwrap_err();
    assert_eq!(disconnected(&error), (&DisconnectReason::ClosedMidResponse, true));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_ends_the_connection_and_all_requests_on_it() {
    let (connection, mut broker) = connected(&settings(), ROOM).await;
    let start = Instant::now();
    let patient = connection.call(&metadata(), Duration::from_secs(60));
    let hasty = connection.call(&metadata(), Duration::from_secs(5));
    let _requests = [broker.expect().await, broker.expect().await];
    let error = hasty.await.unwrap_err();
    let after = Duration::from_secs(5);
    let expected =
        ClientError::RequestTimeout { api: "Metadata", peer: peer(), after, maybe_written: true };
    assert_eq!(error, expected);
    let error = patient.await.unwrap_err();
    let reason = DisconnectReason::RequestTimedOut { api: "Metadata", after };
    assert_eq!(disconnected(&error), (&reason, true));
    assert_eq!(start.elapsed(), after);
    assert!(broker.next().await.is_none(), "the socket is still open");
}

#[tokio::test(start_paused = true)]
async fn a_shorter_deadline_behind_a_longer_one_is_kept() {
    let (connection, mut broker) = connected(&settings(), ROOM).await;
    let long = connection.call(&metadata(), Duration::from_secs(60));
    let request = broker.expect().await;
    let start = Instant::now();
    let short = connection.call(&metadata(), Duration::from_secs(2));
    broker.answer(&request, &numbered(1)).await;
    assert_eq!(controller(long.await), 1);
    assert!(matches!(short.await, Err(ClientError::RequestTimeout { .. })));
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_correlation_id_ends_the_connection() {
    let (connection, mut broker) = connected(&settings(), ROOM).await;
    let calls = [connection.call(&metadata(), TIMEOUT), connection.call(&metadata(), TIMEOUT)];
    let first = broker.expect().await.correlation_id;
    let second = broker.expect().await;
    broker.answer(&second, &numbered(2)).await;
    let got = second.correlation_id;
    for call in calls {
        let expected =
            ClientError::CorrelationMismatch { peer: peer(), expected: Some(first), got };
        let error = call.await.unwrap_err();
        assert!(error.maybe_written());
        assert_eq!(error, expected);
    }
    assert!(broker.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_asked_for_ends_the_connection() {
    let (connection, mut broker) = connected(&settings(), ROOM).await;
    broker.send(&[0, 0, 0, 4, 0, 0, 0, 99]).await;
    connection.ended().await;
    let reason = connection.end().unwrap().reason;
    assert!(matches!(&reason, DisconnectReason::Protocol(text) if text.contains("99")));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_makes_no_sense_ends_the_connection() {
    let (connection, mut broker) = connected(&settings(), ROOM).await;
    let call = connection.call(&metadata(), TIMEOUT);
    let next = connection.call(&metadata(), TIMEOUT);
    let request = broker.expect().await;
    let mut answer = request.answer(&numbered(1));
    answer.truncate(12);
    answer[..4].copy_from_slice(&8_u32.to_be_bytes());
    broker.send(&answer).await;
    let error = call.await.unwrap_err();
    assert!(matches!(&error, ClientError::Decode { .. }) && error.maybe_written(), "{error:?}");
    assert!(next.await.is_err() && !connection.is_open());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let idle = Duration::from_secs(100);
    let settings = ConnectionSettings { max_idle: Some(idle), ..settings() };
    let (connection, mut broker) = connected(&settings, ROOM).await;
    // The second is longer on its way than a connection may be idle, and the clock is looked at
    // in between, at the deadline of the first.
    let calls = [connection.call(&metadata(), idle * 2), connection.call(&metadata(), idle * 4)];
    for (n, call) in (1..).zip(calls) {
        let request = broker.expect().await;
        tokio::time::sleep(if n == 1 { idle / 2 } else { idle * 3 }).await;
        broker.answer(&request, &numbered(1)).await;
        assert_eq!(controller(call.await), 1);
    }
    let answered = Instant::now();
    connection.ended().await;
    assert_eq!(answered.elapsed(), idle);
    assert_eq!(connection.end().unwrap().reason, DisconnectReason::Idle);
    assert!(broker.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_an_idle_connection_stays() {
    let settings = ConnectionSettings { max_idle: None, ..settings() };
    let (connection, mut broker) = connected(&settings, ROOM).await;
    tokio::time::sleep(Duration::from_secs(100_000)).await;
    let call = connection.call(&metadata(), TIMEOUT);
    let request = broker.expect().await;
    broker.answer(&request, &numbered(1)).await;
    assert_eq!(controller(call.await), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_connection_ends_it_and_its_requests() {
    let (connection, mut broker) = connected(&settings(), ROOM).await;
    let call = connection.call(&metadata(), TIMEOUT);
    let request = broker.expect().await;
    let ended = connection.ended();
    drop(connection);
    let error = call.await.unwrap_err();
    assert_eq!(disconnected(&error), (&DisconnectReason::ClosedByClient, true));
    ended.await;
    assert_eq!(request.api, ApiKey::METADATA);
    assert!(broker.next().await.is_none());
}
