//! The callbacks of one batch, in the order of its records.
//!
//! Those of one type, which mostly is all of them, lie side by side in chunks: a callback costs no allocation of its own.
//! Several types at a time, from several places that send, have a chunk each. What a record's end is, and when a batch
//! has ended, is not known here.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::DeliveryError;
use crate::producer::record_metadata::{RecordFacts, RecordMetadata};

/// What a record's callback is told.
pub(crate) type End = Result<RecordMetadata, DeliveryError>;

/// A callback. The name stands for its bounds.
pub(crate) trait Callback: FnOnce(End) + Send + 'static {}

impl<F: FnOnce(End) + Send + 'static> Callback for F {}

/// One whose type is not known.
pub(crate) type BoxedCallback = Box<dyn FnOnce(End) + Send>;

/// The callback of a record that has none.
pub(crate) fn no_callback() -> Option<fn(End)> {
    None
}

/// How many callbacks a chunk grows to.
const CHUNK: usize = 64;
/// In how many of the last chunks a callback looks for those of its type.
const LOOK_BACK: usize = 4;

/// See the module.
#[derive(Default)]
pub(crate) struct Callbacks {
    chunks: Vec<Box<dyn Chunk>>,
}

/// Callbacks of one type, with the facts of their records, in order.
trait Chunk: Any + Send {
    /// The index of the next record.
    fn next(&self) -> Option<u32>;

    /// Calls the next ones, of records before `before`, with what `end` says of the record; says how many panicked.
    fn call(&mut self, before: u32, end: &dyn Fn(RecordFacts) -> Option<End>) -> usize;
}

struct Same<F>(VecDeque<(RecordFacts, F)>);

impl<F: Callback> Chunk for Same<F> {
    fn next(&self) -> Option<u32> {
        self.0.front().map(|(facts, _)| facts.index)
    }

    fn call(&mut self, before: u32, end: &dyn Fn(RecordFacts) -> Option<End>) -> usize {
        let mut panicked = 0;
        while self.next().is_some_and(|next| next < before) {
            let Some((facts, callback)) = self.0.pop_front() else { break };
            let Some(end) = end(facts) else { continue };
            panicked += usize::from(catch_unwind(AssertUnwindSafe(|| callback(end))).is_err());
        }
        panicked
    }
}

impl Callbacks {
    /// Adds the callback of the next record.
    #[inline]
    pub(crate) fn push<F: Callback>(&mut self, facts: RecordFacts, callback: F) {
        let mut room = 1;
        for chunk in self.chunks.iter_mut().rev().take(LOOK_BACK) {
            let chunk: &mut dyn Any = &mut **chunk;
            if let Some(Same(same)) = chunk.downcast_mut::<Same<F>>() {
                if same.len() < CHUNK {
                    return same.push_back((facts, callback));
                }
                room = CHUNK;
                break;
            }
        }
        self.begin_chunk(room, facts, callback);
    }

    #[cold]
    fn begin_chunk<F: Callback>(&mut self, room: usize, facts: RecordFacts, callback: F) {
        let mut same = VecDeque::with_capacity(room);
        same.push_back((facts, callback));
        self.chunks.push(Box::new(Same(same)));
    }

    /// Calls each with what `end` says of its record, past those that panic; says how many did.
    pub(crate) fn call(mut self, end: impl Fn(RecordFacts) -> Option<End>) -> usize {
        let mut panicked = 0;
        loop {
            self.chunks.retain(|chunk| chunk.next().is_some());
            let nexts = self.chunks.iter().map(|chunk| chunk.next().unwrap_or(u32::MAX));
            let Some((first, _)) = nexts.clone().enumerate().min_by_key(|&(_, next)| next) else {
                return panicked;
            };
            let others = nexts.enumerate().filter(|&(at, _)| at != first).map(|(_, next)| next);
            let before = others.min().unwrap_or(u32::MAX);
            let Some(chunk) = self.chunks.get_mut(first) else { return panicked };
            panicked += chunk.call(before, &end);
        }
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").field("chunks", &self.chunks.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    fn facts(index: u32) -> RecordFacts {
        RecordFacts::new(index, 0, None, None)
    }

    fn failed() -> End {
        use crate::error::{DeliveryErrorKind, History, Persistence};
        let tp = crate::types::TopicPartition::new("t", 0);
        let history = History { attempts: 0, elapsed: std::time::Duration::ZERO, last: None };
        Err(DeliveryError::new(tp, DeliveryErrorKind::Closed, Persistence::NotWritten, history))
    }

    #[test]
    fn are_called_in_order_across_chunks_types_and_panics() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut callbacks = Callbacks::default();
        for n in 0..300_u32 {
            let seen = Arc::clone(&seen);
            match n % 100 {
                77 => callbacks.push(facts(n), move |_| panic!("a user's bug at {n}")),
                30..50 => callbacks.push(facts(n), move |_: End| seen.lock().push(n)),
                _ => callbacks.push(facts(n), move |_| seen.lock().push(n)),
            }
        }
        let asked = Mutex::new(Vec::new());
        let panicked = callbacks.call(|facts| {
            asked.lock().push(facts.index);
            Some(failed())
        });
        assert_eq!(panicked, 3);
        assert_eq!(asked.into_inner(), (0..300).collect::<Vec<_>>());
        assert_eq!(*seen.lock(), (0..300).filter(|n| n % 100 != 77).collect::<Vec<_>>());
    }

    #[test]
    fn share_chunks() {
        let mut callbacks = Callbacks::default();
        for n in 0..3 * CHUNK as u32 {
            callbacks.push(facts(n), drop);
        }
        assert_eq!(callbacks.chunks.len(), 3);
    }
}
