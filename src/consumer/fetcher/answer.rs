//! What came back: bytes go into the queue, positions become known, and error codes are sorted into
//! those that pass and those that the user has to know.
//!
//! Nothing in an answer is believed that was not asked for: partitions, versions and offsets are
//! held against the request.

use bytes::Bytes;

use super::completed::{Survey, survey};
use super::sent::{Asked, Sent};
use super::{Action, Content, Fetcher, Waiting, current, invalid};
use crate::client::{BrokerNode, LeaderHint};
use crate::consumer::subscription::{Partition, Place};
use crate::error::{ClientError, ErrorCode, ReadError};
use crate::protocol::messages::fetch::{FetchNodeEndpoint, FetchPartitionData, FetchResponse};
use crate::protocol::messages::list_offsets::ListOffsetsResponse;
use crate::record::batches;
use crate::time::Instant;
use crate::types::{BrokerId, TopicId};

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
        result: Result<FetchResponse, ClientError>,
        now: Instant,
    ) {
        let Some(mut sent) = self.sent.remove(&token) else { return };
        self.nodes.entry(sent.node).or_default().fetching = false;
        let response = match result {
            Ok(response) if response.error_code.is_ok() => response,
            // Of the session errors none can be met without sessions.
            Ok(response) => {
                let code = response.error_code;
                let error =
                    ClientError::Broker { code, api: "Fetch", subject: None, message: None };
                return self.failed(sent, &error, now);
            }
            Err(error) => return self.failed(sent, &error, now),
        };
        let mut served = Vec::new();
        for topic in response.responses {
            for data in topic.partitions {
                let index = data.partition_index;
                let Some(asked) = sent.take(&topic.topic, topic.topic_id, index) else {
                    log_unasked("Fetch", &topic.topic, topic.topic_id, index);
                    continue;
                };
                if self.fetched(asked, data, &response.node_endpoints, now) {
                    served.push(asked.slot);
                }
            }
        }
        self.fail_unanswered(sent, "Fetch", now);
        self.send_back(served);
    }

    /// Has those that got records go last in the next fetches.
    fn send_back(&mut self, served: Vec<usize>) {
        let mut last = vec![false; self.partitions.len()];
        for slot in &served {
            if let Some(last) = last.get_mut(*slot) {
                *last = true;
            }
        }
        self.order.retain(|slot| last.get(*slot) == Some(&false));
        self.order.extend(served);
    }

    /// What came for one partition; whether there were records.
    fn fetched(
        &mut self,
        asked: Asked,
        data: FetchPartitionData,
        endpoints: &[FetchNodeEndpoint],
        now: Instant,
    ) -> bool {
        let slot = asked.slot;
        let Some(partition) = self.answered(asked) else { return false };
        if data.error_code.is_ok() {
            return self.records(asked, data.records.unwrap_or_default(), now);
        }
        let error = refusal(partition, "Fetch", data.error_code, None);
        match judge(data.error_code) {
            Verdict::Retry => self.retry(slot, error, now),
            Verdict::Refresh => {
                let hint = hint(partition, &data, endpoints);
                self.actions.push(hint.map_or(Action::RefreshMetadata, Action::LeaderHint));
                self.retry(slot, error, now);
            }
            Verdict::OutOfRange => {
                let error = ReadError::OffsetOutOfRange {
                    partition: (*partition.name).clone(),
                    offset: asked.offset,
                    log_start: Some(data.log_start_offset).filter(|offset| *offset >= 0),
                    high_watermark: Some(data.high_watermark).filter(|offset| *offset >= 0),
                };
                self.halt(slot, error);
            }
            Verdict::Refuse => self.refuse(slot, error),
        }
        false
    }

    fn records(&mut self, asked: Asked, bytes: Bytes, now: Instant) -> bool {
        let Asked { slot, version, offset } = asked;
        let Some(partition) = current(&mut self.partitions, slot, version) else { return false };
        let Place::At { position, fetch } = partition.place else { return false };
        if fetch != offset {
            return false;
        }
        match survey(&bytes, offset) {
            Survey::Batches { next, clean } => {
                let size = bytes.len();
                partition.place = Place::At { position, fetch: next };
                partition.buffered = partition.buffered.saturating_add(size);
                partition.trouble = None;
                // What cannot be read becomes an error when it is handed out.
                partition.halted = !clean;
                let content = Content::Batches { source: batches(bytes), bytes: size };
                self.queue.push_back(Waiting { slot, version, content });
                true
            }
            Survey::Nothing if bytes.is_empty() => {
                partition.trouble = None;
                false
            }
            Survey::Nothing => {
                let message = "it sent only records from before the offset asked for";
                let code = ErrorCode::UNKNOWN_SERVER_ERROR;
                let error = refusal(partition, "Fetch", code, Some(message));
                self.retry(slot, error, now);
                false
            }
            Survey::CutOff(problem) => {
                let error = invalid(&partition.name, problem);
                self.halt(slot, error);
                false
            }
        }
    }

    /// What came of a [`Action::ListOffsets`].
    pub(crate) fn handle_offsets(
        &mut self,
        token: u64,
        result: Result<ListOffsetsResponse, ClientError>,
        now: Instant,
    ) {
        let Some(mut sent) = self.sent.remove(&token) else { return };
        self.nodes.entry(sent.node).or_default().listing = false;
        let response = match result {
            Ok(response) => response,
            Err(error) => return self.failed(sent, &error, now),
        };
        for topic in response.topics {
            for answer in topic.partitions {
                let index = answer.partition_index;
                let Some(asked) = sent.take_by_name(&topic.name, index) else {
                    log_unasked("ListOffsets", &topic.name, TopicId::ZERO, index);
                    continue;
                };
                self.listed(asked, answer.error_code, answer.offset, now);
            }
        }
        self.fail_unanswered(sent, "ListOffsets", now);
    }

    fn listed(&mut self, asked: Asked, code: ErrorCode, offset: i64, now: Instant) {
        let slot = asked.slot;
        let Some(partition) = self.answered(asked) else { return };
        if code.is_ok() && offset >= 0 {
            partition.place = Place::at(offset);
            partition.trouble = None;
            return;
        }
        if code.is_ok() {
            let message = "it named no offset";
            let code = ErrorCode::OFFSET_NOT_AVAILABLE;
            let error = refusal(partition, "ListOffsets", code, Some(message));
            return self.retry(slot, error, now);
        }
        let error = refusal(partition, "ListOffsets", code, None);
        match judge(code) {
            Verdict::Retry => self.retry(slot, error, now),
            Verdict::Refresh => {
                self.actions.push(Action::RefreshMetadata);
                self.retry(slot, error, now);
            }
            Verdict::OutOfRange | Verdict::Refuse => self.refuse(slot, error),
        }
    }

    /// The partition that an answer is for, if it has not moved on since.
    fn answered(&mut self, asked: Asked) -> Option<&mut Partition> {
        let partition = current(&mut self.partitions, asked.slot, asked.version)?;
        partition.in_flight = false;
        Some(partition)
    }

    /// A request as a whole failed.
    fn failed(&mut self, sent: Sent, error: &ClientError, now: Instant) {
        if error.refreshes_metadata() {
            self.actions.push(Action::RefreshMetadata);
        }
        for asked in sent.unanswered() {
            if self.answered(asked).is_some() {
                self.fail(asked.slot, error.clone(), now);
            }
        }
    }

    fn fail_unanswered(&mut self, sent: Sent, api: &'static str, now: Instant) {
        for asked in sent.unanswered() {
            let Some(partition) = self.answered(asked) else { continue };
            let message = "the answer says nothing of this partition";
            let code = ErrorCode::UNKNOWN_SERVER_ERROR;
            let error = refusal(partition, api, code, Some(message));
            self.retry(asked.slot, error, now);
        }
    }

    fn retry(&mut self, slot: usize, cause: ClientError, now: Instant) {
        let chance = self.random.f64();
        if let Some(partition) = self.partitions.get_mut(slot) {
            tracing::debug!("{cause}; it is tried again");
            partition.failed(cause, self.config.backoff, now, chance);
        }
    }

    fn refuse(&mut self, slot: usize, cause: ClientError) {
        if let Some(partition) = self.partitions.get(slot) {
            let (name, offset) = ((*partition.name).clone(), partition.place.position());
            self.halt(slot, ReadError::Refused { partition: name, offset, cause });
        }
    }
}

fn refusal(
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

fn log_unasked(api: &str, topic: &str, id: TopicId, partition: i32) {
    tracing::warn!("an answer to {api} is about {topic}{id}-{partition}, which was not asked for");
}
