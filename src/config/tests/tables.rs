//! The tables, property by property, against Kafka's documentation: defaults, bounds, texts that
//! are refused; and what becomes of every property that Java's clients have.

use super::super::builder::{ConfigBuilder, Configuration};
use super::super::elsewhere::{Elsewhere, Fate};
use super::super::{
    AdminConfig, ClientConfig, ConsumerConfig, ProducerConfig, admin, builder, consumer,
};
use crate::error::ConfigError;

/// Name, default, texts that are read (the bounds among them), texts that are refused (just beyond
/// them among them).
type Case = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// Of all clients.
const COMMON: &[Case] = &[
    (
        "bootstrap.servers",
        "",
        &["a:1", "a.b-c_d:65535", "10.0.0.1:9092,[::1]:9093"],
        &[
            "a",
            "a:",
            "a:0",
            "a:65536",
            ":1",
            "a:+1",
            "[a]:1",
            "::1:9092",
            "http://a:1",
            "SSL://a:1",
            "a b:1",
            "a:1,b",
        ],
    ),
    ("client.id", "", &["service-1", ""], &[]),
    (
        "connections.max.idle.ms",
        "540000",
        &["0", "-1", "60000"],
        &["9223372036854775808", "soon", ""],
    ),
    (
        "metadata.max.age.ms",
        "300000",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "metadata.max.idle.ms",
        "300000",
        &["5000", "9223372036854775807"],
        &["4999", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "metadata.recovery.rebootstrap.trigger.ms",
        "300000",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    ("metadata.recovery.strategy", "rebootstrap", &["none", "rebootstrap"], &["retry", ""]),
    ("metrics.num.samples", "2", &["1", "2147483647"], &["0", "2147483648", "two", ""]),
    ("metrics.recording.level", "INFO", &["INFO", "DEBUG", "TRACE"], &["info", "WARN", ""]),
    (
        "metrics.sample.window.ms",
        "30000",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "receive.buffer.bytes",
        "32768",
        &["-1", "2147483647"],
        &["-2", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "receive.message.max.bytes",
        "100000000",
        &["1000", "2147483647"],
        &["999", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "reconnect.backoff.max.ms",
        "1000",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "reconnect.backoff.ms",
        "50",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "request.timeout.ms",
        "30000",
        &["0", "2147483647"],
        &["-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "retry.backoff.max.ms",
        "1000",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "retry.backoff.ms",
        "100",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "send.buffer.bytes",
        "-1",
        &["0", "2147483647"],
        &["-2", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "socket.connection.setup.timeout.max.ms",
        "30000",
        &["1", "9223372036854775807"],
        &["0", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "socket.connection.setup.timeout.ms",
        "10000",
        &["1", "9223372036854775807"],
        &["0", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
];

/// The producer's own.
const PRODUCER: &[Case] = &[
    ("acks", "all", &["0", "1", "all"], &["2", "-2", "some", ""]),
    ("batch.size", "16384", &["0", "2147483647"], &["-1", "2147483648", "12 ms", "1e3", "", "x"]),
    (
        "buffer.memory",
        "33554432",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    ("compression.gzip.level", "-1", &["-1", "1", "9"], &["0", "10", "-2", "high", ""]),
    ("compression.lz4.level", "9", &["1", "17"], &["0", "18", "12 ms", "1e3", "", "x"]),
    (
        "compression.type",
        "none",
        &["none", "gzip", "snappy", "lz4", "zstd"],
        &["GZIP", "brotli", "", "producer"],
    ),
    (
        "compression.zstd.level",
        "3",
        &["-131072", "22"],
        &["-131073", "23", "12 ms", "1e3", "", "x"],
    ),
    (
        "delivery.timeout.ms",
        "120000",
        &["0", "2147483647"],
        &["-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    ("enable.idempotence", "true", &["true", "false"], &["yes", "1", ""]),
    (
        "linger.ms",
        "5",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "max.block.ms",
        "60000",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "max.in.flight.requests.per.connection",
        "5",
        &["1", "2147483647"],
        &["0", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "max.request.size",
        "1048576",
        &["0", "2147483647"],
        &["-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    ("partitioner.adaptive.partitioning.enable", "true", &["true", "false"], &["on", ""]),
    (
        "partitioner.availability.timeout.ms",
        "0",
        &["0", "9223372036854775807"],
        &["-1", "9223372036854775808", "12 ms", "1e3", "", "x"],
    ),
    (
        "partitioner.class",
        "",
        &[
            "",
            "org.apache.kafka.clients.producer.RoundRobinPartitioner",
            "org.apache.kafka.clients.producer.UniformStickyPartitioner",
            "org.apache.kafka.clients.producer.internals.DefaultPartitioner",
        ],
        &["com.example.MyPartitioner", "RoundRobinPartitioner"],
    ),
    ("partitioner.ignore.keys", "false", &["true", "false"], &["on", ""]),
    ("retries", "2147483647", &["0", "2147483647"], &["-1", "2147483648", "12 ms", "1e3", "", "x"]),
    ("transaction.timeout.ms", "60000", &["1", "2147483647"], &["0", "-1", "2147483648", "x", ""]),
    ("transactional.id", "", &["orders-0"], &[""]),
];

/// The consumer's own.
const CONSUMER: &[Case] = &[
    ("allow.auto.create.topics", "true", &["true", "false"], &["on", ""]),
    (
        "auto.commit.interval.ms",
        "5000",
        &["0", "2147483647"],
        &["-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "auto.offset.reset",
        "latest",
        &["latest", "earliest", "none", "by_duration:PT36H", "by_duration:PT0S"],
        &[
            "LATEST",
            "smallest",
            "by_duration",
            "by_duration:",
            "by_duration:1h",
            "by_duration:PT-1S",
            "",
        ],
    ),
    ("check.crcs", "true", &["true", "false"], &["on", ""]),
    ("client.rack", "", &["", "eu-west-1a"], &[]),
    (
        "default.api.timeout.ms",
        "60000",
        &["0", "2147483647"],
        &["-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    ("enable.auto.commit", "true", &["true", "false"], &["on", ""]),
    ("exclude.internal.topics", "true", &["true", "false"], &["on", ""]),
    (
        "fetch.max.bytes",
        "52428800",
        &["0", "2147483647"],
        &["-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "fetch.max.wait.ms",
        "500",
        &["0", "2147483647"],
        &["-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    ("fetch.min.bytes", "1", &["0", "2147483647"], &["-1", "2147483648", "12 ms", "1e3", "", "x"]),
    ("group.id", "", &["billing", "a b/c"], &["", "  "]),
    ("group.instance.id", "", &["host-1.a_B"], &["", ".", "..", "a/b", "\u{fc}"]),
    ("group.protocol", "classic", &["classic", "consumer"], &["share", "modern", ""]),
    ("group.remote.assignor", "", &["uniform", "range"], &["", " "]),
    (
        "heartbeat.interval.ms",
        "3000",
        &["1", "2147483647"],
        &["0", "-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "isolation.level",
        "read_uncommitted",
        &["read_uncommitted", "read_committed"],
        &["READ_COMMITTED", "none", ""],
    ),
    (
        "max.partition.fetch.bytes",
        "1048576",
        &["0", "2147483647"],
        &["-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "max.poll.interval.ms",
        "300000",
        &["1", "2147483647"],
        &["0", "-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "max.poll.records",
        "500",
        &["1", "2147483647"],
        &["0", "-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
    (
        "partition.assignment.strategy",
        "range,cooperative-sticky",
        &["range", "roundrobin", "sticky", "cooperative-sticky,range"],
        &["", "Range", "range,range", "sticky,com.example.MyAssignor", "round-robin"],
    ),
    (
        "session.timeout.ms",
        "45000",
        &["1", "2147483647"],
        &["0", "-1", "2147483648", "12 ms", "1e3", "", "x"],
    ),
];

/// The administrator's own.
const ADMIN: &[Case] = &[(
    "default.api.timeout.ms",
    "60000",
    &["0", "2147483647"],
    &["-1", "2147483648", "12 ms", "1e3", "", "x"],
)];

/// The 113 properties of `ProducerConfig` in Java's 4.3.
const JAVA_PRODUCER: &str = "
    acks batch.size bootstrap.servers buffer.memory client.dns.lookup client.id
    compression.gzip.level compression.lz4.level compression.type compression.zstd.level
    config.providers connections.max.idle.ms delivery.timeout.ms enable.idempotence
    enable.metrics.push interceptor.classes key.serializer linger.ms max.block.ms
    max.in.flight.requests.per.connection max.request.size metadata.max.age.ms metadata.max.idle.ms
    metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy metric.reporters
    metrics.num.samples metrics.recording.level metrics.sample.window.ms
    partitioner.adaptive.partitioning.enable partitioner.availability.timeout.ms partitioner.class
    partitioner.ignore.keys receive.buffer.bytes reconnect.backoff.max.ms reconnect.backoff.ms
    request.timeout.ms retries retry.backoff.max.ms retry.backoff.ms
    sasl.client.callback.handler.class sasl.jaas.config sasl.kerberos.kinit.cmd
    sasl.kerberos.min.time.before.relogin sasl.kerberos.service.name
    sasl.kerberos.ticket.renew.jitter sasl.kerberos.ticket.renew.window.factor
    sasl.login.callback.handler.class sasl.login.class sasl.login.connect.timeout.ms
    sasl.login.read.timeout.ms sasl.login.refresh.buffer.seconds
    sasl.login.refresh.min.period.seconds sasl.login.refresh.window.factor
    sasl.login.refresh.window.jitter sasl.login.retry.backoff.max.ms sasl.login.retry.backoff.ms
    sasl.mechanism sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud
    sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss
    sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds
    sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
    sasl.oauthbearer.assertion.private.key.file sasl.oauthbearer.assertion.private.key.passphrase
    sasl.oauthbearer.assertion.template.file sasl.oauthbearer.client.credentials.client.id
    sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.clock.skew.seconds
    sasl.oauthbearer.expected.audience sasl.oauthbearer.expected.issuer
    sasl.oauthbearer.header.urlencode sasl.oauthbearer.jwks.endpoint.refresh.ms
    sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms
    sasl.oauthbearer.jwks.endpoint.retry.backoff.ms sasl.oauthbearer.jwks.endpoint.url
    sasl.oauthbearer.jwt.retriever.class sasl.oauthbearer.jwt.validator.class sasl.oauthbearer.scope
    sasl.oauthbearer.scope.claim.name sasl.oauthbearer.sub.claim.name
    sasl.oauthbearer.token.endpoint.url security.protocol security.providers send.buffer.bytes
    socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms ssl.cipher.suites
    ssl.enabled.protocols ssl.endpoint.identification.algorithm ssl.engine.factory.class
    ssl.key.password ssl.keymanager.algorithm ssl.keystore.certificate.chain ssl.keystore.key
    ssl.keystore.location ssl.keystore.password ssl.keystore.type ssl.protocol ssl.provider
    ssl.secure.random.implementation ssl.trustmanager.algorithm ssl.truststore.certificates
    ssl.truststore.location ssl.truststore.password ssl.truststore.type transaction.timeout.ms
    transaction.two.phase.commit.enable transactional.id value.serializer
";

/// What Java's `ConsumerConfig` 4.3 has besides, without the two whose names begin with `internal`.
const JAVA_CONSUMER: &str = "
    allow.auto.create.topics auto.commit.interval.ms auto.offset.reset check.crcs client.rack
    default.api.timeout.ms enable.auto.commit exclude.internal.topics fetch.max.bytes
    fetch.max.wait.ms fetch.min.bytes group.id group.instance.id group.protocol
    group.remote.assignor heartbeat.interval.ms isolation.level key.deserializer
    max.partition.fetch.bytes max.poll.interval.ms max.poll.records partition.assignment.strategy
    session.timeout.ms share.acknowledgement.mode share.acquire.mode value.deserializer
";

/// What Java's `AdminClientConfig` 4.3 has besides.
const JAVA_ADMIN: &str = "bootstrap.controllers default.api.timeout.ms retries";

/// Sets one property, and says how it is shown; a contradiction to another property is none of the
/// row's business.
fn set<C: Configuration>(
    start: ConfigBuilder<C>,
    name: &str,
    text: &str,
) -> Result<String, ConfigError> {
    let builder = start.set("bootstrap.servers", "localhost:9092").set(name, text);
    let shown = builder::get(&builder.config, name).unwrap();
    match builder.check() {
        Ok(_) | Err(ConfigError::Conflict { .. }) => Ok(shown),
        Err(error) => Err(error),
    }
}

fn check<C: Configuration>(cases: &[Case], start: fn() -> ConfigBuilder<C>) {
    for &(name, default, good, bad) in cases {
        let shown = builder::get(&start().config, name);
        let reads = start().config.common().get("receive.buffer.bytes").unwrap() == "-1";
        let default = if reads && name == "receive.buffer.bytes" { "-1" } else { default };
        assert_eq!(shown.as_deref(), Some(default), "{name}");
        for text in good {
            // Ten years is for ever.
            let for_ever = *text == i64::MAX.to_string() && name.ends_with(".ms");
            let expected = if for_ever { "315360000000" } else { text };
            for text in [(*text).to_owned(), format!("  {text}\t")] {
                assert_eq!(set(start(), name, &text).unwrap(), expected, "{name}={text}");
            }
        }
        for text in bad {
            let error = set(start(), name, text).expect_err(name);
            let said = error.to_string();
            match &error {
                ConfigError::Invalid { property, value, allowed } => {
                    assert_eq!(*property, name);
                    // Of a list, the bad entry.
                    assert_eq!(value, text.rsplit(',').next().unwrap().trim());
                    assert!(!allowed.is_empty() && said.contains(allowed.as_str()), "{said}");
                }
                other => panic!("{name}={text}: {other}"),
            }
            let entry = text.rsplit(',').next().unwrap().trim();
            assert!(said.contains(name) && said.contains(&format!("`{entry}`")), "{said}");
        }
    }
}

#[test]
fn every_property_has_its_default_its_bounds_and_its_type() {
    check(COMMON, ClientConfig::builder);
    check(COMMON, ProducerConfig::builder);
    check(COMMON, ConsumerConfig::builder);
    check(PRODUCER, ProducerConfig::builder);
    check(CONSUMER, ConsumerConfig::builder);
    let of_admin = |case: &Case| match *case {
        (name @ "connections.max.idle.ms", _, good, bad) => (name, "300000", good, bad),
        case => case,
    };
    check(&COMMON.iter().map(of_admin).collect::<Vec<_>>(), AdminConfig::builder);
    check(ADMIN, AdminConfig::builder);
}

#[test]
fn the_tables_and_these_cases_name_the_same_properties() {
    let names =
        |cases: [&[Case]; 2]| -> Vec<_> { cases.concat().iter().map(|case| case.0).collect() };
    let table: Vec<_> = ProducerConfig::properties().map(|property| property.name).collect();
    assert_eq!(table, names([PRODUCER, COMMON]));
    let table: Vec<_> = ConsumerConfig::properties().map(|property| property.name).collect();
    assert_eq!(table, names([CONSUMER, COMMON]));
    let table: Vec<_> = AdminConfig::properties().map(|property| property.name).collect();
    assert_eq!(table, names([ADMIN, COMMON]));
    let all = ProducerConfig::properties().chain(ConsumerConfig::properties());
    for property in all.chain(AdminConfig::properties()) {
        assert!(property.doc.ends_with('.') && property.doc.len() > 20, "{property:?}");
    }
}

#[test]
fn every_property_of_javas_producer_has_its_place() {
    let java: Vec<_> = JAVA_PRODUCER.split_whitespace().collect();
    assert_eq!(java.len(), 113);
    let mut ours: Vec<_> = ProducerConfig::properties().map(|property| property.name).collect();
    ours.retain(|name| *name != "receive.message.max.bytes");
    ours.extend(tables::<ProducerConfig>().map(|property| property.name));
    ours.sort_unstable();
    assert_eq!(ours, java);
}

#[test]
fn every_property_of_javas_consumer_has_its_place() {
    let of_producers = ["metadata.max.idle.ms", "receive.message.max.bytes"];
    let mut ours: Vec<_> = CONSUMER.iter().map(|case| case.0).collect();
    ours.extend(consumer::ELSEWHERE.iter().map(|property| property.name));
    ours.retain(|name| !of_producers.contains(name) && *name != "interceptor.classes");
    ours.sort_unstable();
    assert_eq!(ours, JAVA_CONSUMER.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn every_property_of_javas_admin_has_its_place() {
    let mut ours: Vec<_> = ADMIN.iter().map(|case| case.0).collect();
    ours.extend(admin::ELSEWHERE.iter().map(|property| property.name));
    ours.sort_unstable();
    assert_eq!(ours, JAVA_ADMIN.split_whitespace().collect::<Vec<_>>());
}

fn tables<C: Configuration>() -> impl Iterator<Item = &'static Elsewhere> {
    C::ELSEWHERE.iter().copied().flatten()
}

/// Sets every property that is in no table: it is listed, or refused by name, as its fate says.
fn meet_fates<C: Configuration>(start: fn() -> ConfigBuilder<C>) -> (usize, usize) {
    let (mut ignored, mut refused) = (0, 0);
    for Elsewhere { name, fate } in tables::<C>() {
        let start = || start().set("bootstrap.servers", "localhost:9092");
        let built = start().set(name, "hunter2").build();
        match *fate {
            Fate::Ignored(reason) => {
                let config = built.expect(name);
                let notes = config.common().notes();
                assert_eq!(notes.ignored.len(), 1, "{name}");
                assert_eq!((notes.ignored[0].name, notes.ignored[0].reason), (*name, reason));
                assert!(notes.unknown.is_empty());
                ignored += 1;
            }
            Fate::NotSupported { reason, except } => {
                let error = built.err().expect(name);
                assert!(matches!(error, ConfigError::NotSupported { .. }), "{error}");
                assert_eq!(error.property(), Some(*name));
                assert!(error.to_string().contains(reason) && error.to_string().contains(name));
                assert!(!error.to_string().contains("hunter2"), "{error}");
                if let Some(value) = except {
                    let config = start().set(name, value).build().expect(name);
                    assert!(config.common().notes().ignored.is_empty(), "{name}={value}");
                }
                refused += 1;
            }
        }
    }
    (ignored, refused)
}

#[test]
fn what_is_in_no_table_is_listed_or_refused() {
    let (ignored, refused) = meet_fates::<ProducerConfig>(ProducerConfig::builder);
    assert_eq!(ignored + refused + PRODUCER.len() + COMMON.len() - 1, 113);
    meet_fates::<ConsumerConfig>(ConsumerConfig::builder);
    meet_fates::<AdminConfig>(AdminConfig::builder);
    meet_fates::<ClientConfig>(ClientConfig::builder);
}
