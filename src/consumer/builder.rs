//! From a configuration to a running reader: the parts are made and wired here.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::Consumer;
use super::driver::{Driver, Shared};
use super::fetcher::{Checks, FetchConfig, Fetcher};
use crate::client::Client;
use crate::config::ConsumerConfig;
use crate::metrics::ClientKind;
use crate::net::Connect;
use crate::time::{Backoff, SystemClock};

/// Builds a [`Consumer`] with parts other than the usual ones.
#[derive(Debug)]
pub struct ConsumerBuilder {
    config: ConsumerConfig,
    connector: Option<Arc<dyn Connect>>,
    seed: Option<u64>,
}

impl ConsumerBuilder {
    pub(crate) fn new(config: ConsumerConfig) -> Self {
        Self { config, connector: None, seed: None }
    }

    /// How connections are opened; TCP if it is not set. For tests, simulations and tunnels.
    #[must_use]
    pub fn connector(mut self, connector: impl Connect) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// Makes the jitter of the fetcher's back-offs repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the reader's task on the current tokio runtime. It does not wait for a connection: a
    /// cluster that cannot be reached shows in `poll`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(self) -> Consumer {
        let Self { config, connector, seed } = self;
        let may_create = config.allow_auto_create_topics();
        let client = Client::start(config.client(), connector, may_create, ClientKind::Consumer);
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        let shared = Arc::new(Shared {
            fetcher: Mutex::new(Fetcher::new(fetch_config(&config), seed)),
            changed: Notify::new(),
            arrived: Notify::new(),
        });
        let (open, closed) = oneshot::channel();
        let driver = Driver::new(shared.clone(), client.clone(), config.fetch_max_wait());
        let task = tokio::spawn(driver.run(closed));
        Consumer { shared, client, open, task }
    }
}

fn fetch_config(config: &ConsumerConfig) -> FetchConfig {
    let client = config.client();
    FetchConfig {
        max_bytes: config.fetch_max_bytes(),
        partition_max_bytes: config.max_partition_fetch_bytes(),
        min_bytes: config.fetch_min_bytes(),
        max_wait: config.fetch_max_wait(),
        isolation: config.isolation_level(),
        reset: config.auto_offset_reset(),
        clock: Arc::new(SystemClock),
        checks: Checks {
            crcs: config.check_crcs(),
            max_decompressed: client.receive_message_max_bytes(),
        },
        max_poll_records: config.max_poll_records(),
        backoff: Backoff::new(client.retry_backoff(), client.retry_backoff_max()),
        // As long as a fetch may take: one that waits for records is no trouble.
        patience: client.request_timeout().saturating_add(config.fetch_max_wait()),
    }
}
