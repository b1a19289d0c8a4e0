//! The tables against Kafka's documentation, and the rules between properties.

use super::*;
use crate::error::ConfigError;
use crate::time::Duration;
use crate::types::Compression;

fn producer(properties: &[(&str, &str)]) -> Result<ProducerConfig, ConfigError> {
    let servers = [("bootstrap.servers", "localhost:9092")];
    ProducerConfig::from_properties(servers.iter().chain(properties).copied())
}

#[test]
fn the_configuration_of_a_production_service_works_unchanged() {
    let config = producer(&[
        ("retries", "1"),
        ("batch.size", "65536"),
        ("linger.ms", "100"),
        ("buffer.memory", "33554432"),
        ("max.request.size", "1048576"),
        ("enable.idempotence", "true"),
        ("max.in.flight.requests.per.connection", "1"),
        ("request.timeout.ms", "5000"),
        ("max.block.ms", "100"),
        ("compression.type", "gzip"),
        ("acks", "all"),
        ("min.insync.replicas", "2"),
    ])
    .unwrap();
    assert_eq!(config.retries(), 1);
    assert_eq!(config.batch_size(), 65536);
    assert_eq!(config.linger(), Duration::from_millis(100));
    assert_eq!(config.buffer_memory(), 33_554_432);
    assert_eq!(config.max_request_size(), 1_048_576);
    assert!(config.enable_idempotence());
    assert_eq!(config.max_in_flight_requests_per_connection(), 1);
    assert_eq!(config.client().request_timeout(), Duration::from_secs(5));
    assert_eq!(config.max_block(), Duration::from_millis(100));
    assert_eq!(config.compression_type(), Compression::Gzip);
    assert_eq!(config.acks(), Acks::All);
    assert_eq!(config.unknown_properties(), ["min.insync.replicas"]);
    assert!(config.ignored_properties().is_empty());
}
