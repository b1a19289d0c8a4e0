//! From a configuration to a running [`Admin`].

use std::sync::Arc;

use parking_lot::Mutex;

use super::Admin;
use crate::client::Client;
use crate::config::AdminConfig;
use crate::metrics::ClientKind;
use crate::net::Connect;

/// Builds an [`Admin`] with parts other than the usual ones.
#[derive(Debug)]
pub struct AdminBuilder {
    config: AdminConfig,
    connector: Option<Arc<dyn Connect>>,
    seed: Option<u64>,
}

impl AdminBuilder {
    pub(super) fn new(config: AdminConfig) -> Self {
        Self { config, connector: None, seed: None }
    }

    /// How connections are opened; TCP if it is not set. For tests, simulations and tunnels.
    #[must_use]
    pub fn connector(mut self, connector: impl Connect) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// Makes the jitter of back-offs repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the client on the current tokio runtime. It does not wait for a connection: a cluster
    /// that cannot be reached shows in the calls.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(self) -> Admin {
        let Self { config, connector, seed } = self;
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        Admin {
            // Looking at a topic does not make it.
            client: Client::start(config.client(), connector, false, ClientKind::Admin),
            timeout: config.default_api_timeout(),
            random: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
        }
    }
}
