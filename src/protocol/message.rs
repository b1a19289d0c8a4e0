//! The macro that turns a message's table into its struct, its defaults and its codecs, and the
//! traits that every message has.
//!
//! A table states what Kafka's message JSON states, in its order and words, so that one can be held
//! against the other:
//!
//! ```text
//! messages! {
//!     PRODUCE: ProduceRequest => ProduceResponse, versions 3..=13, flexible 9..;
//!
//!     struct PartitionProduceResponse {
//!         index: i32, 0..;                              // name: type, versions
//!         log_start_offset: i64 = -1, 5.., ignorable;   // default, if not the type's
//!         error_message: Option<String>, 8.., null(8..), ignorable;   // nullable versions
//!     }
//!     tagged {
//!         0 => current_leader: ProduceLeaderIdAndEpoch, 10..;   // tag => name: type, versions
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
use super::writer::{TaggedFields, Writer};

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
            Some(form) => self.write(w, form),
            None => {
                let problem = EncodeProblem::Version { supported: Self::VERSIONS };
                Err(EncodeError::new(version, problem).at(Self::NAME))
            }
        }
    }

    /// Reads the message, which has to be all that is left.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        match form_of::<Self>(version) {
            Some(form) => {
                let message = Self::read(r, form).map_err(|error| error.at(Self::NAME))?;
                r.finish().map_err(|error| error.at(Self::NAME))?;
                Ok(message)
            }
            None => {
                let problem = DecodeProblem::Version { version, supported: Self::VERSIONS };
                Err(DecodeError::new(problem).at(Self::NAME))
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

/// One row of a table, as it applies to the version at hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<T> {
    /// `Struct.field`.
    pub(crate) place: &'static str,
    /// Whether the version has the field.
    pub(crate) present: bool,
    pub(crate) ignorable: bool,
    pub(crate) default: fn() -> T,
    /// The message's form, with the field's own nullability.
    pub(crate) form: Form,
}

impl<T: Wire + PartialEq> Field<T> {
    pub(crate) fn min_size(self) -> usize {
        if self.present { T::min_size(self.form) } else { 0 }
    }

    pub(crate) fn write(self, value: &T, w: &mut Writer) -> Result<(), EncodeError> {
        if self.present {
            value.write(w, self.form).map_err(|error| error.at(self.place))
        } else {
            self.leave_out(value)
        }
    }

    /// A tagged field is written only where its value is not the default.
    pub(crate) fn write_tagged(
        self,
        tag: u32,
        value: &T,
        tags: &mut TaggedFields,
    ) -> Result<(), EncodeError> {
        if !self.present {
            return self.leave_out(value);
        }
        if *value != (self.default)() {
            let mut field = Writer::new();
            self.write(value, &mut field)?;
            tags.put(tag, field);
        }
        Ok(())
    }

    fn leave_out(self, value: &T) -> Result<(), EncodeError> {
        if self.ignorable || *value == (self.default)() {
            return Ok(());
        }
        Err(EncodeError::new(self.form.version, EncodeProblem::NotInVersion).at(self.place))
    }

    pub(crate) fn read(self, r: &mut Reader) -> Result<T, DecodeError> {
        if self.present {
            T::read(r, self.form).map_err(|error| error.at(self.place))
        } else {
            Ok((self.default)())
        }
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    pub(crate) fn arbitrary(self, rng: &mut fastrand::Rng) -> T {
        if self.present { T::arbitrary(rng, self.form) } else { (self.default)() }
    }
}

/// Declares an API: its key, its two messages, their versions, and the tables of all its structs.
macro_rules! messages {
    (
        $key:ident: $request:ident => $response:ident,
        versions $min:literal..=$max:literal, flexible $flexible:literal..;
        $(
            $(#[$meta:meta])*
            struct $name:ident { $($body:tt)* }
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
            $name { $($body)* } { $($($tagged)*)? }
        })*
    };
}

macro_rules! message {
    ($key:ident, $name:ident, $min:literal, $max:literal, $flexible:literal) => {
        impl $crate::protocol::message::Message for $name {
            const API: $crate::protocol::api_key::ApiKey = $crate::protocol::api_key::ApiKey::$key;
            const NAME: &'static str = stringify!($name);
            const VERSIONS: $crate::protocol::versions::VersionRange =
                $crate::protocol::versions::VersionRange::new($min, $max);
            const FLEXIBLE_FROM: i16 = $flexible;
        }
    };
}

/// One struct and its codecs.
macro_rules! table {
    (
        $(#[$meta:meta])*
        $name:ident
        { $($field:ident: $ty:ty $(= $default:expr)?, $versions:expr
            $(, $option:ident $(($nullable:expr))?)*;)* }
        { $($tag:literal => $tfield:ident: $tty:ty $(= $tdefault:expr)?, $tversions:expr
            $(, $toption:ident $(($tnullable:expr))?)*;)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(pub $field: $ty,)*
            $(pub $tfield: $tty,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $crate::protocol::message::default!($($default)?),)*
                    $($tfield: $crate::protocol::message::default!($($tdefault)?),)*
                }
            }
        }

        impl $crate::protocol::wire::Wire for $name {
            fn min_size(form: $crate::protocol::wire::Form) -> usize {
                // A flexible struct ends in the count of its tagged fields.
                usize::from(form.flexible)
                    $(+ $crate::protocol::message::field!($name.$field: $ty, form, $versions,
                        ($($default)?) $($option $(($nullable))?)*).min_size())*
            }

            fn write(
                &self,
                w: &mut $crate::protocol::writer::Writer,
                form: $crate::protocol::wire::Form,
            ) -> Result<(), $crate::protocol::error::EncodeError> {
                $($crate::protocol::message::field!($name.$field: $ty, form, $versions,
                    ($($default)?) $($option $(($nullable))?)*).write(&self.$field, w)?;)*
                #[allow(unused_mut)]
                let mut tags = $crate::protocol::writer::TaggedFields::default();
                $($crate::protocol::message::field!($name.$tfield: $tty, form, $tversions,
                    ($($tdefault)?) $($toption $(($tnullable))?)*)
                    .write_tagged($tag, &self.$tfield, &mut tags)?;)*
                if form.flexible {
                    tags.write(w);
                }
                Ok(())
            }

            fn read(
                r: &mut $crate::protocol::reader::Reader,
                form: $crate::protocol::wire::Form,
            ) -> Result<Self, $crate::protocol::error::DecodeError> {
                #[allow(unused_mut)]
                let mut message = Self {
                    $($field: $crate::protocol::message::field!($name.$field: $ty, form, $versions,
                        ($($default)?) $($option $(($nullable))?)*).read(r)?,)*
                    $($tfield: $crate::protocol::message::default!($($tdefault)?),)*
                };
                if form.flexible {
                    r.tagged(|tag, _field| match tag {
                        $($tag if $crate::protocol::message::has!($tversions, form) => {
                            message.$tfield = $crate::protocol::message::field!(
                                $name.$tfield: $tty, form, $tversions,
                                ($($tdefault)?) $($toption $(($tnullable))?)*).read(_field)?;
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
                    $($field: $crate::protocol::message::field!($name.$field: $ty, form, $versions,
                        ($($default)?) $($option $(($nullable))?)*).arbitrary(rng),)*
                    $($tfield: $crate::protocol::message::field!(
                        $name.$tfield: $tty, form, $tversions,
                        ($($tdefault)?) $($toption $(($tnullable))?)*).arbitrary(rng),)*
                }
            }
        }
    };
}

/// A row as a [`Field`].
macro_rules! field {
    (
        $name:ident.$field:ident: $ty:ty, $form:ident, $versions:expr, ($($default:expr)?)
        $($option:ident $(($nullable:expr))?)*
    ) => {
        $crate::protocol::message::Field::<$ty> {
            place: concat!(stringify!($name), ".", stringify!($field)),
            present: $crate::protocol::message::has!($versions, $form),
            ignorable: false $(|| $crate::protocol::message::option!(
                ignorable $form $option $(($nullable))?))*,
            default: || $crate::protocol::message::default!($($default)?),
            form: $crate::protocol::wire::Form {
                nullable: false $(|| $crate::protocol::message::option!(
                    nullable $form $option $(($nullable))?))*,
                ..$form
            },
        }
    };
}

/// Whether a range of versions holds the one at hand.
macro_rules! has {
    ($versions:expr, $form:ident) => {
        ($versions).contains(&$form.version)
    };
}

macro_rules! default {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

/// What one option of a row says about being ignorable or nullable.
macro_rules! option {
    (ignorable $form:ident ignorable) => {
        true
    };
    (ignorable $form:ident null ($versions:expr)) => {
        false
    };
    (nullable $form:ident ignorable) => {
        false
    };
    (nullable $form:ident null ($versions:expr)) => {
        $crate::protocol::message::has!($versions, $form)
    };
}

pub(super) use {default, field, has, message, messages, option, table};
