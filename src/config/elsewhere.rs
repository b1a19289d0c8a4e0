//! The properties of Kafka's that are in no table of this crate, and what becomes of them: some
//! have no effect, and the user is told why; some must not be ignored silently, and are refused.
//! Also hints for names that are not Kafka's.

/// A property of Kafka's that is in no table here.
#[derive(Debug)]
pub(super) struct Elsewhere {
    pub(super) name: &'static str,
    pub(super) fate: Fate,
}

/// What becomes of such a property when it is set.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// It has no effect, for this reason: warned about and listed.
    Ignored(&'static str),
    /// An error with this reason, unless it is set to the one value that changes nothing.
    NotSupported { reason: &'static str, except: Option<&'static str> },
}

pub(super) const fn ignored(name: &'static str, reason: &'static str) -> Elsewhere {
    Elsewhere { name, fate: Fate::Ignored(reason) }
}

pub(super) const fn refused(name: &'static str, reason: &'static str) -> Elsewhere {
    Elsewhere { name, fate: Fate::NotSupported { reason, except: None } }
}

pub(super) const fn only(
    name: &'static str,
    value: &'static str,
    reason: &'static str,
) -> Elsewhere {
    Elsewhere { name, fate: Fate::NotSupported { reason, except: Some(value) } }
}

pub(super) const JVM: &str = "it names a Java class or an algorithm of the Java runtime";
const JMX: &str = "there is no JMX here; read the client's metrics instead";
const KERBEROS: &str = "Kerberos (GSSAPI) is not available in this client";
const TLS: &str = "TLS is not available in this version; use a PLAINTEXT listener of the cluster";
const SASL: &str = "SASL is not available in this version; use a PLAINTEXT listener of the cluster";
pub(super) const SERDE: &str = "serializers and deserializers are Rust types, given in code";

/// Those of all clients.
pub(super) const COMMON: &[Elsewhere] = &[
    only(
        "client.dns.lookup",
        "use_all_dns_ips",
        "only use_all_dns_ips is available: every address of a name is tried",
    ),
    only("security.protocol", "PLAINTEXT", "only PLAINTEXT is available in this version"),
    ignored("config.providers", "placeholders such as ${file:path:key} are not replaced"),
    ignored("enable.metrics.push", "metrics are not pushed to the cluster (KIP-714)"),
    ignored("metric.reporters", JMX),
    ignored("security.providers", JVM),
    refused("sasl.client.callback.handler.class", SASL),
    refused("sasl.jaas.config", SASL),
    ignored("sasl.kerberos.kinit.cmd", KERBEROS),
    ignored("sasl.kerberos.min.time.before.relogin", KERBEROS),
    ignored("sasl.kerberos.service.name", KERBEROS),
    ignored("sasl.kerberos.ticket.renew.jitter", KERBEROS),
    ignored("sasl.kerberos.ticket.renew.window.factor", KERBEROS),
    refused("sasl.login.callback.handler.class", SASL),
    refused("sasl.login.class", SASL),
    refused("sasl.login.connect.timeout.ms", SASL),
    refused("sasl.login.read.timeout.ms", SASL),
    refused("sasl.login.refresh.buffer.seconds", SASL),
    refused("sasl.login.refresh.min.period.seconds", SASL),
    refused("sasl.login.refresh.window.factor", SASL),
    refused("sasl.login.refresh.window.jitter", SASL),
    refused("sasl.login.retry.backoff.max.ms", SASL),
    refused("sasl.login.retry.backoff.ms", SASL),
    refused("sasl.mechanism", SASL),
    refused("sasl.oauthbearer.assertion.algorithm", SASL),
    refused("sasl.oauthbearer.assertion.claim.aud", SASL),
    refused("sasl.oauthbearer.assertion.claim.exp.seconds", SASL),
    refused("sasl.oauthbearer.assertion.claim.iss", SASL),
    refused("sasl.oauthbearer.assertion.claim.jti.include", SASL),
    refused("sasl.oauthbearer.assertion.claim.nbf.seconds", SASL),
    refused("sasl.oauthbearer.assertion.claim.sub", SASL),
    refused("sasl.oauthbearer.assertion.file", SASL),
    refused("sasl.oauthbearer.assertion.private.key.file", SASL),
    refused("sasl.oauthbearer.assertion.private.key.passphrase", SASL),
    refused("sasl.oauthbearer.assertion.template.file", SASL),
    refused("sasl.oauthbearer.client.credentials.client.id", SASL),
    refused("sasl.oauthbearer.client.credentials.client.secret", SASL),
    refused("sasl.oauthbearer.clock.skew.seconds", SASL),
    refused("sasl.oauthbearer.expected.audience", SASL),
    refused("sasl.oauthbearer.expected.issuer", SASL),
    refused("sasl.oauthbearer.header.urlencode", SASL),
    refused("sasl.oauthbearer.jwks.endpoint.refresh.ms", SASL),
    refused("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", SASL),
    refused("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", SASL),
    refused("sasl.oauthbearer.jwks.endpoint.url", SASL),
    refused("sasl.oauthbearer.jwt.retriever.class", SASL),
    refused("sasl.oauthbearer.jwt.validator.class", SASL),
    refused("sasl.oauthbearer.scope", SASL),
    refused("sasl.oauthbearer.scope.claim.name", SASL),
    refused("sasl.oauthbearer.sub.claim.name", SASL),
    refused("sasl.oauthbearer.token.endpoint.url", SASL),
    refused("ssl.cipher.suites", TLS),
    refused("ssl.enabled.protocols", TLS),
    refused("ssl.endpoint.identification.algorithm", TLS),
    ignored("ssl.engine.factory.class", JVM),
    refused("ssl.key.password", TLS),
    ignored("ssl.keymanager.algorithm", JVM),
    refused("ssl.keystore.certificate.chain", TLS),
    refused("ssl.keystore.key", TLS),
    refused("ssl.keystore.location", TLS),
    refused("ssl.keystore.password", TLS),
    refused("ssl.keystore.type", TLS),
    refused("ssl.protocol", TLS),
    ignored("ssl.provider", JVM),
    ignored("ssl.secure.random.implementation", JVM),
    ignored("ssl.trustmanager.algorithm", JVM),
    refused("ssl.truststore.certificates", TLS),
    refused("ssl.truststore.location", TLS),
    refused("ssl.truststore.password", TLS),
    refused("ssl.truststore.type", TLS),
];

/// Finds a property by name.
pub(super) fn find(
    tables: &'static [&'static [Elsewhere]],
    name: &str,
) -> Option<&'static Elsewhere> {
    tables.iter().copied().flatten().find(|property| property.name == name)
}

/// What to tell about a name that Kafka's client of this kind does not have.
pub(super) fn hint(name: &str) -> Option<&'static str> {
    Some(match name {
        "min.insync.replicas" | "retention.ms" | "cleanup.policy" | "max.message.bytes" => {
            "it is a setting of the topic or the broker, and has no effect in a client"
        }
        "metadata.broker.list" => "librdkafka's name; Kafka's is `bootstrap.servers`",
        "queue.buffering.max.ms" => "librdkafka's name; Kafka's is `linger.ms`",
        "queue.buffering.max.kbytes" => "librdkafka's name; Kafka's is `buffer.memory`, in bytes",
        "message.timeout.ms" => "librdkafka's name; Kafka's is `delivery.timeout.ms`",
        "message.max.bytes" => "librdkafka's name; Kafka's is `max.request.size`",
        "message.send.max.retries" => "librdkafka's name; Kafka's is `retries`",
        "request.required.acks" => "librdkafka's name; Kafka's is `acks`",
        "compression.codec" => "librdkafka's name; Kafka's is `compression.type`",
        "compression.level" => {
            "librdkafka's name; Kafka has one for each codec, such as `compression.zstd.level`"
        }
        "max.in.flight" => "librdkafka's name; Kafka's is `max.in.flight.requests.per.connection`",
        "fetch.wait.max.ms" => "librdkafka's name; Kafka's is `fetch.max.wait.ms`",
        "fetch.message.max.bytes" => "librdkafka's name; Kafka's is `max.partition.fetch.bytes`",
        "auto.commit.enable" => "librdkafka's name; Kafka's is `enable.auto.commit`",
        "topic.metadata.refresh.interval.ms" => {
            "librdkafka's name; Kafka's is `metadata.max.age.ms`"
        }
        "enable.auto.offset.store" | "enable.partition.eof" => {
            "a property of librdkafka's that Kafka has not"
        }
        "socket.timeout.ms" => "librdkafka's name; Kafka's is `request.timeout.ms`",
        "partitioner" => "librdkafka's name; give a partitioner in code",
        _ => return None,
    })
}
