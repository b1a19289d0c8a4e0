//! Every message at every version that both sides know, with random values from fixed seeds.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message as TheirMessage, Request as TheirRequest,
};
use milena::protocol::error::EncodeProblem;
use milena::protocol::header;
use milena::protocol::messages::APIS;
use milena::protocol::{EncodeError, Message, Reader, Request, Writer};
use milena_oracle::tree::Tree;

/// How many values each version of a message is tried with.
const VALUES: u64 = 100;

/// Fields that they have of a version that Kafka marks as unstable (InitProducerId 6) and no broker
/// offers by default.
const UNSTABLE: &[&str] =
    &["enable_2_pc", "keep_prepared_txn", "ongoing_txn_producer_id", "ongoing_txn_producer_epoch"];

/// Tagged fields that are not ignorable. They leave these out below the first flexible version.
const TAGGED: &[&str] = &[
    "FetchRequest.replica_state",
    "FetchPartitionData.diverging_epoch",
    "FetchPartitionData.current_leader",
    "FetchPartitionData.snapshot_id",
    "FetchResponse.node_endpoints",
    "PartitionProduceResponse.current_leader",
    "ProduceResponse.node_endpoints",
];

fn they_do_not_refuse(error: &EncodeError) -> bool {
    error.problem == EncodeProblem::Null
        || error.problem == EncodeProblem::NotInVersion && TAGGED.contains(&error.place)
}

fn their_fields(message: &impl std::fmt::Debug) -> Tree {
    Tree::of(message).without(UNSTABLE)
}

/// A message of theirs.
trait Theirs: TheirMessage + Encodable + Decodable + HeaderVersion + Default + std::fmt::Debug {}
impl<T> Theirs for T where
    T: TheirMessage + Encodable + Decodable + HeaderVersion + Default + std::fmt::Debug
{
}

/// A check of one message against its counterpart.
trait Check {
    fn message<O: Message, T: Theirs>(&mut self);
}

/// A check of one API against its counterpart.
trait CheckApi {
    fn api<O, T>(&mut self)
    where
        O: Request,
        T: TheirRequest + Theirs,
        T::Response: Theirs;
}

/// Shows a check every API; the list is held against ours by [`every_api_is_compared`].
fn each_api(check: &mut impl CheckApi) {
    macro_rules! apis {
        ($($module:ident::$request:ident),* $(,)?) => {
            $(check.api::<
                milena::protocol::messages::$module::$request,
                kafka_protocol::messages::$request,
            >();)*
        };
    }
    apis!(
        api_versions::ApiVersionsRequest,
        metadata::MetadataRequest,
        produce::ProduceRequest,
        fetch::FetchRequest,
        list_offsets::ListOffsetsRequest,
        init_producer_id::InitProducerIdRequest,
        find_coordinator::FindCoordinatorRequest,
        create_topics::CreateTopicsRequest,
        create_partitions::CreatePartitionsRequest,
        delete_topics::DeleteTopicsRequest,
        offset_commit::OffsetCommitRequest,
        offset_fetch::OffsetFetchRequest,
        join_group::JoinGroupRequest,
        sync_group::SyncGroupRequest,
        heartbeat::HeartbeatRequest,
        leave_group::LeaveGroupRequest,
        offset_for_leader_epoch::OffsetForLeaderEpochRequest,
        consumer_group_heartbeat::ConsumerGroupHeartbeatRequest,
        list_groups::ListGroupsRequest,
        describe_groups::DescribeGroupsRequest,
        consumer_group_describe::ConsumerGroupDescribeRequest,
        delete_groups::DeleteGroupsRequest,
        offset_delete::OffsetDeleteRequest,
        add_partitions_to_txn::AddPartitionsToTxnRequest,
        add_offsets_to_txn::AddOffsetsToTxnRequest,
        end_txn::EndTxnRequest,
        txn_offset_commit::TxnOffsetCommitRequest,
        describe_producers::DescribeProducersRequest,
        describe_transactions::DescribeTransactionsRequest,
        list_transactions::ListTransactionsRequest,
    );
}

/// Shows a check every request and every response.
fn each_message(check: &mut impl Check) {
    struct Both<'a, C>(&'a mut C);
    impl<C: Check> CheckApi for Both<'_, C> {
        fn api<O, T>(&mut self)
        where
            O: Request,
            T: TheirRequest + Theirs,
            T::Response: Theirs,
        {
            self.0.message::<O, T>();
            self.0.message::<O::Response, T::Response>();
        }
    }
    each_api(&mut Both(check));
}

fn shared_versions<O: Message, T: TheirMessage>() -> std::ops::RangeInclusive<i16> {
    let shared = O::VERSIONS.min.max(T::VERSIONS.min)..=O::VERSIONS.max.min(T::VERSIONS.max);
    assert!(!shared.is_empty(), "{} shares no version", O::NAME);
    shared
}

fn random<O: Message>(seed: u64, version: i16) -> O {
    O::random(&mut fastrand::Rng::with_seed(seed), version).expect("a version of ours")
}

fn we_write<O: Message>(message: &O, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    Ok(w.into_segments().1.concat().into())
}

fn they_write(message: &impl Encodable, version: i16) -> Option<Bytes> {
    let mut buf = BytesMut::new();
    message.encode(&mut buf, version).ok()?;
    Some(buf.freeze())
}

fn they_read<T: Decodable>(bytes: &mut Bytes, version: i16) -> T {
    T::decode(bytes, version).expect("they read what we wrote")
}

/// The other side's value with the same fields as ours; it comes over as bytes.
fn counterpart<O: Message, T: Theirs>(message: &O, version: i16) -> T {
    let mut bytes = we_write(message, version).expect("a random message fits its version");
    let other = they_read(&mut bytes, version);
    assert!(bytes.is_empty(), "{} v{version}: they leave bytes over", O::NAME);
    other
}

#[test]
fn every_api_is_compared() {
    struct Keys(Vec<i16>);
    impl CheckApi for Keys {
        fn api<O, T>(&mut self)
        where
            O: Request,
            T: TheirRequest + Theirs,
            T::Response: Theirs,
        {
            assert_eq!(O::API.0, T::KEY);
            assert_eq!(O::Response::API, O::API);
            self.0.push(T::KEY);
        }
    }
    let mut keys = Keys(Vec::new());
    each_api(&mut keys);
    assert_eq!(keys.0, APIS.iter().map(|api| api.key.0).collect::<Vec<_>>());
}

/// Each side reads what the other writes: the same fields, then the same bytes, then our value.
#[test]
fn values_survive_both_ways() {
    struct BothWays;
    impl Check for BothWays {
        fn message<O: Message, T: Theirs>(&mut self) {
            for version in shared_versions::<O, T>() {
                for seed in 0..VALUES {
                    let place = || format!("{} v{version}, seed {seed}", O::NAME);
                    let message: O = random(seed, version);
                    let other: T = counterpart(&message, version);
                    assert_eq!(their_fields(&other), Tree::of(&message), "{}", place());
                    let bytes = they_write(&other, version).expect("they write what they read");
                    assert_eq!(Ok(&bytes), we_write(&message, version).as_ref(), "{}", place());
                    let read = O::decode(&mut Reader::new(bytes), version);
                    assert_eq!(read, Ok(message), "{}", place());
                }
            }
        }
    }
    each_message(&mut BothWays);
}

/// A value made for one version and written in another: both sides agree whether that is possible,
/// and on the bytes. So defaults and ignorable fields are the same.
///
/// Passed over is what Kafka refuses to write, as we do, and they write: null in a version that
/// does not allow it, and tagged fields in a version without tags ([`TAGGED`]).
#[test]
fn values_of_other_versions_are_treated_alike() {
    struct Across(usize, usize);
    impl Check for Across {
        fn message<O: Message, T: Theirs>(&mut self) {
            for made_for in shared_versions::<O, T>() {
                for version in shared_versions::<O, T>() {
                    for seed in 0..VALUES / 10 {
                        let message: O = random(seed, made_for);
                        let other: T = counterpart(&message, made_for);
                        let (we, they) = (we_write(&message, version), they_write(&other, version));
                        if we.as_ref().is_err_and(they_do_not_refuse) {
                            continue;
                        }
                        let place = || format!("{} {made_for}→{version}, seed {seed}", O::NAME);
                        *(if we.is_ok() { &mut self.0 } else { &mut self.1 }) += 1;
                        assert_eq!(we.ok(), they, "{}: {message:?}", place());
                    }
                }
            }
        }
    }
    let mut across = Across(0, 0);
    each_message(&mut across);
    assert!(across.0 > 1_000 && across.1 > 1_000, "{} written, {} refused", across.0, across.1);
}

#[test]
fn defaults_are_the_same() {
    struct Defaults;
    impl Check for Defaults {
        fn message<O: Message, T: Theirs>(&mut self) {
            assert_eq!(their_fields(&T::default()), Tree::of(&O::default()), "{}", O::NAME);
        }
    }
    each_message(&mut Defaults);
}

/// Whole frames: length, header and message.
#[test]
fn frames_are_understood() {
    struct Frames;
    impl CheckApi for Frames {
        fn api<O, T>(&mut self)
        where
            O: Request,
            T: TheirRequest + Theirs,
            T::Response: Theirs,
        {
            for version in shared_versions::<O, T>() {
                for seed in 0..VALUES / 10 {
                    request_frame::<O, T>(seed, version);
                    response_frame::<O, T>(seed, version);
                }
            }
        }
    }
    each_api(&mut Frames);
}

fn request_frame<O: Request, T: TheirRequest + Theirs>(seed: u64, version: i16) {
    let message: O = random(seed, version);
    let client_id = (!seed.is_multiple_of(3)).then_some("a client");
    let frame = header::encode_request(seed as i32, client_id, &message, version).expect("fits");
    let mut body = without_length(&frame.concat());
    let ours = header::decode_request_header(&mut Reader::new(body.clone())).expect("a header");
    let header: RequestHeader = they_read(&mut body, T::header_version(version));
    assert_eq!((header.request_api_key, header.request_api_version), (T::KEY, version));
    assert_eq!(header.correlation_id, seed as i32);
    assert_eq!(header.client_id.as_deref(), client_id);
    assert_eq!((ours.api_key, ours.api_version), (O::API, version));
    assert_eq!((ours.correlation_id, ours.client_id.as_deref()), (seed as i32, client_id));
    let other: T = they_read(&mut body, version);
    assert!(body.is_empty());
    assert_eq!(their_fields(&other), Tree::of(&message));
}

fn response_frame<O: Request, T: TheirRequest>(seed: u64, version: i16)
where
    T::Response: Theirs,
{
    let message: O::Response = random(seed, version);
    let other: T::Response = counterpart(&message, version);
    let frame = header::encode_response(seed as i32, version, &message).expect("fits");
    let mut theirs = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(seed as i32)
        .encode(&mut theirs, T::Response::header_version(version))
        .expect("a header");
    theirs.put(they_write(&other, version).expect("they write what they read"));
    let body = without_length(&frame.concat());
    assert_eq!(body, theirs, "{} v{version}", O::Response::NAME);
    assert_eq!(header::decode_response::<O>(body, version), Ok((seed as i32, message)));
}

/// What follows the length of a frame.
fn without_length(frame: &[u8]) -> Bytes {
    let (length, body) = frame.split_first_chunk().expect("a length");
    assert_eq!(i32::from_be_bytes(*length) as usize, body.len());
    Bytes::copy_from_slice(body)
}
