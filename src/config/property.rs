//! The table macro: from one row per property follow the struct field, the accessor, the builder's
//! setter, reading from text, the check of the range, and the documentation. Rules between
//! properties are not here: see each configuration's `settle`.

use super::value::Value;
use crate::error::ConfigError;

/// A configuration property, as its table describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    /// Kafka's name.
    pub name: &'static str,
    /// What it does, with its unit; one sentence or a few.
    pub doc: &'static str,
    /// What a value must be: a whole number, one of some names, ...
    pub expected: &'static str,
    /// The smallest and the largest number allowed, and one more outside of them that has a meaning
    /// of its own.
    pub range: Option<(i64, i64, Option<i64>)>,
}

impl Property {
    /// What a value may be, in words that follow "it must be".
    pub fn allowed(&self) -> String {
        match self.range {
            None => self.expected.to_owned(),
            Some((low, high, None)) => format!("{} from {low} to {high}", self.expected),
            Some((low, high, Some(also))) => {
                format!("{} from {low} to {high}, or {also}", self.expected)
            }
        }
    }

    fn permits(&self, number: Option<i128>) -> bool {
        match (self.range, number) {
            (Some((low, high, also)), Some(number)) => {
                (low.into()..=high.into()).contains(&number) || also.map(i128::from) == Some(number)
            }
            _ => true,
        }
    }

    fn invalid(&self, value: String) -> ConfigError {
        ConfigError::Invalid { property: self.name, value, allowed: self.allowed() }
    }

    /// Reads a value; the range is checked later, with the values that were set as types.
    pub(super) fn read<V: Value>(&self, text: &str) -> Result<V, ConfigError> {
        let text = text.trim();
        V::parse(text)
            .map_err(|unreadable| self.invalid(unreadable.entry.unwrap_or_else(|| text.to_owned())))
    }

    /// Checks the range.
    pub(super) fn check<V: Value>(&self, value: &V) -> Result<(), ConfigError> {
        if self.permits(value.number()) { Ok(()) } else { Err(self.invalid(value.show())) }
    }
}

/// A row of the table of configuration `C`: the property, and how to reach its value.
#[derive(Debug)]
pub(super) struct Row<C: 'static> {
    pub(super) property: Property,
    pub(super) set: fn(&mut C, &str) -> Result<(), ConfigError>,
    pub(super) check: fn(&C) -> Result<(), ConfigError>,
    pub(super) show: fn(&C) -> String,
}

/// Declares a configuration by its table of properties. A row reads:
///
/// ```text
/// /// What it does, with its unit and the KIP.
/// "kafka.name" => field: Type = default, [lowest ..= highest or another];
/// ```
///
/// The range may be left out, and so may `or another`. `as &View` after the type is for values that
/// own memory: the setter then takes Kafka's text form, and the accessor gives a `&View`; `as
/// Option<&View>` is the same for what may be missing.
macro_rules! properties {
    (
        $(#[doc = $struct_doc:literal])*
        pub struct $config:ident { $($extra:ident: $extra_ty:ty = $extra_default:expr,)* }
        setters { $($setters:tt)* } via $via:path;
        $(
            $(#[doc = $doc:literal])+
            $name:literal => $field:ident: $ty:ty
                $(as & $view:ty)? $(as Option<& $inner:ty>)? = $default:expr
                $(, [$low:literal ..= $high:literal $(or $also:literal)?])?;
        )+
    ) => {
        $(#[doc = $struct_doc])*
        #[derive(Debug, Clone)]
        pub struct $config {
            $($extra: $extra_ty,)*
            $($field: $ty,)+
        }

        impl $config {
            pub(super) const ROWS: &'static [$crate::config::property::Row<Self>] = &[$({
                const PROPERTY: $crate::config::property::Property =
                    $crate::config::property::Property {
                        name: $name,
                        doc: concat!($($doc, "\n"),+).trim_ascii(),
                        expected: <$ty as $crate::config::value::Value>::EXPECTED,
                        range: properties!(@range $($low $high $($also)?)?),
                    };
                $crate::config::property::Row {
                    property: PROPERTY,
                    set: |config, text| {
                        config.$field = PROPERTY.read(text)?;
                        Ok(())
                    },
                    check: |config| PROPERTY.check(&config.$field),
                    show: |config| $crate::config::value::Value::show(&config.$field),
                }
            }),+];

            pub(super) fn defaults() -> Self {
                Self {
                    $($extra: $extra_default,)*
                    $($field: <$ty as $crate::config::value::Value>::literal($default),)+
                }
            }

            $(properties! {
                @accessor {
                    $(#[doc = $doc])+
                    #[doc = ""]
                    #[doc = concat!(
                        "Kafka's `", $name, "`; default `", stringify!($default), "`"
                        $(, ", from `", stringify!($low), "` to `", stringify!($high), "`"
                          $(, " or `", stringify!($also), "`")?)?, "."
                    )]
                }
                $field $ty $(, $view)? $(, Option<& $inner>)?
            })+
        }

        impl $($setters)* {
            $(properties! {
                @setter {
                    $(#[doc = $doc])+
                    #[doc = ""]
                    #[doc = concat!(
                        "Kafka's `", $name, "`; default `", stringify!($default), "`"
                        $(, ", from `", stringify!($low), "` to `", stringify!($high), "`"
                          $(, " or `", stringify!($also), "`")?)?, "."
                    )]
                }
                $name $via, $field $ty $(, $view)? $(, $inner)?
            })+
        }
    };

    (@range) => { None };
    (@range $low:literal $high:literal) => { Some(($low, $high, None)) };
    (@range $low:literal $high:literal $also:literal) => { Some(($low, $high, Some($also))) };

    (@accessor { $($docs:tt)* } $field:ident $ty:ty) => {
        $($docs)*
        pub fn $field(&self) -> $ty {
            self.$field
        }
    };
    (@accessor { $($docs:tt)* } $field:ident $ty:ty, Option<& $view:ty>) => {
        $($docs)*
        pub fn $field(&self) -> Option<&$view> {
            self.$field.as_deref()
        }
    };
    (@accessor { $($docs:tt)* } $field:ident $ty:ty, $view:ty) => {
        $($docs)*
        pub fn $field(&self) -> &$view {
            &self.$field
        }
    };

    (@setter { $($docs:tt)* } $name:literal $via:path, $field:ident $ty:ty) => {
        $($docs)*
        pub fn $field(mut self, value: $ty) -> Self {
            $via(&mut self.config).$field = $crate::config::value::Value::settle(value);
            self.provided.note($name);
            self
        }
    };
    (@setter { $($docs:tt)* } $name:literal $via:path, $field:ident $ty:ty, $view:ty) => {
        $($docs)*
        pub fn $field(self, text: impl AsRef<str>) -> Self {
            self.set($name, text)
        }
    };
}

pub(super) use properties;
