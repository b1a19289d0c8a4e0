//! What users may put between the log and `poll` (Kafka's `interceptor.classes`, KIP-42): the trait, and
//! that nothing of what goes wrong in one gets out. When they are called is the consumer's business.
use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::consumer::records::Records;
use crate::types::{OffsetAndMetadata, TopicPartition};

/// Sees the records of each poll before the user does, and is told which offsets were committed.
///
/// For tracing, for counting, for measuring how old records are. Several are called in the order in
/// which they were given to the consumer's builder.
///
/// Other than in Java it does not change the records, which are handed out as they were fetched.
///
/// A panic in an interceptor is logged and goes no further. An interceptor is dropped with its
/// consumer.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use milena::{ConsumerInterceptor, Records};
///
/// #[derive(Default)]
/// struct Tombstones(AtomicUsize);
///
/// impl ConsumerInterceptor for Tombstones {
///     fn on_consume(&self, records: &Records) {
///         let count = records.iter().filter(|record| record.value.is_none()).count();
///         self.0.fetch_add(count, Ordering::Relaxed);
///     }
/// }
/// ```
pub trait ConsumerInterceptor: Send + Sync + 'static {
    /// Called in `poll` with the records that it is about to return, if there are any. Until it
    /// returns, the caller of `poll` waits.
    fn on_consume(&self, records: &Records) {
        let _ = records;
    }

    /// Called when these offsets have been committed, by the user or by `enable.auto.commit`; not for
    /// commits that failed. It may be called on the consumer's task, where what takes long holds back
    /// all that is fetched.
    fn on_commit(&self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        let _ = offsets;
    }
}

/// All interceptors of a consumer, in order.
#[derive(Default)]
pub(crate) struct ConsumerInterceptors(Vec<Named>);

struct Named {
    name: &'static str,
    interceptor: Box<dyn ConsumerInterceptor>,
}

impl ConsumerInterceptors {
    pub(crate) fn add<I: ConsumerInterceptor>(&mut self, interceptor: I) {
        let name = type_name::<I>();
        self.0.push(Named { name, interceptor: Box::new(interceptor) });
    }

    /// A poll is about to return these.
    pub(crate) fn on_consume(&self, records: &Records) {
        if !records.is_empty() {
            self.each("on_consume", |interceptor| interceptor.on_consume(records));
        }
    }

    /// These have been committed.
    pub(crate) fn on_commit(&self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        self.each("on_commit", |interceptor| interceptor.on_commit(offsets));
    }

    fn each(&self, what: &str, call: impl Fn(&dyn ConsumerInterceptor)) {
        for Named { name, interceptor } in &self.0 {
            if catch_unwind(AssertUnwindSafe(|| call(&**interceptor))).is_err() {
                tracing::error!("{what} of interceptor {name} panicked");
            }
        }
    }
}

impl fmt::Debug for ConsumerInterceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|named| named.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// Writes down its name, or panics.
    struct Scribe {
        name: &'static str,
        panics: bool,
        log: Arc<Mutex<Vec<String>>>,
    }

    impl ConsumerInterceptor for Scribe {
        fn on_commit(&self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
            self.log.lock().push(format!("{} {}", self.name, offsets.len()));
            assert!(!self.panics, "as it was told to");
        }

        fn on_consume(&self, _records: &Records) {
            self.log.lock().push(format!("{} sees", self.name));
        }
    }

    #[test]
    fn all_are_called_in_order_and_a_panic_stops_none() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut interceptors = ConsumerInterceptors::default();
        for (name, panics) in [("a", true), ("b", false)] {
            interceptors.add(Scribe { name, panics, log: Arc::clone(&log) });
        }
        let offset = OffsetAndMetadata::new(5);
        interceptors.on_commit(&BTreeMap::from([(TopicPartition::new("orders", 0), offset)]));
        // Nothing is handed out, so there is nothing to see.
        interceptors.on_consume(&Records::default());
        assert_eq!(*log.lock(), ["a 1", "b 1"]);
    }
}
