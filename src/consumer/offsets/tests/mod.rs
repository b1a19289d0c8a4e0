//! The machine by events; the world around it is played by hand, and by chance in `random`.

mod commits;
mod lookups;
mod random;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::error::{DisconnectReason, Peer};
use crate::protocol::messages::offset_commit::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;
const NODE: BrokerId = BrokerId(7);

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn offsets(of: &[(i32, i64)]) -> OffsetMap {
    of.iter().map(|(partition, offset)| (tp(*partition), OffsetAndMetadata::new(*offset))).collect()
}

fn member(generation: i32) -> CommitAs {
    CommitAs::Committer(ConsumerGroupMetadata {
        group_id: "billing".to_owned(),
        generation_id: generation,
        member_id: "member-1".to_owned(),
        group_instance_id: Some("host-1".to_owned()),
    })
}

/// The group only stores offsets.
fn standalone() -> CommitAs {
    CommitAs::Committer(ConsumerGroupMetadata::no_member("billing"))
}

fn lost(maybe_written: bool) -> ClientError {
    ClientError::Disconnected {
        peer: Peer::new(Some(NODE), "host", 9092),
        reason: DisconnectReason::ClosedByPeer,
        maybe_written,
    }
}

/// An answer to a commit, by partition.
fn response(commit: &Commit, code: impl Fn(&str, i32) -> ErrorCode) -> OffsetCommitResponse {
    let topics = commit.at(9).topics.into_iter().map(|topic| OffsetCommitResponseTopic {
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code(&topic.name, partition.partition_index),
            })
            .collect(),
        name: topic.name,
        topic_id: TopicId::ZERO,
    });
    OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
}

/// The offsets in a commit, by partition.
fn contents(commit: &Commit) -> Vec<(i32, i64)> {
    let topics = commit.at(9).topics;
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|p| (p.partition_index, p.committed_offset)).collect()
}

/// What the actions of some polls came to.
#[derive(Default)]
struct Seen {
    commits: Vec<(u64, Commit)>,
    fetches: Vec<(u64, Fetch)>,
    ended: BTreeMap<CommitId, Result<(), CommitError>>,
    found: BTreeMap<LookupId, Result<Committed, ClientError>>,
    finds: usize,
    lost: Vec<u64>,
    heard: Vec<u64>,
    refused: Vec<ErrorCode>,
    refreshes: usize,
}

struct Bench {
    offsets: Offsets,
    view: View,
    now: Instant,
}

impl Bench {
    fn new(protocol: GroupProtocol) -> Self {
        let config = OffsetsConfig {
            group_id: "billing".to_owned(),
            protocol,
            backoff: Backoff::new(MS(100), MS(1000)),
        };
        let view = View {
            coordinator: Some(Located { broker: NODE, version: 1 }),
            refused: None,
            commit_as: member(3),
        };
        Self { offsets: Offsets::new(config, 5), view, now: Instant::now() }
    }

    fn classic() -> Self {
        Self::new(GroupProtocol::Classic)
    }

    fn try_commit(&mut self, of: &[(i32, i64)]) -> Result<CommitId, CommitError> {
        let times = (self.now, self.now + MS(60_000));
        self.offsets.commit(offsets(of), CommitKind::Sync, &self.view.commit_as, |_| None, times)
    }

    fn commit(&mut self, of: &[(i32, i64)]) -> CommitId {
        self.try_commit(of).unwrap()
    }

    fn lookup(&mut self, partitions: &[i32]) -> LookupId {
        let partitions = partitions.iter().map(|partition| tp(*partition)).collect();
        self.offsets.lookup(partitions, |_| None, self.now + MS(60_000))
    }

    fn poll(&mut self) -> Seen {
        let actions = self.offsets.poll(&self.view, self.now);
        let next = self.offsets.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "it would be polled without end");
        self.see(actions)
    }

    fn see(&self, actions: Vec<Action>) -> Seen {
        let mut seen = Seen::default();
        for action in actions {
            match action {
                Action::Send { token, to, request } => {
                    assert_eq!(Some(to), self.view.coordinator.map(|at| at.broker));
                    match request {
                        OffsetsRequest::Commit(commit) => seen.commits.push((token, commit)),
                        OffsetsRequest::Fetch(fetch) => seen.fetches.push((token, fetch)),
                    }
                }
                Action::FindCoordinator => seen.finds += 1,
                Action::CoordinatorLost { version } => seen.lost.push(version),
                Action::CoordinatorHeard { version } => seen.heard.push(version),
                Action::MemberRefused { code, committer } => {
                    assert_eq!(CommitAs::Committer(committer), self.view.commit_as);
                    seen.refused.push(code);
                }
                Action::RefreshMetadata => seen.refreshes += 1,
                Action::Ended(Ended { id, kind, offsets, result }) => {
                    assert!(kind != CommitKind::Sync || offsets.len() <= 4);
                    assert!(seen.ended.insert(id, result).is_none(), "{id:?} ended twice");
                }
                Action::Found { id, result } => {
                    assert!(seen.found.insert(id, result).is_none(), "{id:?} ended twice");
                }
            }
        }
        seen
    }

    /// The commit that is sent now.
    fn sent(&mut self) -> (u64, Commit) {
        let mut seen = self.poll();
        assert_eq!(seen.commits.len(), 1);
        seen.commits.remove(0)
    }

    fn answer(&mut self, (token, commit): &(u64, Commit), code: ErrorCode) {
        self.answer_each((*token, commit), |_| code);
    }

    fn answer_each(&mut self, (token, commit): (u64, &Commit), code: impl Fn(i32) -> ErrorCode) {
        let response = response(commit, |_, partition| code(partition));
        self.offsets.handle_commit(token, Ok(response), &self.view, self.now);
    }

    fn fail(&mut self, token: u64, error: ClientError) {
        self.offsets.handle_commit(token, Err(error), &self.view, self.now);
    }

    /// Past every pause.
    fn pause(&mut self) {
        self.now += MS(1000);
    }
}
