//! Kafka's wire protocol: bytes to structs and back, without I/O.
//!
//! One table per message ([`messages`]) states its fields, their types and the versions that carry
//! them; struct, defaults and both codecs follow from it. What a record batch holds is not known
//! here: its bytes pass through as they are, shared and not copied.
//!
//! Everything from outside is checked before it is believed: a count against the bytes that remain,
//! before memory is reserved for it; varints against their five bytes; strings for UTF-8; a message
//! for bytes left over at its end. So a decoder's memory is bounded by a small multiple of the
//! bytes it was given.
//!
//! Public for the crate's own tests and tools. It is no part of the stable interface and may change
//! in any release.
//!
//! | module | what it knows |
//! |---|---|
//! | [`reader`], [`writer`] | bytes: primitives, varints, shared slices |
//! | [`wire`] | how a type is written in the classic and in the compact form |
//! | [`message`], `row` | the table macro, [`Message`], [`Request`]; one row of a table |
//! | [`messages`] | one table per API |
//! | [`consumer_protocol`] | what members of a group tell each other |
//! | [`header`], [`frame`] | what surrounds a message |
//! | [`versions`] | ranges and the choice of one version |

#![allow(missing_docs)]

pub mod api_key;
pub mod consumer_protocol;
pub mod error;
pub mod frame;
pub mod header;
pub mod message;
pub mod messages;
pub mod reader;
mod row;
pub mod versions;
pub mod wire;
pub mod writer;

#[cfg(test)]
mod tests;

pub use api_key::ApiKey;
pub use error::{DecodeError, EncodeError};
pub use message::{Message, Request};
pub use reader::Reader;
pub use versions::VersionRange;
pub use writer::Writer;
