//! `send_styles`: it checks itself, and what it says is compared with what the cluster has.

use milena::broker::Fault;
use milena::protocol::ApiKey;

use crate::support::{cluster, run};

#[tokio::test]
async fn runs_by_itself() {
    let ran = run("send_styles", ["--records", "500"]).await.succeeded();
    for line in [
        "fire and forget   500 accepted",
        "synchronous       100 acknowledged",
        "callback          500 called in order",
        "futures in bulk   500 acknowledged by",
        "try_send          500 acknowledged",
        "read back         2100 records, each once and in order",
    ] {
        assert!(ran.out.contains(line), "{line}:\n{}", ran.out);
    }
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn connections_that_break_lose_and_double_nothing() {
    let cluster = cluster("styles", 2).await;
    // Appended, and not answered.
    cluster.inject(Fault::close_after(ApiKey::PRODUCE).after(2).times(3));
    let bootstrap = cluster.bootstrap_servers();
    let args = ["--bootstrap", &bootstrap, "--topic", "styles", "--records", "200"];
    run("send_styles", args).await.succeeded();
    assert_eq!(cluster.pending_faults(), 0, "all were met");
    let stored: usize = (0..2).map(|at| cluster.records("styles", at).len()).sum();
    assert_eq!(stored, 900);
}

#[tokio::test]
async fn says_that_the_topic_is_not_there() {
    let cluster = cluster("styles", 1).await;
    let bootstrap = cluster.bootstrap_servers();
    let ran = run("send_styles", ["--bootstrap", &bootstrap, "--topic", "no such"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("InvalidTopic"), "{}", ran.err);
}
