//! Faults on command: which request meets one, and what then happens to it.
//!
//! A fault waits for requests of one API, optionally only on one node or for one partition, lets the first few pass if
//! told to, strikes a number of times and is then used up. This file picks the fault; the connection and the handlers
//! carry it out.

use std::time::Duration;

use crate::error::ErrorCode;
use crate::protocol::ApiKey;
use crate::types::{BrokerId, TopicPartition};

/// What happens to a request that meets a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The request is applied, its response is lost, and so is each later one of that connection, which stays open.
    /// Later requests on it are applied.
    DropResponse,
    /// The request is applied, then its response and all behind it on that connection wait this long.
    DelayResponse(Duration),
    /// The request, and all behind it on that connection, wait this long before they are applied.
    DelayRequest(Duration),
    /// The connection is closed and the request is not applied.
    CloseBefore,
    /// The request is applied and the connection is closed without a response.
    CloseAfter,
    /// The request is not applied and answered with this error code.
    Error(ErrorCode),
    /// The request is applied and answered with this error code all the same.
    ErrorAfter(ErrorCode),
    /// The client is over a quota: the request is applied and answered with this `throttle_time_ms`, a Fetch without
    /// records, and no further request of that connection is looked at until then (KIP-219).
    Throttle(Duration),
}

/// A fault for [`Cluster::inject`](super::Cluster::inject).
///
/// ```
/// use milena::BrokerId;
/// use milena::broker::{ApiKey, Fault};
///
/// // The second Produce request for `orders-0` that reaches node 1 is applied, but nobody is told.
/// let fault = Fault::drop_response(ApiKey::PRODUCE)
///     .on_node(BrokerId(1))
///     .on_partition("orders", 0)
///     .after(1);
/// # let _ = fault;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    api: ApiKey,
    action: Action,
    node: Option<BrokerId>,
    partition: Option<TopicPartition>,
    skip: u32,
    /// `None`: for ever.
    times: Option<u32>,
}

impl Fault {
    /// A fault for the next request of `api`.
    pub fn new(api: ApiKey, action: Action) -> Self {
        Self { api, action, node: None, partition: None, skip: 0, times: Some(1) }
    }

    /// [`Action::DropResponse`] for the next request of `api`.
    pub fn drop_response(api: ApiKey) -> Self {
        Self::new(api, Action::DropResponse)
    }

    /// [`Action::DelayResponse`] for the next request of `api`.
    pub fn delay_response(api: ApiKey, delay: Duration) -> Self {
        Self::new(api, Action::DelayResponse(delay))
    }

    /// [`Action::DelayRequest`] for the next request of `api`.
    pub fn delay_request(api: ApiKey, delay: Duration) -> Self {
        Self::new(api, Action::DelayRequest(delay))
    }

    /// [`Action::CloseBefore`] for the next request of `api`.
    pub fn close_before(api: ApiKey) -> Self {
        Self::new(api, Action::CloseBefore)
    }

    /// [`Action::CloseAfter`] for the next request of `api`.
    pub fn close_after(api: ApiKey) -> Self {
        Self::new(api, Action::CloseAfter)
    }

    /// [`Action::Error`] for the next request of `api`.
    pub fn error(api: ApiKey, code: ErrorCode) -> Self {
        Self::new(api, Action::Error(code))
    }

    /// [`Action::ErrorAfter`] for the next request of `api`.
    pub fn error_after(api: ApiKey, code: ErrorCode) -> Self {
        Self::new(api, Action::ErrorAfter(code))
    }

    /// [`Action::Throttle`] for the next request of `api`.
    pub fn throttle(api: ApiKey, time: Duration) -> Self {
        Self::new(api, Action::Throttle(time))
    }

    /// Strikes `n` times instead of once.
    pub fn times(self, n: u32) -> Self {
        Self { times: Some(n), ..self }
    }

    /// Strikes until [`Cluster::clear_faults`](super::Cluster::clear_faults).
    pub fn always(self) -> Self {
        Self { times: None, ..self }
    }

    /// Lets the first `n` requests that fit pass.
    pub fn after(self, n: u32) -> Self {
        Self { skip: n, ..self }
    }

    /// Strikes only requests that reach this node.
    pub fn on_node(self, node: BrokerId) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Strikes only requests that name this partition.
    ///
    /// An error code is given for that partition alone; all other actions concern the whole request. Requests that
    /// name topics without partitions fit by topic.
    pub fn on_partition(self, topic: impl Into<String>, partition: i32) -> Self {
        Self { partition: Some(TopicPartition::new(topic, partition)), ..self }
    }
}

/// A fault that struck: what to do, and for which partition only, if for one.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    pub(crate) action: Action,
    pub(crate) partition: Option<TopicPartition>,
}

/// The faults that wait.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    pub(crate) fn inject(&mut self, fault: Fault) {
        if fault.times != Some(0) {
            self.waiting.push(fault);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The fault that this request meets, if any: of several that fit, the one injected first.
    ///
    /// `names` says whether the request names a partition; it is asked only by faults that wait for one.
    pub(crate) fn strike(
        &mut self,
        api: ApiKey,
        node: BrokerId,
        names: impl Fn(&TopicPartition) -> bool,
    ) -> Option<Strike> {
        let fits = |fault: &Fault| {
            fault.api == api
                && fault.node.is_none_or(|wanted| wanted == node)
                && fault.partition.as_ref().is_none_or(&names)
        };
        let mut index = 0;
        while let Some(fault) = self.waiting.get_mut(index) {
            if !fits(fault) {
                index += 1;
            } else if fault.skip > 0 {
                fault.skip -= 1;
                index += 1;
            } else {
                let strike = Strike { action: fault.action, partition: fault.partition.clone() };
                match &mut fault.times {
                    Some(1) => drop(self.waiting.remove(index)),
                    Some(times) => *times -= 1,
                    None => {}
                }
                return Some(strike);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCE: ApiKey = ApiKey::PRODUCE;
    const FETCH: ApiKey = ApiKey::FETCH;

    /// How many of `n` Produce requests for `t-0` on node 1 are struck.
    fn strikes(faults: &mut Faults, n: usize) -> usize {
        let names = |partition: &TopicPartition| *partition == TopicPartition::new("t", 0);
        (0..n).filter(|_| faults.strike(PRODUCE, BrokerId(1), names).is_some()).count()
    }

    #[test]
    fn a_fault_strikes_as_often_as_told() {
        for (fault, expected) in [
            (Fault::close_before(PRODUCE), 1),
            (Fault::close_before(PRODUCE).times(3), 3),
            (Fault::close_before(PRODUCE).times(0), 0),
            (Fault::close_before(PRODUCE).always(), 9),
            (Fault::close_before(PRODUCE).always().after(4), 5),
            (Fault::close_before(PRODUCE).on_node(BrokerId(1)), 1),
            (Fault::close_before(PRODUCE).on_node(BrokerId(2)), 0),
            (Fault::close_before(PRODUCE).on_partition("t", 0), 1),
            (Fault::close_before(PRODUCE).on_partition("t", 1), 0),
            (Fault::close_before(FETCH), 0),
        ] {
            let mut faults = Faults::default();
            faults.inject(fault.clone());
            assert_eq!(strikes(&mut faults, 9), expected, "{fault:?}");
        }
    }

    #[test]
    fn the_first_injected_of_those_that_fit_strikes() {
        let mut faults = Faults::default();
        faults.inject(Fault::close_after(FETCH));
        faults.inject(Fault::close_before(PRODUCE).after(1));
        faults.inject(Fault::drop_response(PRODUCE));
        let mut next =
            || faults.strike(PRODUCE, BrokerId(1), |_| false).map(|strike| strike.action);
        assert_eq!(next(), Some(Action::DropResponse), "the other lets the first pass");
        assert_eq!(next(), Some(Action::CloseBefore));
        assert_eq!(next(), None);
        assert_eq!(faults.len(), 1);
        faults.clear();
        assert_eq!(faults.len(), 0);
    }
}
