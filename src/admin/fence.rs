//! InitProducerId on behalf of nobody: the coordinator raises the epoch of an id, so that whoever
//! used it is fenced, and aborts what is open (Kafka's `fenceProducers`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::coordinators;
use super::ledger::Trouble;
use super::question::{Answers, Question};
use crate::client::Client;
use crate::error::AdminError;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::time::Duration;
use crate::types::{BrokerId, ProducerIdentity};

const API: &str = "InitProducerId";

/// Who is no producer any more.
#[derive(Debug)]
pub(super) struct Fence {
    /// What the coordinator notes as the id's time-out of transactions, until its next producer says
    /// what it wants. As in Java, that of requests.
    pub(super) transaction_timeout: Duration,
}

impl Question for Fence {
    type Key = String;
    type Value = ProducerIdentity;
    type Request = InitProducerIdRequest;

    const AT_MOST: usize = 1;

    fn subject(&self, id: &String) -> Arc<str> {
        coordinators::subject(id)
    }

    async fn locate(&self, client: &Client, ids: &BTreeSet<String>) -> Answers<String, BrokerId> {
        coordinators::locate(client, ids).await
    }

    fn request(
        &self,
        _: BrokerId,
        ids: &[String],
        _: i16,
    ) -> Result<InitProducerIdRequest, AdminError> {
        let millis = self.transaction_timeout.as_millis();
        Ok(InitProducerIdRequest {
            transactional_id: ids.first().cloned(),
            transaction_timeout_ms: i32::try_from(millis).unwrap_or(i32::MAX).max(1),
            ..Default::default()
        })
    }

    fn read(
        &self,
        _: BrokerId,
        ids: &[String],
        response: InitProducerIdResponse,
    ) -> Answers<String, ProducerIdentity> {
        let InitProducerIdResponse { error_code, producer_id, producer_epoch, .. } = response;
        let told = |id: &String| {
            let told = if error_code.is_ok() {
                Ok(ProducerIdentity { id: producer_id, epoch: producer_epoch })
            } else {
                Err(Trouble::refused(API, coordinators::subject(id), error_code, None))
            };
            (id.clone(), told)
        };
        ids.iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, Writer};

    #[test]
    fn it_asks_as_a_producer_that_knows_nothing() {
        for (timeout, asked) in
            [(Duration::ZERO, 1), (Duration::from_secs(30), 30_000), (Duration::MAX, i32::MAX)]
        {
            let fence = Fence { transaction_timeout: timeout };
            let request = fence.request(BrokerId(1), &["t".to_owned()], 5).unwrap();
            assert_eq!(request.transactional_id.as_deref(), Some("t"));
            assert_eq!((request.producer_id, request.producer_epoch), (-1, -1));
            assert_eq!(request.transaction_timeout_ms, asked);
            for version in 0..=InitProducerIdRequest::VERSIONS.max {
                request.encode(&mut Writer::new(), version).unwrap();
            }
        }
    }
}
