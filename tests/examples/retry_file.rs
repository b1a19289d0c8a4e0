//! `retry_file`: what a broker refuses is in the file, and in the topic once it was sent again, also when a pass is
//! killed.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use milena::ErrorCode;
use milena::broker::{Cluster, Fault};
use milena::protocol::ApiKey;
use tokio::io::AsyncWriteExt;

use crate::support::{Folder, LIMIT, Ran, cluster, example, ran, run};

const RECORDS: usize = 50;

/// Each value is one that a line-based format has to take care of.
fn value(i: usize) -> String {
    format!("value\t{i} \\ é")
}

fn stored(cluster: &Cluster) -> Vec<String> {
    let records = (0..2).flat_map(|partition| cluster.records("orders", partition));
    records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
}

fn distinct(values: Vec<String>) -> BTreeSet<String> {
    values.into_iter().collect()
}

struct Spool {
    cluster: Cluster,
    folder: Folder,
    config: String,
}

impl Spool {
    async fn new(name: &str) -> Self {
        let cluster = cluster("orders", 2).await;
        let folder = Folder::new(name);
        let config = folder.write("producer.properties", "retries=1\nretry.backoff.ms=10\n");
        Self { cluster, folder, config }
    }

    fn args(&self, command: &str, more: &[&str]) -> Vec<String> {
        let bootstrap = self.cluster.bootstrap_servers();
        let folder = self.folder.path();
        let args = [command, "--bootstrap", &bootstrap, "--config", &self.config, "--folder"];
        let args = args.into_iter().chain([folder]).chain(more.iter().copied());
        args.map(str::to_owned).collect()
    }

    async fn send(&self) -> Ran {
        let mut command = example("retry_file", self.args("send", &["--topic", "orders"]));
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        for i in 0..RECORDS {
            input.write_all(format!("{}\n", value(i)).as_bytes()).await.unwrap();
        }
        drop(input);
        ran(&tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap())
    }
}

#[tokio::test]
async fn the_demo_ends_with_each_record_once() {
    let ran = run("retry_file", ["demo"]).await.succeeded();
    for line in [
        "partition 1 refuses   200 delivered, 100 to be sent again, 0 rejected",
        "the retry file        not written: ",
        "it still does         0 delivered, 100 to be sent again, 0 rejected",
        "it is well again      100 delivered, 0 to be sent again, 0 rejected",
        "the ok file           ok: 1@0\torders\t1\t",
        "the cluster           has 300 records, each once and unchanged",
    ] {
        assert!(ran.out.contains(line), "{line}:\n{}", ran.out);
    }
}

#[tokio::test]
async fn what_is_refused_is_kept_and_moved_to_ok_when_it_is_delivered() {
    let spool = Spool::new("retry-file-moves").await;
    let refusal = Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS);
    spool.cluster.inject(refusal.always());
    let sent = spool.send().await.succeeded();
    assert_eq!(sent.out, "sent    0 delivered, 50 to be sent again, 0 rejected\n");
    let lines = spool.folder.lines("retry");
    assert_eq!(lines.len(), RECORDS);
    assert!(lines.iter().all(|line| line.starts_with("not written: ")), "{lines:?}");
    assert!(lines[3].ends_with("\t\\N\tvalue\\t3 \\\\ é"), "{}", lines[3]);

    let again = run("retry_file", spool.args("resend", &[])).await;
    assert_eq!(again.code, Some(1), "something is left");
    assert_eq!(again.out, "resent  0 delivered, 50 to be sent again, 0 rejected\n");
    assert_eq!((spool.folder.lines("retry").len(), spool.folder.lines("ok").len()), (RECORDS, 0));

    spool.cluster.clear_faults();
    let again = run("retry_file", spool.args("resend", &[])).await.succeeded();
    assert_eq!(again.out, "resent  50 delivered, 0 to be sent again, 0 rejected\n");
    assert_eq!((spool.folder.lines("retry").len(), spool.folder.lines("ok").len()), (0, RECORDS));
    let mut values = stored(&spool.cluster);
    values.sort();
    let mut expected: Vec<String> = (0..RECORDS).map(value).collect();
    expected.sort();
    assert_eq!(values, expected, "each once");
}

#[tokio::test]
async fn a_pass_that_is_killed_is_made_again_and_loses_nothing() {
    let spool = Spool::new("retry-file-killed").await;
    let refusal = Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS);
    spool.cluster.inject(refusal.always());
    spool.send().await.succeeded();
    spool.cluster.clear_faults();

    // Appended, and the answer comes when nobody waits for it.
    spool.cluster.inject(Fault::delay_response(ApiKey::PRODUCE, LIMIT).always());
    let mut killed = example("retry_file", spool.args("resend", &[])).spawn().unwrap();
    let appended = async {
        while stored(&spool.cluster).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, appended).await.unwrap();
    killed.kill().await.unwrap();
    assert_eq!(spool.folder.lines("sending").len(), RECORDS);
    assert_eq!((spool.folder.lines("retry").len(), spool.folder.lines("ok").len()), (0, 0));

    spool.cluster.clear_faults();
    let again = run("retry_file", spool.args("resend", &[])).await.succeeded();
    assert!(again.out.starts_with("resent  50 delivered, 0 to be sent again"), "{}", again.out);
    assert!(again.err.contains("a pass was cut short"), "{}", again.err);
    assert!(!spool.folder.has("sending"));
    assert_eq!((spool.folder.lines("retry").len(), spool.folder.lines("ok").len()), (0, RECORDS));
    assert_eq!(distinct(stored(&spool.cluster)), distinct((0..RECORDS).map(value).collect()));
    assert!(stored(&spool.cluster).len() > RECORDS, "at least once: some are doubled");
}

#[tokio::test]
async fn what_can_never_be_sent_is_set_apart() {
    let spool = Spool::new("retry-file-rejected").await;
    let good = "note\torders\t0\t1700000000000\tkey\tgood\tname\t\\N";
    let no_partition = "note\torders\t-1\t\\N\tkey\tno such partition";
    let unreadable = "mangled";
    spool.folder.write("retry", &format!("{no_partition}\n{unreadable}\n{good}\ntorn"));

    let again = run("retry_file", spool.args("resend", &[])).await.succeeded();
    assert_eq!(again.out, "resent  1 delivered, 0 to be sent again, 2 rejected\n");
    assert!(again.err.contains("4 bytes of a line cut off"), "{}", again.err);
    let rejected = spool.folder.lines("rejected");
    assert!(rejected.contains(&unreadable.to_owned()), "{rejected:?}");
    assert!(rejected.iter().any(|line| line.starts_with("rejected: ")), "{rejected:?}");
    let [record] = &spool.cluster.records("orders", 0)[..] else { panic!("one record") };
    assert_eq!((record.timestamp, record.key.as_deref()), (1_700_000_000_000, Some(&b"key"[..])));
    assert_eq!(record.headers, [("name".to_owned(), None)]);
}
