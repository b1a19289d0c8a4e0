//! From a configuration to a running producer: the parts are made and wired here.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::config::{PartitionerClass, ProducerConfig, TransactionalProducerConfig};
use crate::error::TransactionError;
use crate::metrics::ClientKind;
use crate::net::Connect;
use crate::producer::accumulator::Accumulator;
use crate::producer::driver::{Driver, Patience};
use crate::producer::interceptor::ProducerInterceptor;
use crate::producer::interceptors::Interceptors;
use crate::producer::memory::Memory;
use crate::producer::metrics::ProducerMetrics;
use crate::producer::partitioner::{Partitioner, Partitioning};
use crate::producer::sender::{Sender, SenderConfig};
use crate::producer::transactional::TransactionalProducer;
use crate::producer::txn::{Doom, TransactionConfig, Transactions};
use crate::producer::{Inner, Producer};
use crate::record::Codec;
use crate::time::{Backoff, Clock, SystemClock};

/// Builds a [`Producer`] with parts other than the usual ones; or, from a [`TransactionalProducerConfig`], a
/// [`TransactionalProducer`].
#[derive(Debug)]
pub struct ProducerBuilder<C = ProducerConfig> {
    config: C,
    connector: Option<Arc<dyn Connect>>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
    partitioner: Option<Arc<dyn Partitioner>>,
    interceptors: Interceptors,
}

impl<C> ProducerBuilder<C> {
    pub(crate) fn new(config: C) -> Self {
        let (clock, interceptors) = (Arc::new(SystemClock), Interceptors::default());
        Self { config, connector: None, clock, seed: None, partitioner: None, interceptors }
    }

    /// How connections are opened; TCP if it is not set. For tests, simulations and tunnels.
    #[must_use]
    pub fn connector(mut self, connector: impl Connect) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// Where the timestamps of records come from; the system's clock if it is not set.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the random choices (the jitter of back-offs, partitions of keyless records) repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Chooses the partition of each record that does not name one, instead of the partitioner that the properties
    /// `partitioner.*` describe.
    ///
    /// ```
    /// use milena::{Partitioner, Producer, ProducerConfig, ProducerRecord, TopicPartitions};
    ///
    /// #[derive(Debug)]
    /// struct ByFirstByte;
    ///
    /// impl Partitioner for ByFirstByte {
    ///     fn partition(&self, record: &ProducerRecord<'_>, topic: &TopicPartitions<'_>) -> i32 {
    ///         let first = record.value_bytes().and_then(|value| value.first());
    ///         i32::from(*first.unwrap_or(&0)) % topic.count() as i32
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = milena::broker::Cluster::builder().start().await?;
    /// # cluster.create_topic(("letters", 10))?;
    /// # let config = ProducerConfig::builder().bootstrap_servers(cluster.bootstrap_servers());
    /// # let config = config.build()?;
    /// let producer = Producer::builder(config).partitioner(ByFirstByte).build();
    /// let metadata = producer.send(&ProducerRecord::new("letters", "b")).await?.await?;
    /// assert_eq!(metadata.partition(), 8);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn partitioner(mut self, partitioner: impl Partitioner) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Puts an interceptor behind those that were given before (Kafka's `interceptor.classes`).
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl ProducerInterceptor) -> Self {
        self.interceptors.add(interceptor);
        self
    }

    /// Starts the producer's task.
    fn start(self, config: &ProducerConfig, transactional: Option<&Arc<Doom>>) -> Producer {
        let Self { connector, clock, seed, partitioner, interceptors, .. } = self;
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        // As in Java, the brokers may create a topic that is sent to.
        let client = Client::start(config.client(), connector, true, ClientKind::Producer);
        let metrics = Arc::new(ProducerMetrics::new(Arc::clone(client.metrics())));
        let codec = codec(config);
        // Neither a record nor a request is larger than `max.request.size`.
        let batch_size = config.batch_size().min(config.max_request_size()).max(1);
        let memory = Arc::new(Memory::new(config.buffer_memory(), batch_size));
        let accumulator = Accumulator::new(memory, batch_size, codec, seed)
            .max_batch(config.max_request_size())
            .adaptive(config.partitioner_adaptive_partitioning_enable());
        let accumulator = Arc::new(accumulator);
        let mut sender = Sender::new(
            sender_config(config),
            Arc::clone(&accumulator),
            Arc::clone(&metrics),
            seed,
        );
        sender.watch_availability(config.partitioner_availability_timeout());
        let transactions = transactional.zip(transaction_config(config));
        let abandoned = transactions.is_some();
        if let Some((doom, transactions)) = transactions {
            sender.transact(Transactions::new(transactions, Arc::clone(doom), seed));
        }
        let patience = Patience {
            request: config.client().request_timeout(),
            abandoned: abandoned
                .then(|| config.transaction_timeout().max(config.delivery_timeout())),
        };
        let (commands, received) = mpsc::channel(16);
        let driver =
            Driver::new(sender, Arc::clone(&accumulator), client.clone(), received, patience);
        Handle::current().spawn(driver.run());
        Producer::from_inner(Inner {
            accumulator,
            client,
            metrics,
            clock,
            commands,
            max_block: config.max_block(),
            max_request_size: config.max_request_size(),
            partitioning: partitioning(config, partitioner),
            interceptors: interceptors.share(),
        })
    }
}

impl ProducerBuilder {
    /// Starts the producer's task on the current tokio runtime. It does not wait for a connection: a cluster that
    /// cannot be reached shows in `send`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(self) -> Producer {
        let config = self.config.clone();
        self.start(&config, None)
    }
}

impl ProducerBuilder<TransactionalProducerConfig> {
    /// Starts the producer's task on the current tokio runtime and initialises transactions: as
    /// [`TransactionalProducer::new`].
    ///
    /// # Errors
    /// As [`TransactionalProducer::new`].
    ///
    /// # Cancel safety
    /// The producer is dropped with it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn init(self) -> Result<TransactionalProducer, TransactionError> {
        let (config, doom) = (self.config.clone(), Arc::default());
        let producer = self.start(config.producer(), Some(&doom));
        TransactionalProducer::init(producer, doom).await
    }
}

fn transaction_config(config: &ProducerConfig) -> Option<TransactionConfig> {
    let client = config.client();
    Some(TransactionConfig {
        transactional_id: config.transactional_id()?.to_owned(),
        timeout: config.transaction_timeout(),
        request_timeout: client.request_timeout(),
        retry_backoff: Backoff::new(client.retry_backoff(), client.retry_backoff_max()),
    })
}

fn partitioning(config: &ProducerConfig, custom: Option<Arc<dyn Partitioner>>) -> Partitioning {
    let ignore_keys = config.partitioner_ignore_keys();
    match (custom, config.partitioner_class()) {
        (Some(custom), _) => Partitioning::Custom(custom),
        (None, PartitionerClass::RoundRobin) => Partitioning::RoundRobin,
        (None, PartitionerClass::UniformSticky) => Partitioning::BuiltIn { ignore_keys: true },
        (None, _) => Partitioning::BuiltIn { ignore_keys },
    }
}

fn codec(config: &ProducerConfig) -> Codec {
    let codec = config.compression_type();
    // The configuration has checked the level against the codec.
    let levelled = config.compression_level().and_then(|l| Codec::with_level(codec, l).ok());
    levelled.unwrap_or_else(|| Codec::new(codec))
}

fn sender_config(config: &ProducerConfig) -> SenderConfig {
    let client = config.client();
    SenderConfig {
        idempotent: config.enable_idempotence(),
        acks: config.acks().code(),
        max_in_flight: config.max_in_flight_requests_per_connection(),
        max_request_size: config.max_request_size(),
        request_timeout: client.request_timeout(),
        delivery_timeout: config.delivery_timeout(),
        linger: config.linger(),
        retries: config.retries(),
        retry_backoff: Backoff::new(client.retry_backoff(), client.retry_backoff_max()),
    }
}
