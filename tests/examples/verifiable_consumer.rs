//! `verifiable_consumer`: its lines tell what was written, in the order that Kafka's tests rely on.

use std::collections::BTreeSet;
use std::time::Duration;

use milena::broker::Cluster;
use milena::{Producer, ProducerConfig, ProducerRecord};
use serde_json::Value;

use crate::support::{Ran, cluster, run};

const RECORDS: usize = 100;

async fn filled(topic: &str) -> Cluster {
    let cluster = cluster(topic, 3).await;
    let config = ProducerConfig::builder().bootstrap_servers(cluster.bootstrap_servers());
    let producer = Producer::new(config.build().unwrap());
    for number in 0..RECORDS {
        let value = number.to_string();
        drop(producer.send(&ProducerRecord::new(topic, &value).key(&value)).await.unwrap());
    }
    producer.close(Duration::from_secs(30)).await.unwrap();
    cluster
}

fn args(cluster: &Cluster, topic: &str, group: &str, more: &[&str]) -> Vec<String> {
    let servers = cluster.bootstrap_servers();
    let args = ["--bootstrap-server", &servers, "--topic", topic, "--group-id", group];
    args.iter().chain(more).map(ToString::to_string).collect()
}

fn events(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["name"] == name).collect()
}

fn count(events: &[Value]) -> u64 {
    let of_partition = |partition: &Value| partition["count"].as_u64().unwrap();
    let consumed = named(events, "records_consumed").into_iter();
    consumed.flat_map(|event| event["partitions"].as_array().unwrap()).map(of_partition).sum()
}

#[tokio::test]
async fn tells_what_it_consumed_and_committed() {
    let cluster = filled("verified").await;
    let more = ["--max-messages", "100", "--verbose"];
    let ran = run("verifiable_consumer", args(&cluster, "verified", "g", &more)).await.succeeded();
    let events = events(&ran);
    assert_eq!(events[0]["name"], "startup_complete");
    assert_eq!(events[1]["name"], "partitions_assigned");
    assert_eq!(events[1]["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(events[events.len() - 1]["name"], "shutdown_complete");
    assert_eq!(events[events.len() - 2]["name"], "partitions_revoked");
    assert_eq!(count(&events), RECORDS as u64);

    for event in named(&events, "record_data") {
        let partition = event["partition"].as_i64().unwrap() as i32;
        let offset = event["offset"].as_u64().unwrap() as usize;
        let record = &cluster.records("verified", partition)[offset];
        assert_eq!(record.value.as_deref().unwrap(), event["value"].as_str().unwrap().as_bytes());
        assert_eq!(event["key"], event["value"]);
    }
    let values: BTreeSet<_> =
        named(&events, "record_data").iter().map(|event| event["value"].to_string()).collect();
    assert_eq!(values.len(), RECORDS);

    // Each commit follows what it commits, and goes as far.
    let after = events.iter().zip(&events[1..]);
    let commits = after.filter(|(_, event)| event["name"] == "offsets_committed");
    let mut committed = 0;
    for (consumed, commit) in commits {
        assert_eq!(
            (&consumed["name"], &commit["success"]),
            (&"records_consumed".into(), &true.into())
        );
        let (consumed, offsets) = (&consumed["partitions"], &commit["offsets"]);
        for (consumed, offset) in
            consumed.as_array().unwrap().iter().zip(offsets.as_array().unwrap())
        {
            assert_eq!(consumed["partition"], offset["partition"]);
            assert_eq!(
                consumed["maxOffset"].as_i64().map(|max| max + 1),
                offset["offset"].as_i64()
            );
        }
        committed += 1;
    }
    assert!(committed > 0);
}

#[tokio::test]
async fn stops_at_the_limit_and_the_next_one_goes_on_there() {
    let cluster = filled("limited").await;
    let first =
        run("verifiable_consumer", args(&cluster, "limited", "g", &["--max-messages", "30"]));
    assert_eq!(count(&events(&first.await.succeeded())), 30);
    let cooperative = ["--max-messages", "70", "--assignment-strategy", "cooperative-sticky"];
    let next = run("verifiable_consumer", args(&cluster, "limited", "g", &cooperative));
    assert_eq!(count(&events(&next.await.succeeded())), 70);
}

#[tokio::test]
async fn says_what_is_wrong_with_the_options() {
    let help = run("verifiable_consumer", [""; 0]).await.succeeded();
    assert!(help.out.contains("--assignment-strategy"), "{}", help.out);
    let ran = run("verifiable_consumer", ["--topic", "t", "--bootstrap-server", "h:1"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("--group-id"), "{}", ran.err);
}
