//! `consumer_group`, on the cluster that it starts itself.

use crate::support::run;

#[tokio::test]
async fn members_share_the_work_and_one_leaves() {
    let ran = run("consumer_group", [""; 0]).await.succeeded();
    for line in ["half-way: a member leaves", "member 2 gives up", "done: 600 records"] {
        assert!(ran.out.contains(line), "no {line:?} in\n{}\n{}", ran.out, ran.err);
    }
}

#[tokio::test]
async fn one_member_does_it_all() {
    let ran = run("consumer_group", ["--members", "1"]).await.succeeded();
    assert!(ran.out.contains("done: 600 records, 0 of them more than once"), "{}", ran.out);
}
