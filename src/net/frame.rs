//! Cuts the bytes that a broker sends into frames: a length of four bytes, then that many bytes.
//!
//! A length is not believed beyond a limit, and below it memory grows as bytes arrive, not as the
//! length promises: a TLS alert read as a length asks for 336 MiB (KAFKA-4090). Small frames share
//! a buffer; a large one has its own, which comes back for the next large one when nobody has any
//! of the frame any more. What is inside a frame is not known here.

use crate::protocol::frame::{FrameError, LENGTH_SIZE, frame_length};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes that have arrived and do not make a whole frame yet.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// Buffers of large frames, for the next ones.
    spare: Arc<Spare>,
    /// Nothing but the frame being received, if that is a large one.
    buf: BytesMut,
    /// The length of the frame being received, once known; its four bytes are no longer in `buf`.
    length: Option<usize>,
}

/// The size of a shared buffer, of which a read asks for what is left; many small answers fit.
const READ: usize = 16 * 1024;
/// Below this there is no point in reading; a new buffer is begun.
const SPARE: usize = 1024;
/// A frame of up to this size gets its whole room at once, a larger one as it arrives.
const EAGER: usize = 256 * 1024;
/// When this part of a large frame has come, the rest of its length is believed: from there on its
/// bytes are not moved any more.
const BELIEVED: usize = 4;

/// How many bytes of buffers wait for the next large frames at the most: those of two answers to
/// fetches, one that is being received and one that is being read, with room for more partitions than
/// most clients have.
const SPARE_BYTES: usize = 16 * 1024 * 1024;

/// Buffers that large frames have left behind. Memory that is new has to be zeroed by the system, page
/// by page, which costs as much as receiving into it.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<BytesMut>>);

impl Spare {
    /// A buffer with room for so many bytes; one with more than four times that is not taken.
    fn take(&self, length: usize) -> Option<BytesMut> {
        let mut spare = self.0.lock();
        let fits = |buf: &BytesMut| (length..=length.saturating_mul(4)).contains(&buf.capacity());
        let at = spare.iter().position(fits)?;
        Some(spare.swap_remove(at))
    }

    /// Keeps a buffer; the oldest ones go if they are too much together.
    fn put(&self, mut buf: BytesMut) {
        buf.clear();
        let mut spare = self.0.lock();
        spare.push(buf);
        let mut total: usize = spare.iter().map(BytesMut::capacity).sum();
        while total > SPARE_BYTES && !spare.is_empty() {
            total -= spare.remove(0).capacity();
        }
    }
}

/// The bytes of a large frame, on loan.
struct Loan {
    buf: BytesMut,
    to: Weak<Spare>,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.buf
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(spare) = self.to.upgrade() {
            spare.put(std::mem::take(&mut self.buf));
        }
    }
}

impl FrameReader {
    /// The next whole frame, without its length; `None` if more bytes are needed.
    pub(super) fn next(&mut self, max: usize) -> Result<Option<Bytes>, FrameError> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(prefix) = self.buf.first_chunk() else { return Ok(None) };
                let length = frame_length(*prefix, max)?;
                self.buf.advance(LENGTH_SIZE);
                if length > READ && self.buf.len() < length {
                    self.move_to_own_buffer(length);
                }
                *self.length.insert(length)
            }
        };
        if self.buf.len() < length {
            return Ok(None);
        }
        self.length = None;
        // Splitting would leave a handle on the memory of a large frame behind.
        if self.buf.len() == length && length > READ {
            let loan = Loan { buf: std::mem::take(&mut self.buf), to: Arc::downgrade(&self.spare) };
            return Ok(Some(Bytes::from_owner(loan)));
        }
        Ok(Some(self.buf.split_to(length).freeze()))
    }

    /// Reads what is there, once. `Ready(Ok(0))` is the end of the stream.
    pub(super) fn poll_fill<T: AsyncRead + Unpin + ?Sized>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.reserve();
        // What follows a large frame does not come into its buffer.
        let most = self.missing_of_large().unwrap_or(usize::MAX);
        // The future keeps nothing between polls, so a new one each time loses nothing.
        pin!(io.read_buf(&mut (&mut self.buf).limit(most))).poll(cx)
    }

    /// Whether the stream could end here without cutting a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.length.is_none() && self.buf.is_empty()
    }

    fn reserve(&mut self) {
        let have = self.buf.len();
        let spare = self.buf.capacity() - have;
        match self.length {
            None if spare < SPARE => self.buf.reserve(READ.saturating_sub(have)),
            Some(length) if length > READ && spare == 0 => self.move_to_own_buffer(length),
            Some(length) if length > have + spare && length <= READ => {
                self.buf.reserve(READ - have);
            }
            _ => {}
        }
    }

    /// How much a large frame still lacks; `None` if the frame at hand is not known to be one.
    fn missing_of_large(&self) -> Option<usize> {
        let length = self.length.filter(|length| *length > READ)?;
        length.checked_sub(self.buf.len()).filter(|missing| *missing > 0)
    }

    /// Not by growing the buffer in place, which would double it beyond the frame's length.
    fn move_to_own_buffer(&mut self, length: usize) {
        let have = self.buf.len();
        let believed = have >= length / BELIEVED;
        let room = if believed { length } else { length.min((2 * have).max(EAGER)) };
        let spare = self.spare.take(length);
        let mut own = spare.unwrap_or_else(|| BytesMut::with_capacity(room));
        own.extend_from_slice(&self.buf);
        self.buf = own;
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
            let most = received * BELIEVED + EAGER;
            assert!(reader.capacity() <= most, "{} of {received}", reader.capacity());
        }
    }

    #[tokio::test]
    async fn a_large_frame_takes_no_more_than_its_length_and_leaves_nothing_behind() {
        for length in [READ, READ + 1, EAGER, EAGER + 1, 4 * EAGER + 3, 20_000_000] {
            let mut reader = FrameReader::default();
            let mut largest = 0;
            // A small frame before it and two after it, with which its buffer has nothing to do.
            let bodies = [vec![1; 100], vec![2; length], vec![3; 100], vec![4; 200]];
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let mut rest = &stream[..];
            let mut frames = Vec::new();
            while !rest.is_empty() {
                std::future::poll_fn(|cx| reader.poll_fill(&mut rest, cx)).await.unwrap();
                largest = largest.max(reader.capacity());
                while let Some(frame) = reader.next(MAX).unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, bodies);
            assert!(largest <= length.max(2 * READ), "{largest} for {length}");
            assert!(reader.capacity() <= 2 * READ, "{} after {length}", reader.capacity());
            // Nobody else holds the memory of the large one: it comes back as soon as it is dropped.
            let spare = |reader: &FrameReader| reader.spare.0.lock().len();
            assert_eq!(spare(&reader), 0);
            frames.clear();
            assert_eq!(spare(&reader), usize::from((READ + 1..=SPARE_BYTES).contains(&length)));
        }
    }

    #[tokio::test]
    async fn a_large_frame_takes_the_buffer_of_one_before_it() {
        let mut reader = FrameReader::default();
        for (length, others) in [(4_000_000, 0), (3_900_000, 0), (500_000, 1), (4_000_000, 1)] {
            let stream = frame(&vec![7; length]);
            let mut rest = &stream[..];
            let mut frames = Vec::new();
            while !rest.is_empty() {
                std::future::poll_fn(|cx| reader.poll_fill(&mut rest, cx)).await.unwrap();
                frames.extend(reader.next(MAX).unwrap());
            }
            assert_eq!(frames[0].len(), length);
            assert_eq!(reader.spare.0.lock().len(), others, "{length}");
        }
    }

    #[test]
    fn spare_buffers_have_a_limit_together() {
        let spare = Spare::default();
        for megabytes in [10, 5, 4, 20] {
            spare.put(BytesMut::with_capacity(megabytes << 20));
            let total: usize = spare.0.lock().iter().map(BytesMut::capacity).sum();
            assert!(total <= SPARE_BYTES, "{total}");
        }
    }

    #[tokio::test]
    async fn small_frames_share_buffers_that_do_not_grow() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut reader = FrameReader::default();
        let mut kept = std::collections::VecDeque::new();
        for _ in 0..2000 {
            let stream = frame(&vec![7; random.usize(0..=READ)]);
            let mut rest = &stream[..];
            while !rest.is_empty() {
                std::future::poll_fn(|cx| reader.poll_fill(&mut rest, cx)).await.unwrap();
                assert!(reader.capacity() <= 2 * READ, "{}", reader.capacity());
                while let Some(frame) = reader.next(MAX).unwrap() {
                    kept.push_back(frame);
                }
            }
            // Buffers are free for use again sooner or later.
            while kept.len() > random.usize(0..4) {
                kept.pop_front();
            }
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
