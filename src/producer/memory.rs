//! `buffer.memory`: who may hold how many bytes of batches, and the buffers to put them in.
//!
//! A batch reserves its bytes before it exists and gives them back when its last owner drops it, so bytes that a
//! connection may still be writing are never handed to another batch (KAFKA-19012). Waiters are served in order and
//! woken by bytes freed. Nothing here knows what a batch is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// All memory of one producer's records.
#[derive(Debug)]
pub(crate) struct Memory {
    total: usize,
    buffer_size: usize,
    bytes: Semaphore,
    waiting: AtomicUsize,
    idle: Mutex<Idle>,
}

/// Buffers that no batch has, most recently given back last.
#[derive(Debug, Default)]
struct Idle {
    buffers: VecDeque<BytesMut>,
    bytes: usize,
}

/// Idle buffers take at most one part in so many of `buffer.memory`, on top of it.
const MAX_IDLE: usize = 4;

/// Bytes that one batch holds, with the buffer to fill; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Memory {
    /// `total` bytes, in buffers of `buffer_size` that are used again.
    pub(crate) fn new(total: usize, buffer_size: usize) -> Self {
        let total = total.min(Semaphore::MAX_PERMITS);
        Self {
            total,
            buffer_size,
            bytes: Semaphore::new(total),
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn available(&self) -> usize {
        self.bytes.available_permits()
    }

    /// How many wait for memory.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for memory; then batches should leave before their linger is over.
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Takes `bytes` at once, if they are free and nobody waits for them.
    pub(crate) fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let permit = self.bytes.try_acquire_many(u32::try_from(bytes).ok()?).ok()?;
        permit.forget();
        Some(Reservation { memory: Arc::clone(self), bytes })
    }

    /// Waits for `bytes` behind those who came before. Cancel-safe: dropped, it holds nothing. `None` if no buffer can
    /// ever be that large, or memory was closed.
    ///
    /// It counts as waiting from this call on, not from the first poll.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        bytes: usize,
    ) -> impl Future<Output = Option<Reservation>> + Send + use<'_> {
        let waiting = Waiting::enter(&self.waiting);
        async move {
            let _waiting = waiting;
            let permits = u32::try_from(bytes).ok().filter(|_| bytes <= self.total)?;
            let permit = self.bytes.acquire_many(permits).await.ok()?;
            permit.forget();
            Some(Reservation { memory: Arc::clone(self), bytes })
        }
    }

    /// Nobody gets any more, and those who wait are told so.
    pub(crate) fn close(&self) {
        self.bytes.close();
    }

    fn buffer(&self, bytes: usize) -> BytesMut {
        let bytes = bytes.max(self.buffer_size);
        // A much larger one would hold what nobody has reserved.
        let fits = |buffer: &BytesMut| (bytes..=bytes + bytes / 4).contains(&buffer.capacity());
        let mut idle = self.idle.lock();
        // Batches of a size come together, so the last one mostly fits.
        let at = idle.buffers.iter().rposition(fits);
        let Some(buffer) = at.and_then(|at| idle.buffers.swap_remove_back(at)) else {
            drop(idle);
            return BytesMut::with_capacity(bytes);
        };
        idle.bytes -= buffer.capacity();
        buffer
    }

    fn recycle(&self, mut buffer: BytesMut) {
        buffer.clear();
        let (size, most) = (buffer.capacity(), self.total / MAX_IDLE);
        if size < self.buffer_size || size > most {
            return;
        }
        let mut idle = self.idle.lock();
        idle.bytes += size;
        idle.buffers.push_back(buffer);
        // Those that have waited longest may be of a size that is no longer asked for.
        while idle.bytes > most
            && let Some(oldest) = idle.buffers.pop_front()
        {
            idle.bytes -= oldest.capacity();
        }
    }
}

impl Reservation {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A buffer with room for the reserved bytes.
    pub(crate) fn buffer(&self) -> BytesMut {
        self.memory.buffer(self.bytes)
    }

    /// Keeps only `bytes`, as compression made the batch smaller, and gives the buffer back.
    pub(crate) fn shrink(&mut self, bytes: usize, buffer: BytesMut) {
        self.memory.recycle(buffer);
        let freed = self.bytes.saturating_sub(bytes);
        self.bytes -= freed;
        self.memory.bytes.add_permits(freed);
    }

    /// Leaves `bytes` of it to another batch, or as much as there is.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { memory: Arc::clone(&self.memory), bytes }
    }

    /// Gives the bytes back, with the buffer if nobody else refers to it.
    pub(crate) fn release(self, buffer: Option<BytesMut>) {
        if let Some(buffer) = buffer {
            self.memory.recycle(buffer);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.bytes.add_permits(self.bytes);
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
