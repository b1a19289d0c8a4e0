//! One file per API, each a table that can be held against Kafka's message definitions (here: those
//! of 4.3).
//!
//! Versions begin at what brokers of 4.x still serve, so that older clients can be served too, and
//! end at the last one of 4.3 that is not marked unstable.

use super::api_key::ApiKey;
use super::message::Message;
#[cfg(test)]
use super::message::Request;
use super::versions::VersionRange;

/// What is known of an API without its structs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    pub key: ApiKey,
    pub versions: VersionRange,
    pub flexible_from: i16,
}

impl Api {
    const fn of<M: Message>() -> Self {
        Self { key: M::API, versions: M::VERSIONS, flexible_from: M::FLEXIBLE_FROM }
    }
}

/// Something that is done with every type of message.
#[cfg(test)]
pub(super) trait Visitor {
    fn message<M: Message>(&mut self);
}

/// What is known of the API with this number, if it has a table.
pub fn find(key: ApiKey) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

macro_rules! apis {
    ($($module:ident::$request:ident;)*) => {
        $(pub mod $module;)*

        /// Every API that has a table.
        pub const APIS: &[Api] = &[$(Api::of::<$module::$request>()),*];

        /// Shows a visitor the type of every request and response.
        #[cfg(test)]
        pub(super) fn visit(visitor: &mut impl Visitor) {
            $(
                visitor.message::<$module::$request>();
                visitor.message::<<$module::$request as Request>::Response>();
            )*
        }
    };
}

apis! {
    api_versions::ApiVersionsRequest;
    metadata::MetadataRequest;
    produce::ProduceRequest;
    fetch::FetchRequest;
    list_offsets::ListOffsetsRequest;
    init_producer_id::InitProducerIdRequest;
    find_coordinator::FindCoordinatorRequest;
    create_topics::CreateTopicsRequest;
    create_partitions::CreatePartitionsRequest;
    delete_topics::DeleteTopicsRequest;
    offset_commit::OffsetCommitRequest;
    offset_fetch::OffsetFetchRequest;
    join_group::JoinGroupRequest;
    sync_group::SyncGroupRequest;
    heartbeat::HeartbeatRequest;
    leave_group::LeaveGroupRequest;
    offset_for_leader_epoch::OffsetForLeaderEpochRequest;
    consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
    list_groups::ListGroupsRequest;
    describe_groups::DescribeGroupsRequest;
    consumer_group_describe::ConsumerGroupDescribeRequest;
    delete_groups::DeleteGroupsRequest;
    offset_delete::OffsetDeleteRequest;
    add_partitions_to_txn::AddPartitionsToTxnRequest;
    add_offsets_to_txn::AddOffsetsToTxnRequest;
    end_txn::EndTxnRequest;
    txn_offset_commit::TxnOffsetCommitRequest;
    describe_producers::DescribeProducersRequest;
    describe_transactions::DescribeTransactionsRequest;
    list_transactions::ListTransactionsRequest;
}
