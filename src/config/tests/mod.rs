//! What the tables cannot say row by row: rules between properties, the ways to set them, and what
//! is told to whom.

mod consumer;
mod tables;

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    Acks, AdminConfig, ClientConfig, ConfigBuilder, ConsumerConfig, HostPort,
    MetadataRecoveryStrategy, ProducerConfig,
};
use crate::error::ConfigError;
use crate::time::Duration;
use crate::types::Compression;

const SERVERS: (&str, &str) = ("bootstrap.servers", "localhost:9092");

fn producer(properties: &[(&str, &str)]) -> Result<ProducerConfig, ConfigError> {
    ProducerConfig::from_properties([SERVERS].iter().chain(properties).copied())
}

/// The two properties that a configuration says contradict each other.
fn conflict(properties: &[(&str, &str)]) -> (&'static str, &'static str) {
    match producer(properties) {
        Err(ConfigError::Conflict { property, other, .. }) => (property, other),
        other => panic!("{properties:?} gives {other:?}"),
    }
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
    assert_eq!(config.delivery_timeout(), Duration::from_secs(120));
    assert_eq!(config.unknown_properties(), ["min.insync.replicas"]);
    assert!(config.ignored_properties().is_empty());
}

#[test]
fn typed_setters_and_names_set_the_same_values() {
    let typed = ProducerConfig::builder()
        .bootstrap_servers("a:1, PLAINTEXT://b:2 ,[::1]:3,a:1,")
        .client_id("me")
        .connections_max_idle(None)
        .metadata_recovery_strategy(MetadataRecoveryStrategy::None)
        .receive_buffer_bytes(None)
        .request_timeout(Duration::from_secs(1))
        .acks(Acks::Leader)
        .compression_type(Compression::None)
        .linger(Duration::ZERO)
        .enable_idempotence(false)
        .max_in_flight_requests_per_connection(9)
        .max_block(Duration::MAX)
        .build()
        .unwrap();
    let named = producer(&[
        ("bootstrap.servers", "a:1,b:2,[::1]:3"),
        ("client.id", "me"),
        ("connections.max.idle.ms", "-7"),
        ("metadata.recovery.strategy", "NONE"),
        ("receive.buffer.bytes", "-1"),
        ("request.timeout.ms", "1000"),
        ("acks", "1"),
        ("linger.ms", "0"),
        ("enable.idempotence", "FALSE"),
        ("max.in.flight.requests.per.connection", "9"),
        ("max.block.ms", "9223372036854775807"),
    ])
    .unwrap();
    assert_eq!(format!("{typed:?}"), format!("{named:?}"));
    let host = |host: &str, port| HostPort { host: host.to_owned(), port };
    assert_eq!(named.client().bootstrap_servers(), [host("a", 1), host("b", 2), host("::1", 3)]);
    assert_eq!(named.client().connections_max_idle(), None);
    assert_eq!(named.get("connections.max.idle.ms").as_deref(), Some("-1"));
    assert_eq!(named.get("bootstrap.servers").as_deref(), Some("a:1,b:2,[::1]:3"));
    assert_eq!(named.get("no.such.property"), None);
}

#[test]
fn what_is_set_last_holds_and_a_mistake_can_be_mended() {
    let config = ProducerConfig::builder()
        .properties_str("bootstrap.servers=a:1\nlinger.ms=soon\nretries = 3\nacks: 7\n")
        .unwrap()
        .set("retries", "4")
        .linger(Duration::from_millis(7))
        .set("acks", "all")
        .build()
        .unwrap();
    assert_eq!((config.retries(), config.linger()), (4, Duration::from_millis(7)));
    let error = ProducerConfig::builder().linger(Duration::ZERO).set("linger.ms", "soon").build();
    assert_eq!(error.unwrap_err().property(), Some("linger.ms"));
}

#[test]
fn typed_values_are_held_to_the_ranges_too() {
    type Builder = ConfigBuilder<ProducerConfig>;
    let build = |change: fn(Builder) -> Builder| {
        change(ProducerConfig::builder().bootstrap_servers("a:1")).build().unwrap_err().property()
    };
    assert_eq!(build(|b| b.request_timeout(Duration::MAX)), Some("request.timeout.ms"));
    assert_eq!(build(|b| b.batch_size(1 << 31)), Some("batch.size"));
    assert_eq!(
        build(|b| b.max_in_flight_requests_per_connection(0)),
        Some("max.in.flight.requests.per.connection")
    );
    assert_eq!(build(|b| b.compression_gzip_level(0)), Some("compression.gzip.level"));
    assert_eq!(
        build(|b| b.metadata_max_idle(Duration::from_millis(4999))),
        Some("metadata.max.idle.ms")
    );
}

#[test]
fn bootstrap_servers_are_required() {
    for build in [
        ProducerConfig::builder().build().map(drop),
        ConsumerConfig::builder().set("bootstrap.servers", " , ").build().map(drop),
        ClientConfig::builder().build().map(drop),
    ] {
        let error = build.unwrap_err();
        assert!(matches!(error, ConfigError::Missing { property: "bootstrap.servers", .. }));
        assert!(error.to_string().contains("host1:port1"), "{error}");
    }
}

#[test]
fn delivery_timeout_covers_lingering_and_one_request() {
    let sum = "linger.ms + request.timeout.ms";
    let short = [("delivery.timeout.ms", "30004")];
    assert_eq!(conflict(&short), ("delivery.timeout.ms", sum));
    let said = producer(&short).unwrap_err().to_string();
    assert!(said.contains("30004") && said.contains("30005"), "{said}");
    let config = producer(&[("delivery.timeout.ms", "30005")]).unwrap();
    assert_eq!(config.delivery_timeout(), Duration::from_millis(30005));
    // Not set: raised.
    let config = producer(&[("request.timeout.ms", "200000"), ("linger.ms", "1")]).unwrap();
    assert_eq!(config.delivery_timeout(), Duration::from_millis(200_001));
    // Never beyond what the property can hold.
    let config = producer(&[("linger.ms", "9223372036854775807")]).unwrap();
    assert_eq!(config.delivery_timeout(), Duration::from_millis(2_147_483_647));
    producer(&[("linger.ms", "9223372036854775807"), ("delivery.timeout.ms", "2147483647")])
        .unwrap();
}

#[test]
fn a_call_of_an_administrator_lasts_at_least_one_request() {
    let admin = |properties: &[(&str, &str)]| {
        AdminConfig::from_properties([SERVERS].iter().chain(properties).copied())
    };
    let (request, api) = (("request.timeout.ms", "90000"), ("default.api.timeout.ms", "60000"));
    assert_eq!(admin(&[]).unwrap().default_api_timeout(), Duration::from_secs(60));
    assert_eq!(admin(&[request]).unwrap().default_api_timeout(), Duration::from_secs(90));
    match admin(&[request, api]).unwrap_err() {
        ConfigError::Conflict { property, other, .. } => {
            assert_eq!((property, other), (api.0, request.0));
        }
        other => panic!("{other}"),
    }
    let name = admin(&[]).unwrap().client().client_id().to_owned();
    assert!(name.starts_with("adminclient-"), "{name}");
}

#[test]
fn idempotence_that_was_asked_for_holds_and_the_default_gives_way() {
    let on = ("enable.idempotence", "true");
    assert_eq!(conflict(&[on, ("acks", "1")]), ("acks", "enable.idempotence"));
    assert_eq!(conflict(&[on, ("acks", "0")]), ("acks", "enable.idempotence"));
    assert_eq!(conflict(&[on, ("retries", "0")]), ("retries", "enable.idempotence"));
    let many = ("max.in.flight.requests.per.connection", "6");
    assert_eq!(conflict(&[on, many]), (many.0, "enable.idempotence"));

    for gives_way in [("acks", "1"), ("acks", "0"), ("retries", "0")] {
        assert!(!producer(&[gives_way]).unwrap().enable_idempotence(), "{gives_way:?}");
        // As Java 4: too many in flight are refused even where idempotence gives way.
        assert_eq!(conflict(&[gives_way, many]).0, many.0);
    }
    assert_eq!(conflict(&[many]), (many.0, "enable.idempotence"));
    let off = ("enable.idempotence", "false");
    assert!(!producer(&[off, many, ("acks", "1")]).unwrap().enable_idempotence());
    assert!(producer(&[("acks", "-1")]).unwrap().enable_idempotence());
}

#[test]
fn a_batch_must_fit_in_the_memory() {
    assert_eq!(conflict(&[("buffer.memory", "16383")]), ("batch.size", "buffer.memory"));
    producer(&[("buffer.memory", "16384")]).unwrap();
}

#[test]
fn a_lone_reconnect_backoff_is_the_longest_too() {
    let config = producer(&[("reconnect.backoff.ms", "300")]).unwrap();
    assert_eq!(config.client().reconnect_backoff_max(), Duration::from_millis(300));
    let config =
        producer(&[("reconnect.backoff.ms", "300"), ("reconnect.backoff.max.ms", "1000")]).unwrap();
    assert_eq!(config.client().reconnect_backoff_max(), Duration::from_secs(1));
}

#[test]
fn clients_without_a_name_get_different_ones() {
    let id = || producer(&[]).unwrap().client().client_id().to_owned();
    let (a, b) = (id(), id());
    assert!(a.starts_with("producer-") && b.starts_with("producer-") && a != b, "{a} {b}");
    assert_eq!(producer(&[("client.id", "")]).unwrap().client().client_id(), "");
}

#[test]
fn what_transactions_need_is_checked() {
    let transactional = |more: &[(&str, &str)]| {
        let base = [("bootstrap.servers", "localhost:9092")];
        let builder = ProducerConfig::builder().properties(base).properties(more.iter().copied());
        builder.build_transactional()
    };
    let id = ("transactional.id", "t");
    assert_eq!(transactional(&[id]).unwrap().transactional_id(), "t");
    for (more, property) in [
        (vec![], "transactional.id"),
        (vec![("transactional.id", "")], "transactional.id"),
        (vec![id, ("enable.idempotence", "false")], "enable.idempotence"),
        (vec![id, ("acks", "1")], "acks"),
        (vec![id, ("retries", "0")], "retries"),
        (vec![id, ("transaction.timeout.ms", "0")], "transaction.timeout.ms"),
        (
            vec![id, ("transaction.two.phase.commit.enable", "true")],
            "transaction.two.phase.commit.enable",
        ),
    ] {
        let error = transactional(&more).unwrap_err();
        assert_eq!(error.property(), Some(property), "{error}");
    }
    let error = producer(&[id]).unwrap_err();
    assert!(error.to_string().contains("build_transactional"), "{error}");
    let ignored = producer(&[("transaction.timeout.ms", "5")]).unwrap();
    assert_eq!(ignored.ignored_properties()[0].name, "transaction.timeout.ms");
}

#[test]
fn the_level_is_that_of_the_codec() {
    let levels = [("compression.gzip.level", "1"), ("compression.zstd.level", "-5")];
    for (codec, level) in
        [("none", None), ("snappy", None), ("gzip", Some(1)), ("lz4", Some(9)), ("zstd", Some(-5))]
    {
        let config = producer(&[levels[0], levels[1], ("compression.type", codec)]).unwrap();
        assert_eq!(config.compression_level(), level, "{codec}");
    }
}

#[test]
fn a_level_without_an_effect_is_listed() {
    let config = producer(&[("compression.lz4.level", "9")]).unwrap();
    assert_eq!(config.ignored_properties()[0].name, "compression.lz4.level");
}

/// Collects what `tracing` is told.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_has_no_effect_is_warned_about_once_without_its_value() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let config = tracing::subscriber::with_default(subscriber, || {
        producer(&[
            ("min.insync.replicas", "hunter2"),
            ("min.insync.replicas", "hunter2"),
            ("no.such.property", "hunter2"),
            ("key.serializer", "hunter2"),
            ("key.serializer", "hunter2"),
        ])
        .unwrap()
    });
    assert_eq!(config.unknown_properties(), ["min.insync.replicas", "no.such.property"]);
    assert_eq!(config.ignored_properties().len(), 1);
    let log = String::from_utf8(log.0.lock().clone()).unwrap();
    for (name, why) in [
        ("`min.insync.replicas`", "setting of the topic"),
        ("`no.such.property`", "no effect"),
        ("`key.serializer`", "Rust types"),
    ] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(name)).collect();
        assert!(
            matches!(lines[..], [line] if line.contains("WARN") && line.contains(why)),
            "{log}"
        );
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn secrets_are_never_shown() {
    const PASSWORDS: [&str; 9] = [
        "sasl.jaas.config",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.client.credentials.client.secret",
        "ssl.key.password",
        "ssl.keystore.certificate.chain",
        "ssl.keystore.key",
        "ssl.keystore.password",
        "ssl.truststore.certificates",
        "ssl.truststore.password",
    ];
    for name in PASSWORDS {
        let builder = ProducerConfig::builder().set(SERVERS.0, SERVERS.1).set(name, "hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"), "{name}");
        let error = builder.build().unwrap_err();
        assert_eq!(error.property(), Some(name));
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{name}");
    }
    // librdkafka's name for a password, unknown here.
    let config = producer(&[("sasl.password", "hunter2")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_file_is_read_and_errors_name_it() {
    let path =
        std::env::temp_dir().join(format!("milena-config-{}.properties", std::process::id()));
    std::fs::write(&path, "bootstrap.servers=a:1\nclient.id=\\u00fc\n").unwrap();
    let read = ProducerConfig::from_file(&path);
    std::fs::write(&path, "bootstrap.servers=a:1\n\nclient.id=\\u00f\n").unwrap();
    let malformed = ProducerConfig::from_file(&path);
    std::fs::remove_file(&path).unwrap();
    let missing = ProducerConfig::from_file(&path).unwrap_err();

    assert_eq!(read.unwrap().client().client_id(), "ü");
    let said = malformed.unwrap_err().to_string();
    assert!(said.contains(&format!("{}, line 3", path.display())), "{said}");
    assert!(matches!(&missing, ConfigError::File { path: p, .. } if *p == path));
    assert!(missing.to_string().contains(&path.display().to_string()), "{missing}");
}
