//! `consumer_perf`: the lines of Kafka's tool, which tell what is in the topic.

use std::time::Duration;

use milena::{Producer, ProducerConfig, ProducerRecord};

use crate::support::{cluster, run};

const RECORDS: usize = 1000;

/// A topic with records of 100 bytes, each with a key of four.
async fn filled(topic: &str) -> milena::broker::Cluster {
    let cluster = cluster(topic, 3).await;
    let config = ProducerConfig::builder().bootstrap_servers(cluster.bootstrap_servers());
    let producer = Producer::new(config.build().unwrap());
    for number in 0..RECORDS {
        let key = format!("{number:04}");
        drop(producer.send(&ProducerRecord::new(topic, &[7; 100]).key(&key)).await.unwrap());
    }
    producer.close(Duration::from_secs(30)).await.unwrap();
    cluster
}

fn columns(line: &str) -> Vec<&str> {
    line.split(", ").collect()
}

#[tokio::test]
async fn the_total_tells_what_is_in_the_topic() {
    let cluster = filled("perf").await;
    let servers = cluster.bootstrap_servers();
    let args = ["--bootstrap-server", &servers, "--topic", "perf", "--num-records", "1000"];
    let ran = run("consumer_perf", args).await.succeeded();
    let lines: Vec<_> = ran.out.lines().collect();
    let [header, total] = lines[..] else { panic!("{}", ran.out) };
    assert!(header.starts_with("start.time, end.time, data.consumed.in.MB, MB.sec, "), "{header}");
    let (names, total) = (columns(header), columns(total));
    assert_eq!(names.len(), total.len());
    // 1000 times 104 bytes.
    assert_eq!((total[2], total[4]), ("0.0992", "1000"));
    let (rebalance, fetch): (i64, i64) = (total[6].parse().unwrap(), total[7].parse().unwrap());
    assert!(rebalance >= 0 && fetch >= 0, "{total:?}");
}

#[tokio::test]
async fn it_gives_up_when_nothing_comes_any_more() {
    let cluster = filled("short").await;
    let servers = cluster.bootstrap_servers();
    let args = ["--bootstrap-server", &servers, "--include", "sho.*", "--messages", "2000"];
    let more = [
        "--timeout",
        "1500",
        "--reporting-interval",
        "1",
        "--show-detailed-stats",
        "--hide-header",
    ];
    let ran = run("consumer_perf", args.iter().chain(&more)).await.succeeded();
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(lines[0].starts_with("Option --messages has been deprecated"), "{}", ran.out);
    let warning =
        "WARNING: Exiting before consuming the expected number of records: timeout (1500 ms)";
    assert!(lines[lines.len() - 1].starts_with(warning), "{}", ran.out);
    let rows = &lines[1..lines.len() - 1];
    assert!(!rows.is_empty() && rows.iter().all(|row| columns(row).len() == 10), "{}", ran.out);
    // The second half may come before the next interval is over, and is in no row then.
    assert!(["500", "1000"].contains(&columns(rows[rows.len() - 1])[4]), "{}", ran.out);
}

#[tokio::test]
async fn wrong_options_are_refused() {
    let help = run("consumer_perf", [""; 0]).await.succeeded();
    assert!(help.out.contains("--show-detailed-stats"), "{}", help.out);
    let ran = run("consumer_perf", ["--topic", "t"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("--bootstrap-server"), "{}", ran.err);
}
