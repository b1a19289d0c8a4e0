//! A bounded reader of primitives. It knows no message and no version; each read either has its
//! bytes or fails.

use bytes::{Buf, Bytes};

use super::error::{DecodeError, DecodeProblem, Decoded};

/// Reads from the front of a frame; the byte strings it gives out share the frame's memory.
#[derive(Debug, Clone)]
pub struct Reader {
    buf: Bytes,
    /// How many bytes the elements of arrays may still take.
    budget: usize,
}

/// How many bytes elements may take for each byte of a frame, and besides.
///
/// Elements take more memory than bytes in the frame: three bytes may be an empty topic. What
/// brokers have reason to send grows less than fivefold; most of all the answer to a Fetch of many
/// partitions without news.
const BUDGET_PER_BYTE: usize = 6;
const BUDGET_BESIDES: usize = 1024 * 1024;

impl Reader {
    pub fn new(buf: Bytes) -> Self {
        let budget = buf.len().saturating_mul(BUDGET_PER_BYTE).saturating_add(BUDGET_BESIDES);
        Self { buf, budget }
    }

    #[cfg(test)]
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// Takes the memory of `count` elements of `size` bytes from the budget.
    pub(super) fn spend(&mut self, count: usize, size: usize) -> Decoded<()> {
        let left = count.checked_mul(size).and_then(|needed| self.budget.checked_sub(needed));
        self.budget = left.ok_or_else(|| {
            DecodeError::new(DecodeProblem::Memory { count, size, left: self.budget })
        })?;
        Ok(())
    }

    pub fn remaining(&self) -> usize {
        self.buf.len()
    }

    /// An error unless everything has been read.
    pub fn finish(&self) -> Decoded<()> {
        match self.buf.len() {
            0 => Ok(()),
            left => Err(DecodeError::new(DecodeProblem::Trailing(left))),
        }
    }

    /// The next `N` bytes, for a primitive of fixed width.
    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let bytes = *self.buf.first_chunk::<N>().ok_or_else(|| self.truncated(N))?;
        self.buf.advance(N);
        Ok(bytes)
    }

    pub fn i8(&mut self) -> Decoded<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Decoded<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Decoded<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Decoded<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// An unsigned varint of at most five bytes whose value fits 32 bits.
    pub fn varint(&mut self) -> Decoded<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::new(DecodeProblem::Varint))
    }

    /// The next `length` bytes, sharing the frame's memory.
    pub fn bytes(&mut self, length: usize) -> Decoded<Bytes> {
        if length > self.buf.len() {
            return Err(self.truncated(length));
        }
        Ok(self.buf.split_to(length))
    }

    pub fn string(&mut self, length: usize) -> Decoded<String> {
        let bytes = self.buf.get(..length).ok_or_else(|| self.truncated(length))?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::new(DecodeProblem::Utf8))?;
        let text = text.to_owned();
        self.buf.advance(length);
        Ok(text)
    }

    /// Reads a section of tagged fields (KIP-482): `known` reads the field of a tag and says
    /// whether it has one.
    ///
    /// Fields of unknown tags are skipped. A known field has to fill its stated size exactly.
    pub fn tagged(
        &mut self,
        known: &mut dyn FnMut(u32, &mut Reader) -> Decoded<bool>,
    ) -> Decoded<()> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let mut field = Reader { buf: self.bytes(size)?, budget: self.budget };
            if known(tag, &mut field)? {
                field.finish()?;
            }
            self.budget = field.budget;
        }
        Ok(())
    }

    fn truncated(&self, needed: usize) -> Box<DecodeError> {
        DecodeError::new(DecodeProblem::Truncated { needed, remaining: self.buf.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::writer::Writer;

    fn varint(bytes: &'static [u8]) -> Result<u32, DecodeProblem> {
        Reader::new(Bytes::from_static(bytes)).varint().map_err(|error| error.problem)
    }

    #[test]
    fn varints_are_read_back_at_every_width() {
        for shift in 0..32 {
            for value in [1u32 << shift, (1 << shift) - 1, u32::MAX >> shift] {
                let mut w = Writer::new();
                w.varint(value);
                let (length, segments) = w.into_segments();
                assert_eq!(length, (32 - (value | 1).leading_zeros()).div_ceil(7) as usize);
                let mut r = Reader::new(segments.concat().into());
                assert_eq!(r.varint(), Ok(value));
                assert_eq!(r.finish(), Ok(()));
            }
        }
    }

    #[test]
    fn varints_are_bounded() {
        assert_eq!(varint(b"\xff\xff\xff\xff\x0f"), Ok(u32::MAX));
        // More than 32 bits, more than five bytes, and an end too early.
        assert_eq!(varint(b"\xff\xff\xff\xff\x1f"), Err(DecodeProblem::Varint));
        assert_eq!(varint(b"\x80\x80\x80\x80\x80\x01"), Err(DecodeProblem::Varint));
        let truncated = DecodeProblem::Truncated { needed: 1, remaining: 0 };
        assert_eq!(varint(b"\x80\x80"), Err(truncated));
    }

    #[test]
    fn strings_have_to_be_utf8() {
        let mut r = Reader::new(Bytes::from_static(b"\xc3\x9f\xc3"));
        assert_eq!(r.string(2).as_deref(), Ok("ß"));
        assert_eq!(r.string(1).map_err(|error| error.problem), Err(DecodeProblem::Utf8));
    }

    #[test]
    fn tagged_fields_have_no_budget_of_their_own() {
        // Twice tag 0 with one byte.
        let mut r = Reader::new(Bytes::from_static(&[2, 0, 1, 7, 0, 1, 7]));
        let half = r.budget() / 2 + 1;
        let mut spent = Vec::new();
        let read = r.tagged(&mut |_, field| {
            spent.push(field.spend(1, half).is_ok());
            field.i8().map(|_| true)
        });
        assert_eq!((read, spent), (Ok(()), vec![true, false]));
        assert!(r.spend(usize::MAX, 2).is_err() && r.spend(1, half - 2).is_ok());
    }

    #[test]
    fn a_known_tagged_field_has_to_fill_its_size() {
        // One field: tag 0, two bytes.
        let bytes = Bytes::from_static(&[1, 0, 2, 7, 8]);
        let mut one = Reader::new(bytes.clone());
        let error =
            one.tagged(&mut |_, field| field.i8().map(|_| true)).expect_err("a byte is left");
        assert_eq!(error.problem, DecodeProblem::Trailing(1));
        let mut unknown = Reader::new(bytes);
        assert_eq!(unknown.tagged(&mut |_, _| Ok(false)), Ok(()));
        assert_eq!(unknown.finish(), Ok(()));
    }
}
