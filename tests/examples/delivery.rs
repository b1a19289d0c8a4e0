//! The examples of delivery guarantees: each checks itself, and says what it has seen.

use crate::support::run;

#[tokio::test]
async fn exactly_once() {
    let ran = run("exactly_once", ["--records", "100"]).await.succeeded();
    for line in ["in the middle of a transaction", "read_committed: 100 records, each once"] {
        assert!(ran.out.contains(line), "no {line:?} in\n{}", ran.out);
    }
    let written = ran.out.split("read_uncommitted: ").nth(1).unwrap();
    let written: usize = written.split(' ').next().unwrap().parse().unwrap();
    assert!(written > 100, "something was aborted:\n{}", ran.out);
}

#[tokio::test]
async fn at_most_once() {
    let ran = run("at_most_once", ["--records", "100"]).await.succeeded();
    assert!(ran.out.contains("none of them twice"), "{}", ran.out);
    assert!(!ran.out.contains("100 of 100"), "something was lost:\n{}", ran.out);
}

#[tokio::test]
async fn at_least_once() {
    let ran = run("at_least_once", ["--records", "100"]).await.succeeded();
    assert!(ran.out.contains("100 of 100 came out"), "{}", ran.out);
    assert!(!ran.out.contains(" 0 of them twice"), "something was repeated:\n{}", ran.out);
}

#[tokio::test]
async fn zombie_fencing() {
    let ran = run("zombie_fencing", [""; 0]).await.succeeded();
    for line in ["the older one is fenced", r#"read_committed: [("from the newer one", 1)]"#] {
        assert!(ran.out.contains(line), "no {line:?} in\n{}", ran.out);
    }
}
