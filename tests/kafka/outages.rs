//! What a user's producer goes through with a cluster of three: leaders killed one after the other, too few replicas in
//! sync, a topic that is deleted and made again. Kafka's own consumer reads what is in the log in the end.

use std::collections::BTreeMap;
use std::pin::pin;

use milena::{Cause, DeliveryErrorKind, ErrorCode, Persistence, Producer};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::ledger::{End, Fate, Ledger};
use crate::oracle::{PartitionInfo, SkimmedRecord};
use crate::ours;
use crate::runner::Kafka;

tests![
    each_leader_killed_in_turn,
    too_few_replicas_and_enough_again,
    a_topic_deleted_and_made_again,
];

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// 200,000 keyed records, with five requests in flight. Each kill falls into the midst of the sending, and the next one
/// waits until every replica is in sync again.
async fn each_leader_killed_in_turn(kafka: Kafka) {
    const RECORDS: usize = 200_000;
    const PARTITIONS: i32 = 6;
    const ROUND: usize = RECORDS / 4;
    let mut cluster = kafka.trio().await;
    let topic = kafka.topic(&cluster, "killed-in-turn", PARTITIONS as usize).await;
    let properties = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("max.in.flight.requests.per.connection", "5"),
    ];
    let producer = ours::producer(&cluster.bootstrap(), &properties);
    let ledger = Ledger::new(&topic, 20);
    let (allow, allowed) = watch::channel(0);
    let kills = async {
        let mut left = cluster.ids();
        for round in 0..3 {
            let partitions = whole(&kafka, &mut cluster, &topic).await;
            let mut leaders = partitions.iter().map(|partition| partition.leader);
            let leader = leaders.find(|leader| left.contains(leader));
            let leader = leader.unwrap_or_else(|| panic!("none of {left:?} leads: {partitions:?}"));
            left.retain(|&id| id != leader);
            // Half a round is out or on its way by then, the other half is sent into the failure.
            let start = round * ROUND;
            allow.send_replace(start + ROUND);
            ledger.until_ended(start + ROUND / 2, PATIENCE).await;
            cluster.kill(leader).await.unwrap();
            assert!(ledger.ended() < start + ROUND, "nothing was left to be sent into the failure");
            cluster.restart(leader).await.unwrap();
        }
        whole(&kafka, &mut cluster, &topic).await;
        allow.send_replace(RECORDS);
    };
    tokio::join!(send_keyed(&producer, &ledger, RECORDS, allowed), kills);

    ours::close(producer).await;
    let ends = ledger.ends();
    let failed = ends.iter().find(|end| end.result.is_err());
    assert!(ends.len() == RECORDS && failed.is_none(), "{} ended, {failed:?}", ends.len());
    ledger.audit(kafka.oracle(), &cluster.bootstrap(), PARTITIONS, End::fate).await;
    let first = kafka.oracle().skim(&cluster.bootstrap(), &topic, 0).await.unwrap();
    assert!(first.iter().all(|record| record.key.as_deref() == Some(&key_of(record))));
    // And once more as a user would look at it: each record once, where it was said to be, under its key.
    let seen = kafka.release().console_keys(&cluster.bootstrap(), &topic, RECORDS).await.unwrap();
    let told: BTreeMap<_, _> = ends.iter().map(placed).collect();
    let seen = seen.into_iter().map(|(partition, offset, key)| ((partition, offset), key));
    let seen: BTreeMap<_, _> = seen.collect();
    let first = told.iter().find(|(at, key)| seen.get(at) != Some(key));
    assert!(first.is_none(), "{first:?} of {} is not what {} are", told.len(), seen.len());
    delete(&kafka, &cluster, &topic).await;
}

/// Where an acknowledged record is, and its key.
fn placed(end: &End) -> ((i32, i64), String) {
    let metadata = end.result.as_ref().unwrap();
    let key = String::from_utf8(key(end.number)).unwrap();
    ((metadata.partition(), metadata.offset().unwrap()), key)
}

const KEYS: usize = 997;

async fn send_keyed(
    producer: &Producer,
    ledger: &Ledger,
    records: usize,
    mut allowed: watch::Receiver<usize>,
) {
    for number in 0..records {
        allowed.wait_for(|allowed| *allowed > number).await.unwrap();
        ledger.send(producer, Some(&key(number))).await.unwrap();
    }
}

fn key(number: usize) -> Vec<u8> {
    format!("key {}", number % KEYS).into_bytes()
}

fn key_of(record: &SkimmedRecord) -> Vec<u8> {
    let head: [u8; 8] = record.head.as_slice().try_into().unwrap();
    key(usize::try_from(u64::from_be_bytes(head)).unwrap())
}

/// Waits until every partition has a leader and all its replicas in sync.
pub(crate) async fn whole(kafka: &Kafka, cluster: &mut Cluster, topic: &str) -> Vec<PartitionInfo> {
    let in_sync = |partition: &PartitionInfo| partition.leader > 0 && partition.isr.len() == 3;
    let all = |partitions: &[PartitionInfo]| partitions.iter().all(in_sync);
    let bootstrap = cluster.bootstrap();
    let mut told = pin!(kafka.oracle().topic_becomes(&bootstrap, topic, all));
    loop {
        if let Ok(told) = timeout(LOOK_EVERY, &mut told).await {
            return told.unwrap();
        }
        // A node that has died of what it is known to die of says so in its log only.
        cluster.revive().await.unwrap();
    }
}

async fn delete(kafka: &Kafka, cluster: &Cluster, topic: &str) {
    kafka.oracle().delete_topic(&cluster.bootstrap(), topic).await.unwrap();
}

/// Two of three nodes are stopped, and the third takes nothing with `min.insync.replicas=2`. Who waits long enough gets
/// everything written; who does not is told what it was that failed, and that nothing was written.
async fn too_few_replicas_and_enough_again(kafka: Kafka) {
    const ROUND: usize = 300;
    let mut cluster = kafka.trio().await;
    let topic = kafka.topic(&cluster, "too-few", 3).await;
    let bootstrap = cluster.bootstrap();
    whole(&kafka, &mut cluster, &topic).await;
    // One batch for each partition, and hardly an attempt under way when the time is over.
    let hasty = [
        ("linger.ms", "200"),
        ("request.timeout.ms", "2000"),
        ("delivery.timeout.ms", "3000"),
        ("retry.backoff.ms", "2000"),
        ("retry.backoff.max.ms", "2000"),
    ];
    let twice = [("linger.ms", "200"), ("retries", "1"), ("retry.backoff.ms", "10")];
    let patient = ours::producer(&bootstrap, &[]);
    let hasty = ours::producer(&bootstrap, &hasty);
    let twice = ours::producer(&bootstrap, &twice);
    let ledger = Ledger::new(&topic, 100);
    let round = async |producer: &Producer| {
        for _ in 0..ROUND {
            ledger.send(producer, Some(&key(ledger.sent()))).await.unwrap();
        }
    };
    // They have their producer ids before the controllers lose their quorum.
    for producer in [&patient, &hasty, &twice] {
        round(producer).await;
        ledger.until_all_ended(PATIENCE).await;
    }

    cluster.stop(2).await.unwrap();
    cluster.stop(3).await.unwrap();
    let alone = |partition: &PartitionInfo| partition.isr == [1] && partition.leader == 1;
    let all_alone = |partitions: &[PartitionInfo]| partitions.iter().all(alone);
    let first = cluster.address(1).unwrap();
    kafka.oracle().topic_becomes(&first, &topic, all_alone).await.unwrap();
    round(&hasty).await;
    round(&twice).await;
    ledger.until_ended(5 * ROUND, PATIENCE).await;
    let waiting = ledger.sent();
    round(&patient).await;
    // It is refused again and again all this time, and must not give up: there is no event to wait for.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ledger.ended(), waiting, "a record ended that no broker can have taken");
    cluster.restart_all(&[2, 3]).await.unwrap();
    ledger.until_all_ended(PATIENCE).await;

    for producer in [patient, hasty, twice] {
        ours::close(producer).await;
    }
    for End { number, result, .. } in ledger.ends() {
        match (number / ROUND, result) {
            (0..=2 | 5, Ok(_)) => {}
            (3, Err(error)) => {
                assert!(matches!(error.kind(), DeliveryErrorKind::TimedOut { .. }), "{error}");
                let last = error.last_error();
                let too_few =
                    matches!(last, Some(Cause::Broker(ErrorCode::NOT_ENOUGH_REPLICAS, _)));
                assert!(too_few && error.attempts() >= 2, "{error}");
                assert_eq!(error.persistence(), Persistence::NotWritten, "{error}");
                assert!(error.to_string().contains("NOT_ENOUGH_REPLICAS"), "{error}");
            }
            (4, Err(error)) => {
                let refused = DeliveryErrorKind::Refused(ErrorCode::NOT_ENOUGH_REPLICAS);
                assert_eq!((error.kind(), error.attempts()), (&refused, 2), "{error}");
                assert_eq!(error.persistence(), Persistence::NotWritten, "{error}");
            }
            (_, result) => panic!("record {number} ended with {result:?}"),
        }
    }
    whole(&kafka, &mut cluster, &topic).await;
    ledger.audit(kafka.oracle(), &cluster.bootstrap(), 3, End::fate).await;
}

/// The producer knows nothing of it: it sends to the name all the time.
async fn a_topic_deleted_and_made_again(kafka: Kafka) {
    const PARTITIONS: i32 = 3;
    const ROUND: usize = 2000;
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let oracle = kafka.oracle();
    let topic = kafka.topic(cluster, "made-again", PARTITIONS as usize).await;
    let properties = [("request.timeout.ms", "5000"), ("delivery.timeout.ms", "60000")];
    let producer = ours::producer(&bootstrap, &properties);
    let ledger = Ledger::new(&topic, 50);
    let (stop, stopped) = watch::channel(false);
    let send = async {
        while !*stopped.borrow() {
            for _ in 0..20 {
                ledger.send(&producer, None).await.unwrap();
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    let make_again = async {
        ledger.until_ended(ROUND, PATIENCE).await;
        oracle.delete_topic(&bootstrap, &topic).await.unwrap();
        // What the old topic acknowledged is told by now: nothing ends while there is no topic.
        let mut before = 0;
        while before != ledger.ended() {
            before = ledger.ended();
            sleep(Duration::from_millis(300)).await;
        }
        let made = (Instant::now(), ledger.sent());
        oracle.create_topic(&bootstrap, &topic, PARTITIONS as usize, 1, &[]).await.unwrap();
        // At least one that was accepted when the new topic was there is acknowledged, and many more.
        ledger.until_ended(ledger.sent() + ROUND, PATIENCE).await;
        stop.send_replace(true);
        made
    };
    let ((), (made_at, sent_before)) = tokio::join!(send, make_again);

    ledger.until_all_ended(PATIENCE).await;
    ours::close(producer).await;
    let ends = ledger.ends();
    let of_old = |end: &End| end.at < made_at;
    assert!(ends.iter().filter(|end| of_old(end)).all(|end| end.number < sent_before));
    let failed = ends.iter().filter(|end| end.result.is_err()).count();
    let to_new = ends.iter().filter(|end| !of_old(end) && end.result.is_ok()).count();
    assert!(
        to_new >= ROUND,
        "{to_new} records were acknowledged by the new topic, {failed} failed"
    );
    let fate = |end: &End| if of_old(end) { Fate::Absent } else { end.fate() };
    ledger.audit(oracle, &bootstrap, PARTITIONS, fate).await;
}
