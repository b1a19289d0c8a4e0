//! `transactional_message_copier`: its lines are those of Kafka's tool, and what it copies is there once, whatever becomes
//! of the copiers.

use std::collections::BTreeMap;
use std::time::Duration;

use milena::broker::Cluster;
use milena::{
    Consumer, ConsumerConfig, IsolationLevel, ProducerConfig, StartAt, TopicPartition,
    TransactionalProducer,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::support::{LIMIT, Ran, cluster, example, ran, run};

const OF_A_PARTITION: usize = 300;

/// A line of Kafka 4.3.1's tool.
const JAVAS: &str = r#"{"transactionalId":"copier","stage":"ProcessLoop","time":"2026/11/21 12:30:08:280","totalProcessed":0,"consumed":0,"remaining":300}"#;

async fn filled(partitions: usize) -> Cluster {
    let cluster = cluster("in", partitions).await;
    cluster.create_topic(milena::broker::TopicSpec::new("out").partitions(partitions)).unwrap();
    let mut writer = cluster.writer();
    for partition in 0..partitions {
        for number in 0..OF_A_PARTITION {
            let value = format!("{partition}-{number}");
            writer.write("in", partition as i32, [("key", value.as_str())]).unwrap();
        }
    }
    cluster
}

fn args(cluster: &Cluster, id: &str, more: &[&str]) -> Vec<String> {
    let servers = cluster.bootstrap_servers();
    let args = ["--broker-list", &servers, "--transactional-id", id, "--consumer-group", "copiers"];
    let topics = ["--input-topic", "in", "--input-partition", "0", "--output-topic", "out"];
    args.iter().chain(&topics).chain(more).map(ToString::to_string).collect()
}

/// Asserts that whoever reads committed records sees each input in its partition, once, in order.
async fn assert_copied(cluster: &Cluster, partitions: usize) {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .isolation_level(IsolationLevel::ReadCommitted);
    let mut reader = Consumer::new(config.build().unwrap());
    let all: Vec<_> = (0..partitions).map(|n| TopicPartition::new("out", n as i32)).collect();
    reader.assign(all.iter().map(|name| (name.clone(), StartAt::Earliest))).unwrap();
    let ends = reader.end_offsets(all.clone(), LIMIT).await.unwrap();
    let mut seen: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    while all.iter().any(|name| reader.position(name).is_none_or(|at| at < ends[name])) {
        for record in &reader.poll(Duration::from_millis(100)).await.unwrap() {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            assert_eq!(record.key, Some(&b"key"[..]));
            seen.entry(record.partition).or_default().push(value);
        }
    }
    for partition in 0..partitions {
        let expected: Vec<_> = (0..OF_A_PARTITION).map(|n| format!("{partition}-{n}")).collect();
        assert_eq!(seen.remove(&(partition as i32)), Some(expected), "partition {partition}");
        let partition = partition as i32;
        let end = cluster.offsets("out", partition).unwrap().end;
        assert_eq!(cluster.last_stable_offset("out", partition), Some(end), "nothing is left open");
    }
}

fn last(ran: &Ran) -> Value {
    serde_json::from_str(ran.out.lines().last().unwrap()).unwrap()
}

#[tokio::test]
async fn copies_a_partition_once_although_it_aborts_now_and_then() {
    let cluster = filled(1).await;
    let more = ["--transaction-size", "20", "--enable-random-aborts"];
    let ran = run("transactional_message_copier", args(&cluster, "copier", &more)).await;
    let ran = ran.succeeded();
    let properties = |line: &str| -> Vec<String> {
        // In their order.
        line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let names = [0, 2, 4, 6, 7, 8].map(|at| properties(JAVAS)[at].clone());
    for line in ran.out.lines() {
        assert_eq!([0, 2, 4, 6, 7, 8].map(|at| properties(line)[at].clone()), names, "{line}");
    }
    let last = last(&ran);
    assert_eq!((&last["stage"], &last["remaining"]), (&"ShutdownComplete".into(), &0.into()));
    assert_eq!((&last["totalProcessed"], &last["consumed"]), (&300.into(), &300.into()));
    assert_eq!(cluster.requests(milena::protocol::ApiKey::ADD_OFFSETS_TO_TXN), 0);
    assert_copied(&cluster, 1).await;
}

#[tokio::test]
async fn stops_at_the_limit() {
    let cluster = filled(1).await;
    let more = ["--transaction-size", "50", "--max-messages", "100"];
    for _ in 0..3 {
        let ran = run("transactional_message_copier", args(&cluster, "copier", &more)).await;
        let last = last(&ran.succeeded());
        assert_eq!((&last["totalProcessed"], &last["remaining"]), (&100.into(), &0.into()));
    }
    assert_copied(&cluster, 1).await;
}

/// Reads until it has copied some; panics if it has ended by itself.
async fn some_copied(child: &mut Child) -> BufReader<ChildStdout> {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ProcessLoop") || line.contains("\"totalProcessed\":0,") {
        line.clear();
        assert!(reader.read_line(&mut line).await.unwrap() > 0, "it ended by itself");
    }
    reader
}

#[tokio::test]
async fn one_that_is_killed_is_replaced() {
    let cluster = filled(1).await;
    let more = ["--transaction-size", "10", "--enable-random-aborts", "--use-group-metadata"];
    for _ in 0..3 {
        let mut child = example("transactional_message_copier", args(&cluster, "copier", &more))
            .spawn()
            .unwrap();
        drop(tokio::time::timeout(LIMIT, some_copied(&mut child)).await.unwrap());
        // SIGKILL
        child.kill().await.unwrap();
    }
    let ran =
        run("transactional_message_copier", args(&cluster, "copier", &more)).await.succeeded();
    assert_eq!(last(&ran)["remaining"], 0);
    assert_copied(&cluster, 1).await;
}

#[tokio::test]
async fn another_one_with_its_id_fences_it() {
    let cluster = filled(1).await;
    let more = ["--transaction-size", "1"];
    let mut child =
        example("transactional_message_copier", args(&cluster, "copier", &more)).spawn().unwrap();
    let out = tokio::time::timeout(LIMIT, some_copied(&mut child)).await.unwrap();
    child.stdout = Some(out.into_inner());
    let config = ProducerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .transactional_id("copier");
    let other = TransactionalProducer::new(config.build_transactional().unwrap()).await.unwrap();
    let fenced = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    let fenced = ran(&fenced);
    assert_eq!(fenced.code, Some(1), "{fenced:?}");
    assert!(fenced.err.contains("transactional.id copier has been claimed"), "{}", fenced.err);
    other.close(LIMIT).await.unwrap();
    run("transactional_message_copier", args(&cluster, "copier", &[])).await.succeeded();
    assert_copied(&cluster, 1).await;
}

#[cfg(unix)]
#[tokio::test]
async fn two_share_a_topic_and_one_leaves() {
    use nix::sys::signal::{Signal, kill};
    for protocol in ["classic", "consumer"] {
        let cluster = filled(4).await;
        let more = ["--transaction-size", "5", "--group-mode", "--use-group-metadata"];
        let more = [&more[..], &["--enable-random-aborts", "--group-protocol", protocol]].concat();
        let start = |id: &str| {
            example("transactional_message_copier", args(&cluster, id, &more)).spawn().unwrap()
        };
        let mut first = start("copier-0");
        let out = tokio::time::timeout(LIMIT, some_copied(&mut first)).await.unwrap();
        first.stdout = Some(out.into_inner());
        let mut second = start("copier-1");
        let mut lines = BufReader::new(second.stdout.take().unwrap());
        let mut line = String::new();
        tokio::time::timeout(LIMIT, lines.read_line(&mut line)).await.unwrap().unwrap();
        second.stdout = Some(lines.into_inner());
        let id = nix::unistd::Pid::from_raw(first.id().unwrap() as i32);
        // It may be done already.
        let _ = kill(id, Signal::SIGTERM);
        let first = tokio::time::timeout(LIMIT, first.wait_with_output()).await.unwrap().unwrap();
        ran(&first).succeeded();
        let second = tokio::time::timeout(LIMIT, second.wait_with_output()).await.unwrap().unwrap();
        let second = ran(&second).succeeded();
        assert_eq!(last(&second)["remaining"], 0, "{}", second.out);
        assert_copied(&cluster, 4).await;
    }
}

#[tokio::test]
async fn says_what_is_wrong_with_the_options() {
    let help = run("transactional_message_copier", [""; 0]).await.succeeded();
    assert!(help.out.contains("--use-group-metadata"), "{}", help.out);
    let ran = run("transactional_message_copier", ["--broker-list", "h:1"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("--transactional-id"), "{}", ran.err);
}
