//! Our consumer beside Kafka's own: what transactions leave to be read, and groups that have members of both.

pub(crate) mod groups;
pub(crate) mod isolation;
pub(crate) mod outages;

mod books;
mod team;
