//! A key or a value that could not be made: which, of what topic, and why. Knows no serializer.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::types::RecordPart;

/// A serializer failed, or panicked. The record was not sent; correct it, or the serializer.
///
/// [`source`](Error::source) is the serializer's own error.
#[derive(Debug, Clone)]
pub struct SerializationError {
    topic: Arc<str>,
    part: RecordPart,
    cause: Cause,
}

#[derive(Debug, Clone)]
enum Cause {
    Failed(Arc<dyn Error + Send + Sync>),
    Panicked(Arc<str>),
}

impl SerializationError {
    pub(crate) fn failed(
        topic: &str,
        part: RecordPart,
        error: Box<dyn Error + Send + Sync>,
    ) -> Self {
        Self { topic: topic.into(), part, cause: Cause::Failed(error.into()) }
    }

    /// `payload` is what the panic was given.
    pub(crate) fn panicked(topic: &str, part: RecordPart, payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let cause = Cause::Panicked(text.unwrap_or("no text").into());
        Self { topic: topic.into(), part, cause }
    }

    /// The topic that the record was for.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Which part of the record could not be made.
    pub fn part(&self) -> RecordPart {
        self.part
    }

    /// Whether the serializer panicked rather than failed.
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panicked(_))
    }
}

impl fmt::Display for SerializationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, part, cause } = self;
        match cause {
            Cause::Failed(error) => {
                write!(f, "cannot serialize the {part} of a record for topic {topic}: {error}")
            }
            Cause::Panicked(text) => {
                write!(
                    f,
                    "the serializer of the {part} of a record for topic {topic} panicked: {text}"
                )
            }
        }
    }
}

impl Error for SerializationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Failed(error) => Some(&**error),
            Cause::Panicked(_) => None,
        }
    }
}
