//! The administrator's table, and the one rule between its properties.

use super::builder::{ConfigBuilder, Configuration, Provided, Table, entry_points};
use super::common::ClientConfig;
use super::elsewhere::{self, Elsewhere};
use super::property::{Row, properties};
use crate::error::ConfigError;
use crate::time::Duration;

properties! {
    /// The configuration of an [`Admin`](crate::admin::Admin), checked: Kafka's properties with the
    /// defaults of Kafka 4 (`connections.max.idle.ms` is 300000 here).
    ///
    /// ```
    /// use std::time::Duration;
    /// use milena::AdminConfig;
    ///
    /// let config = AdminConfig::builder()
    ///     .bootstrap_servers("localhost:9092")
    ///     .default_api_timeout(Duration::from_secs(40))
    ///     .build()?;
    /// assert_eq!(config.get("default.api.timeout.ms").as_deref(), Some("40000"));
    /// # Ok::<(), milena::ConfigError>(())
    /// ```
    pub struct AdminConfig { client: ClientConfig = ClientConfig::defaults(), }
    setters { ConfigBuilder<AdminConfig> } via std::convert::identity;

    /// How long a call may take in all, with the attempts that fail on the way (KIP-533). Not below
    /// `request.timeout.ms`; if only that is set, and above it, it is as long.
    "default.api.timeout.ms" => default_api_timeout: Duration = 60000, [0 ..= 2147483647];
}

/// Properties of Java's `AdminClientConfig` that are in no table.
pub(super) const ELSEWHERE: &[Elsewhere] = &[
    elsewhere::refused(
        "bootstrap.controllers",
        "controllers are not asked directly (KIP-919); set `bootstrap.servers`",
    ),
    elsewhere::ignored("retries", "a call is tried again until `default.api.timeout.ms` is over"),
];

entry_points!(AdminConfig);

impl AdminConfig {
    /// The properties that all clients have: connections, time-outs, metadata.
    pub fn client(&self) -> &ClientConfig {
        &self.client
    }

    /// As Java's `KafkaAdminClient.configureDefaultApiTimeoutMs`.
    fn settle_timeout(&mut self, provided: &Provided) -> Result<(), ConfigError> {
        let request_timeout = self.client.request_timeout();
        if self.default_api_timeout >= request_timeout {
            return Ok(());
        }
        if provided.has("default.api.timeout.ms") {
            return Err(ConfigError::Conflict {
                property: "default.api.timeout.ms",
                value: self.default_api_timeout.as_millis().to_string(),
                other: "request.timeout.ms",
                other_value: request_timeout.as_millis().to_string(),
                rule: "the former must be at least the latter",
            });
        }
        self.default_api_timeout = request_timeout;
        Ok(())
    }
}

impl Table for AdminConfig {
    const ELSEWHERE: &'static [&'static [Elsewhere]] = &[ELSEWHERE, elsewhere::COMMON];

    fn new() -> Self {
        Self { client: ClientConfig::for_administration(), ..Self::defaults() }
    }

    fn rows() -> &'static [Row<Self>] {
        Self::ROWS
    }

    fn common(&self) -> &ClientConfig {
        &self.client
    }

    fn client_mut(&mut self) -> &mut ClientConfig {
        &mut self.client
    }

    fn settle(&mut self, provided: &mut Provided) -> Result<(), ConfigError> {
        self.client.settle_common(provided, "adminclient", None)?;
        self.settle_timeout(provided)
    }
}

impl Configuration for AdminConfig {}
