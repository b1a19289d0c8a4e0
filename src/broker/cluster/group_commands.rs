//! The commands that concern groups, and a look at them.

use super::Cluster;
use crate::broker::error::ClusterError;
use crate::broker::group::{self, GroupDescription};
use crate::types::BrokerId;

impl Cluster {
    /// Lets another node coordinate a group, and with it all groups that share its partition of `__consumer_offsets`.
    ///
    /// As when Kafka moves that partition, the new coordinator knows what was written: the offsets, and the generation
    /// that was stable last with its members. A rebalance under way is forgotten, and those who wait for it get
    /// `NOT_COORDINATOR`. The same happens to all groups of a node that is stopped.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] if the node does not run.
    pub fn move_coordinator(&self, group: &str, to: BrokerId) -> Result<(), ClusterError> {
        Ok(self.handle.shared.change(|state| state.move_coordinator(group, to))?)
    }

    /// The node that coordinates a group, whether there is such a group or not; `None` while no node runs.
    pub fn coordinator(&self, group: &str) -> Option<BrokerId> {
        self.state(|state| state.groups.placement.coordinator(group))
    }

    /// A group: its state, members and committed offsets; `None` if there is none of that name.
    ///
    /// Time-outs of members are up to date if this is called on a tokio runtime.
    pub fn group(&self, name: &str) -> Option<GroupDescription> {
        // Elsewhere another clock would be asked than the one that the members' time-outs are measured with.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.handle.shared.advance_group(name);
        }
        self.state(|state| {
            let topic = |id| state.name_of(id).map(str::to_owned);
            state.groups.get(name).map(|group| group::show(group, topic))
        })
    }

    /// Waits until a group is as `wanted` says. Cancel safe.
    ///
    /// ```
    /// # use milena::broker::Cluster;
    /// # async fn f(cluster: &Cluster) {
    /// cluster.group_is("orders", |group| group.state == "Stable" && group.members.len() == 3).await;
    /// # }
    /// ```
    pub async fn group_is(
        &self,
        name: &str,
        mut wanted: impl FnMut(&GroupDescription) -> bool,
    ) -> GroupDescription {
        loop {
            let mut changed = std::pin::pin!(self.handle.shared.groups.notified());
            changed.as_mut().enable();
            match self.group(name) {
                Some(group) if wanted(&group) => return group,
                _ => self.handle.shared.group_changes(name, changed).await,
            }
        }
    }
}
