//! `verifiable_producer`: its lines have the properties and types of those of Kafka's tool, and are true.

use std::collections::BTreeMap;
use std::time::Duration;

use milena::ErrorCode;
use milena::broker::Fault;
use milena::protocol::ApiKey;
use serde_json::Value;

use crate::support::{LIMIT, Ran, cluster, run};

/// One of each, as Kafka 4.3.1's tool printed them.
const JAVAS: [&str; 6] = [
    r#"{"timestamp":1795264208280,"name":"startup_complete"}"#,
    r#"{"timestamp":1795264209819,"name":"producer_send_success","key":"0","value":"7.0","offset":0,"topic":"v","partition":2}"#,
    r#"{"timestamp":1795264226733,"name":"producer_send_success","key":null,"value":"0","offset":2,"topic":"v","partition":2}"#,
    r#"{"timestamp":1795264214220,"name":"producer_send_error","topic":"b@d","key":null,"value":"0","exception":"class org.apache.kafka.common.errors.InvalidTopicException","message":"Invalid topics: [b@d]"}"#,
    r#"{"timestamp":1795264209932,"name":"shutdown_complete"}"#,
    r#"{"timestamp":1795264209941,"name":"tool_data","sent":3,"acked":3,"target_throughput":100,"avg_throughput":1.7942583732057418}"#,
];

/// The name of an event, and its properties with their types.
fn shape(line: &str) -> (String, Vec<(String, &'static str)>) {
    let event: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "fraction",
        Value::Number(_) => "integer",
        Value::String(_) => "text",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let name = event["name"].as_str().unwrap().to_owned();
    (name, event.iter().map(|(property, value)| (property.clone(), kind(value))).collect())
}

/// The events, each of which has the shape of one of Java's.
#[track_caller]
fn events(ran: &Ran) -> Vec<Value> {
    let javas = JAVAS.map(shape);
    let check = |line: &str| {
        let shape = shape(line);
        assert!(javas.contains(&shape), "Java's tool has no such line:\n{line}");
        serde_json::from_str(line).unwrap()
    };
    ran.out.lines().map(check).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["name"].as_str().unwrap()).collect()
}

fn args(bootstrap: &str, topic: &str, more: &[&str]) -> Vec<String> {
    let args = ["--bootstrap-server", bootstrap, "--topic", topic].into_iter();
    args.chain(more.iter().copied()).map(str::to_owned).collect()
}

#[tokio::test]
async fn tells_where_each_record_is() {
    let cluster = cluster("verifiable", 3).await;
    let more = ["--max-messages", "40", "--repeating-keys", "7", "--value-prefix", "5"];
    let args = args(&cluster.bootstrap_servers(), "verifiable", &more);
    let ran = run("verifiable_producer", args).await.succeeded();
    let events = events(&ran);
    let names = names(&events);
    assert_eq!((names[0], names.len()), ("startup_complete", 43));
    assert!(names[1..41].iter().all(|name| *name == "producer_send_success"), "{names:?}");
    assert_eq!(names[41..], ["shutdown_complete", "tool_data"]);
    let totals = &events[42];
    assert_eq!((&totals["sent"], &totals["acked"]), (&40.into(), &40.into()));
    assert_eq!(totals["target_throughput"], -1);
    assert!(totals["avg_throughput"].as_f64().unwrap() > 0.0);

    let mut numbers = Vec::new();
    for event in &events[1..41] {
        let partition = event["partition"].as_i64().unwrap() as i32;
        let offset = event["offset"].as_u64().unwrap() as usize;
        let record = &cluster.records(event["topic"].as_str().unwrap(), partition)[offset];
        assert_eq!(record.value.as_deref().unwrap(), event["value"].as_str().unwrap().as_bytes());
        assert_eq!(record.key.as_deref().unwrap(), event["key"].as_str().unwrap().as_bytes());
        let number = event["value"].as_str().unwrap().strip_prefix("5.").unwrap();
        let number: u64 = number.parse().unwrap();
        assert_eq!(event["key"], (number % 7).to_string());
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn tells_what_failed_with_javas_names() {
    let cluster = cluster("verifiable", 1).await;
    // It does not try again.
    let refusal = Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS);
    cluster.inject(refusal.always());
    for (topic, exception) in [
        ("verifiable", "class org.apache.kafka.common.errors.NotEnoughReplicasException"),
        ("b@d", "class org.apache.kafka.common.errors.InvalidTopicException"),
    ] {
        let args = args(&cluster.bootstrap_servers(), topic, &["--max-messages", "3"]);
        let ran = run("verifiable_producer", args).await.succeeded();
        let events = events(&ran);
        assert_eq!(names(&events)[1..4], ["producer_send_error"; 3]);
        for (number, event) in events[1..4].iter().enumerate() {
            assert_eq!((&event["exception"], &event["topic"]), (&exception.into(), &topic.into()));
            assert_eq!(
                (&event["value"], &event["key"]),
                (&number.to_string().into(), &Value::Null)
            );
        }
        assert_eq!((&events[5]["sent"], &events[5]["acked"]), (&3.into(), &0.into()));
    }
}

#[tokio::test]
async fn keeps_to_the_rate_and_the_create_time() {
    let cluster = cluster("verifiable", 1).await;
    let more = ["--max-messages", "50", "--throughput", "100", "--message-create-time", "1000"];
    let more = [&more[..], &["--acks", "1"]].concat();
    let args = args(&cluster.bootstrap_servers(), "verifiable", &more);
    let ran = run("verifiable_producer", args).await.succeeded();
    let events = events(&ran);
    let took = events[52]["timestamp"].as_i64().unwrap() - events[0]["timestamp"].as_i64().unwrap();
    assert!(took > 350, "50 records at 100 a second in {took} ms");
    assert_eq!(events[52]["target_throughput"], 100);
    let records = cluster.records("verifiable", 0);
    let times: Vec<i64> = records.iter().map(|record| record.timestamp).collect();
    assert_eq!(times.len(), 50);
    assert!((1000..2000).contains(&times[0]) && times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn says_what_is_wrong_with_the_options() {
    let help = run("verifiable_producer", [""; 0]).await.succeeded();
    assert!(help.out.contains("--repeating-keys"), "{}", help.out);
    let ran = run("verifiable_producer", ["--topic", "t"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("--bootstrap-server"), "{}", ran.err);
    let file = ["--topic", "t", "--broker-list", "h:1", "--producer.config", "/no/such/file"];
    let ran = run("verifiable_producer", file).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.starts_with("Option --producer.config has been deprecated"), "{}", ran.out);
    assert!(ran.err.contains("/no/such/file"), "{}", ran.err);
}

#[cfg(unix)]
mod signals {

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

    use super::*;
    use crate::support::example;

    /// Starts it, sends the signal after `lines` lines, and gives what it printed in all.
    async fn stopped(args: Vec<String>, lines: usize, signal: Signal) -> Ran {
        let mut child = example("verifiable_producer", args).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let ended = async {
            let mut out = String::new();
            for _ in 0..lines {
                assert!(
                    reader.read_line(&mut out).await.unwrap() > 0,
                    "it ended by itself:\n{out}"
                );
            }
            kill(Pid::from_raw(child.id().unwrap() as i32), signal).unwrap();
            reader.read_to_string(&mut out).await.unwrap();
            (out, child.wait_with_output().await.unwrap())
        };
        let (out, output) = tokio::time::timeout(LIMIT, ended).await.expect("it ends");
        Ran { out, ..crate::support::ran(&output) }
    }

    #[tokio::test]
    async fn ends_cleanly_when_it_is_told_to() {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let cluster = cluster("verifiable", 1).await;
            let args = args(&cluster.bootstrap_servers(), "verifiable", &["--throughput", "500"]);
            let ran = stopped(args, 10, signal).await.succeeded();
            let events = events(&ran);
            let names = names(&events);
            let acked = names.iter().filter(|name| **name == "producer_send_success").count();
            assert!(acked >= 9, "{names:?}");
            assert_eq!(names[1 + acked..], ["shutdown_complete", "tool_data"], "{names:?}");
            let totals = events.last().unwrap();
            assert_eq!((&totals["sent"], &totals["acked"]), (&acked.into(), &acked.into()));
            assert_eq!(cluster.records("verifiable", 0).len(), acked);
        }
    }

    #[tokio::test]
    async fn ends_while_nothing_can_be_sent() {
        // Nobody listens there any more.
        let gone = cluster("verifiable", 1).await.bootstrap_servers();
        let start = tokio::time::Instant::now();
        let ran = stopped(args(&gone, "verifiable", &[]), 1, Signal::SIGTERM).await.succeeded();
        assert!(start.elapsed() < Duration::from_secs(20), "max.block.ms is 60 s");
        let events = events(&ran);
        let expected =
            ["startup_complete", "producer_send_error", "shutdown_complete", "tool_data"];
        assert_eq!(names(&events), expected);
        assert_eq!(events[1]["exception"], "class org.apache.kafka.common.KafkaException");
        assert_eq!((&events[3]["sent"], &events[3]["acked"]), (&1.into(), &0.into()));
    }
}
