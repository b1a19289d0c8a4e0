//! What is wrong with a configuration, found while it is built and before anything is connected.

use std::path::PathBuf;

/// A configuration that cannot be used: which property, what it is set to, and what is allowed.
///
/// Values of secret properties (passwords, keys) never appear here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A property without a usable default was not set.
    #[error("`{property}` is not set: it must be {allowed}")]
    Missing {
        /// Kafka's name of the property.
        property: &'static str,
        /// What a value looks like.
        allowed: String,
    },

    /// The value cannot be read, or is out of range.
    #[error("`{property}` is set to `{value}`: it must be {allowed}")]
    Invalid {
        /// Kafka's name of the property.
        property: &'static str,
        /// The value; of a list, the entry that is wrong.
        value: String,
        /// What a value may be.
        allowed: String,
    },

    /// Two properties contradict each other, each in range by itself.
    #[error("`{property}` = {value} does not go with `{other}` = {other_value}: {rule}")]
    Conflict {
        /// Kafka's name of the property.
        property: &'static str,
        /// What it is set to.
        value: String,
        /// The property, or the sum of properties, that it contradicts.
        other: &'static str,
        /// What that is set to.
        other_value: String,
        /// What would be accepted.
        rule: &'static str,
    },

    /// A property of Kafka that this version of the library cannot honour and must not ignore.
    #[error("`{property}` is not supported yet: {reason}")]
    NotSupported {
        /// Kafka's name of the property.
        property: &'static str,
        /// What is missing, and what to do instead.
        reason: String,
    },

    /// The text of a `.properties` file is malformed.
    #[error("{origin}, line {line}: {problem}")]
    Syntax {
        /// The file's path, or `properties` for text that was handed in.
        origin: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// A `.properties` file cannot be read.
    #[error("cannot read the properties file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ConfigError {
    /// Kafka's name of the property that is wrong; `None` if a file as a whole is.
    pub fn property(&self) -> Option<&'static str> {
        match self {
            Self::Missing { property, .. }
            | Self::Invalid { property, .. }
            | Self::Conflict { property, .. }
            | Self::NotSupported { property, .. } => Some(property),
            Self::Syntax { .. } | Self::File { .. } => None,
        }
    }
}
