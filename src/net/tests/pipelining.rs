//! Many requests on one connection: their order, which answer belongs to whom, and bytes that come
//! and go in pieces of any size.

use super::*;
use crate::protocol::messages::produce::ProduceResponse;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

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
        let calls = [connection.call(&metadata(), TIMEOUT), connection.call(&metadata(), TIMEOUT)];
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
