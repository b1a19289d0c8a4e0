//! What came back: bytes go into the queue, positions become known, and error codes are sorted into
//! those that pass and those that the user has to know.
//!
//! Nothing in an answer is believed that was not asked for: partitions and offsets are held against
//! the request, and the request against what the partition waits for.

use std::collections::HashSet;

use super::completed::{Completed, Survey, survey};
use super::isolation::Aborted;
use super::sent::{Asked, Sent};
use super::{Action, Content, Fetched, Fetcher, Moment, Waiting, invalid};
use crate::client::{BrokerNode, LeaderHint};
use crate::config::IsolationLevel;
use crate::consumer::subscription::{LogEnds, Partition, Place, Preferred};
use crate::error::{ClientError, ErrorCode};
use crate::protocol::messages::fetch::{FetchNodeEndpoint, FetchPartitionData};
use crate::time::{Instant, deadline};
use crate::types::{BrokerId, TopicId};

/// What came for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Records,
    /// Neither records nor an error.
    Nothing,
    /// An error, or what is no longer of interest.
    Other,
}

/// What an error code of a partition calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again later.
    Retry,
    /// Get newer metadata and try again.
    Refresh,
    /// The log does not hold the offset.
    OutOfRange,
    /// Tell the user.
    Refuse,
}

/// Kafka's rules for Fetch, which for what is left serve ListOffsets too.
pub(super) fn judge(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::OFFSET_OUT_OF_RANGE => Verdict::OutOfRange,
        // The broker's log is damaged; Kafka's class of the code is that of a producer's batch.
        ErrorCode::CORRUPT_MESSAGE => Verdict::Refuse,
        // A leader that is new to it; metadata may be behind.
        ErrorCode::OFFSET_NOT_AVAILABLE => Verdict::Refresh,
        ErrorCode::UNKNOWN_SERVER_ERROR => Verdict::Retry,
        code if code.refreshes_metadata() => Verdict::Refresh,
        code if code.is_retriable() => Verdict::Retry,
        _ => Verdict::Refuse,
    }
}

/// Whether what went wrong may pass by itself.
pub(super) fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Broker { code, .. } => {
            matches!(judge(*code), Verdict::Retry | Verdict::Refresh)
        }
        error => error.is_retriable(),
    }
}

impl Fetcher {
    /// What came of a [`Action::Fetch`].
    pub(crate) fn handle_fetched(
        &mut self,
        token: u64,
        result: Result<Fetched, ClientError>,
        now: Instant,
    ) {
        let Some(mut sent) = self.sent.remove(&token) else { return };
        let at = self.moment(now);
        let node = self.nodes.entry(sent.node).or_default();
        node.fetching = false;
        let (response, frame_len) = match result {
            Ok(Fetched { response, frame_len }) => (response, frame_len),
            Err(error) => {
                node.session.start_over();
                return self.failed(sent, &error, at);
            }
        };
        node.note_throttle(response.throttle_time_ms, self.config.patience, at.now);
        let is_throttled = response.throttle_time_ms > 0 && response.responses.is_empty();
        let code = response.error_code;
        if !code.is_ok() {
            if node.session.refused(code) {
                return self.release(sent);
            }
            let error = ClientError::Broker { code, api: "Fetch", subject: None, message: None };
            return self.failed(sent, &error, at);
        }
        node.session.answered(response.session_id);
        if is_throttled && sent.is_full {
            // It is answered later, if at all (KIP-219).
            node.session.start_over();
            return self.release(sent);
        }
        let mut served = Vec::new();
        let mut unasked = Unasked::default();
        let mut quiet = !sent.is_full || !response.responses.is_empty();
        for topic in response.responses {
            for data in topic.partitions {
                let index = data.partition_index;
                let Some(asked) = sent.take(&topic.topic, topic.topic_id, index) else {
                    unasked.note(&topic.topic, topic.topic_id, index);
                    continue;
                };
                let came = self.fetched(asked, data, &response.node_endpoints, at);
                quiet &= came == Came::Nothing;
                if came == Came::Records {
                    served.push(asked.slot);
                }
            }
        }
        let early = sent.until.filter(|until| quiet && at.now < *until);
        let node = self.nodes.entry(sent.node).or_default();
        node.note_early(early, at.now);
        if unasked.any() {
            // What the broker remembers is not what was asked for.
            node.session.start_over();
        }
        unasked.log("Fetch");
        self.let_go_of_frame(served.len(), frame_len);
        self.rest(sent, at);
        self.send_back(&served);
    }

    /// What an answer says nothing of: there is nothing new, if it is one that may leave things out.
    fn rest(&mut self, sent: Sent, at: Moment) {
        if !sent.is_full {
            for asked in sent.unanswered() {
                if let Some(partition) = self.answered(asked) {
                    nothing_new(partition);
                }
            }
            return;
        }
        if !sent.is_empty() {
            self.nodes.entry(sent.node).or_default().session.start_over();
        }
        self.fail_unanswered(sent, "Fetch", at);
    }

    /// Asks for all of it again, as if it had not been asked.
    fn release(&mut self, sent: Sent) {
        for asked in sent.unanswered() {
            self.answered(asked);
        }
    }

    /// Copies what an answer has put into the queue, the last `count` batches there, if most of its
    /// frame is something else: what is buffered is counted by the records, and would keep all of the
    /// frame.
    fn let_go_of_frame(&mut self, count: usize, frame_len: usize) {
        let mut sources = Vec::with_capacity(count);
        for waiting in self.queue.iter_mut().rev() {
            if sources.len() == count {
                break;
            }
            if let Content::Batches(completed) = &mut waiting.content {
                sources.push(completed);
            }
        }
        if sources.iter().map(|completed| completed.len()).sum::<usize>() >= frame_len / 2 {
            return;
        }
        for completed in sources {
            completed.copy_out();
        }
    }

    /// Has those that got records go last in the next fetches.
    fn send_back(&mut self, served: &[usize]) {
        let last: HashSet<usize> = served.iter().copied().collect();
        self.order.retain(|slot| !last.contains(slot));
        self.order.extend(served.iter().filter(|slot| self.partitions.contains_key(slot)));
    }

    /// What came for one partition.
    fn fetched(
        &mut self,
        asked: Asked,
        data: FetchPartitionData,
        endpoints: &[FetchNodeEndpoint],
        at: Moment,
    ) -> Came {
        let slot = asked.slot;
        let Some(partition) = self.answered(asked) else { return Came::Other };
        if data.error_code.is_ok() {
            partition.ends = ends(&data);
            partition.doubt = None;
            let end = &data.diverging_epoch;
            if end.epoch >= 0 || end.end_offset >= 0 {
                self.diverged(slot, end.epoch, end.end_offset);
                return Came::Other;
            }
            let sent_on = self.prefer(asked, data.preferred_read_replica, at.now);
            let came = self.records(asked, data, at);
            return if sent_on && came == Came::Nothing { Came::Other } else { came };
        }
        let error = refusal(partition, "Fetch", data.error_code, None);
        match judge(data.error_code) {
            Verdict::Refresh => {
                let hint = hint(partition, &data, endpoints);
                self.actions.push(hint.map_or(Action::RefreshMetadata, Action::LeaderHint));
                self.fail(slot, error, at);
            }
            Verdict::OutOfRange => self.out_of_range(asked, ends(&data), at),
            Verdict::Retry | Verdict::Refuse => self.fail(slot, error, at),
        }
        Came::Other
    }

    /// Takes up the replica that a leader names to be read from in its place (KIP-392); whether it
    /// names one.
    fn prefer(&mut self, asked: Asked, replica: i32, now: Instant) -> bool {
        let node = Some(BrokerId(replica)).filter(|node| node.0 >= 0 && !asked.follower);
        let Some(partition) = self.partitions.get_mut(&asked.slot) else { return false };
        let Some(node) = node.filter(|node| partition.leader() != Some(*node)) else {
            return false;
        };
        let until = deadline(now, self.config.replica_age);
        partition.preferred = Some(Preferred { node, until });
        true
    }

    fn records(&mut self, asked: Asked, data: FetchPartitionData, at: Moment) -> Came {
        let Asked { slot, offset, .. } = asked;
        let bytes = data.records.unwrap_or_default();
        let Some(partition) = self.partitions.get_mut(&slot) else { return Came::Other };
        let Place::At { position, fetch } = partition.place else { return Came::Other };
        if fetch.offset != offset {
            return Came::Other;
        }
        match survey(&bytes, fetch) {
            Survey::Batches { next, clean } => {
                let size = bytes.len();
                partition.place = Place::At { position, fetch: next };
                partition.buffered = partition.buffered.saturating_add(size);
                partition.trouble = None;
                // What cannot be read becomes an error when it is handed out.
                partition.halted = !clean;
                let version = partition.version;
                let aborted = match self.config.isolation {
                    IsolationLevel::ReadUncommitted => None,
                    IsolationLevel::ReadCommitted => {
                        Some(Aborted::new(data.aborted_transactions.unwrap_or_default()))
                    }
                };
                let content = Content::Batches(Box::new(Completed::new(bytes, aborted)));
                self.queue.push_back(Waiting { slot, version, content });
                Came::Records
            }
            Survey::Nothing if bytes.is_empty() => {
                nothing_new(partition);
                Came::Nothing
            }
            Survey::Nothing => {
                let message = "it sent only records from before the offset asked for";
                let code = ErrorCode::UNKNOWN_SERVER_ERROR;
                let error = refusal(partition, "Fetch", code, Some(message));
                self.fail(slot, error, at);
                Came::Other
            }
            Survey::CutOff(problem) => {
                let error = invalid(&partition.name, problem);
                self.halt(slot, error);
                Came::Other
            }
        }
    }

    /// The partition that an answer is for, if it still waits for this one.
    pub(super) fn answered(&mut self, asked: Asked) -> Option<&mut Partition> {
        let partition = self.partitions.get_mut(&asked.slot)?;
        partition.in_flight.take_if(|waiting| waiting.token == asked.token)?;
        Some(partition)
    }

    /// A request as a whole failed.
    pub(super) fn failed(&mut self, sent: Sent, error: &ClientError, at: Moment) {
        if error.refreshes_metadata() {
            self.actions.push(Action::RefreshMetadata);
        }
        for asked in sent.unanswered() {
            if self.answered(asked).is_some() {
                self.fail(asked.slot, error.clone(), at);
            }
        }
    }

    pub(super) fn fail_unanswered(&mut self, sent: Sent, api: &'static str, at: Moment) {
        for asked in sent.unanswered() {
            let Some(partition) = self.answered(asked) else { continue };
            let message = "the answer says nothing of this partition";
            let code = ErrorCode::UNKNOWN_SERVER_ERROR;
            let error = refusal(partition, api, code, Some(message));
            self.fail(asked.slot, error, at);
        }
    }
}

pub(super) fn refusal(
    partition: &Partition,
    api: &'static str,
    code: ErrorCode,
    message: Option<&str>,
) -> ClientError {
    ClientError::Broker {
        code,
        api,
        subject: Some(partition.name.to_string().into()),
        message: Some(message.unwrap_or(code.description()).into()),
    }
}

/// There is nothing behind what was fetched.
fn nothing_new(partition: &mut Partition) {
    partition.trouble = None;
    // What is buffered may yet turn out to be unreadable.
    if let Place::At { position, fetch } = partition.place
        && fetch.offset == position.offset
    {
        partition.failures = 0;
    }
}

/// What a broker says of a log; -1 says nothing.
fn ends(data: &FetchPartitionData) -> LogEnds {
    let told = |offset: i64| Some(offset).filter(|offset| *offset >= 0);
    LogEnds {
        start: told(data.log_start_offset),
        high_watermark: told(data.high_watermark),
        last_stable: told(data.last_stable_offset),
    }
}

/// The leader that a broker names in place of itself.
fn hint(
    partition: &Partition,
    data: &FetchPartitionData,
    endpoints: &[FetchNodeEndpoint],
) -> Option<LeaderHint> {
    let named = &data.current_leader;
    if named.leader_id < 0 || named.leader_epoch < 0 {
        return None;
    }
    let endpoint = endpoints.iter().find(|node| node.node_id == named.leader_id);
    Some(LeaderHint {
        partition: (*partition.name).clone(),
        leader: BrokerId(named.leader_id),
        epoch: named.leader_epoch,
        endpoint: endpoint.and_then(|node| {
            Some(BrokerNode {
                id: BrokerId(node.node_id),
                host: node.host.clone(),
                port: u16::try_from(node.port).ok()?,
                rack: node.rack.clone(),
            })
        }),
    })
}

/// What an answer is about although it was not asked for. It is logged in one line, however much it
/// is and whatever it is called.
#[derive(Debug, Default)]
pub(super) struct Unasked {
    count: usize,
    first: Option<String>,
}

impl Unasked {
    /// The longest name that Kafka lets a topic have.
    const MAX_NAME: usize = 249;

    pub(super) fn note(&mut self, topic: &str, id: TopicId, partition: i32) {
        self.count += 1;
        self.first.get_or_insert_with(|| {
            let name: String = topic.chars().take(Self::MAX_NAME).collect();
            format!("partition {partition} of topic {name:?} with id {id}")
        });
    }

    fn any(&self) -> bool {
        self.count > 0
    }

    pub(super) fn log(self, api: &str) {
        let Self { count, first } = self;
        if let Some(first) = first {
            tracing::warn!(
                "an answer to {api} is about {count} partitions that were not asked for, such as \
                 {first}"
            );
        }
    }
}
