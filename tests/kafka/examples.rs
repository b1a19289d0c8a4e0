//! The examples against real Kafka, run as a user runs them.

use tokio::process::Command;
use tokio::time::{Duration, timeout};

use crate::runner::Kafka;

tests![quickstart, consumer_group];

/// The first run builds the example.
const LIMIT: Duration = Duration::from_secs(150);

async fn quickstart(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let topic = kafka.topic(cluster, "quickstart", 3).await;

    let printed =
        example("quickstart", &["--bootstrap", &cluster.bootstrap(), "--topic", &topic]).await;

    assert!(printed.contains("read back    300 records"), "{printed}");
    let stored = (0..3).flat_map(|at| cluster.stored_batches(1, &topic, at).unwrap());
    assert_eq!(stored.map(|batch| batch.count).sum::<i32>(), 300);
}

async fn consumer_group(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let topic = kafka.topic(cluster, "shared-out", 6).await;
    let args = ["--bootstrap", &cluster.bootstrap(), "--topic", &topic, "--group", &topic];

    let printed = example("consumer_group", &args).await;

    for line in ["half-way: a member leaves", "member 2 gives up", "done: 600 records"] {
        assert!(printed.contains(line), "no {line:?} in\n{printed}");
    }
}

/// What an example prints, which has to succeed.
async fn example(name: &str, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "--quiet", "--example", name, "--"])
        .args(args)
        .kill_on_drop(true);

    let output = timeout(LIMIT, command.output()).await.unwrap().unwrap();

    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{printed}\n{complaints}", output.status);
    printed
}
