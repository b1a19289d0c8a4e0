//! Cuts the bytes that a broker sends into frames: a length of four bytes, then that many bytes.
//!
//! A length is not believed beyond a limit, and below it memory grows as bytes arrive, not as the
//! length promises: a TLS alert read as a length asks for 336 MiB (KAFKA-4090). It knows nothing of
//! what is inside a frame.

use crate::protocol::frame::{FrameError, LENGTH_SIZE, frame_length};
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes that have arrived and do not make a whole frame yet.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    buf: BytesMut,
    /// The length of the frame being received, once known; its four bytes are no longer in `buf`.
    length: Option<usize>,
}

/// What a read asks for at least; many small answers fit.
const READ: usize = 16 * 1024;
/// Below this there is no point in reading; a new buffer is begun.
const SPARE: usize = 1024;
/// A frame of up to this size gets its whole room at once, a larger one as it arrives.
const EAGER: usize = 256 * 1024;

impl FrameReader {
    /// The next whole frame, without its length; `None` if more bytes are needed.
    pub(super) fn next(&mut self, max: usize) -> Result<Option<Bytes>, FrameError> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(prefix) = self.buf.first_chunk() else { return Ok(None) };
                let length = frame_length(*prefix, max)?;
                self.buf.advance(LENGTH_SIZE);
                *self.length.insert(length)
            }
        };
        if self.buf.len() < length {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.buf.split_to(length).freeze()))
    }

    /// Reads what is there, once. `Ready(Ok(0))` is the end of the stream.
    pub(super) fn poll_fill<T: AsyncRead + Unpin + ?Sized>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.reserve();
        // The future keeps nothing between polls, so a new one each time loses nothing.
        pin!(io.read_buf(&mut self.buf)).poll(cx)
    }

    /// Whether the stream could end here without cutting a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.length.is_none() && self.buf.is_empty()
    }

    fn reserve(&mut self) {
        let have = self.buf.len();
        let spare = self.buf.capacity() - have;
        match self.length {
            None if spare < SPARE => self.buf.reserve(READ),
            None => {}
            Some(length) => {
                let missing = length.saturating_sub(have);
                // Doubling: what is reserved stays in proportion to what has come.
                if spare < missing.min(SPARE) {
                    self.buf.reserve(missing.min(have.max(EAGER)));
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buf.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100 * 1024 * 1024;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        frame
    }

    async fn read_all(chunks: Vec<Vec<u8>>, max: usize) -> Result<Vec<Bytes>, FrameError> {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                std::future::poll_fn(|cx| reader.poll_fill(&mut rest, cx)).await.unwrap();
                while let Some(frame) = reader.next(max)? {
                    frames.push(frame);
                }
            }
        }
        Ok(frames)
    }

    #[tokio::test]
    async fn frames_come_out_whole_however_the_bytes_are_cut() {
        let bodies: [&[u8]; 3] = [b"abcd", b"efghijk", b"lmnop"];
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let chunks = vec![
                    stream[..first].to_vec(),
                    stream[first..second].to_vec(),
                    stream[second..].to_vec(),
                ];
                assert_eq!(read_all(chunks, MAX).await.unwrap(), bodies);
            }
        }
    }

    #[tokio::test]
    async fn a_large_frame_comes_out_whole() {
        let body: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        assert_eq!(read_all(vec![frame(&body)], MAX).await.unwrap(), [Bytes::from(body)]);
    }

    #[tokio::test]
    async fn lengths_that_cannot_be_say_what_they_are() {
        let cases: [(&[u8], FrameError); 5] = [
            (b"HTTP/1.1 400 Bad Request\r\n", FrameError::NotKafka("HTTP")),
            (&[0x15, 3, 3, 0, 2, 2, 22], FrameError::NotKafka("TLS")),
            (&[0x16, 3, 1, 0, 2, 2, 22], FrameError::NotKafka("TLS")),
            (&[0xff, 0xff, 0xff, 0xff], FrameError::Negative(-1)),
            (&[0, 1, 0, 1], FrameError::TooLarge { length: 65537, max: 65536 }),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read_all(vec![bytes.to_vec()], 65536).await, Err(expected));
        }
    }

    #[tokio::test]
    async fn memory_follows_the_bytes_received_and_not_the_length() {
        let mut reader = FrameReader::default();
        let mut bytes = u32::try_from(MAX).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(&[7; 1000]);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            std::future::poll_fn(|cx| reader.poll_fill(&mut rest, cx)).await.unwrap();
            assert_eq!(reader.next(MAX), Ok(None));
        }
        reader.reserve();
        assert!(reader.capacity() <= 2 * EAGER, "{} B", reader.capacity());

        let chunk = vec![7; 1_000_000];
        let mut received = 1000;
        for _ in 0..20 {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                std::future::poll_fn(|cx| reader.poll_fill(&mut rest, cx)).await.unwrap();
                assert_eq!(reader.next(MAX), Ok(None));
            }
            received += chunk.len();
            assert!(reader.capacity() <= 3 * received, "{} of {received}", reader.capacity());
        }
    }

    #[tokio::test]
    async fn random_bytes_end_in_frames_or_an_error_within_the_limit() {
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let chunks = (0..random.usize(1..8))
                .map(|_| (0..random.usize(0..300)).map(|_| random.u8(..) & random.u8(..)).collect())
                .collect();
            if let Ok(frames) = read_all(chunks, 4096).await {
                assert!(frames.iter().all(|frame| frame.len() <= 4096));
            }
        }
    }
}
