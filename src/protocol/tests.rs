//! Every message at every version: round trips, and bytes that are not what they should be.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::error::{DecodeError, DecodeProblem, EncodeError, EncodeProblem};
use super::header::{decode_request_header, encode_request};
use super::message::{Message, form_of};
use super::messages::create_topics::{CreatableTopicResult, CreateTopicsResponse};
use super::messages::fetch::{FetchPartitionData, FetchResponse, FetchableTopicResponse};
use super::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponsePartition,
    MetadataResponseTopic,
};
use super::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceLeaderIdAndEpoch, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use super::messages::{Visitor, visit};
use super::reader::Reader;
use super::writer::Writer;

fn random<M: Message>(seed: u64, version: i16) -> M {
    M::random(&mut fastrand::Rng::with_seed(seed), version).expect("a version")
}

fn encoded(message: &impl Message, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    let (total, segments) = w.into_segments();
    let bytes = segments.concat();
    assert_eq!(total, bytes.len());
    Ok(bytes.into())
}

fn decoded<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    M::decode(&mut Reader::new(bytes), version)
}

/// A check of one message in one version, with a number to draw from.
trait Check {
    fn check<M: Message>(&self, version: i16);
}

/// Runs a check for every version of every message.
fn each_version(check: impl Check) {
    struct Versions<C>(C);
    impl<C: Check> Visitor for Versions<C> {
        fn message<M: Message>(&mut self) {
            (M::VERSIONS.min..=M::VERSIONS.max).for_each(|version| self.0.check::<M>(version));
        }
    }
    visit(&mut Versions(check));
}

struct RoundTrip(u64);

impl Check for RoundTrip {
    fn check<M: Message>(&self, version: i16) {
        let message: M = random(self.0, version);
        let bytes = encoded(&message, version).expect("a random message fits its version");
        assert_eq!(decoded(bytes, version), Ok(message), "{} v{version}", M::NAME);
    }
}

struct Truncation(u64);

impl Check for Truncation {
    fn check<M: Message>(&self, version: i16) {
        let bytes = encoded(&random::<M>(self.0, version), version).expect("fits");
        for length in 0..bytes.len() {
            let error = decoded::<M>(bytes.slice(..length), version).expect_err("cut off");
            let cut = matches!(
                error.problem,
                DecodeProblem::Truncated { .. } | DecodeProblem::Count { .. }
            );
            assert!(cut, "{} v{version} cut at {length}: {error}", M::NAME);
            assert!(error.place.contains(M::NAME) || error.place.contains('.'), "{error:?}");
        }
    }
}

struct Trailing;

impl Check for Trailing {
    fn check<M: Message>(&self, version: i16) {
        let mut bytes = encoded(&random::<M>(1, version), version).expect("fits").to_vec();
        bytes.push(0);
        let error = decoded::<M>(bytes.into(), version).expect_err("a byte too many");
        assert_eq!((error.place, error.problem), (M::NAME, DecodeProblem::Trailing(1)));
    }
}

/// Bytes at random are read as far as they make sense, which ends in an error or a message, not in
/// a panic.
struct Garbage(Bytes);

impl Check for Garbage {
    fn check<M: Message>(&self, version: i16) {
        if let Ok(message) = decoded::<M>(self.0.clone(), version) {
            let again = decoded(encoded(&message, version).expect("it was read"), version);
            assert_eq!(again, Ok(message), "{} v{version}", M::NAME);
        }
    }
}

/// A message with bytes altered, which goes deeper than bytes at random.
struct Altered(u64);

impl Check for Altered {
    fn check<M: Message>(&self, version: i16) {
        let mut bytes = encoded(&random::<M>(self.0, version), version).expect("fits").to_vec();
        let mut rng = fastrand::Rng::with_seed(self.0);
        for _ in 0..rng.usize(1..4) {
            if let Some(place) = rng.choose_multiple(bytes.iter_mut(), 1).pop() {
                *place = if rng.bool() { 0xff } else { rng.u8(..) };
            }
        }
        Garbage(bytes.into()).check::<M>(version);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn what_was_written_is_read_back(seed: u64) {
        each_version(RoundTrip(seed));
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        each_version(Garbage(bytes.into()));
    }

    #[test]
    fn altered_bytes_do_no_harm(seed: u64) {
        each_version(Altered(seed));
    }

    #[test]
    fn random_bytes_as_a_request_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let _ = decode_request_header(&mut Reader::new(bytes.into()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_truncation_is_an_error(seed: u64) {
        each_version(Truncation(seed));
    }
}

#[test]
fn bytes_left_over_are_an_error() {
    each_version(Trailing);
}

/// The bound on counts is exact: a message whose arrays and strings are empty is as long as the
/// least that its table says.
#[test]
fn the_least_size_is_that_of_an_empty_message() {
    struct LeastSize;
    impl Check for LeastSize {
        fn check<M: Message>(&self, version: i16) {
            let length = encoded(&M::default(), version).expect("defaults fit").len();
            let form = form_of::<M>(version).expect("a version");
            assert_eq!(M::min_size(form), length, "{} v{version}", M::NAME);
        }
    }
    each_version(LeastSize);
}

/// A count that the rest of the frame cannot hold is refused before memory is reserved; 2³¹
/// elements would be more than this machine has.
#[test]
fn a_count_is_held_against_the_bytes_that_remain() {
    let mut classic = BytesMut::new();
    classic.put_i16(-1); // transactional_id
    classic.put_i16(-1); // acks
    classic.put_i32(0); // timeout_ms
    classic.put_i32(i32::MAX); // topic_data
    classic.put_bytes(0, 60);
    let error = decoded::<ProduceRequest>(classic.freeze(), 3).expect_err("too many");
    assert_eq!(error.place, "ProduceRequest.topic_data");
    let count = DecodeProblem::Count { count: i32::MAX as usize, remaining: 60 };
    assert_eq!(error.problem, count);

    let mut compact = BytesMut::new();
    compact.put_slice(&[0, 0, 0, 0, 0, 0, 0]);
    compact.put_slice(&[0x80, 0x80, 0x80, 0x80, 0x08]); // 2³¹, less one for null
    let error = decoded::<ProduceRequest>(compact.freeze(), 13).expect_err("too many");
    assert_eq!(error.problem, DecodeProblem::Count { count: i32::MAX as usize, remaining: 0 });

    // A topic takes six bytes at least: a name, a count. Eleven bytes hold one, not two.
    let mut two = BytesMut::new();
    two.put_slice(&[0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    two.put_bytes(0, 11);
    let error = decoded::<ProduceRequest>(two.freeze(), 3).expect_err("too many");
    assert_eq!(error.problem, DecodeProblem::Count { count: 2, remaining: 11 });
}

/// Encodes a message in each version, and holds what its elements take against its bytes.
fn in_proportion<M: Message>(message: &M) {
    for version in M::VERSIONS.min..=M::VERSIONS.max {
        let bytes = encoded(message, version).expect("fits");
        let mut r = Reader::new(bytes.clone());
        let before = r.budget();
        M::decode(&mut r, version).expect("in proportion");
        let (took, most) = (before - r.budget(), bytes.len() * 5);
        assert!(took <= most, "{} {version}: {took} of {most}", M::NAME);
    }
}

/// Large answers whose elements say as little as they can.
#[test]
fn what_brokers_have_reason_to_send_is_well_within_the_budget() {
    const COUNT: i32 = 20_000;
    let partition = |partition_index| FetchPartitionData {
        partition_index,
        records: Some(Bytes::new()),
        ..Default::default()
    };
    let partitions = (0..COUNT).map(partition).collect();
    let topic = FetchableTopicResponse { partitions, ..Default::default() };
    in_proportion(&FetchResponse { responses: vec![topic], ..Default::default() });

    let partition = |index| PartitionProduceResponse { index, ..Default::default() };
    let partition_responses = (0..COUNT).map(partition).collect();
    let topic = TopicProduceResponse { partition_responses, ..Default::default() };
    in_proportion(&ProduceResponse { responses: vec![topic], ..Default::default() });

    let partition = MetadataResponsePartition {
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..Default::default()
    };
    let topic = |n| MetadataResponseTopic {
        name: Some(format!("t{n:x}")),
        partitions: vec![partition.clone()],
        ..Default::default()
    };
    let topics = (0..COUNT).map(topic).collect();
    in_proportion(&MetadataResponse { topics, ..Default::default() });
}

#[test]
fn elements_that_take_much_more_than_their_bytes_are_refused() {
    let empty = |count| FetchResponse {
        responses: vec![FetchableTopicResponse::default(); count],
        ..Default::default()
    };
    // Three bytes each: no name, no partitions, no tagged fields.
    let bytes = encoded(&empty(300_000), 12).expect("fits");
    assert!(bytes.len() < 1_000_000);
    let error = decoded::<FetchResponse>(bytes, 12).expect_err("20 MB");
    assert_eq!(error.place, "FetchResponse.responses");
    assert!(matches!(error.problem, DecodeProblem::Memory { count: 300_000, .. }), "{error}");
    // A few of them are no reason to be strict.
    let few = empty(10_000);
    assert_eq!(decoded(encoded(&few, 12).expect("fits"), 12), Ok(few));
}

#[test]
fn a_negative_length_is_an_error() {
    let bytes = Bytes::from_static(&[0xff, 0xfe]);
    let error = decoded::<ProduceRequest>(bytes, 3).expect_err("-2");
    assert_eq!(error.problem, DecodeProblem::NegativeLength(-2));
    assert_eq!(
        error.to_string(),
        "malformed ProduceRequest.transactional_id: the length -2 is negative"
    );
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let error = encoded(&request, 0).expect_err("version 0 has no null here");
    assert_eq!((error.place, error.version), ("MetadataRequest.topics", 0));
    assert_eq!(error.problem, EncodeProblem::Null);
    let bytes = encoded(&request, 1).expect("version 1 has");
    assert_eq!(decoded(bytes.slice(..4), 1), Ok(request));
    let error = decoded::<MetadataRequest>(bytes, 0).expect_err("null");
    assert_eq!(error.problem, DecodeProblem::Null);

    let by_id = MetadataRequestTopic { name: None, ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![by_id]), ..Default::default() };
    assert!(encoded(&request, 10).is_ok());
    assert_eq!(encoded(&request, 9).expect_err("by name").place, "MetadataRequestTopic.name");
}

#[test]
fn a_field_that_the_version_lacks_is_left_out_or_refused() {
    let no_creation = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    let error = encoded(&no_creation, 3).expect_err("it would be lost");
    assert_eq!(error.problem, EncodeProblem::NotInVersion);
    assert_eq!(
        error.to_string(),
        "cannot encode MetadataRequest.allow_auto_topic_creation in version 3: \
         this version does not have the field, and its value is not the default"
    );
    assert!(encoded(&no_creation, 4).is_ok());

    let topic = CreatableTopicResult { num_partitions: 12, ..Default::default() };
    let response = CreateTopicsResponse { topics: vec![topic], ..Default::default() };
    let bytes = encoded(&response, 4).expect("num_partitions is ignorable");
    let read: CreateTopicsResponse = decoded(bytes, 4).expect("it is read back");
    assert_eq!(read.topics[0].num_partitions, -1);
}

#[test]
fn a_tagged_field_is_written_only_with_a_value() {
    let response = |leader_id| {
        let current_leader = ProduceLeaderIdAndEpoch { leader_id, leader_epoch: -1 };
        let partition = PartitionProduceResponse { current_leader, ..Default::default() };
        let topic =
            TopicProduceResponse { partition_responses: vec![partition], ..Default::default() };
        ProduceResponse { responses: vec![topic], ..Default::default() }
    };
    let without = encoded(&response(-1), 10).expect("fits");
    let with = encoded(&response(4), 10).expect("fits");
    // Tag, size, leader id, leader epoch, no tagged fields.
    assert_eq!(with.len() - without.len(), 1 + 1 + 4 + 4 + 1);
    assert_eq!(decoded(with, 10), Ok(response(4)));
    let error = encoded(&response(4), 9).expect_err("version 9 has no such field");
    assert_eq!(error.place, "PartitionProduceResponse.current_leader");
}

#[test]
fn an_unknown_version_is_refused() {
    let error = encoded(&ProduceRequest::default(), 14).expect_err("no such version");
    assert_eq!(
        error.to_string(),
        "cannot encode ProduceRequest in version 14: only the versions 3 to 13 are known here"
    );
    let error = decoded::<ProduceRequest>(Bytes::new(), 2).expect_err("no such version");
    assert_eq!(error.place, "ProduceRequest");
}

#[test]
fn record_bytes_are_shared_both_ways() {
    let records = Bytes::from(vec![7; 1000]);
    let partition = PartitionProduceData { index: 0, records: Some(records.clone()) };
    let topic = TopicProduceData { partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    for version in [3, 13] {
        let segments = encode_request(1, Some("me"), &request, version).expect("fits");
        assert!(segments.iter().any(|segment| segment.as_ptr() == records.as_ptr()));

        let frame = Bytes::from(segments.concat());
        let mut r = Reader::new(frame.slice(4..));
        decode_request_header(&mut r).expect("a header");
        let read = ProduceRequest::decode(&mut r, version).expect("it is read back");
        let read = read.topic_data[0].partition_data[0].records.as_ref().expect("records");
        assert_eq!(read, &records);
        assert!(frame.as_ptr_range().contains(&read.as_ptr()));
    }
}
