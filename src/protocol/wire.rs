//! How the types of fields are written: in the classic form, with fixed-width lengths, and in the
//! compact form of flexible versions (KIP-482), with varint lengths that are one higher so that 0
//! is null.
//!
//! Knows the shape of types; which versions carry which field is stated in the tables.

use bytes::Bytes;

use crate::error::ErrorCode;
use crate::types::TopicId;

use super::error::{DecodeError, DecodeProblem, Decoded, EncodeError, EncodeProblem, Encoded};
use super::reader::Reader;
use super::writer::Writer;

/// In what form a value is written.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The version of the message.
    pub version: i16,
    /// Whether lengths are compact and structs end in tagged fields.
    pub flexible: bool,
    /// Whether the value at hand may be null.
    pub nullable: bool,
}

/// A type that fields may have.
pub trait Wire: Sized {
    /// The fewest bytes that a value takes: what bounds the count of an array before memory is
    /// reserved for it.
    fn min_size(form: Form) -> usize;
    fn write(&self, w: &mut Writer, form: Form) -> Encoded;
    fn read(r: &mut Reader, form: Form) -> Decoded<Self>;
    /// A random value that can be written in this form.
    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary(rng: &mut fastrand::Rng, form: Form) -> Self;
}

macro_rules! integers {
    ($($int:ident $size:literal),*) => {$(
        impl Wire for $int {
            fn min_size(_: Form) -> usize {
                $size
            }

            fn write(&self, w: &mut Writer, _: Form) -> Encoded {
                w.$int(*self);
                Ok(())
            }

            fn read(r: &mut Reader, _: Form) -> Decoded<Self> {
                r.$int()
            }

            #[cfg(any(test, feature = "__arbitrary"))]
            fn arbitrary(rng: &mut fastrand::Rng, _: Form) -> Self {
                match rng.u8(..4) {
                    0 => -1,
                    1 => rng.$int(0..100),
                    _ => rng.$int(..),
                }
            }
        }
    )*};
}

integers!(i8 1, i16 2, i32 4, i64 8);

impl Wire for bool {
    fn min_size(_: Form) -> usize {
        1
    }

    fn write(&self, w: &mut Writer, _: Form) -> Encoded {
        w.i8(i8::from(*self));
        Ok(())
    }

    fn read(r: &mut Reader, _: Form) -> Decoded<Self> {
        Ok(r.i8()? != 0)
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary(rng: &mut fastrand::Rng, _: Form) -> Self {
        rng.bool()
    }
}

impl Wire for ErrorCode {
    fn min_size(_: Form) -> usize {
        2
    }

    fn write(&self, w: &mut Writer, _: Form) -> Encoded {
        w.i16(self.code());
        Ok(())
    }

    fn read(r: &mut Reader, _: Form) -> Decoded<Self> {
        r.i16().map(ErrorCode::new)
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary(rng: &mut fastrand::Rng, _: Form) -> Self {
        ErrorCode::new(rng.i16(-1..140))
    }
}

impl Wire for TopicId {
    fn min_size(_: Form) -> usize {
        16
    }

    fn write(&self, w: &mut Writer, _: Form) -> Encoded {
        w.slice(&self.0);
        Ok(())
    }

    fn read(r: &mut Reader, _: Form) -> Decoded<Self> {
        r.array().map(TopicId)
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary(rng: &mut fastrand::Rng, _: Form) -> Self {
        TopicId(rng.u128(..).to_be_bytes())
    }
}

/// The width of a length in the classic form.
#[derive(Debug, Clone, Copy)]
pub enum LengthWidth {
    Two,
    Four,
}

impl LengthWidth {
    fn size(self, form: Form) -> usize {
        match self {
            _ if form.flexible => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    fn max(self) -> i32 {
        match self {
            Self::Two => i32::from(i16::MAX),
            Self::Four => i32::MAX,
        }
    }

    pub(super) fn write(self, length: Option<usize>, w: &mut Writer, form: Form) -> Encoded {
        let length = match length {
            None if !form.nullable => {
                return Err(EncodeError::new(form.version, EncodeProblem::Null));
            }
            None => -1,
            Some(length) => self.checked(length, form)?,
        };
        match self {
            _ if form.flexible => w.varint(length.wrapping_add(1) as u32),
            Self::Two => w.i16(length as i16),
            Self::Four => w.i32(length),
        }
        Ok(())
    }

    /// Kafka holds compact strings to the classic limit too.
    fn checked(self, length: usize, form: Form) -> Result<i32, Box<EncodeError>> {
        i32::try_from(length).ok().filter(|length| *length <= self.max()).ok_or_else(|| {
            let problem = EncodeProblem::TooLong { length, max: self.max() as usize };
            EncodeError::new(form.version, problem)
        })
    }

    fn read(self, r: &mut Reader, form: Form) -> Decoded<Option<usize>> {
        let length = match self {
            _ if form.flexible => r.varint()?.wrapping_sub(1) as i32,
            Self::Two => i32::from(r.i16()?),
            Self::Four => r.i32()?,
        };
        match length {
            -1 if form.nullable => Ok(None),
            -1 => Err(DecodeError::new(DecodeProblem::Null)),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(DecodeError::new(DecodeProblem::NegativeLength(length))),
            },
        }
    }
}

/// A type that is written as a length and what the length counts; it may be null.
pub trait Counted: Sized {
    const WIDTH: LengthWidth;
    fn count(&self) -> usize;
    fn write_items(&self, w: &mut Writer, form: Form) -> Encoded;
    /// The count has not been checked against what remains.
    fn read_items(r: &mut Reader, count: usize, form: Form) -> Decoded<Self>;
    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary_items(rng: &mut fastrand::Rng, form: Form) -> Self;
}

impl<T: Counted> Wire for T {
    fn min_size(form: Form) -> usize {
        T::WIDTH.size(form)
    }

    fn write(&self, w: &mut Writer, form: Form) -> Encoded {
        T::WIDTH.write(Some(self.count()), w, form)?;
        self.write_items(w, Form { nullable: false, ..form })
    }

    fn read(r: &mut Reader, form: Form) -> Decoded<Self> {
        let form = Form { nullable: false, ..form };
        match T::WIDTH.read(r, form)? {
            Some(count) => T::read_items(r, count, form),
            None => Err(DecodeError::new(DecodeProblem::Null)),
        }
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary(rng: &mut fastrand::Rng, form: Form) -> Self {
        T::arbitrary_items(rng, form)
    }
}

impl<T: Counted> Wire for Option<T> {
    fn min_size(form: Form) -> usize {
        T::WIDTH.size(form)
    }

    fn write(&self, w: &mut Writer, form: Form) -> Encoded {
        match self {
            Some(value) => value.write(w, form),
            None => T::WIDTH.write(None, w, form),
        }
    }

    fn read(r: &mut Reader, form: Form) -> Decoded<Self> {
        match T::WIDTH.read(r, form)? {
            Some(count) => T::read_items(r, count, Form { nullable: false, ..form }).map(Some),
            None => Ok(None),
        }
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary(rng: &mut fastrand::Rng, form: Form) -> Self {
        (!form.nullable || rng.bool()).then(|| T::arbitrary_items(rng, form))
    }
}

impl Counted for String {
    const WIDTH: LengthWidth = LengthWidth::Two;

    fn count(&self) -> usize {
        self.len()
    }

    fn write_items(&self, w: &mut Writer, _: Form) -> Encoded {
        w.slice(self.as_bytes());
        Ok(())
    }

    fn read_items(r: &mut Reader, count: usize, _: Form) -> Decoded<Self> {
        r.string(count)
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary_items(rng: &mut fastrand::Rng, _: Form) -> Self {
        // Now and then long enough for a second byte of a compact length.
        let length = if rng.u8(..16) == 0 { 200 } else { rng.usize(..8) };
        (0..length).map(|_| if rng.u8(..8) == 0 { 'ß' } else { rng.alphanumeric() }).collect()
    }
}

/// Record batches, as one run of bytes whose content is not looked into.
impl Counted for Bytes {
    const WIDTH: LengthWidth = LengthWidth::Four;

    fn count(&self) -> usize {
        self.len()
    }

    fn write_items(&self, w: &mut Writer, _: Form) -> Encoded {
        w.bytes(self.clone());
        Ok(())
    }

    fn read_items(r: &mut Reader, count: usize, _: Form) -> Decoded<Self> {
        r.bytes(count)
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary_items(rng: &mut fastrand::Rng, _: Form) -> Self {
        let length = rng.usize(..300);
        (0..length).map(|_| rng.u8(..)).collect()
    }
}

impl<T: Wire> Counted for Vec<T> {
    const WIDTH: LengthWidth = LengthWidth::Four;

    fn count(&self) -> usize {
        self.len()
    }

    fn write_items(&self, w: &mut Writer, form: Form) -> Encoded {
        self.iter().try_for_each(|item| item.write(w, form))
    }

    fn read_items(r: &mut Reader, count: usize, form: Form) -> Decoded<Self> {
        let remaining = r.remaining();
        if count > remaining / T::min_size(form).max(1) {
            return Err(DecodeError::new(DecodeProblem::Count { count, remaining }));
        }
        r.spend(count, size_of::<T>())?;
        // Of elements that are larger than what is left, not all may turn out to be there.
        let mut items = Vec::with_capacity(count.min(remaining / size_of::<T>().max(1) + 1));
        for _ in 0..count {
            items.push(T::read(r, form)?);
        }
        Ok(items)
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    fn arbitrary_items(rng: &mut fastrand::Rng, form: Form) -> Self {
        (0..rng.usize(..4)).map(|_| T::arbitrary(rng, form)).collect()
    }
}

/// A struct that may be null: a byte says whether it is there, 1 or -1.
macro_rules! nullable_struct {
    ($name:ident) => {
        impl $crate::protocol::wire::Wire for Option<$name> {
            fn min_size(_: $crate::protocol::wire::Form) -> usize {
                1
            }

            fn write(
                &self,
                w: &mut $crate::protocol::writer::Writer,
                form: $crate::protocol::wire::Form,
            ) -> $crate::protocol::error::Encoded {
                match self {
                    Some(value) => {
                        w.i8(1);
                        value.write(w, form)
                    }
                    None => {
                        w.i8(-1);
                        Ok(())
                    }
                }
            }

            fn read(
                r: &mut $crate::protocol::reader::Reader,
                form: $crate::protocol::wire::Form,
            ) -> $crate::protocol::error::Decoded<Self> {
                if r.i8()? < 0 { Ok(None) } else { $name::read(r, form).map(Some) }
            }

            #[cfg(any(test, feature = "__arbitrary"))]
            fn arbitrary(rng: &mut fastrand::Rng, form: $crate::protocol::wire::Form) -> Self {
                rng.bool().then(|| $name::arbitrary(rng, form))
            }
        }
    };
}

pub(super) use nullable_struct;
