//! `bench_client`: every record is sent and counted, and the line has every figure.

use serde_json::Value;

use crate::support::{cluster, run};

const FIGURES: [&str; 18] = [
    "client",
    "version",
    "mode",
    "records",
    "seconds",
    "rps",
    "mb_s",
    "lat_avg_ms",
    "lat_p50_ms",
    "p99",
    "p999",
    "max",
    "lat_samples",
    "errors",
    "cpu_user_s",
    "cpu_sys_s",
    "proc_cpu_s",
    "max_rss_kb",
];

fn args<'a>(command: &'a str, bootstrap: &'a str, mode: &'a str) -> Vec<&'a str> {
    let common = [command, "--bootstrap", bootstrap, "--topic", "bench", "--mode", mode];
    let more = ["--num-records", "8000", "--warmup", "500", "--partitions", "3"];
    common.into_iter().chain(more).collect()
}

#[track_caller]
fn line(out: &str) -> Value {
    let [line] = out.lines().collect::<Vec<_>>()[..] else { panic!("one line: {out}") };
    let figures: Value = serde_json::from_str(line).unwrap();
    for name in FIGURES {
        assert!(figures.get(name).is_some_and(|figure| !figure.is_null()), "{name}: {line}");
    }
    assert_eq!(figures.as_object().unwrap().len(), FIGURES.len(), "{line}");
    figures
}

#[tokio::test]
async fn produces_in_each_mode_and_consumes() {
    let cluster = cluster("bench", 3).await;
    let bootstrap = cluster.bootstrap_servers();
    let stored = || (0..3).map(|at| cluster.records("bench", at).len()).sum::<usize>();
    for (run_number, (mode, samples)) in
        [("fire", 0), ("callback", 500), ("future", 500)].into_iter().enumerate()
    {
        let ran = run("bench_client", args("produce", &bootstrap, mode)).await.succeeded();
        let figures = line(&ran.out);
        assert_eq!(
            (figures["mode"].as_str(), figures["records"].as_u64()),
            (Some(mode), Some(8000))
        );
        assert_eq!(figures["errors"], 0);
        assert_eq!(figures["lat_samples"], samples);
        assert_eq!(stored(), 8500 * (run_number + 1), "{mode}");
    }

    let paced = args("produce", &bootstrap, "future").into_iter().chain(["--throughput", "20000"]);
    let figures = line(&run("bench_client", paced).await.succeeded().out);
    assert_eq!(figures["lat_samples"], 8000, "each is taken");
    let seconds = figures["seconds"].as_f64().unwrap();
    assert!(seconds >= 0.3999, "8000 records at 20000 a second in {seconds} s");
    assert!(figures["lat_p50_ms"].as_f64().unwrap() > 0.0);

    let ran = run("bench_client", args("consume", &bootstrap, "poll")).await.succeeded();
    let figures = line(&ran.out);
    assert!(figures["records"].as_u64().unwrap() >= 8000);
}

#[tokio::test]
async fn copies_in_transactions() {
    let cluster = cluster("bench", 3).await;
    cluster.create_topic(("copy", 2)).unwrap();
    let bootstrap = cluster.bootstrap_servers();
    run("bench_client", args("produce", &bootstrap, "fire")).await.succeeded();
    let more = ["--out-topic", "copy", "--txn-size", "1000", "--group", "copiers"];
    let ran = run("bench_client", args("txn", &bootstrap, "txn").into_iter().chain(more)).await;
    let figures = line(&ran.succeeded().out);
    assert_eq!((figures["mode"].as_str(), figures["errors"].as_u64()), (Some("txn"), Some(0)));
    let copied = figures["records"].as_u64().unwrap();
    assert!(copied >= 8000, "{figures}");
    let stored: usize = (0..2).map(|at| cluster.records("copy", at).len()).sum();
    assert_eq!(stored as u64, copied);
    let transaction = cluster.transaction("txn-copiers").unwrap();
    assert!(transaction.partitions.is_empty(), "{transaction:?}");
}

#[tokio::test]
async fn says_what_it_cannot_do() {
    for (args, complaint) in [
        (["produce", "--mode", "base"], "--mode cannot be \"base\""),
        (["dance", "--mode", "txn"], "unknown command \"dance\""),
        (["produce", "--compression", "rar"], "compression.type"),
    ] {
        let ran = run("bench_client", args).await;
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains(complaint), "{}", ran.err);
        assert_eq!(ran.out, "");
    }
}
