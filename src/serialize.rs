//! How typed keys and values become bytes, and bytes keys and values again. A serializer says what the bytes are; when
//! it is called, where the bytes go and what an error of it means for the record is the producer's business. The same
//! goes for deserializers and the consumer.
//!
//! ```
//! use std::error::Error;
//! use milena::serialize::{SerializeContext, Serializer};
//!
//! struct Point {
//!     x: i32,
//!     y: i32,
//! }
//!
//! /// Writes a point as two numbers of four bytes.
//! struct PointSerializer;
//!
//! impl Serializer for PointSerializer {
//!     type Data = Point;
//!
//!     fn serialize<'a>(
//!         &self,
//!         _context: &SerializeContext<'_>,
//!         point: &'a Point,
//!         scratch: &'a mut Vec<u8>,
//!     ) -> Result<Option<&'a [u8]>, Box<dyn Error + Send + Sync>> {
//!         scratch.extend_from_slice(&point.x.to_be_bytes());
//!         scratch.extend_from_slice(&point.y.to_be_bytes());
//!         Ok(Some(scratch))
//!     }
//! }
//! # let mut scratch = Vec::new();
//! # let context = SerializeContext::new("points", milena::serialize::RecordPart::Value);
//! # let point = Point { x: 1, y: -1 };
//! # let bytes = PointSerializer.serialize(&context, &point, &mut scratch).unwrap();
//! # assert_eq!(bytes, Some(&[0, 0, 0, 1, 255, 255, 255, 255][..]));
//! ```

mod deserialize;

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::types::Header;

pub use crate::types::RecordPart;
pub(crate) use deserialize::HeaderList;
pub use deserialize::{
    BooleanDeserializer, ByteArrayDeserializer, DeserializeContext, DeserializeWith, Deserializer,
    DoubleDeserializer, FloatDeserializer, IntegerDeserializer, LongDeserializer,
    LossyStringDeserializer, ShortDeserializer, StringDeserializer, UuidDeserializer,
    VoidDeserializer, deserialize_with,
};

/// Makes the bytes of a key or a value (Kafka's `key.serializer`, `value.serializer`).
///
/// Give a pair of them to [`Producer::typed`](crate::Producer::typed).
pub trait Serializer: Send + Sync {
    /// What it serializes.
    type Data: ?Sized;

    /// The bytes of `data`, or `None` for Kafka's null.
    ///
    /// Data that are bytes already are best borrowed. Others are written to `scratch`, which is empty and is used again
    /// for later records, and are borrowed from there.
    ///
    /// A record without a key, and a tombstone's value, are null without a serializer being asked.
    ///
    /// # Errors
    /// Whatever is wrong with the data. The record is then not sent, and the sender gets
    /// [`SendError::Serialization`](crate::SendError::Serialization) with this error as its source. A panic counts as
    /// an error, too.
    fn serialize<'a>(
        &self,
        context: &SerializeContext<'_>,
        data: &'a Self::Data,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, Box<dyn Error + Send + Sync>>;
}

/// What a serializer may know of the record.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SerializeContext<'a> {
    /// The topic that the record is for.
    pub topic: &'a str,
    /// Which part of it is made.
    pub part: RecordPart,
    /// The record's headers.
    pub headers: &'a [Header<'a>],
}

impl<'a> SerializeContext<'a> {
    /// The context of a record without headers, for those who call a serializer themselves.
    pub fn new(topic: &'a str, part: RecordPart) -> Self {
        Self { topic, part, headers: &[] }
    }

    /// The same with headers.
    #[must_use]
    pub fn headers(self, headers: &'a [Header<'a>]) -> Self {
        Self { headers, ..self }
    }
}

/// A serializer may be shared or chosen at run time.
macro_rules! by_pointer {
    ($($pointer:ident)*) => {$(
        impl<S: Serializer + ?Sized> Serializer for $pointer<S> {
            type Data = S::Data;

            fn serialize<'a>(
                &self,
                context: &SerializeContext<'_>,
                data: &'a Self::Data,
                scratch: &'a mut Vec<u8>,
            ) -> Result<Option<&'a [u8]>, Box<dyn Error + Send + Sync>> {
                S::serialize(self, context, data, scratch)
            }
        }
    )*};
}

by_pointer!(Arc Box);

/// Declares serializers that cannot fail: name, type, and the bytes of a value.
macro_rules! built_in {
    ($($(#[doc = $doc:literal])+ $name:ident($data:ty): |$value:ident, $scratch:ident| $bytes:expr;)*) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name;

        impl Serializer for $name {
            type Data = $data;

            fn serialize<'a>(
                &self,
                _context: &SerializeContext<'_>,
                $value: &'a $data,
                $scratch: &'a mut Vec<u8>,
            ) -> Result<Option<&'a [u8]>, Box<dyn Error + Send + Sync>> {
                Ok($bytes)
            }
        }
    )*};
}

built_in! {
    /// Text as UTF-8 (Java's `StringSerializer` with its default encoding).
    StringSerializer(str): |value, _scratch| Some(value.as_bytes());

    /// Bytes as they are (Java's `ByteArraySerializer`, `ByteBufferSerializer` and `BytesSerializer`).
    ByteArraySerializer([u8]): |value, _scratch| Some(value);

    /// Nothing, that is null (Java's `VoidSerializer`): for records that never have a key, or never a value.
    VoidSerializer(()): |_value, _scratch| None;

    /// `false` or `true` as one byte, 0 or 1 (Java's `BooleanSerializer`).
    BooleanSerializer(bool): |value, scratch| put(scratch, &[u8::from(*value)]);

    /// Two bytes, the highest first (Java's `ShortSerializer`).
    ShortSerializer(i16): |value, scratch| put(scratch, &value.to_be_bytes());

    /// Four bytes, the highest first (Java's `IntegerSerializer`).
    IntegerSerializer(i32): |value, scratch| put(scratch, &value.to_be_bytes());

    /// Eight bytes, the highest first (Java's `LongSerializer`).
    LongSerializer(i64): |value, scratch| put(scratch, &value.to_be_bytes());

    /// The four bytes of IEEE 754, the highest first (Java's `FloatSerializer`).
    FloatSerializer(f32): |value, scratch| put(scratch, &value.to_be_bytes());

    /// The eight bytes of IEEE 754, the highest first (Java's `DoubleSerializer`).
    DoubleSerializer(f64): |value, scratch| put(scratch, &value.to_be_bytes());

    /// A UUID's 16 bytes as text of 36 characters, in lower case (Java's `UUIDSerializer`). With the crate `uuid`, give
    /// `uuid.as_bytes()`.
    UuidSerializer([u8; 16]): |value, scratch| {
        for (at, byte) in value.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                scratch.push(b'-');
            }
            scratch.extend([byte >> 4, byte & 15].map(hex_digit));
        }
        Some(scratch)
    };
}

fn put<'a>(scratch: &'a mut Vec<u8>, bytes: &[u8]) -> Option<&'a [u8]> {
    scratch.extend_from_slice(bytes);
    Some(scratch)
}

fn hex_digit(number: u8) -> u8 {
    number + if number < 10 { b'0' } else { b'a' - 10 }
}

/// A serializer from a function that writes to the scratch buffer.
///
/// ```
/// use milena::serialize::serialize_with;
///
/// struct Point { x: i32, y: i32 }
///
/// let serializer = serialize_with(|point: &Point, scratch: &mut Vec<u8>| {
///     scratch.extend_from_slice(format!("{},{}", point.x, point.y).as_bytes());
///     Ok(())
/// });
/// # use milena::serialize::{RecordPart, SerializeContext, Serializer};
/// # let context = SerializeContext::new("points", RecordPart::Value);
/// # let mut scratch = Vec::new();
/// # let bytes = serializer.serialize(&context, &Point { x: 1, y: -1 }, &mut scratch).unwrap();
/// # assert_eq!(bytes, Some(&b"1,-1"[..]));
/// ```
pub fn serialize_with<T: ?Sized, F>(write: F) -> SerializeWith<T, F>
where
    F: Fn(&T, &mut Vec<u8>) -> Result<(), Box<dyn Error + Send + Sync>> + Send + Sync,
{
    SerializeWith { write, data: PhantomData }
}

/// What [`serialize_with`] makes of a function.
pub struct SerializeWith<T: ?Sized, F> {
    write: F,
    data: PhantomData<fn(&T)>,
}

impl<T: ?Sized, F> Serializer for SerializeWith<T, F>
where
    F: Fn(&T, &mut Vec<u8>) -> Result<(), Box<dyn Error + Send + Sync>> + Send + Sync,
{
    type Data = T;

    fn serialize<'a>(
        &self,
        _context: &SerializeContext<'_>,
        data: &'a T,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, Box<dyn Error + Send + Sync>> {
        (self.write)(data, scratch)?;
        Ok(Some(scratch))
    }
}

impl<T: ?Sized, F: Clone> Clone for SerializeWith<T, F> {
    fn clone(&self) -> Self {
        Self { write: self.write.clone(), data: PhantomData }
    }
}

impl<T: ?Sized, F: Copy> Copy for SerializeWith<T, F> {}

impl<T: ?Sized, F> fmt::Debug for SerializeWith<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerializeWith").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<S: Serializer>(serializer: S, data: &S::Data) -> Option<Vec<u8>> {
        let context = SerializeContext::new("t", RecordPart::Value);
        let mut scratch = Vec::new();
        serializer.serialize(&context, data, &mut scratch).unwrap().map(<[u8]>::to_vec)
    }

    /// As Java's serializers of the same names write them.
    #[test]
    fn built_in_ones_write_what_java_writes() {
        assert_eq!(bytes(StringSerializer, "zwölf").unwrap(), "zwölf".as_bytes());
        assert_eq!(bytes(ByteArraySerializer, &[1, 2]).unwrap(), [1, 2]);
        assert_eq!(bytes(VoidSerializer, &()), None);
        assert_eq!(bytes(BooleanSerializer, &true).unwrap(), [1]);
        assert_eq!(bytes(ShortSerializer, &-2).unwrap(), [0xff, 0xfe]);
        assert_eq!(bytes(IntegerSerializer, &0x0102_0304).unwrap(), [1, 2, 3, 4]);
        assert_eq!(bytes(LongSerializer, &-1).unwrap(), [0xff; 8]);
        assert_eq!(bytes(FloatSerializer, &1.5).unwrap(), [0x3f, 0xc0, 0, 0]);
        assert_eq!(bytes(DoubleSerializer, &-2.0).unwrap(), [0xc0, 0, 0, 0, 0, 0, 0, 0]);
        let uuid = std::array::from_fn(|i| 0x11 * i as u8);
        assert_eq!(bytes(UuidSerializer, &uuid).unwrap(), b"00112233-4455-6677-8899-aabbccddeeff");
    }

    #[test]
    fn bytes_and_text_are_borrowed() {
        let context = SerializeContext::new("t", RecordPart::Key);
        let (text, mut scratch) = ("text", Vec::new());
        let bytes = StringSerializer.serialize(&context, text, &mut scratch).unwrap().unwrap();
        assert!(std::ptr::eq(bytes, text.as_bytes()));
        let data = [7; 3];
        let bytes = ByteArraySerializer.serialize(&context, &data, &mut scratch).unwrap().unwrap();
        assert!(std::ptr::eq(bytes, &data[..]));
    }

    /// What a schema registry's serializer needs.
    #[test]
    fn a_serializer_sees_topic_part_and_headers() {
        struct Describe;

        impl Serializer for Describe {
            type Data = str;

            fn serialize<'a>(
                &self,
                context: &SerializeContext<'_>,
                data: &'a str,
                scratch: &'a mut Vec<u8>,
            ) -> Result<Option<&'a [u8]>, Box<dyn Error + Send + Sync>> {
                let SerializeContext { topic, part, headers } = context;
                let text = format!("{topic}-{part} {data} {}", headers[0].key);
                scratch.extend_from_slice(text.as_bytes());
                Ok(Some(scratch))
            }
        }

        let headers = [Header::new("h", b"")];
        let context = SerializeContext::new("t", RecordPart::Key).headers(&headers);
        let mut scratch = Vec::new();
        let shared: Arc<dyn Serializer<Data = str>> = Arc::new(Describe);
        let bytes = shared.serialize(&context, "x", &mut scratch).unwrap();
        assert_eq!(bytes, Some(&b"t-key x h"[..]));
    }

    #[test]
    fn a_function_may_refuse() {
        let even = serialize_with(|number: &i32, scratch: &mut Vec<u8>| {
            if number % 2 == 1 {
                return Err(format!("{number} is odd").into());
            }
            scratch.extend_from_slice(&number.to_be_bytes());
            Ok(())
        });
        assert_eq!(bytes(Box::new(even), &2).unwrap(), [0, 0, 0, 2]);
        let context = SerializeContext::new("t", RecordPart::Value);
        let mut scratch = Vec::new();
        let refused = even.serialize(&context, &3, &mut scratch);
        assert_eq!(refused.unwrap_err().to_string(), "3 is odd");
    }
}
