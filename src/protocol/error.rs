//! What can be wrong with bytes, and what a version cannot carry. Knows no error codes of brokers.

use super::versions::VersionRange;

/// Bytes that are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {place}: {problem}")]
pub struct DecodeError {
    /// The struct and field that was being read, as `Struct.field`.
    pub place: &'static str,
    /// What is wrong with it.
    pub problem: DecodeProblem,
}

impl DecodeError {
    /// A problem whose place a caller fills in with [`DecodeError::at`].
    pub(crate) fn new(problem: DecodeProblem) -> Box<Self> {
        Box::new(Self { place: "", problem })
    }

    /// Names the place, unless something further in has named its own.
    #[must_use]
    pub(crate) fn at(mut self: Box<Self>, place: &'static str) -> Box<Self> {
        if self.place.is_empty() {
            self.place = place;
        }
        self
    }
}

/// What is wrong with the bytes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeProblem {
    #[error("{needed} bytes are needed and {remaining} are left")]
    Truncated { needed: usize, remaining: usize },
    #[error("{count} elements cannot fit in the {remaining} bytes left")]
    Count { count: usize, remaining: usize },
    #[error("{count} elements of {size} bytes are out of proportion: {left} are left for them")]
    Memory { count: usize, size: usize, left: usize },
    #[error("the length {0} is negative")]
    NegativeLength(i32),
    #[error("null, where this version does not allow it")]
    Null,
    #[error("a varint is longer than five bytes or exceeds 32 bits")]
    Varint,
    #[error("the string is not UTF-8")]
    Utf8,
    #[error("{0} bytes are left over after its end")]
    Trailing(usize),
    #[error("version {version} is not among the versions {supported} known here")]
    Version { version: i16, supported: VersionRange },
}

/// A message that cannot be written as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot encode {place} in version {version}: {problem}")]
pub struct EncodeError {
    /// The struct and field that was being written, as `Struct.field`.
    pub place: &'static str,
    /// The version that was asked for.
    pub version: i16,
    /// What stands in the way.
    pub problem: EncodeProblem,
}

impl EncodeError {
    pub(crate) fn new(version: i16, problem: EncodeProblem) -> Box<Self> {
        Box::new(Self { place: "", version, problem })
    }

    /// Names the place, unless something further in has named its own.
    #[must_use]
    pub(crate) fn at(mut self: Box<Self>, place: &'static str) -> Box<Self> {
        if self.place.is_empty() {
            self.place = place;
        }
        self
    }
}

/// Why a message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeProblem {
    #[error("this version does not have the field, and its value is not the default")]
    NotInVersion,
    #[error("null, which this version does not allow")]
    Null,
    #[error("its length {length} exceeds {max}")]
    TooLong { length: usize, max: usize },
    #[error("only the versions {supported} are known here")]
    Version { supported: VersionRange },
}

/// What inner writers return. The error is boxed since every row of every table hands it on.
pub type Encoded = Result<(), Box<EncodeError>>;

/// What inner readers return; see [`Encoded`].
pub type Decoded<T> = Result<T, Box<DecodeError>>;
