//! Coordinators and leaders that move, or whose nodes stop, while a request is on its way, or its answer: those of a
//! producer that begins, and each one of a transaction.

use milena::broker::{ApiKey, Cluster, Fault};
use milena::{
    BrokerId, ConsumerGroupMetadata, OffsetAndMetadata, TransactionError, TransactionalProducer,
};

use super::moves::{BLOWS, Blow, strike};
use super::stage::{ID, VERSIONS, all_committed, cluster, producer, put, to};
use crate::support::{SECOND, tp};

/// What is held back when the blow falls: the next request of an API, or what is answered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Request(ApiKey),
    Answer(ApiKey),
}

impl Held {
    fn api(self) -> ApiKey {
        let (Self::Request(api) | Self::Answer(api)) = self;
        api
    }

    /// The request that a transaction of version 1 has to have made before.
    fn after(self) -> Option<ApiKey> {
        match self.api() {
            ApiKey::PRODUCE => Some(ApiKey::ADD_PARTITIONS_TO_TXN),
            ApiKey::TXN_OFFSET_COMMIT => Some(ApiKey::ADD_OFFSETS_TO_TXN),
            _ => None,
        }
    }
}

use Held::{Answer, Request};

/// Does something, with a blow in the midst of it. Gives the node that was stopped.
async fn struck<T>(
    cluster: &Cluster,
    held: Held,
    blow: Blow,
    work: impl Future<Output = T>,
) -> (T, Option<BrokerId>) {
    let before = cluster.requests(held.api());
    cluster.inject(match held {
        Request(api) => Fault::delay_request(api, SECOND),
        Answer(api) => Fault::delay_response(api, SECOND),
    });
    let meanwhile = async {
        cluster.received(held.api(), before + 1).await;
        // By then it is applied, if it is the answer that is held back.
        tokio::time::sleep(SECOND / 2).await;
        strike(cluster, blow).await
    };
    let done = tokio::join!(work, meanwhile);
    assert_eq!(cluster.pending_faults(), 0, "{held:?}");
    done
}

const OF_BEGINNING: [Held; 4] = [
    Request(ApiKey::FIND_COORDINATOR),
    Answer(ApiKey::FIND_COORDINATOR),
    Request(ApiKey::INIT_PRODUCER_ID),
    Answer(ApiKey::INIT_PRODUCER_ID),
];

/// With a transaction that the one before has left open, and without.
#[tokio::test(start_paused = true)]
async fn a_blow_while_a_producer_begins() {
    for version in VERSIONS {
        for blow in BLOWS {
            for held in OF_BEGINNING {
                for left_open in [false, true] {
                    begins(version, blow, held, left_open).await;
                }
            }
        }
    }
}

async fn begins(version: i16, blow: Blow, held: Held, left_open: bool) {
    let context = format!("version {version}, {blow:?}, {held:?}, left open: {left_open}");
    let cluster = cluster(version, |it| it.nodes(3)).await;
    let properties = [("request.timeout.ms", "5000")];
    let mut elder = if left_open { Some(producer(&cluster, &properties).await) } else { None };
    let left = match &mut elder {
        Some(elder) => {
            let left = elder.begin().await.unwrap();
            for partition in 0..3 {
                left.send_and_wait(&to("a", partition, "void")).await.unwrap();
            }
            let offsets = [(tp("b", 0), OffsetAndMetadata::new(7))];
            left.send_offsets(&ConsumerGroupMetadata::no_member("g"), offsets).await.unwrap();
            Some(left)
        }
        None => None,
    };
    let epoch = cluster.transaction(ID).map(|it| it.producer.epoch);

    let begun = struck(&cluster, held, blow, producer(&cluster, &properties)).await;
    let (mut producer, stopped) = begun;

    let now = cluster.transaction(ID).unwrap().producer.epoch;
    assert!(epoch.is_none_or(|before| before < now), "{context}: {epoch:?}, then {now}");
    let transaction = producer.begin().await.unwrap();
    for partition in 0..3 {
        put(&transaction, "a", partition, "next").await;
    }
    transaction.commit().await.unwrap();
    if let Some(left) = left {
        let told = left.commit().await.unwrap_err();
        assert!(matches!(told, TransactionError::Fatal(_)), "{context}: {told}");
    }
    if let Some(node) = stopped {
        cluster.restart_node(node).await.unwrap();
    }
    assert_eq!(all_committed(&cluster, "a").await, ["next"; 3], "{context}");
    let offsets = cluster.group("g").map(|group| group.offsets).unwrap_or_default();
    assert!(offsets.is_empty(), "{context}: {offsets:?}");
}

/// Those of a transaction, in their order; the first and the third there are in version 1 only.
const OF_A_TRANSACTION: [ApiKey; 5] = [
    ApiKey::ADD_PARTITIONS_TO_TXN,
    ApiKey::PRODUCE,
    ApiKey::ADD_OFFSETS_TO_TXN,
    ApiKey::TXN_OFFSET_COMMIT,
    ApiKey::END_TXN,
];

/// Between AddPartitionsToTxn and Produce, and between AddOffsetsToTxn and TxnOffsetCommit, among others.
#[tokio::test(start_paused = true)]
async fn a_blow_between_each_pair_of_requests() {
    for version in VERSIONS {
        let apis = OF_A_TRANSACTION.iter().copied();
        let adds = [ApiKey::ADD_PARTITIONS_TO_TXN, ApiKey::ADD_OFFSETS_TO_TXN];
        let apis = apis.filter(|api| version == 1 || !adds.contains(api));
        let places: Vec<Held> = apis.flat_map(|api| [Request(api), Answer(api)]).collect();
        for blow in BLOWS {
            let cluster = cluster(version, |it| it.nodes(3)).await;
            let mut producer = producer(&cluster, &[("request.timeout.ms", "5000")]).await;
            let (mut expected, mut offset) = (Vec::new(), 0);
            for (number, &held) in places.iter().enumerate() {
                let context = format!("version {version}, {blow:?}, {held:?}");
                for commits in [true, false] {
                    let before = held.after().map(|api| cluster.requests(api));
                    let name = format!("{number} {commits}");
                    let work = transact(&mut producer, &name, offset + 1, commits);
                    let (ended, stopped) = struck(&cluster, held, blow, work).await;
                    ended.unwrap_or_else(|error| panic!("{context}, commits {commits}: {error}"));
                    let after = held.after().map(|api| cluster.requests(api));
                    assert!(version == 2 || held.after().is_none() || before < after, "{context}");
                    if commits {
                        offset += 1;
                        expected.extend(["one", "three", "two"].map(|it| format!("{name} {it}")));
                    }
                    if let Some(node) = stopped {
                        cluster.restart_node(node).await.unwrap();
                    }
                }
                assert_eq!(all_committed(&cluster, "a").await, expected, "{context}");
                let committed = cluster.group("g").unwrap().offsets[&tp("b", 0)].offset;
                assert_eq!(committed, offset, "{context}");
            }
        }
    }
}

/// The first Produce is to the leader that is struck, and the only one so far.
async fn transact(
    producer: &mut TransactionalProducer,
    name: &str,
    offset: i64,
    commits: bool,
) -> Result<(), TransactionError> {
    let transaction = producer.begin().await?;
    transaction.send_and_wait(&to("a", 0, &format!("{name} one"))).await.unwrap();
    put(&transaction, "a", 1, &format!("{name} two")).await;
    let offsets = [(tp("b", 0), OffsetAndMetadata::new(offset))];
    transaction.send_offsets(&ConsumerGroupMetadata::no_member("g"), offsets).await?;
    put(&transaction, "a", 0, &format!("{name} three")).await;
    transaction.flush().await;
    if commits { transaction.commit().await } else { transaction.abort().await }
}
