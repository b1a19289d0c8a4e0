//! Our transactional producer against real Kafka, whose own clients are the other side: what it commits and aborts, the
//! offsets that it commits, who fences whom, and what brokers write down of it.

pub(crate) mod copies;
pub(crate) mod epochs;
pub(crate) mod exactly_once;
pub(crate) mod fencing;
pub(crate) mod isolation;
pub(crate) mod offsets;
pub(crate) mod zombies;

mod copier;
mod writers;
