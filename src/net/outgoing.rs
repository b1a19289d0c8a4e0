//! Requests on their way into the socket, in order, as the pieces they were encoded into.
//!
//! The pieces of several requests go into one vectored write; nothing is copied. It knows which
//! requests the socket has begun to take, since one that it has not cannot have reached the broker.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// How many pieces one write takes at most; systems take 1,024, but the array is on the stack.
const MAX_PIECES: usize = 64;

#[derive(Debug)]
struct Unfinished {
    correlation_id: i32,
    size: usize,
    left: usize,
    begun: bool,
}

/// What is still to be written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pieces: VecDeque<Bytes>,
    requests: VecDeque<Unfinished>,
}

impl Outgoing {
    pub(super) fn push(&mut self, correlation_id: i32, pieces: impl IntoIterator<Item = Bytes>) {
        let mut size: usize = 0;
        for piece in pieces {
            if !piece.is_empty() {
                size = size.saturating_add(piece.len());
                self.pieces.push_back(piece);
            }
        }
        self.requests.push_back(Unfinished { correlation_id, size, left: size, begun: false });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Writes once, as much as the socket takes, and calls `written` for each request whose last
    /// byte it took, with its size. Gives how many bytes it took.
    pub(super) fn poll_write<T: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
        written: impl FnMut(i32, usize),
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_PIECES];
        let mut offered = 0;
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            offered += piece.len();
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or_default();
        match ready!(Pin::new(io).poll_write_vectored(cx, slices)) {
            Ok(0) if offered > 0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(taken) => {
                mark_begun(&mut self.requests, taken);
                self.advance(taken, written);
                Poll::Ready(Ok(taken))
            }
            Err(error) => {
                // A layer such as TLS may have passed on some of it before it failed.
                mark_begun(&mut self.requests, offered);
                Poll::Ready(Err(error))
            }
        }
    }

    /// The requests of which the socket has certainly taken nothing, in order.
    pub(super) fn untouched(&self) -> impl Iterator<Item = i32> + '_ {
        self.requests.iter().filter(|request| !request.begun).map(|request| request.correlation_id)
    }

    fn advance(&mut self, mut taken: usize, mut written: impl FnMut(i32, usize)) {
        let mut pieces_taken = taken;
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > pieces_taken {
                piece.advance(pieces_taken);
                break;
            }
            pieces_taken -= piece.len();
            self.pieces.pop_front();
        }
        while let Some(request) = self.requests.front_mut() {
            if request.left > taken {
                request.left -= taken;
                break;
            }
            taken -= request.left;
            written(request.correlation_id, request.size);
            self.requests.pop_front();
        }
    }
}

fn mark_begun(requests: &mut VecDeque<Unfinished>, mut bytes: usize) {
    for request in requests {
        if bytes == 0 {
            break;
        }
        request.begun = true;
        bytes = bytes.saturating_sub(request.left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a given number of bytes per write, then says that it is full once.
    struct Trickle {
        step: usize,
        full: bool,
        got: Vec<u8>,
    }

    impl AsyncWrite for Trickle {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.full = !self.full;
            if self.full {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            let taken = all.len().min(self.step);
            self.got.extend_from_slice(&all[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn pieces(pieces: &[&'static [u8]]) -> Vec<Bytes> {
        pieces.iter().map(|piece| Bytes::from_static(piece)).collect()
    }

    #[tokio::test]
    async fn every_size_of_partial_write_gives_the_same_bytes() {
        for step in 1..=20 {
            let mut outgoing = Outgoing::default();
            outgoing.push(1, pieces(&[b"head", b"", b"batch", b"t"]));
            outgoing.push(2, pieces(&[b"second"]));
            let mut io = Trickle { step, full: false, got: Vec::new() };
            let mut ended = Vec::new();
            while !outgoing.is_empty() {
                std::future::poll_fn(|cx| {
                    outgoing.poll_write(&mut io, cx, |id, _| ended.push((id, 0)))
                })
                .await
                .unwrap();
                for end in ended.iter_mut().filter(|end| end.1 == 0) {
                    end.1 = io.got.len();
                }
            }
            assert_eq!(io.got, b"headbatchtsecond", "step {step}");
            assert_eq!(ended.iter().map(|end| end.0).collect::<Vec<_>>(), [1, 2]);
            assert!(ended[0].1 >= 10 && ended[1].1 == 16, "step {step}: {ended:?}");
        }
    }

    #[tokio::test]
    async fn more_pieces_than_one_write_takes() {
        let mut outgoing = Outgoing::default();
        for id in 0..100 {
            outgoing.push(id, pieces(&[b"ab", b"c"]));
        }
        let mut io = Trickle { step: usize::MAX, full: true, got: Vec::new() };
        let write = |outgoing: &mut Outgoing, io: &mut Trickle| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            outgoing.poll_write(io, &mut cx, |_, _| {})
        };
        assert!(write(&mut outgoing, &mut io).is_ready());
        assert_eq!(outgoing.untouched().collect::<Vec<_>>(), (32..100).collect::<Vec<_>>());
        while !outgoing.is_empty() {
            let _ = write(&mut outgoing, &mut io);
        }
        assert_eq!(io.got, b"abc".repeat(100));
    }
}
