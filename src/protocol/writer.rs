//! A writer of primitives that gathers a message as segments: what it writes itself lies in one
//! buffer, and shared byte strings (record batches) are spliced in between without a copy, ready
//! for a vectored write.

use bytes::{BufMut, Bytes, BytesMut};

/// Gathers the bytes of one message or frame.
#[derive(Debug, Default)]
pub struct Writer {
    own: BytesMut,
    /// Byte strings of others, each with its place in `own`; in order of place.
    splices: Vec<(usize, Bytes)>,
    /// The lengths of the splices, added up.
    spliced: usize,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(bytes: usize) -> Self {
        Self { own: BytesMut::with_capacity(bytes), ..Self::default() }
    }

    /// The bytes gathered so far, splices included.
    pub fn len(&self) -> usize {
        self.own.len() + self.spliced
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn i8(&mut self, value: i8) {
        self.own.put_i8(value);
    }

    pub fn i16(&mut self, value: i16) {
        self.own.put_i16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.own.put_i32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.own.put_i64(value);
    }

    /// An unsigned varint: seven bits a byte, the lowest first.
    pub fn varint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.own.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.own.put_u8(value as u8);
    }

    /// Copies bytes in.
    pub fn slice(&mut self, bytes: &[u8]) {
        self.own.put_slice(bytes);
    }

    /// Splices shared bytes in, without a copy.
    pub fn bytes(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.spliced += bytes.len();
            self.splices.push((self.own.len(), bytes));
        }
    }

    /// Appends what another writer gathered.
    pub fn append(&mut self, other: Writer) {
        let start = self.own.len();
        self.own.unsplit(other.own);
        self.spliced += other.spliced;
        self.splices.extend(other.splices.into_iter().map(|(at, bytes)| (start + at, bytes)));
    }

    /// Overwrites four bytes written earlier; `at` is where they lie among the writer's own bytes.
    pub(super) fn patch_i32(&mut self, at: usize, value: i32) {
        if let Some(place) = self.own.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// The total length and the segments, in order and none of them empty.
    pub fn into_segments(self) -> (usize, Vec<Bytes>) {
        let total = self.len();
        let own = self.own.freeze();
        let mut segments = Vec::with_capacity(2 * self.splices.len() + 1);
        let mut written = 0;
        for (at, bytes) in self.splices {
            if at > written {
                segments.push(own.slice(written..at));
                written = at;
            }
            segments.push(bytes);
        }
        if written < own.len() {
            segments.push(own.slice(written..));
        }
        (total, segments)
    }
}

/// Gathers a section of tagged fields (KIP-482), which states each field's size before its bytes.
#[derive(Debug, Default)]
pub struct TaggedFields {
    count: u32,
    fields: Writer,
}

impl TaggedFields {
    /// Adds a field; tags have to come in ascending order.
    pub fn put(&mut self, tag: u32, field: Writer) {
        self.count += 1;
        self.fields.varint(tag);
        // A field that exceeded 32 bits would exceed the frame's limit too, which is checked when
        // the frame is closed.
        self.fields.varint(u32::try_from(field.len()).unwrap_or(u32::MAX));
        self.fields.append(field);
    }

    pub fn write(self, w: &mut Writer) {
        w.varint(self.count);
        w.append(self.fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spliced_bytes_keep_their_place_and_are_not_copied() {
        let (first, second) = (Bytes::from(vec![1; 10]), Bytes::from(vec![2; 10]));
        let mut w = Writer::new();
        w.bytes(first.clone());
        w.i16(3);
        let mut inner = Writer::new();
        inner.i8(4);
        inner.bytes(Bytes::new());
        inner.bytes(second.clone());
        inner.i8(5);
        w.append(inner);
        assert_eq!(w.len(), 24);
        let (total, segments) = w.into_segments();
        assert_eq!(total, 24);
        let expected: [&[u8]; 4] = [&first, &[0, 3, 4], &second, &[5]];
        assert_eq!(segments, expected);
        assert_eq!(segments[0].as_ptr(), first.as_ptr());
        assert_eq!(segments[2].as_ptr(), second.as_ptr());
    }

    #[test]
    fn nothing_written_is_no_segment() {
        assert_eq!(Writer::new().into_segments(), (0, Vec::new()));
    }
}
