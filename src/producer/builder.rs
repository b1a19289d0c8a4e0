//! From a configuration to a running producer: the parts are made and wired here.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::config::ProducerConfig;
use crate::net::Connect;
use crate::producer::accumulator::Accumulator;
use crate::producer::driver::Driver;
use crate::producer::memory::Memory;
use crate::producer::sender::{Sender, SenderConfig};
use crate::producer::{Inner, Producer};
use crate::record::Codec;
use crate::time::{Backoff, Clock, SystemClock};

/// Builds a [`Producer`] with parts other than the usual ones.
#[derive(Debug)]
pub struct ProducerBuilder {
    config: ProducerConfig,
    connector: Option<Arc<dyn Connect>>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

impl ProducerBuilder {
    pub(crate) fn new(config: ProducerConfig) -> Self {
        Self { config, connector: None, clock: Arc::new(SystemClock), seed: None }
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

    /// Starts the producer's task on the current tokio runtime. It does not wait for a connection: a cluster that
    /// cannot be reached shows in `send`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(self) -> Producer {
        let Self { config, connector, clock, seed } = self;
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        // As in Java, the brokers may create a topic that is sent to.
        let client = Client::start(config.client(), connector, true);
        let codec = codec(&config);
        // Neither a record nor a request is larger than `max.request.size`.
        let batch_size = config.batch_size().min(config.max_request_size()).max(1);
        let memory = Arc::new(Memory::new(config.buffer_memory(), batch_size));
        let accumulator = Arc::new(Accumulator::new(memory, batch_size, codec, seed));
        let sender = Sender::new(sender_config(&config), Arc::clone(&accumulator), seed);
        let (commands, received) = mpsc::channel(16);
        let driver = Driver::new(
            sender,
            Arc::clone(&accumulator),
            client.clone(),
            received,
            config.client().request_timeout(),
        );
        Handle::current().spawn(driver.run());
        Producer::from_inner(Inner {
            accumulator,
            client,
            clock,
            commands,
            max_block: config.max_block(),
            max_request_size: config.max_request_size(),
            ignore_keys: config.partitioner_ignore_keys(),
        })
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
