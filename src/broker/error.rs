//! What can go wrong when a test commands a cluster.

use std::io;

use super::state::Refusal;
use crate::error::ErrorCode;
use crate::types::{BrokerId, TopicPartition};

/// A command to a [`Cluster`](super::Cluster) that could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A setting of the builder makes no sense.
    #[error("the cluster cannot be configured so: {message}")]
    InvalidConfig {
        /// What is wrong.
        message: String,
    },
    /// A node's port cannot be listened on.
    #[error("node {node} cannot listen on 127.0.0.1:{port}")]
    Bind {
        /// The node.
        node: BrokerId,
        /// The port; 0 is any.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such node.
    #[error("the cluster has no node {0}")]
    UnknownNode(BrokerId),
    /// There is no such partition.
    #[error("the cluster has no partition {0}")]
    UnknownPartition(TopicPartition),
    /// The cluster refuses, as it would refuse a client's request.
    #[error("{code}: {message}")]
    Refused {
        /// Kafka's code.
        code: ErrorCode,
        /// Why.
        message: String,
    },
}

impl From<Refusal> for ClusterError {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Self::Refused { code, message }
    }
}
