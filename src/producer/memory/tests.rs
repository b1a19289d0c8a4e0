//! The scenarios of the Java client's `BufferPoolTest`, under their names, and what it leaves open: in which order those
//! who wait are served, and by how many bytes.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::time::Duration;

const KIB: usize = 1024;

type Wait<'a> = Pin<Box<dyn Future<Output = Option<Reservation>> + Send + 'a>>;

fn pool(total: usize, size: usize) -> Arc<Memory> {
    Arc::new(Memory::new(total, size))
}

fn poll(wait: &mut Wait<'_>) -> Poll<Option<Reservation>> {
    wait.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits in the order of the sizes; each has been polled once.
fn queue<'a>(memory: &'a Arc<Memory>, sizes: &[usize]) -> Vec<Wait<'a>> {
    let mut waits: Vec<Wait<'a>> =
        sizes.iter().map(|&size| Box::pin(memory.reserve(size)) as Wait<'a>).collect();
    assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
    waits
}

#[test]
fn simple() {
    let memory = pool(64 * KIB, KIB);
    let small = memory.try_reserve(KIB).unwrap();
    let buffer = small.buffer();
    assert!(buffer.is_empty() && buffer.capacity() >= KIB);
    assert_eq!(memory.available(), 63 * KIB);
    small.release(Some(buffer));
    assert_eq!((memory.available(), memory.idle.lock().buffers.len()), (64 * KIB, 1));
    // One that is used again counts as one that is made.
    let again = memory.try_reserve(KIB).unwrap();
    let buffer = again.buffer();
    assert_eq!((memory.available(), memory.idle.lock().buffers.len()), (63 * KIB, 0));
    again.release(Some(buffer));
    let large = memory.try_reserve(2 * KIB).unwrap();
    assert_eq!(memory.available(), 62 * KIB);
    large.release(None);
    assert_eq!(memory.available(), 64 * KIB);
}

#[tokio::test]
async fn cant_allocate_more_memory_than_we_have() {
    let memory = pool(KIB, 512);
    let all = memory.reserve(KIB).await.unwrap();
    assert_eq!(all.bytes(), KIB);
    drop(all);
    assert!(memory.reserve(KIB + 1).await.is_none(), "at once: it would wait for ever");
    assert!(memory.try_reserve(KIB + 1).is_none());
}

#[tokio::test]
async fn delayed_allocation() {
    let memory = pool(5 * KIB, KIB);
    let held = memory.try_reserve(KIB).unwrap();
    let waiting = tokio::spawn({
        let memory = Arc::clone(&memory);
        async move { memory.reserve(5 * KIB).await.map(|room| room.bytes()) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished() && memory.has_waiters());
    drop(held);
    assert_eq!(waiting.await.unwrap(), Some(5 * KIB));
    assert_eq!(memory.available(), 5 * KIB);
}

#[tokio::test(start_paused = true)]
async fn cleanup_memory_availability_waiter_on_block_timeout() {
    let memory = pool(2 * KIB, KIB);
    let held = memory.try_reserve(KIB).unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(10), memory.reserve(2 * KIB)).await;
    assert!(waited.is_err());
    assert!(!memory.has_waiters());
    // What it had gathered is there for others.
    assert_eq!(memory.available(), KIB);
    let next = memory.try_reserve(KIB).unwrap();
    drop((held, next));
    assert_eq!(memory.available(), 2 * KIB);
}

/// Who gives up leaves what was gathered, and its place, to the one behind.
#[test]
fn cleanup_memory_availability_waiter_on_interruption() {
    let memory = pool(4 * KIB, KIB);
    let held = memory.try_reserve(3 * KIB).unwrap();
    let mut waits = queue(&memory, &[4 * KIB, KIB, KIB]);
    let mut third = waits.pop().unwrap();
    let mut second = waits.pop().unwrap();
    assert!(poll(&mut second).is_pending(), "behind the large one, though its bytes are free");
    waits.clear();
    let Poll::Ready(Some(room)) = poll(&mut second) else { panic!("its turn has come") };
    assert!(poll(&mut third).is_pending());
    drop(held);
    assert!(poll(&mut third).is_ready());
    drop(room);
    assert_eq!(memory.available(), 4 * KIB);
    assert!(!memory.has_waiters());
}

/// Small ones that come later do not eat what a large one waits for.
#[test]
fn a_large_waiter_is_not_starved() {
    let memory = pool(10 * KIB, KIB);
    let mut held: Vec<_> = (0..10).map(|_| memory.try_reserve(KIB).unwrap()).collect();
    let mut large = queue(&memory, &[8 * KIB]).pop().unwrap();
    for freed in 1..=8 {
        assert!(memory.try_reserve(1).is_none(), "nobody overtakes");
        let mut small = queue(&memory, &[KIB]);
        held.pop();
        assert!(poll(&mut small[0]).is_pending(), "{freed} KiB are free, and the large one's");
    }
    let Poll::Ready(Some(room)) = poll(&mut large) else { panic!("8 KiB are free") };
    assert_eq!(room.bytes(), 8 * KIB);
}

/// Counts how often it is woken.
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One large piece wakes all those at once that it is enough for, in their order, and nobody else.
#[test]
fn freed_bytes_wake_as_many_as_they_serve() {
    let memory = pool(8 * KIB, KIB);
    let held = memory.try_reserve(8 * KIB).unwrap();
    let mut waits: Vec<Wait<'_>> = (0..10).map(|_| Box::pin(memory.reserve(KIB)) as _).collect();
    let wakers: Vec<_> = waits.iter().map(|_| Arc::new(Woken(AtomicUsize::new(0)))).collect();
    for (wait, woken) in waits.iter_mut().zip(&wakers) {
        let waker = Waker::from(Arc::clone(woken));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(held);
    let woken: Vec<_> = wakers.iter().map(|woken| woken.0.load(Ordering::Relaxed)).collect();
    assert_eq!(woken, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    let mut rooms: Vec<_> = waits.iter_mut().map(poll).collect();
    assert_eq!(rooms.iter().filter(|room| room.is_ready()).count(), 8);
    // One that was served but is not polled any more gives its bytes on.
    rooms.truncate(7);
    assert!(poll(&mut waits[8]).is_ready());
}

#[tokio::test]
async fn stressful_situation() {
    let memory = pool(8 * KIB, KIB);
    let tasks = (0..10_u64).map(|seed| {
        let memory = Arc::clone(&memory);
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..200 {
                let size = if random.bool() { KIB } else { random.usize(1..8 * KIB) };
                let room = memory.reserve(size).await.unwrap();
                let buffer = room.buffer();
                assert!(buffer.capacity() >= size);
                tokio::task::yield_now().await;
                room.release(Some(buffer));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(memory.available(), 8 * KIB);
    assert!(memory.idle.lock().buffers.len() <= 8);
}

#[test]
fn large_available_memory() {
    let total = 20_000_000_000;
    let memory = pool(total, 2_000_000_000);
    let rooms: Vec<_> = (0..10).map(|_| memory.try_reserve(2_000_000_000).unwrap()).collect();
    assert_eq!(memory.available(), 0);
    drop(rooms);
    assert_eq!(memory.available(), total);
}

/// What is held keeps the pool alive, whoever owns it.
#[test]
fn the_pool_outlives_its_owner() {
    let memory = pool(KIB, KIB);
    let (room, weak): (_, Weak<Memory>) =
        (memory.try_reserve(KIB).unwrap(), Arc::downgrade(&memory));
    drop(memory);
    assert_eq!(weak.upgrade().unwrap().available(), 0);
    drop(room);
    assert!(weak.upgrade().is_none());
}

#[test]
fn buffers_of_the_batch_size_are_used_again() {
    let memory = Arc::new(Memory::new(100, 10));
    let first = memory.try_reserve(10).unwrap();
    let buffer = first.buffer();
    let address = buffer.as_ptr();
    first.release(Some(buffer));
    let second = memory.try_reserve(10).unwrap();
    assert_eq!(second.buffer().as_ptr(), address);
    let large = memory.try_reserve(50).unwrap();
    let buffer = large.buffer();
    assert!(buffer.capacity() >= 50);
    large.release(Some(buffer));
    assert!(memory.idle.lock().buffers.is_empty(), "more than idle buffers may take");
}

/// Batches that compress well are larger before.
#[test]
fn larger_buffers_are_used_again_for_what_fits() {
    let memory = pool(64 * KIB, KIB);
    let room = |size| memory.try_reserve(size).unwrap();
    let (small, large) = (room(KIB), room(4 * KIB));
    let (small_buffer, large_buffer) = (small.buffer(), large.buffer());
    let address = large_buffer.as_ptr();
    large.release(Some(large_buffer));
    small.release(Some(small_buffer));
    assert_ne!(room(2 * KIB).buffer().as_ptr(), address, "half of it would be held by nobody");
    assert_eq!(room(4 * KIB - 100).buffer().as_ptr(), address);
    assert_eq!(memory.idle.lock().bytes, KIB);
}

#[test]
fn idle_buffers_of_a_size_that_is_no_longer_used_give_way() {
    let memory = pool(64 * KIB, KIB);
    for size in [4 * KIB, 2 * KIB] {
        let rooms: Vec<_> = (0..10).map(|_| memory.try_reserve(size).unwrap()).collect();
        for room in rooms {
            let buffer = room.buffer();
            room.release(Some(buffer));
        }
        let buffers: Vec<_> = (0..10).map(|_| memory.try_reserve(size).unwrap().buffer()).collect();
        buffers.into_iter().for_each(|buffer| memory.recycle(buffer));
        let idle = memory.idle.lock();
        assert!(idle.bytes <= 16 * KIB && idle.buffers.iter().all(|b| b.capacity() == size));
    }
}

/// Java's `testCloseNotifyWaiters` and `testCloseAllocations`.
#[tokio::test]
async fn close_notifies_waiters_and_refuses_others() {
    let memory = pool(2 * KIB, KIB);
    let held = memory.try_reserve(2 * KIB).unwrap();
    let mut waits = queue(&memory, &[KIB, KIB]);
    memory.close();
    assert!(waits.drain(..).all(|mut wait| matches!(poll(&mut wait), Poll::Ready(None))));
    assert!(memory.try_reserve(1).is_none());
    held.release(None);
    assert!(memory.reserve(1).await.is_none() && !memory.has_waiters());
}
