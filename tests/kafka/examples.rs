//! The examples against real Kafka, run as a user runs them.

use tokio::process::Command;
use tokio::time::{Duration, timeout};

use crate::runner::Kafka;

tests![quickstart];

/// The first run builds the example.
const LIMIT: Duration = Duration::from_secs(150);

async fn quickstart(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let topic = kafka.topic(cluster, "quickstart", 3).await;
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "--quiet", "--example", "quickstart", "--"])
        .args(["--bootstrap", &cluster.bootstrap(), "--topic", &topic])
        .kill_on_drop(true);

    let output = timeout(LIMIT, command.output()).await.unwrap().unwrap();

    let printed = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{printed}\n{complaints}", output.status);
    assert!(printed.contains("read back    300 records"), "{printed}\n{complaints}");
    let stored = (0..3).flat_map(|at| cluster.stored_batches(1, &topic, at).unwrap());
    assert_eq!(stored.map(|batch| batch.count).sum::<i32>(), 300);
}
