//! `quickstart`, on the cluster that it starts itself, and on another process's: `local_broker`.

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{LIMIT, example, run};

#[tokio::test]
async fn runs_by_itself() {
    let ran = run("quickstart", [""; 0]).await.succeeded();
    assert!(ran.out.contains("read back    300 records"), "{}", ran.out);
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn runs_on_a_local_broker() {
    let args = ["--port", "0", "--nodes", "2", "--partitions", "4"];
    let mut broker = example("local_broker", args).spawn().unwrap();
    let mut lines = BufReader::new(broker.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
    let servers = line.strip_prefix("bootstrap.servers=").expect("the addresses");
    assert_eq!(servers.split(',').count(), 2, "{line}");

    let ran = run("quickstart", ["--bootstrap", servers, "--topic", "here"]).await.succeeded();
    assert!(ran.out.contains("here with 4 partition(s)"), "{}", ran.out);
    assert!(ran.out.contains("read back    300 records"), "{}", ran.out);
    broker.kill().await.unwrap();
}
