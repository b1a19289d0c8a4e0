//! Compares `milena`'s wire codec with that of the `kafka-protocol` crate, which was generated from
//! Kafka's own message definitions.
//!
//! Bytes alone do not show two neighbouring fields of one type that are swapped, so that values are
//! compared too, by field name: both sides' `Debug` texts are read into trees ([`tree`]).

pub mod tree;
