//! The copy test of Kafka's own system tests, with copiers of ours: two of them move a topic to another one in transactions
//! while they are killed and started again and brokers are bounced, hard and clean. Whoever reads what is committed, in the
//! midst of it or in the end, sees each input once, and in order.

use tokio::time::Duration;

use super::copier::{Contents, Copier, Job, Watcher, expected, fill, in_order};
use crate::cluster::Cluster;
use crate::in_process_transactions::{COMMITTED, read, stable_end, values};
use crate::oracle::Properties;
use crate::ours;
use crate::outages::whole;
use crate::runner::Kafka;

tests![
    each_input_is_copied_once,
    the_full_copy[long()],
    the_full_copy_in_a_classic_group[since(4, 0), long()],
];

const PARTITIONS: usize = 4;
/// For a copy with all that happens to it.
const LIMIT: Duration = Duration::from_secs(600);

/// How large a copy is. The transactions are so small that it lasts for as long as there are rounds of trouble.
#[derive(Debug, Clone, Copy)]
struct Plan {
    records: usize,
    per_transaction: usize,
    rounds: usize,
}

async fn each_input_is_copied_once(kafka: Kafka) {
    let plan = Plan { records: 6000, per_transaction: 10, rounds: 2 };
    copy(&kafka, plan, newest(&kafka)).await;
}

const FULL: Plan = Plan { records: 100_000, per_transaction: 50, rounds: 4 };

async fn the_full_copy(kafka: Kafka) {
    copy(&kafka, FULL, newest(&kafka)).await;
}

async fn the_full_copy_in_a_classic_group(kafka: Kafka) {
    copy(&kafka, FULL, "classic").await;
}

/// The newest group protocol of the release.
pub(crate) fn newest(kafka: &Kafka) -> &'static str {
    if kafka.release().at_least(4, 0) { "consumer" } else { "classic" }
}

/// In each round a copier is killed, which makes for a rebalance, and a broker goes at the same time.
async fn copy(kafka: &Kafka, plan: Plan, protocol: &str) {
    let Plan { records, per_transaction, rounds } = plan;
    let mut cluster = kafka.trio().await;
    let bootstrap = cluster.bootstrap();
    let [from, to] = [
        kafka.topic(&cluster, "copy-from", PARTITIONS).await,
        kafka.topic(&cluster, "copy-to", PARTITIONS).await,
    ];
    all_whole(kafka, &mut cluster, [&from, &to]).await;
    fill(&bootstrap, &from, PARTITIONS, records).await;
    let java = kafka.fresh("java-watches");
    let properties: Properties<'_> =
        &[("group.id", &java), ("auto.offset.reset", "earliest"), COMMITTED[0]];
    kafka.oracle().join(&java, &bootstrap, &to, properties).await.unwrap();
    let watcher = Watcher::start(&bootstrap, &to, PARTITIONS);
    let options = format!(
        "--group-mode --use-group-metadata --enable-random-aborts --group-protocol {protocol}"
    );
    let job = Job { bootstrap: &bootstrap, from: &from, to: &to, per_transaction, options };
    let mut copiers = Vec::new();
    for name in ["copier-a", "copier-b"] {
        copiers.push(Copier::start(&job, &kafka.fresh(name)).await);
    }

    for round in 0..rounds {
        watcher.until(records * (round + 1) / (rounds + 2), LIMIT).await;
        // One that is through with its share has left, and the other does the rest.
        copiers.rotate_left(1);
        let victim = copiers.iter_mut().position(Copier::is_at_work);
        let victim = victim.unwrap_or_else(|| panic!("all is copied before round {round}"));
        let hard = round % 2 == 0;
        // The first broker to go is the one that coordinates the group.
        let broker = match round {
            0 => kafka.oracle().coordinator(&bootstrap, &from).await.unwrap(),
            _ => 1 + (round % 3) as i32,
        };
        tokio::join!(bounce(&mut cluster, broker, hard), copiers[victim].replace(&job));
        all_whole(kafka, &mut cluster, [&from, &to]).await;
    }
    let mut copied = 0;
    for copier in copiers {
        copied += copier.ended(LIMIT).await;
    }
    // Those that were killed have copied, too, and did not live to say it.
    assert!(copied <= records, "{copied} are said to be copied, of {records}");
    watcher.until(records, LIMIT).await;
    let seen = watcher.stop().await;

    same(&seen, records, "what ours saw meanwhile");
    let java = seen_by_java(kafka, &java, (PARTITIONS, records)).await;
    same(&java, records, "what Java saw meanwhile");
    is_copied(kafka, &bootstrap, [&from, &to], records).await;
    for topic in [from, to] {
        kafka.oracle().delete_topic(&bootstrap, &topic).await.unwrap();
    }
}

/// One that was killed comes back only when the others know that it was gone, as in Kafka's own tests. Brokers lose
/// transactions otherwise: one that is back sooner takes itself for the coordinator that it was, and finishes by what its
/// log alone holds, such as a commit that nobody was told of and that the next coordinator knows nothing of and aborts.
pub(crate) async fn bounce(cluster: &mut Cluster, broker: i32, hard: bool) {
    if hard {
        cluster.kill(broker).await.unwrap();
        let mut others = cluster.ids();
        others.retain(|id| *id != broker);
        for &other in &others {
            cluster.sees_brokers(other, &others).await.unwrap();
        }
    } else {
        cluster.stop(broker).await.unwrap();
    }
    cluster.restart(broker).await.unwrap();
}

/// So that the next broker that goes leaves enough replicas, of what coordinators write as well.
pub(crate) async fn all_whole(kafka: &Kafka, cluster: &mut Cluster, topics: [&str; 2]) {
    for topic in topics {
        whole(kafka, cluster, topic).await;
    }
    for topic in ["__consumer_offsets", "__transaction_state"] {
        // They are there once somebody has wanted them.
        if kafka.oracle().describe_topic(&cluster.bootstrap(), topic).await.is_ok() {
            whole(kafka, cluster, topic).await;
        }
    }
}

/// What a consumer of Java's was handed, once that is so many records.
pub(crate) async fn seen_by_java(
    kafka: &Kafka,
    name: &str,
    (partitions, records): (usize, usize),
) -> Contents {
    let mut rows = Vec::new();
    while rows.len() < records {
        rows.append(&mut kafka.oracle().seen(name).await.unwrap());
        // The helper has to be asked.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kafka.oracle().leave(name).await.unwrap();
    in_order(partitions, rows)
}

/// Each input once, and in order. What is wrong is told without all the rest.
pub(crate) fn same(seen: &Contents, records: usize, what: &str) {
    let expected = expected(seen.len(), records);
    for (partition, (seen, expected)) in seen.iter().zip(expected).enumerate() {
        let wrong = seen.iter().zip(&expected).position(|(seen, expected)| seen != expected);
        let around = wrong.map(|at| &seen[at.saturating_sub(1)..seen.len().min(at + 2)]);
        let counts = (seen.len(), expected.len());
        assert!(
            wrong.is_none() && counts.0 == counts.1,
            "{what} of {partition}: {counts:?} records, and at {wrong:?} {around:?}"
        );
    }
}

/// In the end: as Java reads it, and as ours does, with the group at the end of its input.
async fn is_copied(kafka: &Kafka, bootstrap: &str, [from, to]: [&str; 2], records: usize) {
    let mut aborted = 0;
    for (partition, expected) in (0..).zip(expected(PARTITIONS, records)) {
        let end = stable_end(kafka, bootstrap, (to, partition)).await;
        let java = read(kafka, bootstrap, (to, partition), COMMITTED).await;
        let ours = ours::read_to_end(bootstrap, to, partition, 0, COMMITTED).await;
        assert_eq!(ours, java, "{to}-{partition}");
        let number = |value: &String| value.strip_prefix("record ").unwrap().parse().unwrap();
        let java: Vec<usize> = values(&java).iter().map(number).collect();
        assert_eq!(java, expected, "{to}-{partition}");
        aborted += end as usize - java.len();
    }
    // Markers among them.
    assert!(aborted > records / 20, "{aborted} offsets of {to} are not those of records");
    if records == FULL.records {
        eprintln!("{records} are copied, beside {aborted} offsets of aborted ones and markers");
    }
    let committed = kafka.oracle().committed(bootstrap, from).await.unwrap();
    let committed: usize = committed.values().map(|committed| committed.offset as usize).sum();
    assert_eq!(committed, records, "the group is at the end of its input");
}
