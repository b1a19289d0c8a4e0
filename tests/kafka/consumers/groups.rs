//! Groups that have members of ours and of Java's: whoever comes and goes, each partition has one owner, and each record
//! is given to one member, once.

use milena::{OffsetAndMetadata, TopicPartition};

use super::team::{CONSUMER_PROTOCOL, Feeder, Team, all_of};
use crate::oracle::{Committed, Properties};
use crate::ours;
use crate::runner::Kafka;
use crate::samples::numbered;

tests![
    range_members_come_and_go,
    cooperative_members_come_and_go,
    members_of_the_consumer_protocol_come_and_go[since(4, 0)],
    offsets_are_resumed_by_the_other,
    static_members_come_back_without_a_rebalance,
    static_members_of_the_consumer_protocol_come_back[since(4, 0)],
    a_pattern_takes_a_new_topic_in,
    a_pattern_of_the_consumer_protocol_takes_a_new_topic_in[since(4, 0)],
    new_partitions_are_shared_out,
    new_partitions_are_shared_out_by_the_consumer_protocol[since(4, 0)],
];

const RANGE: Properties<'static> =
    &[("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor")];
const COOPERATIVE: Properties<'static> = &[(
    "partition.assignment.strategy",
    "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
)];

async fn range_members_come_and_go(kafka: Kafka) {
    come_and_go(&kafka, RANGE).await;
}

async fn cooperative_members_come_and_go(kafka: Kafka) {
    come_and_go(&kafka, COOPERATIVE).await;
}

async fn members_of_the_consumer_protocol_come_and_go(kafka: Kafka) {
    come_and_go(&kafka, CONSUMER_PROTOCOL).await;
}

/// One by one, so that in a classic group ours lead it at first, then Java's, and then ours again.
async fn come_and_go(kafka: &Kafka, properties: Properties<'_>) {
    const PARTITIONS: usize = 6;
    let cluster = kafka.shared().await;
    let topic = kafka.topic(cluster, "come-and-go", PARTITIONS).await;
    let partitions = all_of(&topic, PARTITIONS);
    let mut team = Team::new(kafka, &cluster.bootstrap(), &topic, properties);
    let books = team.books.clone();
    let feeder = Feeder::start(&cluster.bootstrap(), &topic, PARTITIONS);

    let first = team.ours(&[]);
    books.until_complete(&partitions).await;
    let second = team.java(&[]).await;
    books.until_complete(&partitions).await;
    let third = team.ours(&[]);
    books.until_complete(&partitions).await;
    let fourth = team.java(&[]).await;
    books.until_complete(&partitions).await;
    for leaving in [first, second, third] {
        team.close(&leaving).await;
        books.until_complete(&partitions).await;
    }
    let last = team.ours(&[]);
    books.until_complete(&partitions).await;
    team.close(&fourth).await;
    books.until_complete(&partitions).await;
    let ends = feeder.stop().await;
    books.until_given(&ends).await;
    team.close(&last).await;

    books.audit_owners();
    books.audit_once(&ends);
    let committed = kafka.oracle().committed(&cluster.bootstrap(), &team.group).await.unwrap();
    let committed = committed.into_iter().map(|((topic, partition), committed)| {
        (TopicPartition::new(topic, partition), committed.offset)
    });
    assert!(committed.eq(ends), "not everything was committed");
}

async fn offsets_are_resumed_by_the_other(kafka: Kafka) {
    const ROUND: i64 = 50;
    let cluster = kafka.shared().await;
    let (bootstrap, oracle) = (cluster.bootstrap(), kafka.oracle());
    let topic = kafka.topic(cluster, "resumed", 1).await;
    let at = TopicPartition::new(&topic, 0);
    let write = async || {
        let records: Vec<_> = (0..ROUND as usize).map(|number| numbered(0, number)).collect();
        oracle.produce(&bootstrap, &topic, &records, &[]).await.unwrap();
    };
    let mut team = Team::new(&kafka, &bootstrap, &topic, RANGE);
    let books = team.books.clone();
    write().await;

    // What our group commits, Java's admin client sees as it was meant.
    let consumer = ours::reader(&bootstrap, &[("group.id", &team.group)]);
    let half = OffsetAndMetadata::new(ROUND / 2).with_leader_epoch(0).with_metadata("half\u{e9}");
    consumer.commit_offsets([(at.clone(), half.clone())]).await.unwrap();
    let committed = oracle.committed(&bootstrap, &team.group).await.unwrap();
    let metadata = half.metadata.clone();
    let expected = Committed { offset: ROUND / 2, leader_epoch: 0, metadata };
    assert_eq!(committed[&(topic.clone(), 0)], expected);
    assert_eq!(consumer.committed([at.clone()]).await.unwrap()[&at], Some(half));
    ours::close_reader(consumer).await;

    let java = team.java(&[]).await;
    books.until_beyond(&[(at.clone(), ROUND - 1)].into()).await;
    team.close(&java).await;
    assert_eq!(books.given(&at), (ROUND / 2..ROUND).collect::<Vec<_>>());

    write().await;
    let ours = team.ours(&[]);
    books.until_beyond(&[(at.clone(), 2 * ROUND - 1)].into()).await;
    team.close(&ours).await;
    assert_eq!(books.given(&at), (ROUND / 2..2 * ROUND).collect::<Vec<_>>());

    write().await;
    let java = team.java(&[]).await;
    books.until_beyond(&[(at.clone(), 3 * ROUND - 1)].into()).await;
    team.close(&java).await;
    assert_eq!(books.given(&at), (ROUND / 2..3 * ROUND).collect::<Vec<_>>());
}

/// And one that another takes the place of is told so.
async fn static_members_come_back_without_a_rebalance(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let topic = kafka.topic(cluster, "static", FIXED).await;
    let partitions = all_of(&topic, FIXED);
    let mut team = Team::new(&kafka, &cluster.bootstrap(), &topic, RANGE);
    let books = team.books.clone();
    let feeder = Feeder::start(&cluster.bootstrap(), &topic, FIXED);
    let (ours, java) = come_back(&mut team, &topic).await;

    let usurper = team.java(&[(INSTANCE, "a")]).await;
    books.until_left(&ours).await;
    let failure = books.take_failure(&ours).unwrap();
    assert!(failure.contains("FencedInstanceId"), "{failure}");
    books.until_complete(&partitions).await;
    let avenger = team.ours(&[(INSTANCE, "a")]);
    books.until_left(&usurper).await;
    let failure = books.take_failure(&usurper).unwrap();
    assert!(failure.contains("FencedInstanceIdException"), "{failure}");
    books.until_complete(&partitions).await;
    let ends = feeder.stop().await;
    books.until_given(&ends).await;
    for member in [avenger, java] {
        team.close(&member).await;
    }
}

/// And one that would take another's place is told that it is taken.
async fn static_members_of_the_consumer_protocol_come_back(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let topic = kafka.topic(cluster, "static", FIXED).await;
    let mut team = Team::new(&kafka, &cluster.bootstrap(), &topic, CONSUMER_PROTOCOL);
    let books = team.books.clone();
    let feeder = Feeder::start(&cluster.bootstrap(), &topic, FIXED);
    let (ours, java) = come_back(&mut team, &topic).await;

    let moves = (books.moves(&ours), books.moves(&java));
    let intruder = team.ours(&[(INSTANCE, "b")]);
    books.until_left(&intruder).await;
    let failure = books.take_failure(&intruder).unwrap();
    assert!(failure.contains("UnreleasedInstanceId"), "{failure}");
    let intruder = team.java(&[(INSTANCE, "a")]).await;
    books.until_left(&intruder).await;
    let failure = books.take_failure(&intruder).unwrap();
    assert!(failure.contains("UnreleasedInstanceIdException"), "{failure}");
    assert_eq!((books.moves(&ours), books.moves(&java)), moves, "somebody has seen a rebalance");
    let ends = feeder.stop().await;
    books.until_given(&ends).await;
    for member in [ours, java] {
        team.close(&member).await;
    }

    books.audit_owners();
    books.audit_once(&ends);
}

const INSTANCE: &str = "group.instance.id";
/// Partitions of the topic of static members.
const FIXED: usize = 4;

/// Two static members, ours and Java's, which each leave and come back twice, and have what they had. Their names.
async fn come_back(team: &mut Team<'_>, topic: &str) -> (String, String) {
    let partitions = all_of(topic, FIXED);
    let books = team.books.clone();
    let mut ours = team.ours(&[(INSTANCE, "a")]);
    books.until_complete(&partitions).await;
    let mut java = team.java(&[(INSTANCE, "b")]).await;
    books.until_complete(&partitions).await;
    for _ in 0..2 {
        let (owned, moves) = (books.owned(&ours), books.moves(&java));
        team.close(&ours).await;
        ours = team.ours(&[(INSTANCE, "a")]);
        books.until_owned(&ours, &owned).await;
        assert_eq!(books.moves(&java), moves, "Java's member has seen a rebalance");

        let (owned, moves) = (books.owned(&java), books.moves(&ours));
        team.close(&java).await;
        java = team.java(&[(INSTANCE, "b")]).await;
        books.until_owned(&java, &owned).await;
        assert_eq!(books.moves(&ours), moves, "our member has seen a rebalance");
    }
    (ours, java)
}

async fn a_pattern_takes_a_new_topic_in(kafka: Kafka) {
    pattern(&kafka, RANGE).await;
}

async fn a_pattern_of_the_consumer_protocol_takes_a_new_topic_in(kafka: Kafka) {
    pattern(&kafka, CONSUMER_PROTOCOL).await;
}

async fn pattern(kafka: &Kafka, properties: Properties<'_>) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let prefix = kafka.fresh("patterned");
    let other = kafka.topic(cluster, &format!("not-{prefix}"), 1).await;
    let first = kafka.topic(cluster, &format!("{prefix}-first"), 2).await;
    let mut team = Team::new(kafka, &bootstrap, &format!("^{prefix}-.*"), properties);
    let books = team.books.clone();
    let members = [team.ours(&[]), team.java(&[]).await];
    let mut partitions = all_of(&first, 2);
    books.until_complete(&partitions).await;

    let second = kafka.topic(cluster, &format!("{prefix}-second"), 2).await;
    partitions.extend(all_of(&second, 2));
    books.until_complete(&partitions).await;
    let mut ends = Vec::new();
    for (topic, partitions) in [(&other, 1), (&first, 2), (&second, 2)] {
        let records: Vec<_> = (0..40).map(|number| numbered(number % partitions, 0)).collect();
        let written = kafka.oracle().produce(&bootstrap, topic, &records, &[]).await.unwrap();
        ends.extend(
            written
                .into_iter()
                .map(|(partition, offset)| (TopicPartition::new(topic, partition), offset + 1)),
        );
    }
    let ends = ends.into_iter().filter(|(partition, _)| partition.topic != other).collect();
    books.until_given(&ends).await;
    for member in &members {
        team.close(member).await;
    }

    books.audit_owners();
    books.audit_once(&ends);
}

async fn new_partitions_are_shared_out(kafka: Kafka) {
    growth(&kafka, COOPERATIVE).await;
}

async fn new_partitions_are_shared_out_by_the_consumer_protocol(kafka: Kafka) {
    growth(&kafka, CONSUMER_PROTOCOL).await;
}

/// Our producer sees the new partitions, too.
async fn growth(kafka: &Kafka, properties: Properties<'_>) {
    const FROM: usize = 2;
    const TO: usize = 5;
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(cluster, "growing", FROM).await;
    let mut team = Team::new(kafka, &bootstrap, &topic, properties);
    let books = team.books.clone();
    let feeder = Feeder::start(&bootstrap, &topic, FROM);
    let members = [team.ours(&[]), team.java(&[]).await];
    books.until_complete(&all_of(&topic, FROM)).await;

    kafka.oracle().grow_topic(&bootstrap, &topic, TO).await.unwrap();
    books.until_complete(&all_of(&topic, TO)).await;
    feeder.grow(TO);
    let first = all_of(&topic, TO).into_iter().map(|partition| (partition, 0)).collect();
    books.until_beyond(&first).await;
    let ends = feeder.stop().await;
    assert_eq!(ends.len(), TO);
    books.until_given(&ends).await;
    for member in &members {
        team.close(member).await;
    }

    books.audit_owners();
    books.audit_once(&ends);
}
