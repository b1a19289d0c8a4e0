//! The rules between the consumer's properties.

use super::super::{AssignmentStrategy, ConsumerConfig, IsolationLevel, OffsetReset};
use super::SERVERS;
use crate::error::ConfigError;
use crate::time::Duration;

const GROUP: (&str, &str) = ("group.id", "billing");

fn consumer(properties: &[(&str, &str)]) -> Result<ConsumerConfig, ConfigError> {
    ConsumerConfig::from_properties([SERVERS].iter().chain(properties).copied())
}

/// The two properties that contradict each other, and what is said of it.
fn conflict(properties: &[(&str, &str)]) -> (&'static str, &'static str, String) {
    match consumer(properties) {
        Err(error @ ConfigError::Conflict { property, other, .. }) => {
            (property, other, error.to_string())
        }
        other => panic!("{properties:?} gives {other:?}"),
    }
}

#[test]
fn offsets_are_committed_by_themselves_only_for_a_group() {
    assert!(consumer(&[GROUP]).unwrap().enable_auto_commit());
    assert!(!consumer(&[GROUP, ("enable.auto.commit", "false")]).unwrap().enable_auto_commit());
    // Not asked for: gives way.
    assert!(!consumer(&[]).unwrap().enable_auto_commit());
    assert!(!consumer(&[("enable.auto.commit", "false")]).unwrap().enable_auto_commit());
    let (property, other, said) = conflict(&[("enable.auto.commit", "true")]);
    assert_eq!((property, other), ("enable.auto.commit", "group.id"));
    assert!(said.contains("(not set)") && said.contains("set `group.id`"), "{said}");
    let typed = ConsumerConfig::builder().bootstrap_servers("a:1").enable_auto_commit(true).build();
    assert_eq!(typed.unwrap_err().property(), Some("enable.auto.commit"));
}

#[test]
fn a_blank_group_is_a_mistake_and_none_is_not() {
    for blank in ["", "  ", "\t"] {
        let error = consumer(&[("group.id", blank)]).unwrap_err();
        assert!(matches!(&error, ConfigError::Invalid { property: "group.id", .. }), "{error}");
    }
    assert_eq!(consumer(&[]).unwrap().group_id(), None);
    assert_eq!(consumer(&[GROUP]).unwrap().group_id(), Some("billing"));
    assert_eq!(consumer(&[]).unwrap().get("group.id").as_deref(), Some(""));
}

#[test]
fn a_heartbeat_fits_in_a_session() {
    let equal = [("heartbeat.interval.ms", "6000"), ("session.timeout.ms", "6000")];
    let (property, other, said) = conflict(&[GROUP, equal[0], equal[1]]);
    assert_eq!((property, other), ("heartbeat.interval.ms", "session.timeout.ms"));
    assert!(said.contains("6000") && said.contains("below"), "{said}");
    // The default of the other counts as well.
    assert_eq!(conflict(&[GROUP, ("session.timeout.ms", "3000")]).0, "heartbeat.interval.ms");
    assert_eq!(conflict(&[GROUP, ("heartbeat.interval.ms", "45000")]).0, "heartbeat.interval.ms");
    consumer(&[GROUP, equal[0], ("session.timeout.ms", "6001")]).unwrap();
    // As Java: who is in no group sends no heartbeats.
    consumer(&equal).unwrap();
}

#[test]
fn each_protocol_refuses_what_is_for_the_other() {
    let new = ("group.protocol", "Consumer");
    for (name, value) in [
        ("partition.assignment.strategy", "range"),
        ("heartbeat.interval.ms", "3000"),
        ("session.timeout.ms", "45000"),
    ] {
        let (property, other, said) = conflict(&[GROUP, new, (name, value)]);
        assert_eq!((property, other), (name, "group.protocol"));
        assert!(said.contains(value) && said.contains("`group.protocol` = consumer"), "{said}");
        consumer(&[GROUP, ("group.protocol", "CLASSIC"), (name, value)]).unwrap();
    }
    let remote = ("group.remote.assignor", "uniform");
    let (property, other, said) = conflict(&[GROUP, remote]);
    assert_eq!((property, other), ("group.remote.assignor", "group.protocol"));
    assert!(said.contains("uniform") && said.contains("`group.protocol` = classic"), "{said}");
    let config = consumer(&[GROUP, new, remote]).unwrap();
    assert_eq!(config.group_remote_assignor(), Some("uniform"));
    consumer(&[GROUP, new, ("max.poll.interval.ms", "1000")]).unwrap();
}

#[test]
fn share_groups_are_refused() {
    for name in ["share.acknowledgement.mode", "share.acquire.mode"] {
        for protocol in ["classic", "consumer"] {
            let error = consumer(&[("group.protocol", protocol), (name, "implicit")]).unwrap_err();
            assert_eq!(error.property(), Some(name));
        }
    }
}

#[test]
fn an_instance_id_is_one_that_brokers_accept() {
    let with = |id: &str| consumer(&[GROUP, ("group.instance.id", id)]);
    assert_eq!(with(&"a".repeat(249)).unwrap().group_instance_id(), Some(&*"a".repeat(249)));
    for id in [&*"a".repeat(250), "..", "a b", "a:b"] {
        let error = with(id).unwrap_err();
        assert!(matches!(&error, ConfigError::Invalid { value, .. } if value == id), "{error}");
        assert_eq!(error.property(), Some("group.instance.id"));
    }
}

#[test]
fn a_client_is_named_after_its_group_and_instance() {
    let id =
        |properties: &[(&str, &str)]| consumer(properties).unwrap().client().client_id().to_owned();
    let instance = ("group.instance.id", "host-7");
    assert_eq!(id(&[GROUP, instance]), "consumer-billing-host-7");
    let (a, b) = (id(&[GROUP]), id(&[GROUP]));
    for named in [&a, &b] {
        let number = named.strip_prefix("consumer-billing-").unwrap();
        assert!(number.parse::<u64>().is_ok(), "{named}");
    }
    assert_ne!(a, b);
    assert!(id(&[]).strip_prefix("consumer-").unwrap().parse::<u64>().is_ok());
    assert_eq!(id(&[GROUP, instance, ("client.id", "mine")]), "mine");
}

#[test]
fn strategies_are_named_by_name_or_by_javas_class() {
    let package = "org.apache.kafka.clients.consumer";
    let classes = format!(
        "{package}.CooperativeStickyAssignor, {package}.RangeAssignor,{package}.StickyAssignor,\
         {package}.RoundRobinAssignor"
    );
    let config = consumer(&[("partition.assignment.strategy", &classes)]).unwrap();
    use AssignmentStrategy::{CooperativeSticky, Range, RoundRobin, Sticky};
    let strategies = [CooperativeSticky, Range, Sticky, RoundRobin];
    assert_eq!(config.partition_assignment_strategy(), strategies);
    let names = "cooperative-sticky,range,sticky,roundrobin";
    assert_eq!(config.get("partition.assignment.strategy").as_deref(), Some(names));
    assert_eq!(strategies.map(AssignmentStrategy::name).join(","), names);
    // The same one twice, by both of its names.
    let twice = format!("range,{package}.RangeAssignor");
    assert!(consumer(&[("partition.assignment.strategy", &twice)]).is_err());
}

#[test]
fn typed_setters_and_names_set_the_same_values() {
    let typed = ConsumerConfig::builder()
        .bootstrap_servers("a:1")
        .client_id("me")
        .group_id("billing")
        .group_instance_id("i")
        .auto_offset_reset(OffsetReset::ByDuration(Duration::from_secs(90)))
        .isolation_level(IsolationLevel::ReadCommitted)
        .partition_assignment_strategy("sticky")
        .session_timeout(Duration::from_secs(10))
        .max_poll_records(7)
        .auto_commit_interval(Duration::MAX)
        .build();
    // Typed values are held to the ranges too.
    assert_eq!(typed.unwrap_err().property(), Some("auto.commit.interval.ms"));
    let typed = ConsumerConfig::builder()
        .bootstrap_servers("a:1")
        .client_id("me")
        .group_id("billing")
        .auto_offset_reset(OffsetReset::ByDuration(Duration::from_secs(90)))
        .isolation_level(IsolationLevel::ReadCommitted)
        .partition_assignment_strategy("sticky")
        .session_timeout(Duration::from_secs(10))
        .max_poll_records(7)
        .build()
        .unwrap();
    let named = ConsumerConfig::from_properties([
        ("bootstrap.servers", "a:1"),
        ("client.id", "me"),
        ("group.id", " billing "),
        ("auto.offset.reset", "by_duration:PT1M30S"),
        ("isolation.level", "read_committed"),
        ("partition.assignment.strategy", "sticky"),
        ("session.timeout.ms", "10000"),
        ("max.poll.records", "7"),
    ])
    .unwrap();
    assert_eq!(format!("{typed:?}"), format!("{named:?}"));
    assert_eq!(named.auto_offset_reset(), OffsetReset::ByDuration(Duration::from_secs(90)));
    assert_eq!(named.isolation_level().code(), 1);
}

#[test]
fn a_fetch_response_fits_in_what_may_be_received() {
    let servers = || ConsumerConfig::builder().bootstrap_servers("a:1");
    let config = servers().fetch_max_bytes(200_000_000).build().unwrap();
    assert_eq!(config.client().receive_message_max_bytes(), 200_000_512);
    let error = servers().fetch_max_bytes(1000).receive_message_max_bytes(1511).build();
    assert_eq!(error.unwrap_err().property(), Some("receive.message.max.bytes"));
    servers().fetch_max_bytes(1000).receive_message_max_bytes(1512).build().unwrap();
}
