//! The macro that turns a message's table into its struct, its defaults and its codecs, and the
//! traits that every message has.
//!
//! A table states what Kafka's message JSON states, in its order and its notation of versions, so
//! that one can be held against the other. Only tagged fields stand apart, after the others, since
//! that is where they are written:
//!
//! ```text
//! messages! {
//!     PRODUCE: ProduceRequest => ProduceResponse, versions 3-13, flexible 9+;
//!
//!     struct PartitionProduceResponse {
//!         index: i32, 0+;                               // name: type, versions
//!         log_start_offset: i64 = -1, 5+, ignorable;    // default, if not the type's; option
//!         error_message: Option<String>, 8+, null 8+, ignorable;    // nullable versions
//!     }
//!     tagged {
//!         0 => current_leader: ProduceLeaderIdAndEpoch, 10+;    // tag => name: type, versions
//!     }
//! }
//! ```
//!
//! A field that the version at hand lacks is read as its default. Writing it is an error if its
//! value is another than the default, unless it is `ignorable`: then it is left out, as Kafka does.

use super::api_key::ApiKey;
use super::error::{DecodeError, DecodeProblem, EncodeError, EncodeProblem};
use super::reader::Reader;
use super::versions::VersionRange;
use super::wire::{Form, Wire};
use super::writer::Writer;

/// A request or a response.
pub trait Message: Wire + Clone + PartialEq + Default + std::fmt::Debug + Send + 'static {
    const API: ApiKey;
    /// The struct's name, as in Kafka.
    const NAME: &'static str;
    const VERSIONS: VersionRange;
    /// From this version on lengths are compact and structs end in tagged fields.
    const FLEXIBLE_FROM: i16;

    /// A message with random values that the version can carry; `None` if there is no such version.
    #[cfg(any(test, feature = "__arbitrary"))]
    fn random(rng: &mut fastrand::Rng, version: i16) -> Option<Self> {
        form_of::<Self>(version).map(|form| Self::arbitrary(rng, form))
    }

    /// Writes the message in a version.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        match form_of::<Self>(version) {
            Some(form) => self.write(w, form).map_err(|error| *error),
            None => {
                let problem = EncodeProblem::Version { supported: Self::VERSIONS };
                Err(*EncodeError::new(version, problem).at(Self::NAME))
            }
        }
    }

    /// Reads the message, which has to be all that is left.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        match form_of::<Self>(version) {
            Some(form) => {
                let message = Self::read(r, form).map_err(|error| *error.at(Self::NAME))?;
                r.finish().map_err(|error| *error.at(Self::NAME))?;
                Ok(message)
            }
            None => {
                let problem = DecodeProblem::Version { version, supported: Self::VERSIONS };
                Err(*DecodeError::new(problem).at(Self::NAME))
            }
        }
    }
}

/// A message that clients send.
pub trait Request: Message {
    type Response: Message;
}

/// How a message of this type is written in a version; `None` if there is no such version.
pub(super) fn form_of<M: Message>(version: i16) -> Option<Form> {
    M::VERSIONS.contains(version).then_some(Form {
        version,
        flexible: version >= M::FLEXIBLE_FROM,
        nullable: false,
    })
}

/// Declares an API: its key, its two messages, their versions, and the tables of all its structs.
macro_rules! messages {
    (
        $key:ident: $request:ident => $response:ident,
        versions $min:literal-$max:literal, flexible $flexible:literal+;
        $(
            $(#[$meta:meta])*
            struct $name:ident { $($rows:tt)* }
            $(tagged { $($tagged:tt)* })?
        )*
    ) => {
        $crate::protocol::message::message!($key, $request, $min, $max, $flexible);
        $crate::protocol::message::message!($key, $response, $min, $max, $flexible);
        impl $crate::protocol::message::Request for $request {
            type Response = $response;
        }
        $($crate::protocol::message::table! {
            $(#[$meta])*
            $name { $($rows)* } { $($($tagged)*)? }
        })*
    };
}

macro_rules! message {
    ($key:ident, $name:ident, $min:literal, $max:literal, $flexible:literal) => {
        impl $crate::protocol::message::Message for $name {
            const API: $crate::protocol::api_key::ApiKey = $crate::protocol::api_key::ApiKey::$key;
            const NAME: &'static str = stringify!($name);
            const VERSIONS: $crate::protocol::versions::VersionRange =
                $crate::protocol::message::versions!($min - $max);
            const FLEXIBLE_FROM: i16 = $flexible;
        }
    };
}

/// One struct and its codecs.
macro_rules! table {
    (
        $(#[$meta:meta])*
        $name:ident
        { $($field:ident: $ty:ty $(= $default:expr)?, $from:literal $to:tt $($until:literal)?
            $(, $option:ident $($ofrom:literal $oto:tt $($ountil:literal)?)?)*;)* }
        { $($tag:literal => $tfield:ident: $tty:ty $(= $tdefault:expr)?,
            $tfrom:literal $tto:tt $($tuntil:literal)?
            $(, $toption:ident $($tofrom:literal $toto:tt $($tountil:literal)?)?)*;)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(pub $field: $ty,)*
            $(pub $tfield: $tty,)*
        }

        /// The rows of the table.
        #[allow(non_upper_case_globals)]
        impl $name {
            $(const $field: $crate::protocol::row::Row<$ty> =
                $crate::protocol::row::Row::new(
                    concat!(stringify!($name), ".", stringify!($field)),
                    $crate::protocol::message::versions!($from $to $($until)?),
                    Default::default,
                )
                $(.default(|| $default))?
                $(.$option(
                    $($crate::protocol::message::versions!($ofrom $oto $($ountil)?))?
                ))*;)*
            $(const $tfield: $crate::protocol::row::Row<$tty> =
                $crate::protocol::row::Row::new(
                    concat!(stringify!($name), ".", stringify!($tfield)),
                    $crate::protocol::message::versions!($tfrom $tto $($tuntil)?),
                    Default::default,
                )
                $(.default(|| $tdefault))?
                $(.$toption(
                    $($crate::protocol::message::versions!($tofrom $toto $($tountil)?))?
                ))*;)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: Self::$field.default_value(),)*
                    $($tfield: Self::$tfield.default_value(),)*
                }
            }
        }

        impl $crate::protocol::wire::Wire for $name {
            fn min_size(form: $crate::protocol::wire::Form) -> usize {
                // A flexible struct ends in the count of its tagged fields.
                usize::from(form.flexible) $(+ Self::$field.min_size(form))*
            }

            fn write(
                &self,
                w: &mut $crate::protocol::writer::Writer,
                form: $crate::protocol::wire::Form,
            ) -> $crate::protocol::error::Encoded {
                $(Self::$field.write(&self.$field, w, form)?;)*
                #[allow(unused_mut)]
                let mut tags = $crate::protocol::writer::TaggedFields::default();
                $(Self::$tfield.write_tagged($tag, &self.$tfield, &mut tags, form)?;)*
                if form.flexible {
                    tags.write(w);
                }
                Ok(())
            }

            fn read(
                r: &mut $crate::protocol::reader::Reader,
                form: $crate::protocol::wire::Form,
            ) -> $crate::protocol::error::Decoded<Self> {
                let mut message = Self::default();
                $(Self::$field.read(&mut message.$field, r, form)?;)*
                if form.flexible {
                    r.tagged(&mut |tag, _field| match tag {
                        $($tag if Self::$tfield.is_in(form.version) => {
                            Self::$tfield.read(&mut message.$tfield, _field, form)?;
                            Ok(true)
                        })*
                        _ => Ok(false),
                    })?;
                }
                Ok(message)
            }

            #[cfg(any(test, feature = "__arbitrary"))]
            fn arbitrary(rng: &mut fastrand::Rng, form: $crate::protocol::wire::Form) -> Self {
                Self {
                    $($field: Self::$field.arbitrary(rng, form),)*
                    $($tfield: Self::$tfield.arbitrary(rng, form),)*
                }
            }
        }
    };
}

/// Versions as Kafka writes them: `3+`, `0-12`.
macro_rules! versions {
    ($from:literal +) => {
        $crate::protocol::versions::VersionRange::new($from, i16::MAX)
    };
    ($from:literal - $until:literal) => {
        $crate::protocol::versions::VersionRange::new($from, $until)
    };
}

pub(super) use {message, messages, table, versions};
