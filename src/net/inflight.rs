//! Which requests of one connection still want an end, and which one an answer belongs to.
//!
//! A broker answers the requests of a connection in the order in which it got them, so the requests
//! form a queue: an answer belongs to its head or the connection cannot be trusted any more. It
//! knows no bytes, no socket and no clock; `W` is whatever waits for the end of a request, and each
//! one registered is handed back exactly once.

use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// A request that was registered and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// What the broker repeats in its answer.
    pub(super) correlation_id: i32,
    /// The API's name, for errors.
    pub(super) api: &'static str,
    /// How long it may take.
    pub(super) timeout: Duration,
    /// When it has taken too long.
    pub(super) deadline: Instant,
    /// Whether the broker answers it at all; Produce with acks=0 ends when it is written.
    pub(super) answered: bool,
}

/// An answer that no request waits for in this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) expected: Option<i32>,
    pub(super) got: i32,
}

/// The queue of requests, oldest first.
#[derive(Debug)]
pub(super) struct InFlight<W> {
    queue: VecDeque<(Request, W)>,
    /// The earliest deadline in the queue.
    earliest: Option<Instant>,
}

impl<W> InFlight<W> {
    pub(super) const fn new() -> Self {
        Self { queue: VecDeque::new(), earliest: None }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds a request; to be called before any byte of it may leave, since an answer can overtake
    /// the bookkeeping.
    pub(super) fn register(&mut self, request: Request, waiter: W) {
        let deadline = request.deadline;
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        self.queue.push_back((request, waiter));
    }

    /// Takes the request that an answer belongs to.
    pub(super) fn answer(&mut self, correlation_id: i32) -> Result<(Request, W), Mismatch> {
        let head = self.queue.iter().position(|(request, _)| request.answered);
        match head.and_then(|at| Some((at, self.queue.get(at)?.0.correlation_id))) {
            Some((at, expected)) if expected == correlation_id => {
                self.take(at).ok_or(Mismatch { expected: None, got: correlation_id })
            }
            other => {
                Err(Mismatch { expected: other.map(|(_, expected)| expected), got: correlation_id })
            }
        }
    }

    /// Takes a request that ends by being written; `None` if it waits for an answer.
    pub(super) fn written(&mut self, correlation_id: i32) -> Option<(Request, W)> {
        let at = self.queue.iter().position(|(request, _)| {
            !request.answered && request.correlation_id == correlation_id
        })?;
        self.take(at)
    }

    /// When the first of the requests will have taken too long.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// The first request in the queue that has taken too long.
    pub(super) fn overdue(&self, now: Instant) -> Option<Request> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return None;
        }
        self.queue.iter().map(|(request, _)| *request).find(|request| request.deadline <= now)
    }

    /// Takes all requests, oldest first: the connection has ended.
    pub(super) fn drain(&mut self) -> VecDeque<(Request, W)> {
        self.earliest = None;
        std::mem::take(&mut self.queue)
    }

    fn take(&mut self, at: usize) -> Option<(Request, W)> {
        let taken = self.queue.remove(at)?;
        if self.earliest == Some(taken.0.deadline) {
            self.earliest = self.queue.iter().map(|(request, _)| request.deadline).min();
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(correlation_id: i32, deadline: Instant, answered: bool) -> Request {
        let timeout = Duration::from_secs(30);
        Request { correlation_id, api: "Produce", timeout, deadline, answered }
    }

    #[test]
    fn answers_come_in_order() {
        let now = Instant::now();
        let mut inflight = InFlight::new();
        for id in [7, 8, 9] {
            inflight.register(request(id, now, true), id);
        }
        assert_eq!(inflight.answer(7).map(|(_, w)| w), Ok(7));
        assert_eq!(inflight.answer(9).err(), Some(Mismatch { expected: Some(8), got: 9 }));
        assert_eq!(inflight.answer(8).map(|(_, w)| w), Ok(8));
        assert_eq!(inflight.answer(9).map(|(_, w)| w), Ok(9));
        assert_eq!(inflight.answer(9).err(), Some(Mismatch { expected: None, got: 9 }));
    }

    #[test]
    fn a_request_without_an_answer_ends_when_written() {
        let now = Instant::now();
        let mut inflight = InFlight::new();
        inflight.register(request(1, now, false), "a");
        inflight.register(request(2, now, true), "b");
        assert_eq!(inflight.written(2), None);
        assert_eq!(inflight.answer(1).err(), Some(Mismatch { expected: Some(2), got: 1 }));
        assert_eq!(inflight.answer(2).map(|(_, w)| w), Ok("b"));
        assert_eq!(inflight.written(1).map(|(_, w)| w), Some("a"));
        assert!(inflight.is_empty());
    }

    #[test]
    fn the_earliest_deadline_counts() {
        let now = Instant::now();
        let at = |secs| now + Duration::from_secs(secs);
        let mut inflight = InFlight::new();
        assert_eq!(inflight.next_deadline(), None);
        inflight.register(request(1, at(30), true), ());
        inflight.register(request(2, at(5), true), ());
        inflight.register(request(3, at(40), true), ());
        assert_eq!(inflight.next_deadline(), Some(at(5)));
        assert_eq!(inflight.overdue(at(4)), None);
        assert_eq!(inflight.overdue(at(5)).map(|r| r.correlation_id), Some(2));
        assert!(inflight.answer(1).is_ok());
        assert!(inflight.answer(2).is_ok());
        assert_eq!(inflight.next_deadline(), Some(at(40)));
    }

    #[test]
    fn every_waiter_comes_back_exactly_once_whatever_happens() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let now = Instant::now();
            let mut inflight = InFlight::new();
            let mut ended = Vec::new();
            let mut next = 0;
            for _ in 0..random.usize(0..60) {
                let id = random.i32(0..=next);
                match random.u8(0..4) {
                    0 => ended.extend(inflight.answer(id).map(|(_, w)| w)),
                    1 => ended.extend(inflight.written(id).map(|(_, w)| w)),
                    _ => {
                        let deadline = now + Duration::from_millis(random.u64(0..50));
                        inflight.register(request(next, deadline, random.bool()), next);
                        next += 1;
                    }
                }
                let deadlines = inflight.queue.iter().map(|(r, _)| r.deadline);
                assert_eq!(inflight.next_deadline(), deadlines.min(), "seed {seed}");
            }
            ended.extend(inflight.drain().into_iter().map(|(_, w)| w));
            ended.sort_unstable();
            assert_eq!(ended, (0..next).collect::<Vec<_>>(), "seed {seed}");
        }
    }
}
