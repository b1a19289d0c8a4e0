//! Offsets that transactions commit: AddOffsetsToTxn, TxnOffsetCommit, and what OffsetFetch tells meanwhile.

use super::groups::member;
use super::txn::{ID, Tx};
use crate::broker::testing::in_memory;
use crate::broker::{ApiKey, Fault};
use crate::error::ErrorCode;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use crate::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

const NONE: ErrorCode = ErrorCode::NONE;

impl Tx {
    /// A commit of offsets of `t` by nobody in particular.
    fn committing(&self, offsets: &[(i32, i64)]) -> TxnOffsetCommitRequest {
        let partitions = offsets.iter().map(|&(partition_index, committed_offset)| {
            TxnOffsetCommitRequestPartition {
                partition_index,
                committed_offset,
                ..Default::default()
            }
        });
        TxnOffsetCommitRequest {
            transactional_id: ID.to_owned(),
            group_id: "g".to_owned(),
            producer_id: self.own.id,
            producer_epoch: self.own.epoch,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: "t".to_owned(),
                partitions: partitions.collect(),
            }],
            ..Default::default()
        }
    }

    async fn commit(&mut self, request: &TxnOffsetCommitRequest, version: i16) -> Vec<ErrorCode> {
        let response = self.client.call(request, version).await;
        response.topics[0].partitions.iter().map(|partition| partition.error_code).collect()
    }

    async fn commit_offset(&mut self, offset: i64, version: i16) -> ErrorCode {
        let request = self.committing(&[(0, offset)]);
        self.commit(&request, version).await[0]
    }

    /// What the group has committed for `t-0`; all of its partitions are asked for if `all`.
    async fn offset(&mut self, stable: bool, all: bool) -> Result<Option<i64>, ErrorCode> {
        let asked = OffsetFetchRequestTopics {
            name: "t".to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: "g".to_owned(),
            topics: if all { None } else { Some(vec![asked]) },
            ..Default::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![group],
            require_stable: stable,
            ..Default::default()
        };
        let response = self.client.call(&request, 9).await;
        let Some(topic) = response.groups[0].topics.first() else { return Ok(None) };
        let partition = &topic.partitions[0];
        let offset = Some(partition.committed_offset).filter(|&offset| offset >= 0);
        if partition.error_code.is_ok() { Ok(offset) } else { Err(partition.error_code) }
    }
}

#[tokio::test]
async fn with_version_1_the_group_is_added_first_and_its_offsets_count_after_the_commit() {
    let mut tx = Tx::begin(in_memory().transaction_version(1)).await;
    assert_eq!(tx.commit_offset(5, 3).await, ErrorCode::INVALID_TXN_STATE);
    assert_eq!(tx.commit_offset(5, 4).await, ErrorCode::TRANSACTION_ABORTABLE);
    assert_eq!(tx.add_offsets("g", 3).await, NONE);
    assert_eq!(tx.add_offsets("g", 3).await, NONE, "again");
    assert!(tx.cluster.transaction(ID).unwrap().groups.contains("g"));
    assert_eq!(tx.commit_offset(5, 3).await, NONE);
    let unstable = Err(ErrorCode::UNSTABLE_OFFSET_COMMIT);
    assert_eq!(tx.offset(false, false).await, Ok(None));
    assert_eq!(tx.offset(true, false).await, unstable);
    tx.end(true, 4).await.unwrap();
    for (stable, all) in [(false, false), (true, false), (true, true)] {
        assert_eq!(tx.offset(stable, all).await, Ok(Some(5)), "{stable} {all}");
    }
    tx.add_offsets("g", 0).await;
    assert_eq!(tx.commit_offset(9, 0).await, NONE, "without a member, as of old");
    assert_eq!(tx.offset(true, true).await, unstable);
    assert_eq!(tx.offset(false, true).await, Ok(Some(5)));
    tx.end(false, 4).await.unwrap();
    assert_eq!(tx.offset(true, false).await, Ok(Some(5)), "what is aborted is forgotten");
}

#[tokio::test]
async fn with_version_2_the_commit_itself_adds_the_group() {
    let mut tx = Tx::begin(in_memory()).await;
    assert_eq!(tx.commit_offset(5, 5).await, NONE);
    assert!(tx.cluster.transaction(ID).unwrap().groups.contains("g"));
    let zombie = tx.own;
    tx.own = tx.end(true, 5).await.unwrap();
    assert_eq!(tx.offset(true, false).await, Ok(Some(5)));
    let now = std::mem::replace(&mut tx.own, zombie);
    assert_eq!(tx.commit_offset(6, 5).await, ErrorCode::INVALID_PRODUCER_EPOCH);
    tx.own.id = 9;
    assert_eq!(tx.commit_offset(6, 5).await, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    tx.own = now;
    assert_eq!(tx.commit_offset(6, 5).await, NONE);
}

#[tokio::test]
async fn each_partition_has_its_answer_and_faults_strike() {
    let mut tx = Tx::begin(in_memory()).await;
    let request = tx.committing(&[(0, 1), (7, 1)]);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(tx.commit(&request, 5).await, [NONE, unknown]);
    let mut long = tx.committing(&[(0, 1), (1, 1)]);
    long.topics[0].partitions[1].committed_metadata = Some("x".repeat(5000));
    assert_eq!(tx.commit(&long, 5).await, [NONE, ErrorCode::OFFSET_METADATA_TOO_LARGE]);
    let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    tx.cluster.inject(Fault::error(ApiKey::TXN_OFFSET_COMMIT, loading));
    assert_eq!(tx.commit(&request, 5).await, [loading; 2]);
    tx.cluster.inject(Fault::error(ApiKey::TXN_OFFSET_COMMIT, loading).on_partition("t", 0));
    assert_eq!(tx.commit(&request, 5).await, [loading, unknown]);
    let nameless = TxnOffsetCommitRequest { group_id: String::new(), ..request };
    assert_eq!(tx.commit(&nameless, 5).await, [ErrorCode::INVALID_GROUP_ID, unknown]);
    let nowhere = tx.committing(&[(7, 1)]);
    let nowhere = TxnOffsetCommitRequest { producer_epoch: 9, ..nowhere };
    assert_eq!(tx.commit(&nowhere, 5).await, [unknown], "the coordinator is not asked");
}

#[tokio::test]
async fn a_member_commits_in_its_generation() {
    let mut tx = Tx::begin(in_memory()).await;
    let (_connection, joined) = member(&tx.cluster).await;
    let (member_id, generation_id) = (joined.member_id, joined.generation_id);
    let member = TxnOffsetCommitRequest { member_id, generation_id, ..tx.committing(&[(0, 4)]) };
    let stranger = TxnOffsetCommitRequest { member_id: "who".to_owned(), ..member.clone() };
    let older = TxnOffsetCommitRequest { generation_id: generation_id - 1, ..member.clone() };
    let unnamed = tx.committing(&[(0, 4)]);
    let instance =
        TxnOffsetCommitRequest { group_instance_id: Some("i".to_owned()), ..member.clone() };
    let nowhere = TxnOffsetCommitRequest { group_id: "none".to_owned(), ..member.clone() };
    for (what, request, expected) in [
        ("itself", &member, NONE),
        ("a stranger", &stranger, ErrorCode::UNKNOWN_MEMBER_ID),
        ("of before", &older, ErrorCode::ILLEGAL_GENERATION),
        ("a client that does not say", &unnamed, NONE),
        ("no such static member", &instance, ErrorCode::UNKNOWN_MEMBER_ID),
        ("no such group", &nowhere, ErrorCode::ILLEGAL_GENERATION),
    ] {
        assert_eq!(tx.commit(request, 5).await, [expected], "{what}");
    }
}
