//! Servers that are broken, wrong or evil, against the producer and the reader as users have them.
//!
//! Each case has to end in its own typed error that names the place and the way out, within the
//! time-out that applies, without a panic, a busy loop, or more memory than the settings allow; and
//! when the server comes to its senses, the same client has to go on. Streams are in memory and the
//! clock is paused, so that time-outs take no time.
//!
//! | module | what is wrong |
//! |---|---|
//! | `bootstrap` | there is no Kafka at the address |
//! | `frames` | the bytes of a response, at each stage of a session |
//! | `versions` | which APIs the broker says it has |
//! | `metadata` | what it says of brokers, topics and partitions |
//! | `answers` | what it says of what was sent |
//! | `fetches` | what it says of what was asked for |
//! | `batches` | the record batches that it sends |
//! | `groups` | what it says to members of a group, and what it sends them |
//! | `random` | anything, by seed, for a while |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;
mod server;
mod session;

mod answers;
mod batches;
mod bootstrap;
mod fetches;
mod frames;
mod groups;
mod metadata;
mod random;
mod versions;
