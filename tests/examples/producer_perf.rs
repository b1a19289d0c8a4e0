//! `producer_perf`: the lines of Kafka's tool, for both of its sets of options, and as many records in the topic as it
//! says.

use crate::support::{Folder, cluster, run};

/// The line with `#` for each number after the first, and how many decimals each of those has.
fn form(line: &str) -> (String, Vec<usize>) {
    let (count, rest) = line.split_once(' ').unwrap();
    let mut form = format!("{count} ");
    let mut decimals = Vec::new();
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_ascii_digit() {
            form.push(c);
            continue;
        }
        let mut number = c.to_string();
        while let Some(c) = chars.next_if(|c| c.is_ascii_digit() || *c == '.') {
            number.push(c);
        }
        form.push('#');
        decimals.push(number.split_once('.').map_or(0, |(_, fraction)| fraction.len()));
    }
    (form, decimals)
}

/// What Kafka 4.3.1's tool printed: its forms are what ours are compared with.
const TOTAL: &str = "20 records sent, 7.336757 records/sec (0.00 MB/sec), 305.50 ms avg latency, 2356.00 ms max \
                     latency, 196 ms 50th, 2356 ms 95th, 2356 ms 99th, 2356 ms 99.9th.";
const STEADY: &str = "15 steady state records sent, 230.769231 records/sec (0.00 MB/sec), 37.07 ms avg latency, \
                      38.00 ms max latency, 37 ms 50th, 38 ms 95th, 38 ms 99th, 38 ms 99.9th.";
const INTERVAL: &str =
    "1 records sent, 27.0 records/sec (0.00 MB/sec), 37.0 ms avg latency, 37.0 ms max latency.";

#[tokio::test]
async fn old_options_and_new_ones_give_javas_lines() {
    let cluster = cluster("perf", 1).await;
    let bootstrap = cluster.bootstrap_servers();
    let folder = Folder::new("producer-perf");
    let file = folder.write("producer.properties", "linger.ms=1\n");
    let property = format!("bootstrap.servers={bootstrap}");
    let common = ["--topic", "perf", "--num-records", "20", "--throughput", "-1"];

    let old = ["--payload-monotonic", "--producer-props", &property, "--producer.config", &file];
    let ran = run("producer_perf", common.iter().chain(&old)).await.succeeded();
    let lines: Vec<&str> = ran.out.lines().collect();
    let [props, config, total] = lines[..] else { panic!("{}", ran.out) };
    for (notice, old, new) in [
        (props, "--producer-props", "--command-property"),
        (config, "--producer.config", "--command-config"),
    ] {
        let expected = "has been deprecated and will be removed in a future version.";
        assert_eq!(notice, format!("Option {old} {expected} Use {new} instead."));
    }
    assert_eq!(form(total), form(TOTAL));

    let new = ["--record-size", "9", "--command-property", "acks=1", "--command-config", &file];
    let servers = ["--bootstrap-server", &bootstrap];
    let ran = run("producer_perf", common.iter().chain(&new).chain(&servers)).await.succeeded();
    assert_eq!(ran.out.lines().map(form).collect::<Vec<_>>(), [form(TOTAL)]);

    let records = cluster.records("perf", 0);
    let value = |at: usize| String::from_utf8(records[at].value.clone().unwrap().to_vec()).unwrap();
    assert_eq!((records.len(), value(0), value(19)), (40, "0".to_owned(), "19".to_owned()));
    // The first letters that Java's generator draws.
    assert_eq!((value(20), value(21)), ("YQHHNEBSE".to_owned(), "PDNSEIFGA".to_owned()));
}

#[tokio::test]
async fn a_warm_up_an_interval_and_a_file_of_payloads() {
    let cluster = cluster("perf", 1).await;
    let folder = Folder::new("producer-perf-payloads");
    let file = folder.write("payloads", "one|two");
    let mut args = vec!["--topic", "perf", "--num-records", "200", "--warmup-records", "150"];
    args.extend([
        "--throughput",
        "2000",
        "--reporting-interval",
        "1",
        "--payload-delimiter",
        "\\|",
    ]);
    let bootstrap = cluster.bootstrap_servers();
    args.extend(["--payload-file", &file, "--bootstrap-server", &bootstrap]);
    let ran = run("producer_perf", args).await.succeeded();
    let lines: Vec<&str> = ran.out.lines().collect();
    let [reading, read, warmup, intervals @ .., total, steady] = &lines[..] else {
        panic!("{}", ran.out)
    };
    assert_eq!(*reading, format!("Reading payloads from: {file}"));
    assert_eq!(*read, "Number of records read: 2");
    assert!(warmup.starts_with("Warmup first 150 records. Steady state results will"), "{warmup}");
    assert_eq!(form(total), form(&TOTAL.replacen("20", "200", 1)));
    assert_eq!(form(steady), form(&STEADY.replacen("15", "50", 1)));
    assert_eq!(intervals.iter().filter(|line| **line == "In steady state.").count(), 1);
    assert!(intervals.len() > 2, "{}", ran.out);
    for line in intervals.iter().filter(|line| **line != "In steady state.") {
        let count = line.split(' ').next().unwrap();
        assert_eq!(form(line), form(&INTERVAL.replacen('1', count, 1)));
    }
    let values = cluster.records("perf", 0).into_iter().map(|record| record.value.unwrap());
    assert!(values.clone().all(|value| value == "one" || value == "two"));
    assert_eq!(values.len(), 200);
}

#[tokio::test]
async fn errors_end_with_1_and_failed_records_do_not() {
    let cluster = cluster("perf", 1).await;
    let bootstrap = cluster.bootstrap_servers();
    let common = ["--num-records", "2", "--throughput", "-1", "--bootstrap-server", &bootstrap];
    for (more, complaint) in [
        (["--record-size", "0"], "--record-size should be greater than zero."),
        (["--payload-file", "/no/such/file"], "File does not exist or empty file provided."),
        (["--transactional-id", "x"], "--record-size"),
    ] {
        let args = common.iter().chain(&["--topic", "perf"]).chain(&more);
        let ran = run("producer_perf", args).await;
        assert_eq!(ran.code, Some(1), "{more:?}");
        assert!(ran.err.contains(complaint), "{more:?}: {}", ran.err);
    }
    let sized = ["--topic", "perf", "--record-size", "5"];
    for option in ["--transactional-id", "--transaction-duration-ms"] {
        let transactional = [option, "7"];
        let args = common.iter().chain(&sized).chain(&transactional);
        let ran = run("producer_perf", args).await;
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains("transactions are not supported yet"), "{}", ran.err);
    }

    let bad_topic = ["--topic", "b@d", "--record-size", "5"];
    let ran = run("producer_perf", common.iter().chain(&bad_topic)).await.succeeded();
    assert!(ran.out.starts_with("0 records sent, "), "{}", ran.out);
    assert_eq!(ran.err.matches("\"b@d\" is not a legal topic name").count(), 2, "{}", ran.err);
    assert!(run("producer_perf", [""; 0]).await.succeeded().out.contains("--warmup-records"));
}
