//! Which brokers are making sure of the transaction. A broker that gets a batch of a partition that is new to a
//! transaction, or offsets, asks the transaction's coordinator before it writes (KIP-890). It keeps one such question per
//! producer: the next one makes it refuse what waits for the first, with an error that says *later*. The back-off after
//! that takes longer than the answer, so one such request at a time is with a broker.

use std::collections::BTreeSet;

use super::Transactions;
use crate::types::BrokerId;

/// The brokers that have a request for which they ask.
#[derive(Debug, Default)]
pub(super) struct Verifications(BTreeSet<BrokerId>);

impl Transactions {
    /// Whether what is new to the transaction has to wait before it goes to the broker.
    pub(crate) fn is_verifying(&self, broker: BrokerId) -> bool {
        self.verifications.0.contains(&broker)
    }

    /// A request leaves with something that is new to the transaction.
    pub(crate) fn start_verifying(&mut self, broker: BrokerId) {
        if self.support.verifies() {
            self.verifications.0.insert(broker);
        }
    }

    /// That request has ended.
    pub(crate) fn stop_verifying(&mut self, broker: BrokerId) {
        self.verifications.0.remove(&broker);
    }
}
