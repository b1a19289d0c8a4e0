//! One client's connection to one node: frames in, answers out, in the order of the requests.
//!
//! As in Kafka, the next request of a connection is looked at when the one before is answered; clients that pipeline
//! still gain, since the next frame is there already. Whatever a client sends, at worst its own connection is closed.

use std::io::{self, IoSlice};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::events::Event;
use super::handlers::{self, Close, Reply};
use super::shared::Shared;
use crate::protocol::frame::{LENGTH_SIZE, frame_length};
use crate::types::BrokerId;

/// Holds a frame's length and small frames whole; larger frames are read past it.
const READ_BUFFER: usize = 16 * 1024;
/// What is reserved for a frame before any of it arrived; from there on memory grows with the bytes.
const FIRST_RESERVE: usize = 256 * 1024;
/// The most segments handed to one vectored write.
const MAX_SLICES: usize = 64;

/// Serves a connection until it ends, and says so in the cluster's events.
pub(crate) async fn serve<S>(shared: &Shared, node: BrokerId, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    shared.with(|state| state.events.push(Event::Connected { node }));
    // The event is told however this ends, cancellation included.
    let mut ended = Ended { shared, node, reason: None };
    ended.reason = converse(shared, node, stream).await.err().map(|Close(reason)| reason);
}

struct Ended<'a> {
    shared: &'a Shared,
    node: BrokerId,
    reason: Option<String>,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let event = Event::Disconnected { node: self.node, reason: self.reason.take() };
        self.shared.with(|state| state.events.push(event));
    }
}

/// Ends well when the client closes the connection, with a reason when the node does.
async fn converse<S>(shared: &Shared, node: BrokerId, stream: S) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::with_capacity(READ_BUFFER, stream);
    let mut muted = false;
    while let Some(frame) = read_frame(&mut stream, shared.max_request_bytes).await? {
        let may_be_abandoned = handlers::only_reads(&frame);
        let answer = handlers::answer(shared, node, frame);
        let reply = if may_be_abandoned {
            let Some(reply) = until_closed(&mut stream, answer).await else { return Ok(()) };
            reply
        } else {
            // As in Kafka, a request that was received is applied even if nobody is left to be told.
            answer.await
        };
        let Reply { frame, delay, mute, pause } = reply?;
        muted |= mute;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Some(segments) = frame.filter(|_| !muted)
            && write_all(&mut stream, &segments).await.is_err()
        {
            return Ok(());
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}

/// Awaits an answer, unless the client closes the connection before: a fetch that waits for records is not worth it.
async fn until_closed<S, T>(stream: &mut BufReader<S>, answer: impl Future<Output = T>) -> Option<T>
where
    S: AsyncRead + Unpin,
{
    let mut answer = std::pin::pin!(answer);
    let closed = async {
        match stream.fill_buf().await {
            // More requests are there: whether an end follows them is seen when they are read.
            Ok(bytes) if !bytes.is_empty() => std::future::pending().await,
            Ok(_) | Err(_) => {}
        }
    };
    tokio::select! {
        biased;
        answer = &mut answer => Some(answer),
        () = closed => None,
    }
}

/// The next frame without its length; `None` at the end of the stream, even inside a frame.
async fn read_frame<S>(stream: &mut BufReader<S>, max: usize) -> Result<Option<Bytes>, Close>
where
    S: AsyncRead + Unpin,
{
    let mut prefix = [0; LENGTH_SIZE];
    if stream.read_exact(&mut prefix).await.is_err() {
        return Ok(None);
    }
    let length = frame_length(prefix, max).map_err(|error| Close(error.to_string()))?;
    let mut frame = BytesMut::with_capacity(length.min(FIRST_RESERVE));
    while frame.len() < length {
        let missing = length - frame.len();
        if frame.capacity() == frame.len() {
            frame.reserve(missing.min(frame.len()));
        }
        match (&mut *stream).take(missing as u64).read_buf(&mut frame).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
    Ok(Some(frame.freeze()))
}

async fn write_all<S>(stream: &mut S, segments: &[Bytes]) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let mut slices: Vec<IoSlice<'_>> = segments.iter().map(|bytes| IoSlice::new(bytes)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let some = &rest[..rest.len().min(MAX_SLICES)];
        match stream.write_vectored(some).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut rest, written),
        }
    }
    stream.flush().await
}

#[cfg(test)]
#[path = "connection/tests.rs"]
mod tests;
