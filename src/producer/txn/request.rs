//! What a transactional producer asks of coordinators, and what comes back. Decides nothing.

use std::ops::RangeInclusive;

use crate::client::CoordinatorKey;
use crate::protocol::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};
use crate::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
};
use crate::protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use crate::protocol::messages::find_coordinator::FindCoordinatorResponse;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use crate::time::Duration;
use crate::types::BrokerId;

/// Whom a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    Any,
    Coordinator(BrokerId),
}

/// A request on its way out; its end is told by [`Transactions::handle`](super::Transactions::handle).
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) token: u64,
    pub(crate) to: Destination,
    pub(crate) request: TxnRequest,
    /// From when it is connected.
    pub(crate) timeout: Duration,
}

/// A request, with the versions in which it means what it is to mean.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TxnRequest {
    FindCoordinator(CoordinatorKey),
    InitProducerId(InitProducerIdRequest),
    AddPartitions(AddPartitionsToTxnRequest),
    AddOffsets(AddOffsetsToTxnRequest),
    CommitOffsets(TxnOffsetCommitRequest, RangeInclusive<i16>),
    End(EndTxnRequest, i16),
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TxnResponse {
    FindCoordinator(FindCoordinatorResponse),
    InitProducerId(InitProducerIdResponse),
    AddPartitions(AddPartitionsToTxnResponse),
    AddOffsets(AddOffsetsToTxnResponse),
    CommitOffsets(TxnOffsetCommitResponse),
    End(EndTxnResponse),
}

/// By which rules a transaction goes (`transaction.version`, KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TransactionVersion {
    /// Partitions and groups are added before they are written to; the epoch stays.
    #[default]
    One,
    /// The first write adds them; each transaction has an epoch of its own.
    Two,
}

/// What a transaction coordinator is able to do: a level of a feature, and the highest version of each API that both
/// sides speak, -1 if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Support {
    /// `transaction.version`.
    pub(crate) feature: i16,
    pub(crate) produce: i16,
    pub(crate) init_producer_id: i16,
    /// Higher than clients use it.
    pub(crate) add_partitions: i16,
    pub(crate) commit_offsets: i16,
    pub(crate) end: i16,
}

impl Support {
    /// What is assumed before anything is known.
    pub(crate) const NONE: Self = Self {
        feature: -1,
        produce: -1,
        init_producer_id: -1,
        add_partitions: -1,
        commit_offsets: -1,
        end: -1,
    };

    /// The newest version of the protocol of which it has every part: a feature that was finalized is of no use to a
    /// client that does not speak all of its requests.
    pub(super) fn version(self) -> TransactionVersion {
        let two = self.feature >= 2
            && self.produce > LAST_PRODUCE_OF_ONE
            && self.commit_offsets > LAST_COMMIT_OFFSETS_OF_ONE
            && self.end > LAST_END_OF_ONE;
        if two { TransactionVersion::Two } else { TransactionVersion::One }
    }

    /// Whether a producer can have its epoch raised and keep its id (KIP-360).
    pub(super) fn bumps(self) -> bool {
        self.init_producer_id >= 3
    }

    /// Whether brokers ask the coordinator before they write.
    pub(super) fn verifies(self) -> bool {
        self.add_partitions > LAST_ADD_PARTITIONS
    }
}

/// Later versions of Produce make partitions part of the transaction.
pub(crate) const LAST_PRODUCE_OF_ONE: i16 = 11;
/// Clients use no later version of AddPartitionsToTxn.
pub(crate) const LAST_ADD_PARTITIONS: i16 = 3;
pub(super) const LAST_COMMIT_OFFSETS_OF_ONE: i16 = 4;
pub(super) const LAST_END_OF_ONE: i16 = 4;
