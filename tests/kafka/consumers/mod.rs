//! Our consumer beside Kafka's own.

pub(crate) mod isolation;
