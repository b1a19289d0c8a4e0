//! How bytes become typed keys and values. A deserializer says what they are; when it is called and
//! what an error of it means is the consumer's business.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::types::{RecordHeader, RecordPart};

type BoxError = Box<dyn Error + Send + Sync>;

/// Makes something of the bytes of a key or a value (Kafka's `key.deserializer`,
/// `value.deserializer`).
///
/// Give a pair of them to [`Records::deserialize`](crate::Records::deserialize). What it makes may
/// borrow from the fetched bytes.
///
/// ```
/// use std::error::Error;
/// use milena::serialize::{DeserializeContext, Deserializer};
///
/// struct Point {
///     x: i32,
///     y: i32,
/// }
///
/// /// Reads a point of two numbers of four bytes.
/// struct PointDeserializer;
///
/// impl Deserializer for PointDeserializer {
///     type Data<'a> = Point;
///
///     fn deserialize<'a>(
///         &self,
///         _context: &DeserializeContext<'_>,
///         bytes: Option<&'a [u8]>,
///     ) -> Result<Point, Box<dyn Error + Send + Sync>> {
///         let (x, y) = bytes.and_then(|bytes| bytes.split_at_checked(4)).ok_or("no point")?;
///         Ok(Point { x: i32::from_be_bytes(x.try_into()?), y: i32::from_be_bytes(y.try_into()?) })
///     }
/// }
/// # let context = DeserializeContext::new("points", milena::serialize::RecordPart::Value);
/// # let point = PointDeserializer.deserialize(&context, Some(&[0, 0, 0, 1, 255, 255, 255, 255]));
/// # let point = point.unwrap();
/// # assert_eq!((point.x, point.y), (1, -1));
/// # assert!(PointDeserializer.deserialize(&context, None).is_err());
/// ```
pub trait Deserializer: Send + Sync {
    /// What it makes. The built-in ones make an `Option`, `None` for Kafka's null.
    type Data<'a>;

    /// What the bytes are; `bytes` is `None` for Kafka's null.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes. Whoever reads the record gets a
    /// [`RecordDeserializationError`](crate::RecordDeserializationError) with this error as its source.
    fn deserialize<'a>(
        &self,
        context: &DeserializeContext<'_>,
        bytes: Option<&'a [u8]>,
    ) -> Result<Self::Data<'a>, BoxError>;
}

/// What a deserializer may know of the record.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct DeserializeContext<'a> {
    /// The topic that the record is from.
    pub topic: &'a str,
    /// Which part of it is read.
    pub part: RecordPart,
    headers: &'a dyn HeaderList,
}

/// The headers of a record, as a deserializer may look at them.
pub(crate) trait HeaderList: Sync {
    /// In order.
    fn all(&self) -> Box<dyn Iterator<Item = RecordHeader<'_>> + '_>;
}

struct NoHeaders;

impl HeaderList for NoHeaders {
    fn all(&self) -> Box<dyn Iterator<Item = RecordHeader<'_>> + '_> {
        Box::new(std::iter::empty())
    }
}

impl<'a> DeserializeContext<'a> {
    /// The context of a record without headers, for those who call a deserializer themselves.
    pub fn new(topic: &'a str, part: RecordPart) -> Self {
        Self { topic, part, headers: &NoHeaders }
    }

    pub(crate) fn with_headers(self, headers: &'a dyn HeaderList) -> Self {
        Self { headers, ..self }
    }

    /// The record's headers, in order. They are decoded when this is called.
    pub fn headers(&self) -> impl Iterator<Item = RecordHeader<'a>> + use<'a> {
        self.headers.all()
    }

    /// The last header of a name, the one that counts where names repeat.
    pub fn last_header(&self, name: &str) -> Option<RecordHeader<'a>> {
        self.headers().filter(|header| header.key_bytes == name.as_bytes()).last()
    }
}

impl fmt::Debug for DeserializeContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeserializeContext")
            .field("topic", &self.topic)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

/// A deserializer may be shared.
macro_rules! by_pointer {
    ($($pointer:ident)*) => {$(
        impl<D: Deserializer + ?Sized> Deserializer for $pointer<D> {
            type Data<'a> = D::Data<'a>;

            fn deserialize<'a>(
                &self,
                context: &DeserializeContext<'_>,
                bytes: Option<&'a [u8]>,
            ) -> Result<Self::Data<'a>, BoxError> {
                D::deserialize(self, context, bytes)
            }
        }
    )*};
}

by_pointer!(Arc Box);

/// Declares deserializers: name, what they make of bytes, and how. Null is `None`.
macro_rules! built_in {
    ($($(#[doc = $doc:literal])+ $name:ident($data:ty): |$bytes:ident| $make:expr;)*) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name;

        impl Deserializer for $name {
            type Data<'a> = Option<$data>;

            fn deserialize<'a>(
                &self,
                _context: &DeserializeContext<'_>,
                bytes: Option<&'a [u8]>,
            ) -> Result<Self::Data<'a>, BoxError> {
                let Some($bytes) = bytes else { return Ok(None) };
                $make.map(Some)
            }
        }
    )*};
}

built_in! {
    /// UTF-8 as text. What is not UTF-8 is an error; in Java (`StringDeserializer`) it becomes U+FFFD,
    /// as with [`LossyStringDeserializer`].
    StringDeserializer(&'a str): |bytes| std::str::from_utf8(bytes).map_err(Into::into);

    /// UTF-8 as text, with U+FFFD for what is none (Java's `StringDeserializer` with its default
    /// encoding). It borrows unless that is so.
    LossyStringDeserializer(Cow<'a, str>): |bytes| Ok::<_, BoxError>(String::from_utf8_lossy(bytes));

    /// Bytes as they are (Java's `ByteArrayDeserializer`, `ByteBufferDeserializer` and
    /// `BytesDeserializer`).
    ByteArrayDeserializer(&'a [u8]): |bytes| Ok::<_, BoxError>(bytes);

    /// One byte, 0 or 1, as `false` or `true` (Java's `BooleanDeserializer`).
    BooleanDeserializer(bool): |bytes| match exactly::<1>(bytes)? {
        [0] => Ok::<_, BoxError>(false),
        [1] => Ok(true),
        [other] => Err(format!("{other} is neither 0 nor 1").into()),
    };

    /// Two bytes, the highest first (Java's `ShortDeserializer`).
    ShortDeserializer(i16): |bytes| exactly(bytes).map(i16::from_be_bytes);

    /// Four bytes, the highest first (Java's `IntegerDeserializer`).
    IntegerDeserializer(i32): |bytes| exactly(bytes).map(i32::from_be_bytes);

    /// Eight bytes, the highest first (Java's `LongDeserializer`).
    LongDeserializer(i64): |bytes| exactly(bytes).map(i64::from_be_bytes);

    /// The four bytes of IEEE 754, the highest first (Java's `FloatDeserializer`).
    FloatDeserializer(f32): |bytes| exactly(bytes).map(f32::from_be_bytes);

    /// The eight bytes of IEEE 754, the highest first (Java's `DoubleDeserializer`).
    DoubleDeserializer(f64): |bytes| exactly(bytes).map(f64::from_be_bytes);

    /// A UUID as text of 36 characters, as its 16 bytes (Java's `UUIDDeserializer`). With the crate
    /// `uuid`, give them to `Uuid::from_bytes`.
    UuidDeserializer([u8; 16]): |bytes| uuid(bytes).ok_or_else(|| BoxError::from("not a UUID as text"));
}

/// Nothing, that is null (Java's `VoidDeserializer`); anything else is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct VoidDeserializer;

impl Deserializer for VoidDeserializer {
    type Data<'a> = ();

    fn deserialize<'a>(
        &self,
        _context: &DeserializeContext<'_>,
        bytes: Option<&'a [u8]>,
    ) -> Result<Self::Data<'a>, BoxError> {
        match bytes {
            None => Ok(()),
            Some(bytes) => Err(format!("{} bytes, and null was expected", bytes.len()).into()),
        }
    }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], BoxError> {
    bytes.try_into().map_err(|_| format!("{} bytes, and {N} were expected", bytes.len()).into())
}

/// 32 digits in groups of 8-4-4-4-12, of either case.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut digits = [0; 32];
    let mut left = digits.iter_mut();
    for (at, byte) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
        } else {
            let digit = char::from(*byte).to_digit(16)?;
            *left.next()? = u8::try_from(digit).ok()?;
        }
    }
    if left.next().is_some() {
        return None;
    }
    let mut uuid = [0; 16];
    for (byte, pair) in uuid.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    }
    Some(uuid)
}

/// A deserializer from a function. It is given `None` for Kafka's null.
///
/// ```
/// use milena::serialize::deserialize_with;
///
/// let deserializer = deserialize_with(|bytes: Option<&[u8]>| {
///     let text = std::str::from_utf8(bytes.unwrap_or(b"0"))?;
///     Ok(text.parse::<u64>()?)
/// });
/// # use milena::serialize::{DeserializeContext, Deserializer, RecordPart};
/// # let context = DeserializeContext::new("counts", RecordPart::Value);
/// # assert_eq!(deserializer.deserialize(&context, Some(b"17")).unwrap(), 17);
/// # assert!(deserializer.deserialize(&context, Some(b"x")).is_err());
/// ```
pub fn deserialize_with<T, F>(read: F) -> DeserializeWith<T, F>
where
    F: Fn(Option<&[u8]>) -> Result<T, BoxError> + Send + Sync,
{
    DeserializeWith { read, data: PhantomData }
}

/// What [`deserialize_with`] makes of a function.
pub struct DeserializeWith<T, F> {
    read: F,
    data: PhantomData<fn() -> T>,
}

impl<T, F> Deserializer for DeserializeWith<T, F>
where
    F: Fn(Option<&[u8]>) -> Result<T, BoxError> + Send + Sync,
{
    type Data<'a> = T;

    fn deserialize<'a>(
        &self,
        _context: &DeserializeContext<'_>,
        bytes: Option<&'a [u8]>,
    ) -> Result<Self::Data<'a>, BoxError> {
        (self.read)(bytes)
    }
}

impl<T, F: Clone> Clone for DeserializeWith<T, F> {
    fn clone(&self) -> Self {
        Self { read: self.read.clone(), data: PhantomData }
    }
}

impl<T, F> fmt::Debug for DeserializeWith<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeserializeWith").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        BooleanSerializer, ByteArraySerializer, DoubleSerializer, FloatSerializer,
        IntegerSerializer, LongSerializer, SerializeContext, Serializer, ShortSerializer,
        StringSerializer, UuidSerializer, VoidSerializer,
    };
    use super::*;

    const CONTEXT: fn() -> DeserializeContext<'static> =
        || DeserializeContext::new("topic", RecordPart::Value);

    fn read<D: Deserializer>(deserializer: D, bytes: &[u8]) -> Result<D::Data<'_>, String> {
        deserializer.deserialize(&CONTEXT(), Some(bytes)).map_err(|error| error.to_string())
    }

    fn bytes<S: Serializer>(serializer: S, data: &S::Data) -> Vec<u8> {
        let context = SerializeContext::new("topic", RecordPart::Value);
        let mut scratch = Vec::new();
        serializer.serialize(&context, data, &mut scratch).unwrap().unwrap().to_vec()
    }

    #[test]
    fn what_was_serialized_comes_back() {
        let uuid = [0x0f, 0xa9, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff];
        assert_eq!(read(StringDeserializer, &bytes(StringSerializer, "äb")), Ok(Some("äb")));
        assert_eq!(
            read(ByteArrayDeserializer, &bytes(ByteArraySerializer, &[7, 255])),
            Ok(Some(&[7, 255][..]))
        );
        assert_eq!(read(BooleanDeserializer, &bytes(BooleanSerializer, &true)), Ok(Some(true)));
        assert_eq!(read(BooleanDeserializer, &bytes(BooleanSerializer, &false)), Ok(Some(false)));
        assert_eq!(read(ShortDeserializer, &bytes(ShortSerializer, &-2)), Ok(Some(-2)));
        assert_eq!(read(IntegerDeserializer, &bytes(IntegerSerializer, &-3)), Ok(Some(-3)));
        assert_eq!(read(LongDeserializer, &bytes(LongSerializer, &i64::MIN)), Ok(Some(i64::MIN)));
        assert_eq!(read(FloatDeserializer, &bytes(FloatSerializer, &-1.5)), Ok(Some(-1.5)));
        assert_eq!(read(DoubleDeserializer, &bytes(DoubleSerializer, &1e300)), Ok(Some(1e300)));
        assert_eq!(read(UuidDeserializer, &bytes(UuidSerializer, &uuid)), Ok(Some(uuid)));
        let context = SerializeContext::new("topic", RecordPart::Value);
        let mut scratch = Vec::new();
        let nothing = VoidSerializer.serialize(&context, &(), &mut scratch).unwrap();
        VoidDeserializer.deserialize(&CONTEXT(), nothing).unwrap();
    }

    #[test]
    fn null_is_none() {
        let context = CONTEXT();
        assert_eq!(StringDeserializer.deserialize(&context, None).unwrap(), None);
        assert_eq!(LossyStringDeserializer.deserialize(&context, None).unwrap(), None);
        assert_eq!(ByteArrayDeserializer.deserialize(&context, None).unwrap(), None);
        assert_eq!(LongDeserializer.deserialize(&context, None).unwrap(), None);
        assert_eq!(UuidDeserializer.deserialize(&context, None).unwrap(), None);
        assert_eq!(Arc::new(BooleanDeserializer).deserialize(&context, None).unwrap(), None);
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_says_how() {
        for (said, expected) in [
            (read(ShortDeserializer, b"").map(drop), "0 bytes, and 2 were expected"),
            (read(IntegerDeserializer, b"12345").map(drop), "5 bytes, and 4 were expected"),
            (read(LongDeserializer, b"1234").map(drop), "4 bytes, and 8 were expected"),
            (read(FloatDeserializer, b"1").map(drop), "1 bytes, and 4 were expected"),
            (read(DoubleDeserializer, b"1").map(drop), "1 bytes, and 8 were expected"),
            (read(BooleanDeserializer, b"").map(drop), "0 bytes, and 1 were expected"),
            (read(BooleanDeserializer, &[2]).map(drop), "2 is neither 0 nor 1"),
            (read(VoidDeserializer, b"").map(drop), "0 bytes, and null was expected"),
            (read(StringDeserializer, &[b'a', 0xff]).map(drop), "invalid utf-8"),
        ] {
            let error = said.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let text = b"0fa90203-0405-0607-0809-0a0b0c0d0eff";
        for at in 0..text.len() {
            assert!(read(UuidDeserializer, &text[..at]).is_err());
            let mut wrong = *text;
            wrong[at] = if wrong[at] == b'-' { b'0' } else { b'-' };
            assert!(read(UuidDeserializer, &wrong).is_err());
        }
        assert!(read(UuidDeserializer, &[&text[..], b"0"].concat()).is_err());
        assert_eq!(read(UuidDeserializer, &text.to_ascii_uppercase()).unwrap().unwrap()[0], 0x0f);
    }

    #[test]
    fn java_reads_what_is_not_utf_8_and_so_can_we() {
        let read_lossy = |bytes| read(LossyStringDeserializer, bytes).unwrap().unwrap();
        assert!(matches!(read_lossy(b"plain"), Cow::Borrowed("plain")));
        assert_eq!(read_lossy(&[b'a', 0xff]), "a\u{fffd}");
    }
}
