//! Heartbeats: when one is due, what its answer means, and when the silence of the coordinator has
//! lasted for too long.

use std::mem;

use super::codes::{self, Verdict};
use super::{Classic, Phase};
use crate::consumer::group::coordinator::Located;
use crate::consumer::group::request::{GroupRequest, GroupResponse};
use crate::consumer::group::shared::{Flight, Shared};
use crate::error::{ClientError, ErrorCode};
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::time::{Duration, Instant};

/// The time between heartbeats, and the one under way.
#[derive(Debug)]
pub(super) struct Beats {
    interval: Duration,
    /// The one under way, and the generation that it speaks for.
    flight: Option<(Flight, i32)>,
    /// When the next one is due.
    next: Option<Instant>,
    /// When the coordinator was heard of last.
    heard: Option<Instant>,
    /// How often in a row it could not say whether the member is one.
    failures: u32,
    version: u64,
}

impl Beats {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, flight: None, next: None, heard: None, failures: 0, version: 0 }
    }

    /// Gives up what is under way to a coordinator that is lost. A new one is to hear of the member at
    /// once: it may know nothing of it.
    pub(super) fn follow(&mut self, located: Option<Located>, at: Instant) {
        self.flight.take_if(|(flight, _)| located.is_none_or(|at| at.version != flight.version));
        if let Some(Located { version, .. }) = located
            && mem::replace(&mut self.version, version) != version
        {
            self.next = Some(at);
            self.heard = Some(at);
        }
    }

    /// The coordinator has answered a JoinGroup or a SyncGroup, which says as much as a heartbeat.
    pub(super) fn restart(&mut self, at: Instant) {
        self.next = Some(at + self.interval);
        self.heard = Some(at);
        self.failures = 0;
    }

    pub(super) fn is_answer(&self, token: u64) -> bool {
        self.flight.is_some_and(|(flight, _)| flight.token == token)
    }
}

impl Classic {
    /// Whether the coordinator expects heartbeats.
    fn beats_now(&self) -> bool {
        self.joined && matches!(self.phase, Phase::Stable | Phase::Waiting | Phase::Assigning(_))
    }

    fn session_end(&self) -> Option<Instant> {
        self.beats.heard.map(|heard| heard + self.session_timeout)
    }

    /// A coordinator that is silent for as long as it would wait itself is not there any more.
    pub(super) fn check_session(&mut self, shared: &mut Shared, at: Instant) {
        if let Some(known) = shared.coordinator.known()
            && self.beats_now()
            && self.session_end().is_some_and(|end| end <= at)
        {
            let group = &shared.config.group_id;
            tracing::warn!(%group, "no heartbeat was answered within session.timeout.ms");
            shared.coordinator.lost(known.version, at);
            self.follow_coordinator(shared, at);
        }
    }

    pub(super) fn heartbeat_deadline(&self, shared: &Shared) -> Option<Instant> {
        shared.coordinator.known().filter(|_| self.beats_now())?;
        let next = self.beats.next.filter(|_| self.beats.flight.is_none());
        [next, self.session_end()].into_iter().flatten().min()
    }

    pub(super) fn send_heartbeat(&mut self, shared: &mut Shared, at: Instant) {
        let due = self.beats.next.is_some_and(|next| next <= at);
        if !due || self.beats.flight.is_some() || !self.beats_now() {
            return;
        }
        let Some(to) = shared.coordinator.known() else { return };
        let request = HeartbeatRequest {
            group_id: shared.group(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: shared.config.instance_id.clone(),
        };
        let timeout = shared.config.request_timeout.min(self.session_timeout);
        let flight = shared.send(to, GroupRequest::Heartbeat(request), timeout, at);
        self.beats.flight = Some((flight, self.generation));
        self.beats.next = Some(at + self.beats.interval);
        shared.stats.heartbeats_sent += 1;
        shared.stats.last_heartbeat = Some(at);
    }

    pub(super) fn heartbeat_answered(
        &mut self,
        shared: &mut Shared,
        result: Result<GroupResponse, ClientError>,
        at: Instant,
    ) {
        let Some((flight, generation)) = self.beats.flight.take() else { return };
        let code = match result {
            Ok(GroupResponse::Heartbeat(response)) => response.error_code,
            Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
            Err(error) => return self.request_failed(shared, "Heartbeat", flight, error, at),
        };
        let took = at.saturating_duration_since(flight.since);
        let verdict = codes::heartbeat(code);
        if matches!(verdict, Verdict::Done | Verdict::Rejoin) {
            shared.stats.heartbeat.record(took);
            shared.coordinator.heard(flight.version);
        }
        match verdict {
            Verdict::Moved => {
                shared.coordinator.lost(flight.version, at);
            }
            // It speaks of a generation that is over.
            _ if generation != self.generation || !self.joined => {}
            Verdict::Done => {
                self.beats.heard = Some(at);
                self.beats.failures = 0;
            }
            Verdict::Retry => {
                let pause = shared.pause(self.beats.failures);
                self.beats.failures = self.beats.failures.saturating_add(1);
                self.beats.next = Some(at + pause);
            }
            verdict => {
                self.beats.heard = Some(at);
                self.take_verdict(shared, verdict, "Heartbeat", code, at);
            }
        }
    }
}
