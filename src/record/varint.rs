//! Variable-length numbers of the record format: zig-zag, seven bits a byte, least significant
//! first. Lengths and deltas only; it does not know what they are of.

use super::error::RecordError;

/// The most bytes that a number of 32 bits takes.
pub(super) const MAX_VARINT_LEN: usize = 5;
/// The most bytes that a number of 64 bits takes.
pub(super) const MAX_VARLONG_LEN: usize = 10;

/// Signed to unsigned, so that small negative numbers stay small.
#[inline]
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The zig-zag form of a length, which is never negative.
#[inline]
pub(super) const fn zigzag_len(len: usize) -> u64 {
    (len as u64) << 1
}

/// The zig-zag form of the -1 that stands for null.
pub(super) const NULL: u64 = zigzag(-1);

/// How many bytes a number takes that is in zig-zag form already.
#[inline]
pub(super) const fn size(zigzagged: u64) -> usize {
    // ceil(bits / 7) without a division: 9 / 64 is close enough to 1 / 7 up to 64 bits.
    let bits = 64 - (zigzagged | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}

/// A few bytes on the stack in which a record's numbers are gathered, so that they go to the batch
/// in one copy.
#[derive(Debug)]
pub(super) struct Scratch<const N: usize> {
    bytes: [u8; N],
    end: usize,
}

impl<const N: usize> Scratch<N> {
    /// Starts writing at `start`; what lies before is filled in later, by `prepend`.
    #[inline]
    pub(super) fn starting_at(start: usize) -> Self {
        Self { bytes: [0; N], end: start }
    }

    #[inline]
    pub(super) fn byte(&mut self, value: u8) {
        if let Some(slot) = self.bytes.get_mut(self.end) {
            *slot = value;
            self.end += 1;
        }
    }

    /// Writes a number that is in zig-zag form already.
    #[inline]
    pub(super) fn varint(&mut self, mut zigzagged: u64) {
        while zigzagged >= 0x80 {
            self.byte(zigzagged as u8 | 0x80);
            zigzagged >>= 7;
        }
        self.byte(zigzagged as u8);
    }

    /// What was written since the start, if that was at 0.
    #[inline]
    pub(super) fn written(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    #[inline]
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Writes a number so that it ends just before `start`, and gives all that was written.
    #[inline]
    pub(super) fn prepend(&mut self, start: usize, mut zigzagged: u64) -> &[u8] {
        let first = start.saturating_sub(size(zigzagged));
        let mut at = first;
        while zigzagged >= 0x80 {
            if let Some(slot) = self.bytes.get_mut(at) {
                *slot = zigzagged as u8 | 0x80;
            }
            at += 1;
            zigzagged >>= 7;
        }
        if let Some(slot) = self.bytes.get_mut(at) {
            *slot = zigzagged as u8;
        }
        self.bytes.get(first..self.end).unwrap_or_default()
    }
}

/// Takes numbers and bytes off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn byte(&mut self, part: &'static str) -> Result<u8, RecordError> {
        let (&byte, rest) = self.rest.split_first().ok_or(RecordError::Truncated { part })?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(super) fn bytes(
        &mut self,
        len: usize,
        part: &'static str,
    ) -> Result<&'a [u8], RecordError> {
        let (bytes, rest) =
            self.rest.split_at_checked(len).ok_or(RecordError::Truncated { part })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A signed number of 32 bits.
    #[inline]
    pub(super) fn varint(&mut self, part: &'static str) -> Result<i32, RecordError> {
        let raw = match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                u32::from(byte)
            }
            _ => {
                let raw = self.long_form(MAX_VARINT_LEN, part)?;
                u32::try_from(raw).map_err(|_| RecordError::Varint { part })?
            }
        };
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A signed number of 64 bits.
    #[inline]
    pub(super) fn varlong(&mut self, part: &'static str) -> Result<i64, RecordError> {
        let raw = match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                u64::from(byte)
            }
            _ => self.long_form(MAX_VARLONG_LEN, part)?,
        };
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    #[inline]
    fn long_form(&mut self, max_len: usize, part: &'static str) -> Result<u64, RecordError> {
        let mut raw = 0u64;
        for (i, &byte) in self.rest.iter().take(max_len).enumerate() {
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * i as u32;
            // The tenth byte has room for one bit only.
            if shift == 63 && bits > 1 {
                return Err(RecordError::Varint { part });
            }
            raw |= bits << shift;
            if byte < 0x80 {
                self.rest = self.rest.get(i + 1..).unwrap_or_default();
                return Ok(raw);
            }
        }
        if self.rest.len() < max_len {
            Err(RecordError::Truncated { part })
        } else {
            Err(RecordError::Varint { part })
        }
    }

    /// A length that may be null (-1).
    #[inline]
    pub(super) fn nullable_len(
        &mut self,
        part: &'static str,
    ) -> Result<Option<usize>, RecordError> {
        match self.varint(part)? {
            -1 => Ok(None),
            value => match usize::try_from(value) {
                Ok(len) => Ok(Some(len)),
                Err(_) => Err(RecordError::Length { part, value }),
            },
        }
    }

    /// A length or count that may not be null.
    #[inline]
    pub(super) fn len(&mut self, part: &'static str) -> Result<usize, RecordError> {
        let value = self.varint(part)?;
        usize::try_from(value).map_err(|_| RecordError::Length { part, value })
    }

    /// Bytes after their length, or null.
    #[inline]
    pub(super) fn nullable_bytes(
        &mut self,
        part: &'static str,
    ) -> Result<Option<&'a [u8]>, RecordError> {
        match self.nullable_len(part)? {
            Some(len) => Ok(Some(self.bytes(len, part)?)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: i64) -> Vec<u8> {
        let mut scratch = Scratch::<MAX_VARLONG_LEN>::starting_at(0);
        scratch.varint(zigzag(value));
        scratch.bytes[..scratch.end()].to_vec()
    }

    #[test]
    fn known_encodings() {
        // From the protocol-buffers documentation of zig-zag numbers.
        assert_eq!(written(0), [0x00]);
        assert_eq!(written(-1), [0x01]);
        assert_eq!(written(1), [0x02]);
        assert_eq!(written(63), [0x7e]);
        assert_eq!(written(64), [0x80, 0x01]);
        assert_eq!(written(-64), [0x7f]);
        assert_eq!(written(-65), [0x81, 0x01]);
        assert_eq!(written(i64::from(i32::MAX)), [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(written(i64::from(i32::MIN)), [0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(written(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(zigzag_len(5), zigzag(5));
        assert_eq!(NULL, 1);
    }

    #[test]
    fn prepend_ends_where_the_rest_starts() {
        for value in [0u64, 0x7f, 0x80, 0x3fff, 0x4000, u64::from(u32::MAX)] {
            let mut scratch = Scratch::<8>::starting_at(5);
            scratch.byte(0xaa);
            let bytes = scratch.prepend(5, value).to_vec();
            let mut expected = Scratch::<8>::starting_at(0);
            expected.varint(value);
            assert_eq!(bytes[..bytes.len() - 1], expected.bytes[..expected.end()]);
            assert_eq!(bytes.last(), Some(&0xaa));
        }
    }

    #[test]
    fn too_long_too_short_and_too_wide_are_told_apart() {
        let part = "test";
        assert_eq!(
            Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).varint(part),
            Err(RecordError::Varint { part })
        );
        assert_eq!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(part),
            Err(RecordError::Varint { part })
        );
        assert_eq!(Cursor::new(&[0x80; 3]).varint(part), Err(RecordError::Truncated { part }));
        assert_eq!(Cursor::new(&[]).varlong(part), Err(RecordError::Truncated { part }));
        assert_eq!(Cursor::new(&[0x80; 11]).varlong(part), Err(RecordError::Varint { part }));
        let mut wide = [0xff; 10];
        wide[9] = 0x02;
        assert_eq!(Cursor::new(&wide).varlong(part), Err(RecordError::Varint { part }));
        assert_eq!(
            Cursor::new(&written(-2)).nullable_len(part),
            Err(RecordError::Length { part, value: -2 })
        );
        assert_eq!(
            Cursor::new(&written(-1)).len(part),
            Err(RecordError::Length { part, value: -1 })
        );
    }

    proptest! {
        #[test]
        fn round_trip(value in any::<i64>(), shift in 0u32..64) {
            let value = value >> shift;
            let bytes = written(value);
            prop_assert_eq!(bytes.len(), size(zigzag(value)));
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.varlong("value"), Ok(value));
            prop_assert!(cursor.rest().is_empty());
            let mut cursor = Cursor::new(&bytes);
            match i32::try_from(value) {
                Ok(small) => prop_assert_eq!(cursor.varint("value"), Ok(small)),
                Err(_) => prop_assert_eq!(
                    cursor.varint("value"),
                    Err(RecordError::Varint { part: "value" })
                ),
            }
        }
    }
}
