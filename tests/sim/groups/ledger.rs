//! What the members of a group, the wire and the cluster tell, in the order in which it happened. It judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use milena::broker::Cluster;
use milena::protocol::header::RequestHeader;
use milena::protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use milena::protocol::messages::heartbeat::HeartbeatRequest;
use milena::protocol::messages::offset_commit::OffsetCommitRequest;
use milena::protocol::{ApiKey, Message, Reader};
use milena::{ConsumerHandle, RebalanceListener, TopicPartition};
use parking_lot::Mutex;

use super::setting::{GROUP, TOPICS};
use crate::history::{Journal, now};

/// From this version of OffsetCommit on topics are named by id.
const BY_ID_FROM: i16 = 10;

/// A consumer: the one of its slot that came after so many others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    pub(super) slot: usize,
    pub(super) turn: usize,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member-{}.{}", self.slot, self.turn)
    }
}

/// Offsets by partition.
pub(super) type Offsets = BTreeMap<TopicPartition, i64>;

/// Something that happened.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A listener was told of an assignment: what is new, and all that the consumer says it has.
    Assigned {
        generation: i32,
        added: Vec<TopicPartition>,
        all: BTreeSet<TopicPartition>,
    },
    /// A listener is about to be told that these are not its any more.
    GivesUp {
        lost: bool,
        partitions: Vec<TopicPartition>,
    },
    /// A poll handed out these offsets with these values.
    Handed(Vec<(TopicPartition, i64, u64)>),
    /// What was handed out is done: the member is about to ask for more, to commit, or to leave.
    Done,
    Sought(TopicPartition, i64),
    /// What a consumer says of its positions, after a poll.
    Positions(Offsets),
    /// A commit was begun, and ended as it was told; `begun` counts the events before it.
    Committed {
        begun: usize,
        offsets: Offsets,
        fate: Fate,
    },
    /// It did not poll for longer than it may.
    Stalled,
    /// An OffsetCommit left.
    Sent {
        generation: i32,
        offsets: Offsets,
    },
    /// A heartbeat left, of a member of this generation or epoch.
    Beat {
        generation: i32,
    },
    /// It crashed, or was closed.
    Ended(&'static str),
    /// What the group has committed, after it has changed.
    Stored {
        generation: i32,
        partition: TopicPartition,
        offset: i64,
    },
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    Not,
    Unknown,
}

/// What a member says it has, and where it is.
pub(super) type View = BTreeMap<TopicPartition, Option<i64>>;

#[derive(Default)]
struct Inner {
    events: Vec<(Duration, Option<Who>, Event)>,
    views: BTreeMap<Who, View>,
    stored: Offsets,
    over: bool,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Ledger {
    journal: Journal,
    inner: Arc<Mutex<Inner>>,
}

impl Ledger {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, inner: Arc::default() }
    }

    /// Notes what a member tells; how many events were before it.
    pub(super) fn tell(&self, who: Who, event: Event) -> usize {
        if !matches!(event, Event::Beat { .. } | Event::Positions(_) | Event::Done) {
            self.journal.note(format_args!("{who}: {}", short(&event)));
        }
        let mut inner = self.inner.lock();
        inner.events.push((now(), Some(who), event));
        inner.events.len() - 1
    }

    pub(super) fn count(&self) -> usize {
        self.inner.lock().events.len()
    }

    pub(super) fn events(&self) -> Vec<(Duration, Option<Who>, Event)> {
        self.inner.lock().events.clone()
    }

    /// What a member has to say for the end of the run; `None` if it is gone.
    pub(super) fn show(&self, who: Who, view: Option<View>) {
        let mut inner = self.inner.lock();
        match view {
            Some(view) => drop(inner.views.insert(who, view)),
            None => drop(inner.views.remove(&who)),
        }
    }

    pub(super) fn views(&self) -> BTreeMap<Who, View> {
        self.inner.lock().views.clone()
    }

    /// What the group has committed.
    pub(super) fn stored(&self) -> Offsets {
        self.inner.lock().stored.clone()
    }

    /// Whether everybody may go home.
    pub(super) fn is_over(&self) -> bool {
        self.inner.lock().over
    }

    pub(super) fn end(&self) {
        self.inner.lock().over = true;
    }

    /// Hears a request that leaves a client.
    pub(super) fn hear(&self, cluster: &Cluster, header: &RequestHeader, body: &mut Reader) {
        let (api, version) = (header.api_key, header.api_version);
        let who = header.client_id.as_deref().and_then(named).expect("a member's request");
        let beat = match api {
            ApiKey::OFFSET_COMMIT => None,
            ApiKey::HEARTBEAT => {
                Some(HeartbeatRequest::decode(body, version).expect("the client's").generation_id)
            }
            ApiKey::CONSUMER_GROUP_HEARTBEAT => {
                let request = ConsumerGroupHeartbeatRequest::decode(body, version);
                Some(request.expect("the client's own").member_epoch)
            }
            _ => return,
        };
        if let Some(generation) = beat {
            self.tell(who, Event::Beat { generation });
            return;
        }
        let request = OffsetCommitRequest::decode(body, version).expect("the client's own");
        let mut offsets = Offsets::new();
        for topic in request.topics {
            let by_id = |name: &&str| cluster.topic_id(name) == Some(topic.topic_id);
            let name = if version >= BY_ID_FROM {
                TOPICS.into_iter().find(by_id)
            } else {
                Some(&topic.name[..])
            };
            for partition in topic.partitions {
                let name = name.expect("a topic that is there");
                let name = TopicPartition::new(name, partition.partition_index);
                offsets.insert(name, partition.committed_offset);
            }
        }
        let generation = request.generation_id_or_member_epoch;
        self.tell(who, Event::Sent { generation, offsets });
    }

    /// Looks at what the group has committed.
    pub(super) fn watch(&self, cluster: &Cluster, at: Duration) {
        let Some(group) = cluster.group(GROUP) else { return };
        let mut inner = self.inner.lock();
        for (partition, committed) in group.offsets {
            let offset = committed.offset;
            if inner.stored.insert(partition.clone(), offset) != Some(offset) {
                let generation = group.generation;
                let what = format!("stored {offset} of {partition}, generation {generation}");
                self.journal.note_at(at, what);
                let event = Event::Stored { generation, partition, offset };
                inner.events.push((at, None, event));
            }
        }
    }
}

/// `TopicPartition { topic: "a", partition: 0 }` is long.
fn short(event: &Event) -> String {
    let text = format!("{event:?}").replace("TopicPartition { topic: \"", "");
    text.replace("\", partition: ", "-").replace(" }", "")
}

fn named(client_id: &str) -> Option<Who> {
    let (slot, turn) = client_id.strip_prefix("member-")?.split_once('.')?;
    Some(Who { slot: slot.parse().ok()?, turn: turn.parse().ok()? })
}

/// What a member does when partitions come and go.
pub(super) struct Listener {
    pub(super) ledger: Ledger,
    pub(super) who: Who,
    /// Whether it commits what it gives up.
    pub(super) commits: bool,
    /// How long it takes.
    pub(super) takes: Duration,
}

impl Listener {
    fn give_up(&self, lost: bool, partitions: &[TopicPartition]) {
        let partitions = partitions.to_vec();
        self.ledger.tell(self.who, Event::GivesUp { lost, partitions });
    }
}

impl RebalanceListener for Listener {
    async fn on_partitions_assigned(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) {
        let generation = consumer.group_metadata().map_or(-1, |member| member.generation_id);
        let all = consumer.assignment().into_iter().collect();
        let added = partitions.to_vec();
        self.ledger.tell(self.who, Event::Assigned { generation, added, all });
        tokio::time::sleep(self.takes / 3).await;
    }

    async fn on_partitions_revoked(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) {
        self.give_up(false, partitions);
        tokio::time::sleep(self.takes).await;
        if self.commits {
            commit(&self.ledger, self.who, consumer).await;
        }
    }

    async fn on_partitions_lost(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.give_up(true, partitions);
        tokio::time::sleep(self.takes).await;
    }
}

/// Commits all positions and tells how that went.
pub(super) async fn commit(ledger: &Ledger, who: Who, consumer: &ConsumerHandle) {
    let begun = ledger.count();
    let offsets = consumer.positions().into_iter().map(|(name, at)| (name, at.offset)).collect();
    let result = consumer.commit().await;
    let fate = ledger.fate(who, result);
    ledger.tell(who, Event::Committed { begun, offsets, fate });
}

impl Ledger {
    /// What the result of a commit says.
    pub(super) fn fate<T>(&self, who: Who, result: Result<T, milena::CommitError>) -> Fate {
        match result {
            Ok(_) => Fate::Committed,
            Err(error) => {
                self.journal.note(format_args!("{who}: {error}"));
                if error.maybe_committed() { Fate::Unknown } else { Fate::Not }
            }
        }
    }
}
