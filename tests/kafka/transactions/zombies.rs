//! A copier that is suspended in the middle of a transaction and replaced meanwhile: it goes on as if nothing had happened,
//! is told that it is fenced, and nothing of it is ever visible.

use tokio::time::{Duration, sleep};

use super::copier::{Copier, Job, expected, fill};
use crate::in_process_transactions::{COMMITTED, UNCOMMITTED, read, stable_end, values};
use crate::runner::Kafka;

tests![a_suspended_copier_is_fenced, a_suspended_copier_of_a_group_is_fenced[since(4, 0)],];

const RECORDS: usize = 5000;
const PER_TRANSACTION: usize = 20;
const LIMIT: Duration = Duration::from_secs(60);
/// Above what a broker needs for a request that was on its way.
const QUIET: Duration = Duration::from_millis(300);

async fn a_suspended_copier_is_fenced(kafka: Kafka) {
    replaced(&kafka, "--use-group-metadata").await;
}

async fn a_suspended_copier_of_a_group_is_fenced(kafka: Kafka) {
    replaced(&kafka, "--use-group-metadata --group-mode --group-protocol consumer").await;
}

async fn replaced(kafka: &Kafka, options: &str) {
    let cluster = kafka.shared().await;
    let bootstrap = &cluster.bootstrap();
    let from = &kafka.topic(cluster, "zombie-from", 1).await;
    let to = &kafka.topic(cluster, "zombie-to", 1).await;
    fill(bootstrap, from, 1, RECORDS).await;
    let options = options.to_owned();
    let job = Job { bootstrap, from, to, per_transaction: PER_TRANSACTION, options };
    let id = kafka.fresh("zombie");

    let mut zombie = Copier::start(&job, &id).await;
    loop {
        let copied = zombie.processed();
        zombie.until_processed(copied + PER_TRANSACTION, LIMIT).await;
        zombie.program().signal("STOP").await;
        assert!(zombie.processed() < RECORDS, "all was copied before it was in a transaction");
        if is_open(kafka, bootstrap, to).await {
            break;
        }
        zombie.program().signal("CONT").await;
    }
    let next = Copier::start(&job, &id).await;
    assert!(next.ended(LIMIT).await > 0, "nothing was left for the other one");
    let end = stable_end(kafka, bootstrap, (to, 0)).await;

    zombie.program().signal("CONT").await;
    let said = zombie.failed(LIMIT).await;

    let claim = format!("The transactional.id {id} has been claimed by another process");
    assert!(said.contains(&claim), "{said}");
    assert_eq!(stable_end(kafka, bootstrap, (to, 0)).await, end, "it wrote something after that");
    let numbers = |number: usize| format!("record {number}");
    let expected: Vec<String> = expected(1, RECORDS).remove(0).into_iter().map(numbers).collect();
    let committed = read(kafka, bootstrap, (to, 0), COMMITTED).await;
    assert_eq!(values(&committed), expected);
    let written = read(kafka, bootstrap, (to, 0), UNCOMMITTED).await;
    assert!(written.len() > RECORDS, "what it had open is nowhere");
}

/// Whether there is something in a transaction that is open, now that the copier is suspended.
async fn is_open(kafka: &Kafka, bootstrap: &str, topic: &str) -> bool {
    // What was on its way has arrived by then, and no event tells.
    sleep(QUIET).await;
    let end = async |level| kafka.oracle().end(bootstrap, topic, 0, level).await.unwrap().0;
    end(COMMITTED).await < end(UNCOMMITTED).await
}
