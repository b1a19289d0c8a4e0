//! The table macro: from one row per metric follow the sensor that it is told from, its description
//! and its place in a snapshot. The tables are where the values come from: `client.rs` for what all
//! clients have, and each client's own.

use super::snapshot::Collector;
use super::window::{Kind, Sensor};

/// A metric, as its table describes it.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Kafka's name, without its group.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What it tells, with its unit.
    pub(crate) description: &'static str,
}

/// Which kind of client it is: the groups of metrics that all clients have are named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientKind {
    Producer,
    Consumer,
    Admin,
}

/// The group of a table, by the kind of client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub(crate) producer: &'static str,
    pub(crate) consumer: &'static str,
    pub(crate) admin: &'static str,
}

impl Group {
    /// A group that has the same name in all clients, or is in one of them only.
    pub(crate) const fn only(name: &'static str) -> Self {
        Self { producer: name, consumer: name, admin: name }
    }

    pub(crate) const fn of(self, client: ClientKind) -> &'static str {
        match client {
            ClientKind::Producer => self.producer,
            ClientKind::Consumer => self.consumer,
            ClientKind::Admin => self.admin,
        }
    }
}

/// What a table's metrics have in common, and how to tell them.
pub(crate) struct Telling<'a> {
    pub(crate) to: &'a mut Collector,
    pub(crate) group: Group,
    /// The tags that they have beside `client-id`, two at most, and their values.
    pub(crate) tags: &'a [(&'static str, &'a str)],
}

impl Telling<'_> {
    pub(crate) fn tell(&mut self, definition: &'static Definition, sensor: &mut Sensor) {
        let value = sensor.measure(definition.kind, self.to.now());
        self.to.push(self.group, self.tags, definition, value.into());
    }
}

/// Declares a table of metrics: sensors, and what is told of each. It reads:
///
/// ```text
/// /// What they are about.
/// pub(crate) struct Name in GROUP [, by "tag" [and "tag"]];
/// /// What goes in.
/// sensor {
///     "kafka-name-avg": Avg = "What it tells, with its unit.",
/// }
/// ```
///
/// The kinds are those of [`Kind`]. With `by`, the metrics have that tag beside `client-id`, or
/// those two.
macro_rules! sensors {
    (
        $(#[doc = $table_doc:literal])+
        pub(crate) struct $table:ident in $group:expr $(, by $tag:literal $(and $second:literal)?)?;
        $(
            $(#[doc = $doc:literal])+
            $sensor:ident { $($name:literal: $kind:ident = $description:literal,)+ }
        )+
    ) => {
        $(#[doc = $table_doc])+
        #[derive(Debug)]
        pub(crate) struct $table {
            $($(#[doc = $doc])+ pub(crate) $sensor: $crate::metrics::Sensor,)+
        }

        impl $table {
            pub(crate) const GROUP: $crate::metrics::Group = $group;

            pub(crate) const fn new(windows: $crate::metrics::Windows) -> Self {
                Self { $($sensor: $crate::metrics::Sensor::new(windows),)+ }
            }

            sensors! {
                @read ($($tag $($second)?)?)
                $($sensor { $($name: $kind = $description,)+ })+
            }
        }
    };

    (@read () $($rows:tt)+) => {
        /// Tells all of them, as they are now.
        pub(crate) fn read(&mut self, to: &mut $crate::metrics::Collector) {
            let mut telling = $crate::metrics::Telling { to, group: Self::GROUP, tags: &[] };
            sensors! { @tell self telling $($rows)+ }
        }
    };
    (@read ($tag:literal) $($rows:tt)+) => {
        /// Tells all of them, as they are now, of the one that the tag's value names.
        pub(crate) fn read(&mut self, value: &str, to: &mut $crate::metrics::Collector) {
            let tags = &[($tag, value)];
            let mut telling = $crate::metrics::Telling { to, group: Self::GROUP, tags };
            sensors! { @tell self telling $($rows)+ }
        }
    };
    (@read ($tag:literal $second:literal) $($rows:tt)+) => {
        /// Tells all of them, as they are now, of the one that the tags' values name.
        pub(crate) fn read(
            &mut self,
            value: &str,
            second: &str,
            to: &mut $crate::metrics::Collector,
        ) {
            let tags = &[($tag, value), ($second, second)];
            let mut telling = $crate::metrics::Telling { to, group: Self::GROUP, tags };
            sensors! { @tell self telling $($rows)+ }
        }
    };
    (
        @tell $self:ident $telling:ident
        $($sensor:ident { $($name:literal: $kind:ident = $description:literal,)+ })+
    ) => {
        $($({
            const DEFINITION: $crate::metrics::Definition = $crate::metrics::Definition {
                name: $name,
                kind: $crate::metrics::Kind::$kind,
                description: $description,
            };
            $telling.tell(&DEFINITION, &mut $self.$sensor);
        })+)+
    };
}

pub(crate) use sensors;
