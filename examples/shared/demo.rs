//! What the examples of delivery guarantees have in common: a cluster, names of this run, and what is in a topic.

use std::collections::BTreeMap;
use std::time::Duration;

use milena::broker::Cluster;
use milena::{
    Clock, Consumer, ConsumerConfig, IsolationLevel, Producer, ProducerConfig, StartAt,
    SystemClock, TopicPartition,
};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(clap::Parser)]
pub(crate) struct Args {
    /// A broker of the cluster to use, as HOST:PORT; it has to create topics by itself. Default: a cluster inside this
    /// process.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// How many records are to be processed.
    #[arg(long, default_value_t = 200)]
    pub(crate) records: usize,
}

pub(crate) struct Demo {
    pub(crate) servers: String,
    /// Of this run only.
    pub(crate) output: String,
    pub(crate) group: String,
    /// Gone with it.
    _cluster: Option<Cluster>,
}

impl Demo {
    pub(crate) async fn new(name: &str, args: &Args) -> Result<Self, Failure> {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
        let (servers, cluster) = match &args.bootstrap_server {
            Some(servers) => (servers.clone(), None),
            None => {
                let cluster = Cluster::builder().nodes(3).default_partitions(3).start().await?;
                (cluster.bootstrap_servers(), Some(cluster))
            }
        };
        let run = SystemClock.now_millis();
        let named = |what: &str| format!("{name}-{what}-{run}");
        let (output, group) = (named("out"), named("group"));
        Ok(Self { servers, output, group, _cluster: cluster })
    }

    pub(crate) fn producer(&self) -> Result<Producer, Failure> {
        let config = ProducerConfig::builder().bootstrap_servers(&self.servers).build()?;
        Ok(Producer::new(config))
    }

    /// How often each value is in a topic, for readers of this kind.
    pub(crate) async fn values(
        &self,
        topic: &str,
        isolation: IsolationLevel,
    ) -> Result<BTreeMap<String, usize>, Failure> {
        let producer = self.producer()?;
        let partitions = producer.partitions_for(topic).await?;
        producer.close(TIMEOUT).await?;
        let names: Vec<_> =
            (0..partitions).map(|number| TopicPartition::new(topic, number as i32)).collect();
        let config = ConsumerConfig::builder()
            .bootstrap_servers(&self.servers)
            .isolation_level(isolation)
            .build()?;
        let mut reader = Consumer::new(config);
        reader.assign(names.iter().map(|name| (name.clone(), StartAt::Earliest)))?;
        let ends = reader.end_offsets(names, TIMEOUT).await?;
        let mut values = BTreeMap::new();
        while ends.iter().any(|(name, end)| reader.position(name).is_none_or(|at| at < *end)) {
            for record in &reader.poll(Duration::from_millis(200)).await? {
                let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                *values.entry(value).or_default() += 1;
            }
        }
        reader.close(TIMEOUT).await;
        Ok(values)
    }
}
