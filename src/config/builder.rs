//! The one builder of all configurations: collects what the user sets, by type or by Kafka's name,
//! and checks it at the end. Knows no property by name: the tables do.

use std::collections::BTreeSet;
use std::path::Path;

use super::common::ClientConfig;
use super::elsewhere::{self, Elsewhere, Fate};
use super::notes::Notes;
use super::properties_file;
use super::property::{Property, Row};
use crate::error::ConfigError;

/// A configuration that a [`ConfigBuilder`] can build: [`ProducerConfig`](super::ProducerConfig),
/// ...
///
/// Sealed: the configurations are those of this crate.
#[expect(private_bounds, reason = "the bound is what seals it")]
pub trait Configuration: Table {}

/// What the builder needs of a configuration.
pub(super) trait Table: Sized + 'static {
    /// The properties of Kafka's that are not in its tables, and what becomes of them.
    const ELSEWHERE: &'static [&'static [Elsewhere]];

    /// All defaults.
    fn new() -> Self;

    /// Its own table, besides the common one.
    fn rows() -> &'static [Row<Self>];

    /// Its common part.
    fn common(&self) -> &ClientConfig;

    /// Its common part, to be set.
    fn client_mut(&mut self) -> &mut ClientConfig;

    /// Checks the rules between properties, and sets what follows from others; each value is in
    /// range by now.
    fn settle(&mut self, provided: &mut Provided) -> Result<(), ConfigError>;

    /// Checks that it is for a client of the plain kind.
    fn check_plain(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// What the user has set so far.
#[derive(Debug, Default)]
pub(super) struct Provided {
    names: BTreeSet<&'static str>,
    /// Values that were refused when they were set. Kept until the end, since a later value
    /// replaces them.
    refused: Vec<(&'static str, ConfigError)>,
    notes: Notes,
}

impl Provided {
    /// Whether the user set the property, be it to its default.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn note(&mut self, name: &'static str) {
        self.refused.retain(|(refused, _)| *refused != name);
        self.names.insert(name);
    }

    /// Lists a property of a table that has no effect as things are.
    pub(super) fn ignore(&mut self, name: &'static str, reason: &'static str) {
        self.notes.add_ignored(name, reason);
    }

    fn refuse(&mut self, name: &'static str, error: ConfigError) {
        self.note(name);
        self.refused.push((name, error));
    }
}

/// Builds a configuration from typed values, Kafka's property names and `.properties` files, mixed
/// as needed: what is set last holds.
///
/// Nothing is checked before [`build`](Self::build), except that a file can be read.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ConfigBuilder<C> {
    pub(super) config: C,
    pub(super) provided: Provided,
}

impl<C: Configuration> ConfigBuilder<C> {
    pub(super) fn new() -> Self {
        Self { config: C::new(), provided: Provided::default() }
    }

    /// Sets a property by Kafka's name, from Kafka's text form. Blanks around the value do not
    /// matter.
    ///
    /// A value that cannot be read makes [`build`](Self::build) fail, unless a later one replaces
    /// it. A name that Kafka does not have, or that has no effect here, is warned about and listed.
    pub fn set(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        if let Some(row) = C::rows().iter().find(|row| row.property.name == name) {
            self.assign(row, value, |config| config);
        } else if let Some(row) = ClientConfig::ROWS.iter().find(|row| row.property.name == name) {
            self.assign(row, value, C::client_mut);
        } else if let Some(property) = elsewhere::find(C::ELSEWHERE, name) {
            self.set_elsewhere(property, value);
        } else {
            self.provided.notes.add_unknown(name);
        }
        self
    }

    fn assign<T>(&mut self, row: &Row<T>, value: &str, part: impl Fn(&mut C) -> &mut T) {
        let name = row.property.name;
        match (row.set)(part(&mut self.config), value) {
            Ok(()) => self.provided.note(name),
            Err(error) => self.provided.refuse(name, error),
        }
    }

    fn set_elsewhere(&mut self, property: &'static Elsewhere, value: &str) {
        let name = property.name;
        match property.fate {
            Fate::Ignored(reason) => self.provided.notes.add_ignored(name, reason),
            Fate::NotSupported { except: Some(default), .. }
                if value.trim().eq_ignore_ascii_case(default) =>
            {
                self.provided.note(name);
            }
            Fate::NotSupported { reason, .. } => self.provided.refuse(
                name,
                ConfigError::NotSupported { property: name, reason: reason.to_owned() },
            ),
        }
    }

    /// Sets properties by Kafka's names, in order; as [`set`](Self::set) for each.
    pub fn properties<N, V>(self, properties: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        properties.into_iter().fold(self, |builder, (name, value)| builder.set(name, value))
    }

    /// Sets the properties of a text in the format of Java's `.properties` files.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] if it is malformed.
    pub fn properties_str(self, text: &str) -> Result<Self, ConfigError> {
        Ok(self.properties(properties_file::parse(text, "properties")?))
    }

    /// Sets the properties of a `.properties` file, which is read as UTF-8. Blocks while it reads.
    ///
    /// # Errors
    /// [`ConfigError::File`] if it cannot be read, [`ConfigError::Syntax`] if it is malformed.
    pub fn properties_file(self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        Ok(self.properties(properties_file::parse(&text, &path.display().to_string())?))
    }

    /// Checks everything, and warns (by `tracing`) about what has no effect.
    ///
    /// # Errors
    /// The first thing that is wrong: a required property is missing, a value cannot be read or is
    /// out of range, two contradict each other, or one is not supported yet.
    pub fn build(self) -> Result<C, ConfigError> {
        let config = self.check()?;
        config.check_plain()?;
        Ok(config)
    }

    pub(super) fn check(mut self) -> Result<C, ConfigError> {
        if !self.provided.refused.is_empty() {
            return Err(self.provided.refused.remove(0).1);
        }
        for row in ClientConfig::ROWS {
            (row.check)(self.config.client_mut())?;
        }
        for row in C::rows() {
            (row.check)(&self.config)?;
        }
        self.config.settle(&mut self.provided)?;
        self.provided.notes.warn(elsewhere::hint);
        self.config.client_mut().keep(self.provided.notes);
        Ok(self.config)
    }
}

/// The properties of a configuration, its own first.
pub(super) fn list<C: Table>() -> impl Iterator<Item = &'static Property> {
    let own = C::rows().iter().map(|row| &row.property);
    own.chain(ClientConfig::ROWS.iter().map(|row| &row.property))
}

/// The value of a property in Kafka's text form.
pub(super) fn get<C: Table>(config: &C, name: &str) -> Option<String> {
    let own = C::rows().iter().find(|row| row.property.name == name);
    own.map(|row| (row.show)(config)).or_else(|| {
        let common = ClientConfig::ROWS.iter().find(|row| row.property.name == name);
        common.map(|row| (row.show)(config.common()))
    })
}

/// The methods that every configuration has by itself, so that its users need not import a trait.
macro_rules! entry_points {
    ($config:ident) => {
        impl $config {
            /// Starts from the defaults.
            pub fn builder() -> $crate::config::ConfigBuilder<Self> {
                $crate::config::ConfigBuilder::new()
            }

            /// Builds a configuration from Kafka's property names and text forms.
            ///
            /// # Errors
            /// As [`ConfigBuilder::build`](crate::config::ConfigBuilder::build).
            pub fn from_properties<N, V>(
                properties: impl IntoIterator<Item = (N, V)>,
            ) -> Result<Self, $crate::error::ConfigError>
            where
                N: AsRef<str>,
                V: AsRef<str>,
            {
                Self::builder().properties(properties).build()
            }

            /// Builds a configuration from a text in the format of Java's `.properties` files.
            ///
            /// # Errors
            /// [`ConfigError::Syntax`](crate::ConfigError::Syntax), and as
            /// [`ConfigBuilder::build`](crate::config::ConfigBuilder::build).
            pub fn from_properties_str(text: &str) -> Result<Self, $crate::error::ConfigError> {
                Self::builder().properties_str(text)?.build()
            }

            /// Builds a configuration from a `.properties` file, which is read as UTF-8. Blocks
            /// while it reads.
            ///
            /// # Errors
            /// [`ConfigError::File`](crate::ConfigError::File),
            /// [`ConfigError::Syntax`](crate::ConfigError::Syntax), and as
            /// [`ConfigBuilder::build`](crate::config::ConfigBuilder::build).
            pub fn from_file(
                path: impl AsRef<std::path::Path>,
            ) -> Result<Self, $crate::error::ConfigError> {
                Self::builder().properties_file(path)?.build()
            }

            /// The table: every property that has an effect in this configuration.
            pub fn properties() -> impl Iterator<Item = &'static $crate::config::Property> {
                $crate::config::builder::list::<Self>()
            }

            /// The value of a property by Kafka's name, in Kafka's text form; `None` if it is not
            /// in the table.
            pub fn get(&self, name: &str) -> Option<String> {
                $crate::config::builder::get(self, name)
            }

            /// The names that were set and that Kafka's client of this kind does not have, in the
            /// order they were set. Each was warned about when the configuration was built.
            pub fn unknown_properties(&self) -> &[String] {
                &$crate::config::builder::Table::common(self).notes().unknown
            }

            /// The properties that were set, that Kafka's client of this kind has, and that have no
            /// effect here. Each was warned about when the configuration was built.
            pub fn ignored_properties(&self) -> &[$crate::config::IgnoredProperty] {
                &$crate::config::builder::Table::common(self).notes().ignored
            }
        }
    };
}

pub(super) use entry_points;
