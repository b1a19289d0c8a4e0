//! Puts a batch together from a header and records that are in wire form already, as compaction does when it leaves
//! some of them out: offsets, sequence and identity of the batch stay what they were.

use bytes::{Bytes, BytesMut};

use super::compress::{self, Codec};
use super::error::RecordError;
use super::header::{BatchHeader, HEADER_LEN};

/// A batch with the fields of `header`, but its own length and CRC. `records` are `header.count` records, one behind the
/// other, not compressed; they are compressed as the header's attributes say.
///
/// # Errors
/// If the codec is unknown or not built in, or if the batch grows longer than the format can say.
pub fn assemble(header: &BatchHeader, records: &[u8]) -> Result<Bytes, RecordError> {
    let mut batch = BytesMut::zeroed(HEADER_LEN);
    let codec = Codec::new(header.attributes.compression()?);
    compress::compress(codec, records, &mut batch)?;
    header.write(&mut batch)?;
    Ok(batch.freeze())
}
