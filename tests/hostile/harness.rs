//! Runs a case on a runtime of its own: on the paused clock, with a bound on virtual time, memory
//! and panics.
//!
//! Everything of a case runs on one thread, server included, so what that thread allocates is what
//! the case needs.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::Duration;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// More than any case needs that does not hang.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// A panic in a task would otherwise be no more than a message.
fn count_panics() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}

/// Runs a case that may allocate at most `memory` bytes at any one time.
pub(crate) fn run(name: &str, memory: usize, case: impl Future<Output = ()>) {
    count_panics();
    let panics = PANICS.get();
    // The client's jitter is this thread's.
    fastrand::seed(1);
    let mut ended = Ok(Ok(()));
    // A panic must not leave the measurement open, so it is caught inside.
    let info = allocation_counter::measure(|| {
        ended = panic::catch_unwind(AssertUnwindSafe(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            let case = Box::pin(case);
            runtime.block_on(async { tokio::time::timeout(FOR_EVER, case).await })
        }));
    });
    match ended {
        Ok(ended) => assert!(ended.is_ok(), "{name}: hangs"),
        Err(panic) => panic::resume_unwind(panic),
    }
    assert_eq!(PANICS.get(), panics, "{name}: a task panicked");
    let peak = usize::try_from(info.bytes_max).unwrap();
    assert!(peak <= memory, "{name}: {peak} bytes were allocated, more than {memory}");
}

/// Runs all of some cases, and fails if some of them do, with their names.
pub(crate) fn all<C>(
    cases: impl IntoIterator<Item = C>,
    name: impl Fn(&C) -> String,
    run: impl Fn(&str, C),
) {
    let mut failed = Vec::new();
    for case in cases {
        let name = name(&case);
        if panic::catch_unwind(AssertUnwindSafe(|| run(&name, case))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{} cases failed: {failed:#?}", failed.len());
}
