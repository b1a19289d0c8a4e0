//! A connection against a scripted server over an in-memory stream.

use super::connection::MAX_FIRST_FRAME;
use super::testing::{
    FakeBroker, all_apis, apis_with, connected, meter, open_over, peer, settings,
};
use super::{Connection, ConnectionSettings, connect_fn};
use crate::error::{ClientError, DisconnectReason, ErrorCode, VersionSpan};
use crate::protocol::ApiKey;
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use crate::protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseTopic,
};
use crate::protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use crate::time::{Duration, Instant};
use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

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

/// A stream that takes and gives one byte at a time and is never ready twice in a row.
struct Bytewise {
    io: DuplexStream,
    read_rested: bool,
    write_rested: bool,
}

/// Every other time there is a pause.
fn rest(rested: &mut bool, cx: &mut Context<'_>) -> bool {
    *rested = !*rested;
    if *rested {
        cx.waker().wake_by_ref();
    }
    *rested
}

impl AsyncRead for Bytewise {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if rest(&mut self.read_rested, cx) {
            return Poll::Pending;
        }
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        let polled = Pin::new(&mut self.io).poll_read(cx, &mut one);
        buf.put_slice(one.filled());
        polled
    }
}

impl AsyncWrite for Bytewise {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if rest(&mut self.write_rested, cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write(cx, &buf[..1.min(buf.len())])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

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

mod pipelining {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_leave_in_order_without_waiting_for_answers() {
        let (connection, mut broker) = connected(&settings(), ROOM).await;
        // Not polled: a call has its place when it returns.
        let calls: Vec<_> = (0..20).map(|_| connection.call(&metadata(), TIMEOUT)).collect();
        assert_eq!(connection.in_flight(), 20);
        let mut requests = Vec::new();
        for _ in 0..20 {
            requests.push(broker.expect().await);
        }
        let ids: Vec<_> = requests.iter().map(|request| request.correlation_id).collect();
        assert!(ids.is_sorted() && requests[0].client_id.as_deref() == Some("tester"), "{ids:?}");
        // All answers in one piece.
        let answers = (0..).zip(&requests).flat_map(|(n, request)| request.answer(&numbered(n)));
        broker.send(&answers.collect::<Vec<_>>()).await;
        for (n, call) in (0..).zip(calls) {
            assert_eq!(controller(call.await), n);
        }
        assert_eq!(connection.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_takes_its_course_and_the_next_gets_its_own_answer() {
        let (connection, mut broker) = connected(&settings(), ROOM).await;
        let first = connection.call(&metadata(), TIMEOUT);
        let second = connection.call(&metadata(), TIMEOUT);
        drop(first);
        for n in 1..=2 {
            let request = broker.expect().await;
            broker.answer(&request, &numbered(n)).await;
        }
        assert_eq!(controller(second.await), 2);
        assert!(connection.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn one_byte_at_a_time_in_both_directions() {
        let (ours, theirs) = tokio::io::duplex(7);
        let mut broker = FakeBroker::new(theirs);
        let io = Bytewise { io: ours, read_rested: false, write_rested: false };
        let settings = settings();
        let (connection, ()) = tokio::join!(open_over(io, &settings), broker.introduce());
        let connection = connection.unwrap();
        let records = Bytes::from((0..5000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>());
        let version = connection.version_up_to::<ProduceRequest>(9).unwrap();
        let call = connection.call_at(&produce(records.clone()), version, TIMEOUT);
        let mut request = broker.expect().await;
        let seen = request.read::<ProduceRequest>();
        assert_eq!(seen.topic_data[0].partition_data[0].records, Some(records));
        broker.answer(&request, &ProduceResponse::default()).await;
        call.await.unwrap();
    }

    /// Cuts an answer into two pieces at every place, with time between them.
    #[tokio::test(start_paused = true)]
    async fn answers_cut_at_every_place() {
        let (connection, mut broker) = connected(&settings(), ROOM).await;
        let mut cut = 0;
        loop {
            let calls =
                [connection.call(&metadata(), TIMEOUT), connection.call(&metadata(), TIMEOUT)];
            let mut answers = Vec::new();
            for n in 1..=2 {
                answers.extend(broker.expect().await.answer(&numbered(n)));
            }
            let (first, second) = answers.split_at(cut);
            broker.send(first).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            broker.send(second).await;
            let [one, two] = calls;
            assert_eq!((controller(one.await), controller(two.await)), (1, 2), "cut at {cut}");
            cut += 1;
            if cut > answers.len() {
                break;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_gets_all_bytes_in_order() {
        let (connection, mut broker) = connected(&settings(), 64).await;
        let version = connection.version_up_to::<ProduceRequest>(9).unwrap();
        let calls: Vec<_> = (0..10_u8)
            .map(|n| {
                let records = Bytes::from(vec![n; 1000 + usize::from(n)]);
                connection.call_at(&produce(records), version, TIMEOUT)
            })
            .collect();
        for n in 0..10_u8 {
            let mut request = broker.expect().await;
            let records = request.read::<ProduceRequest>().topic_data[0].partition_data[0]
                .records
                .clone()
                .unwrap();
            assert_eq!(records, vec![n; 1000 + usize::from(n)]);
            broker.answer(&request, &ProduceResponse::default()).await;
        }
        for call in calls {
            call.await.unwrap();
        }
    }
}

mod without_answer {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_send_ends_when_it_is_written() {
        let (connection, mut broker) = connected(&settings(), 64).await;
        let version = connection.version_up_to::<ProduceRequest>(9).unwrap();
        let mut send = connection.send_at(&produce(Bytes::from(vec![1; 1000])), version, TIMEOUT);
        let call = connection.call(&metadata(), TIMEOUT);
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The stream holds 64 bytes, so it cannot have been written.
        assert!((&mut send).now_or_never().is_none());
        assert_eq!(broker.expect().await.api, ApiKey::PRODUCE);
        send.await.unwrap();
        let request = broker.expect().await;
        broker.answer(&request, &numbered(5)).await;
        assert_eq!(controller(call.await), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_send_that_cannot_be_written_times_out() {
        let (connection, _broker) = connected(&settings(), 64).await;
        let version = connection.version_up_to::<ProduceRequest>(9).unwrap();
        let records = Bytes::from(vec![1; 1000]);
        let error = connection.send_at(&produce(records), version, TIMEOUT).await.unwrap_err();
        assert!(
            matches!(error, ClientError::RequestTimeout { maybe_written: true, .. }),
            "{error:?}"
        );
    }
}

mod endings {
    use super::*;

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
        let errors =
            [first.await.unwrap_err(), second.await.unwrap_err(), third.await.unwrap_err()];
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
        let expected = ClientError::RequestTimeout {
            api: "Metadata",
            peer: peer(),
            after,
            maybe_written: true,
        };
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
        let calls =
            [connection.call(&metadata(), idle * 2), connection.call(&metadata(), idle * 4)];
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
}

mod opening {
    use super::*;

    /// What comes of connecting to a server that says `bytes`, then closes or not.
    async fn greeted_by(bytes: &[u8], close: bool) -> (ClientError, FakeBroker) {
        let (ours, theirs) = tokio::io::duplex(ROOM);
        let mut broker = FakeBroker::new(theirs);
        let settings = settings();
        let (result, broker) = tokio::join!(open_over(ours, &settings), async {
            let _request = broker.expect().await;
            broker.send(bytes).await;
            if close {
                tokio::io::AsyncWriteExt::shutdown(&mut broker.write).await.unwrap();
            }
            broker
        });
        (result.unwrap_err(), broker)
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_are_not_kafka_are_named() {
        let cases: [(&[u8], &str); 3] = [
            (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "HTTP"),
            (&[0x15, 3, 3, 0, 2, 2, 22], "TLS"),
            (&[0x16, 3, 1, 0, 200, 1, 0], "TLS"),
        ];
        for (bytes, protocol) in cases {
            let (error, mut broker) = greeted_by(bytes, false).await;
            assert_eq!(error, ClientError::NotKafka { peer: peer(), protocol });
            assert!(error.to_string().contains("check the port"), "{error}");
            assert!(broker.next().await.is_none(), "the socket is still open");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_greeting_before_anything_was_asked_is_named_too() {
        let (ours, theirs) = tokio::io::duplex(ROOM);
        let mut server = FakeBroker::new(theirs);
        server.send(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        let error = open_over(ours, &settings()).await.unwrap_err();
        assert_eq!(error, ClientError::NotKafka { peer: peer(), protocol: "SSH" });
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_frame_may_be_small_only() {
        let length = u32::try_from(MAX_FIRST_FRAME).unwrap() + 1;
        let (error, _) = greeted_by(&length.to_be_bytes(), false).await;
        let (len, max) = (u64::from(length), MAX_FIRST_FRAME as u64);
        assert_eq!(error, ClientError::FrameTooLarge { peer: peer(), len, max });
    }

    #[tokio::test(start_paused = true)]
    async fn afterwards_the_limit_is_the_configured_one() {
        let settings = ConnectionSettings { max_frame: 200_000, ..settings() };
        let (connection, mut broker) = connected(&settings, ROOM).await;
        let call = connection.call(&metadata(), TIMEOUT);
        let request = broker.expect().await;
        let large = MetadataResponseTopic {
            name: Some("x".repeat(30_000)),
            ..MetadataResponseTopic::default()
        };
        let response = MetadataResponse { topics: vec![large; 5], ..MetadataResponse::default() };
        broker.answer(&request, &response).await;
        assert_eq!(call.await.unwrap(), response);
        let call = connection.call(&metadata(), TIMEOUT);
        let _request = broker.expect().await;
        broker.send(&200_001_u32.to_be_bytes()).await;
        let (len, max) = (200_001, 200_000);
        assert_eq!(call.await, Err(ClientError::FrameTooLarge { peer: peer(), len, max }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_up_is_told_from_one_that_breaks_off() {
        let (error, _) = greeted_by(b"", true).await;
        assert!(error.to_string().contains("without TLS and SASL"), "{error}");
        let (error, _) = greeted_by(&[0, 0, 0, 60, 0, 0], true).await;
        assert!(error.to_string().contains("in the middle of a response"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn random_bytes_give_an_error_within_the_request_timeout() {
        let start = Instant::now();
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
            if random.bool() && bytes.len() > 4 {
                // Random contents of a frame that is in order.
                let length = u32::try_from(bytes.len() - 4).unwrap();
                bytes[..4].copy_from_slice(&length.to_be_bytes());
            }
            let (error, _) = greeted_by(&bytes, random.bool()).await;
            assert!(!error.to_string().is_empty());
        }
        assert!(start.elapsed() <= settings().request_timeout * 200);
    }

    /// Random contents under the right correlation id, and whole answers with a few bytes changed.
    #[tokio::test(start_paused = true)]
    async fn random_answers_give_an_answer_or_an_error() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (connection, mut broker) = connected(&settings(), ROOM).await;
            let call = connection.call(&metadata(), TIMEOUT);
            let next = connection.call(&metadata(), TIMEOUT);
            let request = broker.expect().await;
            let mut answer = request.answer(&numbered(1));
            if random.bool() {
                answer.truncate(8);
                answer.extend((0..random.usize(0..100)).map(|_| random.u8(..)));
                let length = u32::try_from(answer.len() - 4).unwrap();
                answer[..4].copy_from_slice(&length.to_be_bytes());
            } else {
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(8..answer.len());
                    answer[at] = random.u8(..);
                }
            }
            broker.send(&answer).await;
            match call.await {
                Ok(_) => assert!(connection.is_open(), "seed {seed}"),
                Err(error) => {
                    assert!(matches!(error, ClientError::Decode { .. }), "seed {seed}: {error:?}");
                    assert_eq!(next.await.unwrap_err(), error, "seed {seed}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up_after_the_request_timeout() {
        let start = Instant::now();
        let (error, _) = greeted_by(b"", false).await;
        assert!(matches!(error, ClientError::RequestTimeout { api: "ApiVersions", .. }));
        assert_eq!(start.elapsed(), settings().request_timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connector_that_hangs_is_given_up_after_the_set_up_timeout() {
        let connector = connect_fn(|_, _| std::future::pending());
        let after = Duration::from_secs(10);
        let error =
            Connection::open(&connector, peer(), &settings(), after, meter()).await.unwrap_err();
        assert_eq!(error, ClientError::SetupTimeout { peer: peer(), after });
    }

    #[tokio::test]
    async fn a_refusal_and_a_name_that_does_not_resolve_are_told_apart() {
        let refusing = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = refusing.local_addr().unwrap().port();
        drop(refusing);
        let tcp = crate::net::TcpConnector::default();
        let refused = crate::error::Peer::new(None, "127.0.0.1", port);
        let error =
            Connection::open(&tcp, refused, &settings(), TIMEOUT, meter()).await.unwrap_err();
        assert!(
            matches!(&error, ClientError::Connect { kind: io::ErrorKind::ConnectionRefused, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("bootstrap server 127.0.0.1"), "{error}");
        let unknown = crate::error::Peer::new(None, "no such host", 9092);
        let error =
            Connection::open(&tcp, unknown, &settings(), TIMEOUT, meter()).await.unwrap_err();
        assert!(matches!(error, ClientError::Resolve { .. }), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_the_opening_closes_the_socket() {
        let (ours, theirs) = tokio::io::duplex(ROOM);
        let mut broker = FakeBroker::new(theirs);
        let settings = settings();
        let opening = open_over(ours, &settings);
        let given_up = tokio::time::timeout(Duration::from_secs(1), opening).await;
        assert!(given_up.is_err());
        assert_eq!(broker.expect().await.api, ApiKey::API_VERSIONS);
        assert!(broker.next().await.is_none());
    }
}

mod versions {
    use super::*;

    async fn negotiate(
        answers: Vec<ApiVersionsResponse>,
    ) -> (Result<Arc<Connection>, ClientError>, Vec<i16>) {
        let (ours, theirs) = tokio::io::duplex(ROOM);
        let mut broker = FakeBroker::new(theirs);
        let settings = settings();
        tokio::join!(open_over(ours, &settings), async {
            let mut versions = Vec::new();
            for response in answers {
                let mut request = broker.expect().await;
                versions.push(request.version);
                // A broker answers a version it does not have in version 0.
                if response.error_code == ErrorCode::UNSUPPORTED_VERSION {
                    request.version = 0;
                } else if request.version >= 3 {
                    let said = request.read::<ApiVersionsRequest>();
                    assert_eq!(said.client_software_name, "milena");
                    assert_eq!(said.client_software_version, env!("CARGO_PKG_VERSION"));
                }
                broker.answer(&request, &response).await;
            }
            versions
        })
    }

    fn refusal(api_keys: Vec<ApiVersion>) -> ApiVersionsResponse {
        let error_code = ErrorCode::UNSUPPORTED_VERSION;
        ApiVersionsResponse { error_code, api_keys, ..Default::default() }
    }

    fn own(min_version: i16, max_version: i16) -> Vec<ApiVersion> {
        vec![ApiVersion { api_key: ApiKey::API_VERSIONS.0, min_version, max_version }]
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_version_is_tried_first() {
        let (connection, versions) = negotiate(vec![all_apis()]).await;
        assert_eq!(versions, [4]);
        assert_eq!(connection.unwrap().version::<MetadataRequest>(), Ok(13));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_refuses_says_what_it_has() {
        let (connection, versions) = negotiate(vec![refusal(own(0, 3)), all_apis()]).await;
        assert!(connection.is_ok());
        assert_eq!(versions, [4, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_refuses_without_a_word_gets_version_0() {
        let (connection, versions) = negotiate(vec![refusal(vec![]), all_apis()]).await;
        assert!(connection.is_ok());
        assert_eq!(versions, [4, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_refuses_for_ever_is_given_up() {
        for (answers, tried) in [
            (vec![refusal(vec![]), refusal(vec![])], vec![4, 0]),
            (vec![refusal(own(5, 7))], vec![4]),
            (vec![refusal(own(0, 4))], vec![4]),
            (vec![refusal(own(0, 3)), refusal(own(0, 3))], vec![4, 3]),
        ] {
            let (connection, versions) = negotiate(answers).await;
            let error = connection.unwrap_err();
            assert!(
                matches!(error, ClientError::UnsupportedVersion { api: "ApiVersions", .. }),
                "{error:?}"
            );
            assert_eq!(versions, tried);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_error_code_is_told() {
        let response = ApiVersionsResponse {
            error_code: ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            ..Default::default()
        };
        let error = negotiate(vec![response]).await.0.unwrap_err();
        let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        let (api, subject, message) = ("ApiVersions", Some(peer().to_string().into()), None);
        assert_eq!(error, ClientError::Broker { code, api, subject, message });
    }

    #[tokio::test(start_paused = true)]
    async fn the_version_is_the_highest_that_both_speak() {
        let apis = apis_with(ApiKey::METADATA, 4, 9);
        let connection = negotiate(vec![apis]).await.0.unwrap();
        assert_eq!(connection.version::<MetadataRequest>(), Ok(9));
        assert_eq!(connection.version_up_to::<MetadataRequest>(6), Ok(6));
        let (api, broker) = ("Metadata", Some(VersionSpan { min: 4, max: 9 }));
        let client = VersionSpan { min: 0, max: 3 };
        assert_eq!(
            connection.version_up_to::<MetadataRequest>(3),
            Err(ClientError::UnsupportedVersion { api, peer: peer(), broker, client })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_a_shared_version_says_what_each_side_has() {
        let apis = apis_with(ApiKey::METADATA, 90, 99);
        let connection = negotiate(vec![apis]).await.0.unwrap();
        let error = connection.call(&metadata(), TIMEOUT).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("Metadata") && text.contains("90 to 99"), "{text}");
        assert!(!error.is_retriable() && !error.maybe_written());

        let mut apis = all_apis();
        apis.api_keys.retain(|api| api.api_key != ApiKey::METADATA.0);
        let connection = negotiate(vec![apis]).await.0.unwrap();
        let text = connection.call(&metadata(), TIMEOUT).await.unwrap_err().to_string();
        assert!(text.contains("the broker has none"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_version_cannot_carry_is_an_error_and_leaves_the_connection_alone() {
        let apis = apis_with(ApiKey::FIND_COORDINATOR, 0, 2);
        let (ours, theirs) = tokio::io::duplex(ROOM);
        let mut broker = FakeBroker::new(theirs);
        let settings = settings();
        let (connection, ()) = tokio::join!(open_over(ours, &settings), async {
            let request = broker.expect().await;
            broker.answer(&request, &apis).await;
        });
        let connection = connection.unwrap();
        let batched = FindCoordinatorRequest {
            coordinator_keys: vec!["group".to_owned()],
            ..FindCoordinatorRequest::default()
        };
        let error = connection.call(&batched, TIMEOUT).await.unwrap_err();
        assert!(matches!(&error, ClientError::Encode { api: "FindCoordinator", .. }), "{error:?}");
        let plain = FindCoordinatorRequest { key: "group".to_owned(), ..Default::default() };
        let call = connection.call(&plain, TIMEOUT);
        let request = broker.expect().await;
        let response = FindCoordinatorResponse { node_id: 3, ..Default::default() };
        broker.answer(&request, &response).await;
        assert_eq!(call.await.unwrap().node_id, 3);
    }
}
