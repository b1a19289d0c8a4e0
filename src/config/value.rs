//! The types that properties have: how each is read from Kafka's text form and written back.
//!
//! Knows no property by name, and no range: those are in the tables.

use super::address::HostPort;
use super::choices::{AssignmentStrategy, GroupProtocol, IsolationLevel};
use super::common::{MetadataRecoveryStrategy, MetricsRecordingLevel};
use super::offset_reset::OffsetReset;
use super::partitioner_class::PartitionerClass;
use super::producer::Acks;
use crate::time::Duration;
use crate::types::Compression;

/// The longest wait there is: ten years.
///
/// Longer ones (Java programs write `Long.MAX_VALUE` for "for ever") are cut to it, so that adding
/// a configured wait to an instant cannot overflow.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Text that is no value of its type.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    /// The part that is wrong, where the value is a list.
    pub(super) entry: Option<String>,
}

/// The type of a property's value.
pub(super) trait Value: Sized {
    /// How a table writes the default.
    type Literal;

    /// What a value must be, to follow "it must be"; a range may be added to it.
    const EXPECTED: &'static str;

    /// The value that a table's literal stands for.
    fn literal(literal: Self::Literal) -> Self;

    /// Reads Kafka's text form, without blanks around it.
    fn parse(text: &str) -> Result<Self, Unreadable>;

    /// The value as a number, if it is one that a range can bound.
    fn number(&self) -> Option<i128> {
        None
    }

    /// Kafka's text form.
    fn show(&self) -> String;

    /// The value as it is kept.
    fn settle(self) -> Self {
        self
    }
}

fn from_str<T: std::str::FromStr>(text: &str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable::default())
}

fn show_millis(wait: &Duration) -> String {
    wait.as_millis().to_string()
}

fn saturating<T: TryInto<i128>>(number: T) -> Option<i128> {
    Some(number.try_into().unwrap_or(i128::MAX))
}

/// Integers. Text beyond the type's range is refused as text that is no number is: the message says
/// the range.
macro_rules! integer {
    ($($ty:ty),*) => {$(
        impl Value for $ty {
            type Literal = $ty;
            const EXPECTED: &'static str = "a whole number";

            fn literal(literal: $ty) -> Self {
                literal
            }

            fn parse(text: &str) -> Result<Self, Unreadable> {
                from_str(text)
            }

            fn number(&self) -> Option<i128> {
                saturating(*self)
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

integer!(i32, u32, usize);

impl Value for bool {
    type Literal = bool;
    const EXPECTED: &'static str = "true or false";

    fn literal(literal: bool) -> Self {
        literal
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        from_str(&text.to_ascii_lowercase())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A wait; Kafka counts it in milliseconds.
impl Value for Duration {
    type Literal = u64;
    const EXPECTED: &'static str = "a number of milliseconds";

    fn literal(millis: u64) -> Self {
        Self::from_millis(millis)
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        // Kafka's type is a signed long: more than it holds is a mistake rather than "for ever".
        let millis: i64 = from_str(text)?;
        let millis = u64::try_from(millis).map_err(|_| Unreadable::default())?;
        Ok(Self::from_millis(millis).settle())
    }

    fn number(&self) -> Option<i128> {
        saturating(self.as_millis())
    }

    fn show(&self) -> String {
        show_millis(self)
    }

    fn settle(self) -> Self {
        self.min(FOREVER)
    }
}

/// A wait that may be unlimited; Kafka writes that as a negative number.
impl Value for Option<Duration> {
    type Literal = Self;
    const EXPECTED: &'static str = "a number of milliseconds, or -1 for no limit";

    fn literal(literal: Self) -> Self {
        literal
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        let millis: i64 = from_str(text)?;
        Ok(u64::try_from(millis).ok().map(Duration::from_millis).settle())
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "-1".to_owned(), show_millis)
    }

    fn settle(self) -> Self {
        self.map(Value::settle)
    }
}

/// A size that may be left to the operating system; Kafka writes that as -1.
impl Value for Option<u32> {
    type Literal = i64;
    const EXPECTED: &'static str = "a number of bytes, or -1 for the system's own default,";

    fn literal(bytes: i64) -> Self {
        u32::try_from(bytes).ok()
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        match from_str::<i64>(text)? {
            -1 => Ok(None),
            bytes => u32::try_from(bytes).map(Some).map_err(|_| Unreadable::default()),
        }
    }

    fn number(&self) -> Option<i128> {
        self.map_or(Some(-1), saturating)
    }

    fn show(&self) -> String {
        self.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string())
    }
}

impl Value for String {
    type Literal = &'static str;
    const EXPECTED: &'static str = "text";

    fn literal(literal: &'static str) -> Self {
        literal.to_owned()
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// A name that may be missing, and is not empty if it is there.
impl Value for Option<String> {
    type Literal = Self;
    const EXPECTED: &'static str = "text that is not blank";

    fn literal(literal: Self) -> Self {
        literal
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        if text.is_empty() { Err(Unreadable::default()) } else { Ok(Some(text.to_owned())) }
    }

    fn show(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

/// `partition.assignment.strategy`.
impl Value for Vec<AssignmentStrategy> {
    type Literal = [AssignmentStrategy; 2];
    const EXPECTED: &'static str = "a list of range, roundrobin, sticky and cooperative-sticky, or \
        of Java's class names for them, each once at most (an assignor of your own is given in \
        code)";

    fn literal(literal: [AssignmentStrategy; 2]) -> Self {
        literal.into()
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut strategies = Self::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.parse() {
                Ok(strategy) if !strategies.contains(&strategy) => strategies.push(strategy),
                _ => return Err(Unreadable { entry: Some(entry.to_owned()) }),
            }
        }
        if strategies.is_empty() { Err(Unreadable::default()) } else { Ok(strategies) }
    }

    fn show(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// `bootstrap.servers`.
impl Value for Vec<HostPort> {
    type Literal = [HostPort; 0];
    const EXPECTED: &'static str =
        "a list host1:port1,host2:port2,... (an IPv6 address in brackets; ports 1 to 65535)";

    fn literal(literal: [HostPort; 0]) -> Self {
        literal.into()
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut servers = Self::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let server = HostPort::parse(entry)
                .ok_or_else(|| Unreadable { entry: Some(entry.to_owned()) })?;
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        Ok(servers)
    }

    fn show(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Enumerations with names of Kafka's.
macro_rules! named {
    ($($ty:ty, $expected:literal;)*) => {$(
        impl Value for $ty {
            type Literal = $ty;
            const EXPECTED: &'static str = $expected;

            fn literal(literal: $ty) -> Self {
                literal
            }

            fn parse(text: &str) -> Result<Self, Unreadable> {
                from_str(text)
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

named! {
    Acks, "all, -1, 0 or 1";
    Compression, "none, gzip, snappy, lz4 or zstd";
    GroupProtocol, "classic or consumer";
    IsolationLevel, "read_uncommitted or read_committed";
    MetadataRecoveryStrategy, "rebootstrap or none";
    MetricsRecordingLevel, "INFO, DEBUG or TRACE";
    OffsetReset, "earliest, latest, none, or by_duration: and a duration such as PT36H or P7D";
    PartitionerClass, "org.apache.kafka.clients.producer.RoundRobinPartitioner or nothing for the \
        default (a partitioner of your own is given in code, to ProducerBuilder::partitioner)";
}
