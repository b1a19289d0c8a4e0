//! What our producers commit and abort, one transaction within the other and with plain records between them, is what
//! Kafka's own consumer reads, and ours, by either isolation level.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::writers;
use crate::consumers::isolation::{
    COMMITTED, IN_SMALL_PARTS, PARTITIONS, Script, UNCOMMITTED, create, ids, number, read_alike,
    until_stable,
};
use crate::runner::Kafka;

tests![java_reads_what_ours_committed];

const SEED: u64 = 6;
const RECORDS: usize = 300;

async fn java_reads_what_ours_committed(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = &cluster.bootstrap();
    let topic = &create(&kafka, cluster, "ours-transactions", &[]).await;
    let partitions = PARTITIONS as i32;
    let script = &Script::random(&mut Rng::with_seed(SEED), RECORDS, partitions);
    let all: BTreeSet<usize> = (0..script.records.len()).collect();
    assert!(script.aborted.len() > RECORDS / 8, "{} are aborted", script.aborted.len());

    writers::run(script, bootstrap, topic, &ids(&kafka), async |placed| {
        until_stable(&kafka, bootstrap, topic, Some(&script.open)).await;
        let read = read_alike(&kafka, bootstrap, topic, partitions, UNCOMMITTED).await;
        assert_eq!(read, all);
        // Each is where its producer was told that it is.
        for partition in 0..partitions {
            let java = kafka.oracle().consume(bootstrap, topic, partition, 0, UNCOMMITTED).await;
            for stored in java.unwrap() {
                let told = placed[&number(&stored.record)];
                assert_eq!(told, (stored.record.partition, stored.offset));
            }
        }
        // The open transaction hides what is committed behind its first record, and nothing before.
        let stable = read_alike(&kafka, bootstrap, topic, partitions, COMMITTED).await;
        assert!(stable.is_disjoint(&script.aborted) && stable.is_disjoint(&script.open));
        let first_open = *script.open.first().unwrap();
        let before = all.range(..first_open).copied().collect::<BTreeSet<_>>();
        assert!(stable.is_superset(&(&before - &script.aborted)));
    })
    .await;

    until_stable(&kafka, bootstrap, topic, None).await;
    for properties in [COMMITTED, IN_SMALL_PARTS] {
        let read = read_alike(&kafka, bootstrap, topic, partitions, properties).await;
        assert_eq!(read, &all - &script.aborted, "{properties:?}");
    }
}
