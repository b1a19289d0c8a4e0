//! What happened in the cluster, for tests to look at: a bounded list, oldest first.

use std::collections::VecDeque;

use super::faults::Action;
use crate::protocol::ApiKey;
use crate::types::{BrokerId, TopicId, TopicPartition};

/// Enough for any test; older ones are forgotten so that a long-running cluster does not grow.
const EVENTS_KEPT: usize = 10_000;

/// Something that happened in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node took up its work, at the start or after it was stopped.
    NodeStarted {
        /// Which.
        node: BrokerId,
    },
    /// A node was stopped.
    NodeStopped {
        /// Which.
        node: BrokerId,
    },
    /// A topic came into being.
    TopicCreated {
        /// Its name.
        topic: String,
        /// Its id.
        id: TopicId,
    },
    /// A topic was deleted.
    TopicDeleted {
        /// Its name.
        topic: String,
        /// The id it had.
        id: TopicId,
    },
    /// A partition has another leader, or the same one in a new epoch.
    LeaderChanged {
        /// The partition.
        partition: TopicPartition,
        /// The leader from now on; `None` if no replica is left to lead.
        leader: Option<BrokerId>,
        /// The leader epoch from now on.
        epoch: i32,
    },
    /// A partition lost the end of its log in an unclean election.
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// Where its log ends now.
        end_offset: i64,
    },
    /// A client opened a connection.
    Connected {
        /// To which node.
        node: BrokerId,
    },
    /// A client's ApiVersions request told who it is (KIP-511; names are empty before version 3).
    ClientIdentified {
        /// To which node.
        node: BrokerId,
        /// Its `client.id`.
        client_id: Option<String>,
        /// Its `client.software.name`.
        software_name: String,
        /// Its `client.software.version`.
        software_version: String,
    },
    /// A connection ended.
    Disconnected {
        /// From which node.
        node: BrokerId,
        /// Why the node closed it; `None` if the client did, or the node stopped.
        reason: Option<String>,
    },
    /// A request met an injected fault.
    FaultStruck {
        /// On which node.
        node: BrokerId,
        /// The request's API.
        api: ApiKey,
        /// What was done.
        action: Action,
    },
}

/// See the module's docs.
#[derive(Debug, Default)]
pub(crate) struct Events {
    kept: VecDeque<Event>,
}

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        tracing::debug!(?event, "cluster");
        if self.kept.len() == EVENTS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(event);
    }

    pub(crate) fn to_vec(&self) -> Vec<Event> {
        self.kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_keeps_the_newest() {
        let mut events = Events::default();
        for n in 0..=EVENTS_KEPT {
            events.push(Event::Connected { node: BrokerId(n as i32) });
        }
        let kept = events.to_vec();
        assert_eq!(kept.len(), EVENTS_KEPT);
        assert_eq!(kept[0], Event::Connected { node: BrokerId(1) });
    }
}
