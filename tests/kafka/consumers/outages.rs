//! What a group of ours goes through with a cluster of three: its coordinator is killed, the leaders of what it reads,
//! and a member of its own. Nothing is left out, and nothing is given again that was committed.

use milena::TopicPartition;
use tokio::time::{Duration, Instant};

use super::team::{CONSUMER_PROTOCOL, Feeder, Team, all_of};
use crate::cluster::Cluster;
use crate::oracle::Properties;
use crate::outages::whole;
use crate::runner::Kafka;

tests![
    coordinator_leader_and_member_killed[since(4, 0)],
    coordinator_leader_and_member_of_the_consumer_protocol_killed[since(4, 0)],
];

const PARTITIONS: usize = 6;
/// For both protocols, by the members and by the brokers.
const SESSION: Duration = Duration::from_secs(10);

async fn coordinator_leader_and_member_killed(kafka: Kafka) {
    killed(&kafka, &[]).await;
}

async fn coordinator_leader_and_member_of_the_consumer_protocol_killed(kafka: Kafka) {
    killed(&kafka, CONSUMER_PROTOCOL).await;
}

async fn killed(kafka: &Kafka, properties: Properties<'_>) {
    let mut cluster = kafka.trio().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(&cluster, "group-outages", PARTITIONS).await;
    let partitions = all_of(&topic, PARTITIONS);
    let mut team = Team::new(kafka, &bootstrap, &topic, properties);
    let books = team.books.clone();
    let feeder = Feeder::start(&bootstrap, &topic, PARTITIONS);
    let members = [team.ours(&[]), team.ours(&[]), team.ours(&[])];
    books.until_complete(&partitions).await;
    goes_on(&team, &topic).await;

    all_whole(kafka, &mut cluster, &topic).await;
    let coordinator = kafka.oracle().coordinator(&bootstrap, &team.group).await.unwrap();
    cluster.kill(coordinator).await.unwrap();
    goes_on(&team, &topic).await;
    cluster.restart(coordinator).await.unwrap();

    let leaders = all_whole(kafka, &mut cluster, &topic).await;
    let coordinator = kafka.oracle().coordinator(&bootstrap, &team.group).await.unwrap();
    let leader = leaders.into_iter().find(|leader| *leader != coordinator);
    let leader = leader.expect("one node leads everything");
    cluster.kill(leader).await.unwrap();
    goes_on(&team, &topic).await;
    cluster.restart(leader).await.unwrap();
    all_whole(kafka, &mut cluster, &topic).await;

    team.crash(&members[0]).await;
    books.until_complete(&partitions).await;
    goes_on(&team, &topic).await;
    let ends = feeder.stop().await;
    books.until_given(&ends).await;
    for member in &members[1..] {
        team.close(member).await;
    }
    let again = books.audit_resumptions(&ends);
    let all: i64 = ends.values().sum();
    assert!(again < 1000, "{again} of {all} records were given again");
    drop(cluster);
}

/// Waits until records of each partition have come that were written after this was called, and polls with them and
/// commits have gone on; that must not take longer than a session.
async fn goes_on(team: &Team<'_>, topic: &str) {
    /// More than have been fetched and not handed out yet.
    const MORE: i64 = 100;
    let begin = Instant::now();
    let beyond = |partition: TopicPartition| {
        let height = team.books.given(&partition).into_iter().max().unwrap_or(0);
        (partition, height + MORE)
    };
    let beyond = all_of(topic, PARTITIONS).into_iter().map(beyond).collect();
    team.books.until_beyond(&beyond).await;
    let took = begin.elapsed();
    assert!(took < SESSION, "it took {took:?} until records of all partitions came again");
}

/// Waits until all replicas are in sync, those of the groups' offsets too, and tells the leaders of the topic.
async fn all_whole(kafka: &Kafka, cluster: &mut Cluster, topic: &str) -> Vec<i32> {
    whole(kafka, cluster, "__consumer_offsets").await;
    let partitions = whole(kafka, cluster, topic).await;
    partitions.into_iter().map(|partition| partition.leader).collect()
}
