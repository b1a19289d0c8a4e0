//! Which codec, and how hard it tries: the values of `compression.type` and
//! `compression.<codec>.level`. It does not compress.

use crate::record::error::RecordError;
use crate::types::Compression;

/// All codecs, in the order of the ids that batches carry in their attributes.
pub(in crate::record) const ALL: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// The number that a batch carries in its attributes.
pub(in crate::record) fn id(codec: Compression) -> u8 {
    match codec {
        Compression::None => 0,
        Compression::Gzip => 1,
        Compression::Snappy => 2,
        Compression::Lz4 => 3,
        Compression::Zstd => 4,
    }
}

pub(in crate::record) fn from_id(id: u8) -> Result<Compression, RecordError> {
    ALL.get(usize::from(id)).copied().ok_or(RecordError::UnknownCompression { id })
}

/// A compression with its level (KIP-390).
///
/// | codec | levels | default |
/// | --- | --- | --- |
/// | gzip | 1 to 9, or -1 for the codec's own default | -1 |
/// | lz4 | 1 to 17; accepted and not used, since this crate's lz4 has one level | 9 |
/// | zstd | -131072 to 22 | 3 |
/// | none, snappy | have no level | |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Codec {
    compression: Compression,
    level: i32,
}

impl Codec {
    /// No compression.
    pub const NONE: Self = Self { compression: Compression::None, level: 0 };

    /// The codec at its default level.
    pub fn new(compression: Compression) -> Self {
        let level = match compression {
            Compression::None | Compression::Snappy => 0,
            Compression::Gzip => -1,
            Compression::Lz4 => 9,
            Compression::Zstd => 3,
        };
        Self { compression, level }
    }

    /// The codec at a level of its own.
    ///
    /// # Errors
    /// [`RecordError::Level`] if the codec has no such level.
    pub fn with_level(codec: Compression, level: i32) -> Result<Self, RecordError> {
        let (valid, allowed) = match codec {
            Compression::None | Compression::Snappy => (false, "it has no levels"),
            Compression::Gzip => (matches!(level, -1 | 1..=9), "-1, or 1 to 9"),
            Compression::Lz4 => (matches!(level, 1..=17), "1 to 17"),
            Compression::Zstd => (matches!(level, -131_072..=22), "-131072 to 22"),
        };
        if valid {
            Ok(Self { compression: codec, level })
        } else {
            Err(RecordError::Level { codec, level, allowed })
        }
    }

    /// Which codec.
    pub fn compression(self) -> Compression {
        self.compression
    }

    /// Its level; 0 if it has none.
    pub fn level(self) -> i32 {
        self.level
    }
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Self::new(compression)
    }
}
