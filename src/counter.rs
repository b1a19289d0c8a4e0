//! A number that only rises, and those who wait for that.
//!
//! They are woken in the order in which they began to wait. `tokio::sync::watch`, which could do the rest, wakes in a
//! random order: sends that waited for the same metadata would go on in another order than they came, and a
//! simulation's seed would not give the same run twice.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    value: AtomicU64,
    risen: Notify,
}

impl Counter {
    pub(crate) fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Raises it, unless it is there already.
    pub(crate) fn raise_to(&self, value: u64) {
        if self.value.fetch_max(value, Ordering::AcqRel) < value {
            self.risen.notify_waiters();
        }
    }

    /// Raises it by one. Only the broker counts so.
    #[cfg(feature = "broker")]
    pub(crate) fn raise(&self) {
        self.value.fetch_add(1, Ordering::AcqRel);
        self.risen.notify_waiters();
    }

    /// Waits until it is above `seen`, and gives its value. It does not end when all other handles are gone.
    pub(crate) fn above(
        self: &Arc<Self>,
        seen: u64,
    ) -> impl Future<Output = u64> + Send + 'static + use<> {
        let counter = Arc::clone(self);
        async move {
            loop {
                let mut risen = pin!(counter.risen.notified());
                // Waiting before looking, so that a rise between the two is not missed.
                risen.as_mut().enable();
                let value = counter.get();
                if value > seen {
                    return value;
                }
                risen.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use parking_lot::Mutex;

    #[tokio::test]
    async fn wakes_those_who_wait_in_their_order() {
        let counter = Arc::new(Counter::default());
        let woken = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..20)
            .map(|n| {
                let (risen, woken) = (counter.above(0), Arc::clone(&woken));
                tokio::spawn(async move {
                    risen.await;
                    woken.lock().push(n);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        counter.raise();
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*woken.lock(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn it_only_rises() {
        let counter = Arc::new(Counter::default());
        counter.raise_to(5);
        counter.raise_to(3);
        assert_eq!(counter.get(), 5);
        assert_eq!(counter.above(4).now_or_never(), Some(5));
        assert_eq!(counter.above(5).now_or_never(), None);
    }
}
