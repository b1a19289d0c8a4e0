//! The commands that concern transactional ids, and a look at them.

use super::Cluster;
use crate::broker::error::ClusterError;
use crate::broker::state::State;
use crate::broker::txn::TransactionDescription;
use crate::types::BrokerId;

impl Cluster {
    /// Lets another node coordinate a transactional id, and with it all that share its partition of
    /// `__transaction_state`.
    ///
    /// As when Kafka moves that partition, the new coordinator knows all that the old one did, and goes on with the markers
    /// that are not written yet. The same happens to all transactional ids of a node that is stopped.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] if the node does not run.
    pub fn move_transaction_coordinator(
        &self,
        transactional_id: &str,
        to: BrokerId,
    ) -> Result<(), ClusterError> {
        let moved = |state: &mut State| state.move_transaction_coordinator(transactional_id, to);
        Ok(self.handle.shared.change(moved)?)
    }

    /// The node that coordinates a transactional id, whether it is in use or not; `None` while no node runs.
    pub fn transaction_coordinator(&self, transactional_id: &str) -> Option<BrokerId> {
        self.state(|state| state.transactions.placement.coordinator(transactional_id))
    }

    /// How the transaction of a transactional id stands; `None` if no producer has asked for that id.
    ///
    /// ```
    /// use milena::broker::{Cluster, TransactionState};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = Cluster::builder().start().await?;
    /// assert_eq!(cluster.transaction("billing"), None);
    /// // … and when the service under test is through with its work:
    /// # let committed = async |cluster: &Cluster| {
    /// let billing = cluster.transaction_is("billing", |billing| {
    ///     billing.state == TransactionState::CompleteCommit
    /// });
    /// billing.await;
    /// # };
    /// # drop(committed);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What time-outs have done is seen if this is called on a tokio runtime.
    pub fn transaction(&self, transactional_id: &str) -> Option<TransactionDescription> {
        // Elsewhere another clock would be asked than the one that the time-outs are measured with.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.handle.shared.settle_transactions();
        }
        self.state(|state| state.transactions.get(transactional_id).map(Into::into))
    }

    /// Waits until the transaction of a transactional id is as `wanted` says. Cancel safe.
    pub async fn transaction_is(
        &self,
        transactional_id: &str,
        mut wanted: impl FnMut(&TransactionDescription) -> bool,
    ) -> TransactionDescription {
        let shared = &self.handle.shared;
        loop {
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            match self.transaction(transactional_id) {
                Some(transaction) if wanted(&transaction) => return transaction,
                _ => match shared.next_settlement() {
                    // Either way the next look decides.
                    Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                    None => changed.await,
                },
            }
        }
    }
}
