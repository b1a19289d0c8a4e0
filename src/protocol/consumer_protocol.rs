//! What the members of a classic group tell each other through their coordinator: the bytes inside
//! JoinGroup and SyncGroup that no broker looks into.
//!
//! Kafka's `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`, each after its version,
//! and the user data of its sticky assignors. They are written in the highest version; a newer one is
//! read as that, since versions only ever add fields at the end. What an assignor makes of them is not
//! known here.

use bytes::Bytes;

use super::error::{DecodeError, DecodeProblem, EncodeError};
use super::message::table;
use super::reader::Reader;
use super::versions::VersionRange;
use super::wire::{Form, Wire};
use super::writer::Writer;
use crate::types::TopicPartition;

/// The versions of both, which Kafka keeps equal.
///
/// v1 adds the partitions that a member owns (KIP-429), v2 the generation it owned them in
/// (KIP-792), v3 its rack (KIP-881).
pub const VERSIONS: VersionRange = VersionRange::new(0, 3);

/// How many bytes a list of partitions may take for each byte it was read from.
///
/// A partition takes four bytes on the wire and its topic's name once; in a list, a
/// [`TopicPartition`] with a name of its own, of at most 249 bytes.
const EXPANSION: usize = 72;

table! {
    /// What a member wants to read, and what it holds.
    ConsumerProtocolSubscription {
        topics: Vec<String>, 0+;
        user_data: Option<Bytes>, 0+, null 0+;
        owned_partitions: Vec<PartitionsOfTopic>, 1+, ignorable;
        generation_id: i32 = -1, 2+, ignorable;
        rack_id: Option<String>, 3+, null 3+, ignorable;
    } {}
}

table! {
    /// What a member is to read.
    ConsumerProtocolAssignment {
        assigned_partitions: Vec<PartitionsOfTopic>, 0+;
        user_data: Option<Bytes>, 0+, null 0+;
    } {}
}

table! {
    /// Some partitions of a topic.
    PartitionsOfTopic {
        topic: String, 0+;
        partitions: Vec<i32>, 0+;
    } {}
}

table! {
    /// The user data of the sticky assignor; no version precedes it. v1 adds the generation
    /// (KIP-341).
    StickyUserData {
        previous_assignment: Vec<PartitionsOfTopic>, 0+;
        generation: i32 = -1, 1+;
    } {}
}

impl ConsumerProtocolSubscription {
    /// The bytes of the highest version, after its number.
    pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        write_versioned(self, "ConsumerProtocolSubscription")
    }

    /// Reads any version; bytes after the fields that are known here are those of newer ones.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let place = "ConsumerProtocolSubscription";
        let length = bytes.len();
        let subscription: Self = read_versioned(bytes, place)?;
        check_expansion(&subscription.owned_partitions, length, place)?;
        Ok(subscription)
    }
}

impl ConsumerProtocolAssignment {
    /// The bytes of the highest version, after its number.
    pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        write_versioned(self, "ConsumerProtocolAssignment")
    }

    /// Reads any version; bytes after the fields that are known here are those of newer ones.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let place = "ConsumerProtocolAssignment";
        let length = bytes.len();
        let assignment: Self = read_versioned(bytes, place)?;
        check_expansion(&assignment.assigned_partitions, length, place)?;
        Ok(assignment)
    }
}

impl StickyUserData {
    /// The bytes of v1.
    pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        let mut w = Writer::new();
        self.write(&mut w, form(1)).map_err(|error| *error.at("StickyUserData"))?;
        Ok(joined(w))
    }

    /// Reads v1, or v0 where the bytes end before the generation: nothing else tells them apart.
    pub fn from_bytes(bytes: &Bytes) -> Result<(Self, Option<i32>), DecodeError> {
        let place = "StickyUserData";
        let read = |version| Self::read(&mut Reader::new(bytes.clone()), form(version));
        let (data, generation) = match read(1) {
            Ok(data) => {
                let generation = data.generation;
                (data, Some(generation))
            }
            Err(_) => (read(0).map_err(|error| *error.at(place))?, None),
        };
        check_expansion(&data.previous_assignment, bytes.len(), place)?;
        Ok((data, generation))
    }
}

/// Groups partitions by topic. Topics come in the order of their first partition, partitions in
/// the order given.
pub fn by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> Vec<PartitionsOfTopic> {
    let mut topics: Vec<PartitionsOfTopic> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for TopicPartition { topic, partition } in partitions {
        let place = *places.entry(topic).or_insert_with(|| {
            topics.push(PartitionsOfTopic { topic: topic.clone(), partitions: Vec::new() });
            topics.len() - 1
        });
        if let Some(topic) = topics.get_mut(place) {
            topic.partitions.push(*partition);
        }
    }
    topics
}

/// The reverse of [`by_topic`].
pub fn one_by_one(topics: &[PartitionsOfTopic]) -> Vec<TopicPartition> {
    let of_topic = |topic: &PartitionsOfTopic| {
        let name = topic.topic.clone();
        let named = move |partition: &i32| TopicPartition::new(name.clone(), *partition);
        topic.partitions.iter().map(named).collect::<Vec<_>>()
    };
    topics.iter().flat_map(of_topic).collect()
}

fn form(version: i16) -> Form {
    Form { version, flexible: false, nullable: false }
}

fn write_versioned(message: &impl Wire, place: &'static str) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    w.i16(VERSIONS.max);
    message.write(&mut w, form(VERSIONS.max)).map_err(|error| *error.at(place))?;
    Ok(joined(w))
}

fn read_versioned<T: Wire>(bytes: Bytes, place: &'static str) -> Result<T, DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.i16().map_err(|error| *error.at(place))?;
    if version < VERSIONS.min {
        let problem = DecodeProblem::Version { version, supported: VERSIONS };
        return Err(*DecodeError::new(problem).at(place));
    }
    T::read(&mut r, form(version.min(VERSIONS.max))).map_err(|error| *error.at(place))
}

fn joined(w: Writer) -> Bytes {
    let (_, segments) = w.into_segments();
    segments.concat().into()
}

/// An error if [`one_by_one`] would take memory out of proportion to the bytes: if the names of
/// topics are longer than any that brokers know.
fn check_expansion(
    topics: &[PartitionsOfTopic],
    bytes: usize,
    place: &'static str,
) -> Result<(), DecodeError> {
    let mut left = bytes.saturating_mul(EXPANSION);
    for PartitionsOfTopic { topic, partitions } in topics {
        let (count, size) = (partitions.len(), size_of::<TopicPartition>() + topic.len());
        left = left.checked_sub(count.saturating_mul(size)).ok_or_else(|| {
            *DecodeError::new(DecodeProblem::Memory { count, size, left }).at(place)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn partitions(topics: &[(&str, &[i32])]) -> Vec<PartitionsOfTopic> {
        topics
            .iter()
            .map(|(topic, partitions)| PartitionsOfTopic {
                topic: (*topic).to_owned(),
                partitions: partitions.to_vec(),
            })
            .collect()
    }

    fn subscription() -> ConsumerProtocolSubscription {
        ConsumerProtocolSubscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(b"xy")),
            owned_partitions: partitions(&[("a", &[0, 7])]),
            generation_id: 5,
            rack_id: Some("r".into()),
        }
    }

    /// Kafka's definition, spelled out: where each version ends.
    const SUBSCRIPTION: [&[u8]; 4] = [
        b"\0\0\0\x02\0\x01a\0\x01b\0\0\0\x02xy",
        b"\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07",
        b"\0\0\0\x05",
        b"\0\x01r",
    ];

    fn subscription_bytes(version: i16, fields: usize) -> Bytes {
        [&version.to_be_bytes()[..], &SUBSCRIPTION[..fields].concat()].concat().into()
    }

    #[test]
    fn a_subscription_is_written_in_the_highest_version() {
        assert_eq!(subscription().to_bytes(), Ok(subscription_bytes(3, 4)));
        let empty = ConsumerProtocolSubscription::default().to_bytes().expect("it fits");
        let expected = b"\0\x03\0\0\0\0\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff";
        assert_eq!(empty[..], expected[..]);
    }

    #[test]
    fn a_subscription_is_read_in_every_version_and_in_newer_ones() {
        let mut expected =
            ConsumerProtocolSubscription { rack_id: None, generation_id: -1, ..subscription() };
        let owned = std::mem::take(&mut expected.owned_partitions);
        let read = ConsumerProtocolSubscription::from_bytes;
        assert_eq!(read(subscription_bytes(0, 1)), Ok(expected.clone()));
        expected.owned_partitions = owned;
        assert_eq!(read(subscription_bytes(1, 2)), Ok(expected.clone()));
        expected.generation_id = 5;
        assert_eq!(read(subscription_bytes(2, 3)), Ok(expected));
        assert_eq!(read(subscription_bytes(3, 4)), Ok(subscription()));
        let newer = [&subscription_bytes(9, 4)[..], b"more"].concat();
        assert_eq!(read(newer.into()), Ok(subscription()));
        let error = read(subscription_bytes(-1, 4)).expect_err("a version below 0");
        let problem = DecodeProblem::Version { version: -1, supported: VERSIONS };
        assert_eq!((error.place, error.problem), ("ConsumerProtocolSubscription", problem));
    }

    #[test]
    fn an_assignment_is_written_and_read() {
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: partitions(&[("b", &[1]), ("a", &[0])]),
            user_data: None,
        };
        let bytes: &[u8] = b"\0\x03\0\0\0\x02\0\x01b\0\0\0\x01\0\0\0\x01\
                             \0\x01a\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(assignment.to_bytes().as_deref(), Ok(bytes));
        let read = |version: u8, bytes: &[u8]| {
            let bytes = [&[0, version], &bytes[2..]].concat();
            ConsumerProtocolAssignment::from_bytes(bytes.into())
        };
        for version in [0, 1, 2, 3, 4] {
            assert_eq!(read(version, bytes), Ok(assignment.clone()));
        }
        assert_eq!(read(200, &[bytes, b"more"].concat()), Ok(assignment));
    }

    #[test]
    fn sticky_user_data_has_two_versions() {
        let data =
            StickyUserData { previous_assignment: partitions(&[("t", &[3])]), generation: 8 };
        let bytes = Bytes::from_static(b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x03\0\0\0\x08");
        assert_eq!(data.to_bytes(), Ok(bytes.clone()));
        assert_eq!(StickyUserData::from_bytes(&bytes), Ok((data.clone(), Some(8))));
        let v0 = StickyUserData { generation: -1, ..data };
        let older = bytes.slice(..bytes.len() - 4);
        assert_eq!(StickyUserData::from_bytes(&older), Ok((v0, None)));
        assert!(StickyUserData::from_bytes(&bytes.slice(..9)).is_err());
    }

    #[test]
    fn lists_of_partitions_are_grouped_and_back() {
        let list = [("b", 1), ("a", 0), ("b", 0)].map(|(topic, n)| TopicPartition::new(topic, n));
        let topics = by_topic(&list);
        assert_eq!(topics, partitions(&[("b", &[1, 0]), ("a", &[0])]));
        let back = [("b", 1), ("b", 0), ("a", 0)].map(|(topic, n)| TopicPartition::new(topic, n));
        assert_eq!(one_by_one(&topics), back);
    }

    /// Each of its partitions would have a name of its own.
    #[test]
    fn a_name_that_no_topic_has_does_not_multiply() {
        let assignment = |length: usize| ConsumerProtocolAssignment {
            assigned_partitions: partitions(&[("n".repeat(length).as_str(), &[0; 100_000])]),
            user_data: None,
        };
        let read = |length| {
            ConsumerProtocolAssignment::from_bytes(assignment(length).to_bytes().expect("fits"))
        };
        assert_eq!(read(249), Ok(assignment(249)));
        let error = read(30_000).expect_err("3 GB from 430 KB");
        assert!(matches!(error.problem, DecodeProblem::Memory { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(seed: u64) {
            let rng = &mut fastrand::Rng::with_seed(seed);
            let subscription = ConsumerProtocolSubscription::arbitrary(rng, form(3));
            let bytes = subscription.to_bytes().expect("random values fit");
            prop_assert_eq!(ConsumerProtocolSubscription::from_bytes(bytes), Ok(subscription));
            let assignment = ConsumerProtocolAssignment::arbitrary(rng, form(3));
            let bytes = assignment.to_bytes().expect("random values fit");
            prop_assert_eq!(ConsumerProtocolAssignment::from_bytes(bytes), Ok(assignment));
        }

        /// Cut off anywhere it is an error; altered it is an error or something else, and no panic.
        #[test]
        fn broken_bytes_do_no_harm(seed: u64) {
            let rng = &mut fastrand::Rng::with_seed(seed);
            let subscription = ConsumerProtocolSubscription::arbitrary(rng, form(3));
            let bytes = subscription.to_bytes().expect("random values fit");
            for length in 0..bytes.len() {
                let cut = bytes.slice(..length);
                prop_assert!(ConsumerProtocolSubscription::from_bytes(cut.clone()).is_err());
                let _ = ConsumerProtocolAssignment::from_bytes(cut.clone());
                let _ = StickyUserData::from_bytes(&cut);
                let mut altered = bytes.to_vec();
                altered[length] = rng.u8(..);
                let _ = ConsumerProtocolSubscription::from_bytes(altered.into());
            }
        }
    }
}
