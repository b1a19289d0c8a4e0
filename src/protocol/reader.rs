//! A bounded reader of primitives. It knows no message and no version; each read either has its
//! bytes or fails.

use bytes::{Buf, Bytes};

use super::error::{DecodeError, DecodeProblem};

/// Reads from the front of a frame; the byte strings it gives out share the frame's memory.
#[derive(Debug, Clone)]
pub struct Reader {
    buf: Bytes,
}

impl Reader {
    pub fn new(buf: Bytes) -> Self {
        Self { buf }
    }

    pub fn remaining(&self) -> usize {
        self.buf.len()
    }

    /// An error unless everything has been read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.buf.len() {
            0 => Ok(()),
            left => Err(DecodeError::new(DecodeProblem::Trailing(left))),
        }
    }

    /// The next `N` bytes, for a primitive of fixed width.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = *self.buf.first_chunk::<N>().ok_or_else(|| self.truncated(N))?;
        self.buf.advance(N);
        Ok(bytes)
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// An unsigned varint of at most five bytes whose value fits 32 bits.
    pub fn varint(&mut self) -> Result<u32, DecodeError> {
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
    pub fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.buf.len() {
            return Err(self.truncated(length));
        }
        Ok(self.buf.split_to(length))
    }

    pub fn string(&mut self, length: usize) -> Result<String, DecodeError> {
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
        mut known: impl FnMut(u32, &mut Reader) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let mut field = Reader::new(self.bytes(size)?);
            if known(tag, &mut field)? {
                field.finish()?;
            }
        }
        Ok(())
    }

    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::new(DecodeProblem::Truncated { needed, remaining: self.buf.len() })
    }
}
