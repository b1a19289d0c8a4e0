//! Takes out of the fetcher what a poll hands out. The bytes are checked and decoded here, in the
//! task of the user and without the fetcher's lock.
//!
//! It never waits, so a poll that is dropped either has not been here or has its result.

use parking_lot::Mutex;

use super::fetcher::{Fetcher, Room, Taken};
use super::records::Records;
use crate::error::ConsumerError;
use crate::time::Instant;

/// How many bytes of records a poll stops at: enough for the cost of a poll not to matter, and
/// little enough for what is decompressed to stay in the processor's caches. One batch may be more.
const POLL_BYTES: usize = 1024 * 1024;

/// What a poll hands out.
#[derive(Debug)]
pub(crate) struct Collected {
    /// `None` if there is nothing. There are no records in it if positions have moved over offsets
    /// that no user sees.
    pub(crate) result: Option<Result<Records, ConsumerError>>,
    /// Whether the fetcher has something to ask for now.
    pub(crate) wakes: bool,
}

/// Takes out what there is to hand out now.
pub(crate) fn collect(fetcher: &Mutex<Fetcher>, now: Instant) -> Collected {
    let mut records = Records::default();
    let (mut moved, mut wakes) = (false, false);
    let (checks, mut room) = {
        let fetcher = fetcher.lock();
        let config = fetcher.config();
        (config.checks, Room { bytes: POLL_BYTES, records: config.max_poll_records })
    };
    while room.is_left() {
        let taken = fetcher.lock().take(records.is_empty(), now);
        let mut handout = match taken {
            None => break,
            Some(Taken::Moved) => {
                (moved, wakes) = (true, true);
                continue;
            }
            Some(Taken::Error(error)) => {
                return Collected { result: Some(Err(error)), wakes: true };
            }
            Some(Taken::Batches(handout)) => handout,
        };
        let before = handout.position.offset;
        let (batches, problem) = handout.completed.take(&mut handout.position, &mut room, checks);
        moved |= handout.position.offset > before;
        records.add(&handout.name, batches, handout.position.offset);
        wakes |= fetcher.lock().give_back(handout, problem, now);
    }
    Collected { result: moved.then_some(Ok(records)), wakes }
}
