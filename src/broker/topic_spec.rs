//! A topic to be created by a test.

/// A topic for [`Cluster::create_topic`](super::Cluster::create_topic).
///
/// ```
/// use milena::broker::TopicSpec;
///
/// let spec = TopicSpec::new("orders")
///     .partitions(6)
///     .replication_factor(3)
///     .config("min.insync.replicas", "2");
/// # let _ = spec;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a topic is made by `Cluster::create_topic`"]
pub struct TopicSpec {
    pub(crate) name: String,
    pub(crate) partitions: Option<usize>,
    pub(crate) replication_factor: Option<usize>,
    pub(crate) configs: Vec<(String, String)>,
}

impl TopicSpec {
    /// A topic with the cluster's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: None, replication_factor: None, configs: Vec::new() }
    }

    /// Its number of partitions.
    pub fn partitions(self, partitions: usize) -> Self {
        Self { partitions: Some(partitions), ..self }
    }

    /// Its number of replicas.
    pub fn replication_factor(self, replicas: usize) -> Self {
        Self { replication_factor: Some(replicas), ..self }
    }

    /// A setting, by Kafka's name.
    ///
    /// With an effect: `min.insync.replicas`, `max.message.bytes`, `message.timestamp.type`,
    /// `message.timestamp.before.max.ms`, `message.timestamp.after.max.ms`, `retention.bytes`, and
    /// `cleanup.policy=compact` in that records must have keys. Other names of Kafka are accepted.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

impl From<&str> for TopicSpec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for TopicSpec {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// A name and a number of partitions.
impl<N: Into<String>> From<(N, usize)> for TopicSpec {
    fn from((name, partitions): (N, usize)) -> Self {
        Self::new(name).partitions(partitions)
    }
}
