//! What users ask of the producer's task, and how it answers. Decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::{TransactionError, TransactionOutcome};
use crate::producer::delivery::Completion;
use crate::time::Instant;
use crate::types::{ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition};

/// What a user asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Give the ends of all batches there are now.
    Flush(oneshot::Sender<Vec<Arc<Completion>>>),
    /// End everything until then, say what was left, and end the task.
    Close(Instant, oneshot::Sender<Left>),
    /// Do something about transactions.
    Transact(Transact),
}

/// What had not ended when the task did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// How many batches failed for it.
    pub(crate) batches: usize,
    /// Whether a transaction's end was not known.
    pub(crate) transaction: bool,
}

/// What a user asks of the task about transactions.
#[derive(Debug)]
pub(crate) enum Transact {
    /// Begin one. It ends as the other half of `end` says; if that is dropped, whenever it is, it is aborted.
    Begin { end: oneshot::Receiver<Finish>, reply: oneshot::Sender<Settled> },
    /// Make offsets part of it.
    SendOffsets {
        group: ConsumerGroupMetadata,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        reply: oneshot::Sender<Settled>,
    },
    /// Tell when none is going on.
    Settle(oneshot::Sender<Settled>),
}

/// How a transaction is to be ended.
#[derive(Debug)]
pub(crate) struct Finish {
    /// Otherwise it is aborted.
    pub(crate) commit: bool,
    pub(crate) reply: oneshot::Sender<Settled>,
}

/// How the last transaction ended, if there was one.
pub(crate) type Settled = Result<Option<TransactionOutcome>, TransactionError>;
