//! The interceptors of a producer, and the way of a record past them: when each is called, and that nothing of what
//! goes wrong in one gets out. Producers without interceptors never come here.

use std::any::type_name;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{DeliveryError, ProduceError, SendError};
use crate::producer::Producer;
use crate::producer::callbacks::BoxedCallback;
use crate::producer::delivery::Delivery;
use crate::producer::interceptor::{Acknowledgement, InterceptedRecord, ProducerInterceptor};
use crate::producer::record::ProducerRecord;
use crate::producer::record_metadata::RecordMetadata;
use crate::types::Header;

/// All interceptors of a producer, in order.
#[derive(Default)]
pub(crate) struct Interceptors(Vec<Named>);

struct Named {
    name: &'static str,
    interceptor: Box<dyn ProducerInterceptor>,
}

impl Interceptors {
    pub(crate) fn add<I: ProducerInterceptor>(&mut self, interceptor: I) {
        let name = type_name::<I>();
        self.0.push(Named { name, interceptor: Box::new(interceptor) });
    }

    /// To be shared, if there are any.
    pub(crate) fn share(self) -> Option<Arc<Self>> {
        (!self.0.is_empty()).then(|| Arc::new(self))
    }

    fn on_send<'a>(&self, record: &ProducerRecord<'a>) -> InterceptedRecord<'a> {
        let mut current = InterceptedRecord::new(record);
        for Named { name, interceptor } in &self.0 {
            // What fails half-way must not leave half of its changes.
            let mut changed = current.clone();
            match catch_unwind(AssertUnwindSafe(|| interceptor.on_send(&mut changed))) {
                Ok(Ok(())) => current = changed,
                Ok(Err(error)) => {
                    let topic = current.topic();
                    tracing::warn!(
                        "on_send of interceptor {name} failed for topic {topic}: {error}"
                    );
                }
                Err(_) => {
                    let topic = current.topic();
                    tracing::error!("on_send of interceptor {name} panicked for topic {topic}");
                }
            }
        }
        current
    }

    fn on_acknowledgement(&self, acknowledgement: &Acknowledgement<'_>) {
        for Named { name, interceptor } in &self.0 {
            let call = || interceptor.on_acknowledgement(acknowledgement);
            if catch_unwind(AssertUnwindSafe(call)).is_err() {
                let topic = acknowledgement.topic;
                tracing::error!(
                    "on_acknowledgement of interceptor {name} panicked for topic {topic}"
                );
            }
        }
    }

    /// Tells of a record that was not accepted.
    pub(crate) fn refused(
        &self,
        topic: &str,
        partition: Option<i32>,
        headers: &[Header<'_>],
        error: &SendError,
    ) {
        let error = ProduceError::Send(error.clone());
        let result = Err(&error);
        self.on_acknowledgement(&Acknowledgement { topic, partition, headers, result });
    }

    /// Tells how an accepted record ended.
    fn ended(&self, headers: &[Header<'_>], end: &Result<RecordMetadata, DeliveryError>) {
        match end {
            Ok(metadata) => self.on_acknowledgement(&Acknowledgement {
                topic: metadata.topic(),
                partition: Some(metadata.partition()),
                headers,
                result: Ok(metadata),
            }),
            Err(error) => self.on_acknowledgement(&Acknowledgement {
                topic: &error.topic_partition().topic,
                partition: Some(error.topic_partition().partition),
                headers,
                result: Err(&ProduceError::Delivery(error.clone())),
            }),
        }
    }

    /// A callback that tells the interceptors and then calls the record's own.
    fn callback(
        self: &Arc<Self>,
        record: &ProducerRecord<'_>,
        own: Option<BoxedCallback>,
    ) -> Option<BoxedCallback> {
        let interceptors = Arc::clone(self);
        let headers: Vec<_> = record.headers.iter().map(OwnedHeader::new).collect();
        Some(Box::new(move |end| {
            let headers: Vec<_> = headers.iter().map(OwnedHeader::borrow).collect();
            interceptors.ended(&headers, &end);
            if let Some(own) = own {
                own(end);
            }
        }))
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|named| named.name)).finish()
    }
}

/// A header that outlives its record's send.
struct OwnedHeader {
    key: Box<str>,
    value: Option<Box<[u8]>>,
}

impl OwnedHeader {
    fn new(header: &Header<'_>) -> Self {
        Self { key: header.key.into(), value: header.value.map(Into::into) }
    }

    fn borrow(&self) -> Header<'_> {
        Header { key: &self.key, value: self.value.as_deref() }
    }
}

impl Producer {
    /// [`Producer::send`] and [`Producer::send_with`] past interceptors.
    pub(super) async fn send_intercepted(
        &self,
        interceptors: &Arc<Interceptors>,
        record: &ProducerRecord<'_>,
        own: Option<BoxedCallback>,
    ) -> Result<Delivery, SendError> {
        let record = interceptors.on_send(record);
        let headers: Vec<_> = record.headers().collect();
        let record = record.as_record(&headers);
        let mut callback = interceptors.callback(&record, own);
        let sent = match self.inner.start(&record, &mut callback, None) {
            Ok(delivery) => Ok(delivery),
            Err(blocked) => self.inner.wait(&record, &mut callback, blocked).await,
        };
        sent.inspect_err(|e| interceptors.refused(record.topic, record.partition, &headers, e))
    }

    /// [`Producer::try_send`] past interceptors.
    pub(super) fn try_send_intercepted(
        &self,
        interceptors: &Arc<Interceptors>,
        record: &ProducerRecord<'_>,
    ) -> Result<Delivery, SendError> {
        let record = interceptors.on_send(record);
        let headers: Vec<_> = record.headers().collect();
        let record = record.as_record(&headers);
        let mut callback = interceptors.callback(&record, None);
        let sent = self.inner.try_start(&record, &mut callback);
        sent.inspect_err(|e| interceptors.refused(record.topic, record.partition, &headers, e))
    }
}
