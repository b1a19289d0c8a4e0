//! Whether the current transaction can still be committed, as both sides see it: the sender, when a batch has failed, and
//! the caller of `send`, whose record was not accepted.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::error::AbortableError;

/// The first reason why the transaction can only be aborted.
#[derive(Debug, Default)]
pub(crate) struct Doom {
    /// Whether there is one: what each send looks at.
    is_set: AtomicBool,
    error: Mutex<Option<AbortableError>>,
}

impl Doom {
    /// Says why. Only the first reason counts, and is given back.
    pub(crate) fn set(&self, error: AbortableError) -> AbortableError {
        let first = self.error.lock().get_or_insert(error).clone();
        self.is_set.store(true, Ordering::Release);
        first
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<AbortableError> {
        if self.is_set.load(Ordering::Acquire) { self.error.lock().clone() } else { None }
    }

    /// A new transaction begins.
    pub(super) fn clear(&self) {
        *self.error.lock() = None;
        self.is_set.store(false, Ordering::Release);
    }
}
