//! `producer_perf --print-metrics`: the block of Kafka's tool, behind the totals.

use crate::support::{cluster, run};

#[tokio::test]
async fn the_block_comes_last_and_has_the_values_of_the_run() {
    let cluster = cluster("perf", 2).await;
    let servers = cluster.bootstrap_servers();
    let line = format!(
        "--bootstrap-server {servers} --topic perf --num-records 500 --record-size 100 --throughput -1 --print-metrics"
    );
    let ran = run("producer_perf", line.split(' ')).await.succeeded();
    let (totals, block) =
        ran.out.split_once("\n\nMetric Name ").expect("a blank line and a header");
    assert!(totals.lines().last().unwrap().starts_with("500 records sent, "), "{totals}");
    let mut lines = block.lines();
    assert_eq!(lines.next().map(str::trim), Some("Value"));
    let rows: Vec<_> = lines.map(|row| row.split_once(" : ").expect(row)).collect();
    let value = |name: &str, tags: &str| {
        let name = format!("producer-{name}:{{client-id=perf-producer-client{tags}}}");
        let row = rows.iter().find(|(shown, _)| shown.trim_end() == name);
        row.unwrap_or_else(|| panic!("no {name} in {block}")).1
    };
    assert_eq!(value("metrics:record-send-total", ""), "500.000");
    assert_eq!(value("metrics:record-error-total", ""), "0.000");
    assert_eq!(value("topic-metrics:record-send-total", ", topic=perf"), "500.000");
    assert_eq!(value("metrics:requests-in-flight", ""), "0.000");
    // As many decimals as Kafka prints, of numbers that are not known beforehand.
    for (name, tags) in [
        ("metrics:batch-size-avg", ""),
        ("metrics:flush-time-ns-total", ""),
        ("metrics:io-wait-time-ns-avg", ""),
        ("metrics:outgoing-byte-rate", ""),
        ("metrics:request-latency-max", ""),
        ("node-metrics:request-total", ", node-id=node-1"),
        ("topic-metrics:byte-rate", ", topic=perf"),
    ] {
        let value = value(name, tags);
        assert_eq!(value.split_once('.').map(|(_, decimals)| decimals.len()), Some(3), "{name}");
        assert!(value.parse::<f64>().unwrap() > 0.0, "{name} is {value}");
    }
}
