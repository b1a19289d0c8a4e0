//! What a producer measures where its users call it: records that are refused, time that they wait, and the snapshot of
//! all metrics. It changes nothing of what a call does.

use crate::error::SendError;
use crate::metrics::Metrics;
use crate::producer::metrics::{ProducerMetrics, State};
use crate::producer::{Inner, Producer};
use crate::time::Instant;

impl Producer {
    /// What the producer has counted and measured until now, under the names of Kafka's Java client; see [`Metrics`].
    /// Also after the producer was closed.
    ///
    /// ```
    /// use milena::{Producer, ProducerConfig, ProducerRecord};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = milena::broker::Cluster::builder().start().await?;
    /// # let config = ProducerConfig::builder().bootstrap_servers(cluster.bootstrap_servers());
    /// # let producer = Producer::new(config.build()?);
    ///
    /// producer.send_and_wait(&ProducerRecord::new("orders", "paid")).await?;
    /// let metrics = producer.metrics();
    /// let sent = metrics.get("producer-topic-metrics", "record-send-total", &[("topic", "orders")]);
    /// assert_eq!(sent.and_then(|sent| sent.value().as_f64()), Some(1.0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn metrics(&self) -> Metrics {
        let Inner { accumulator, client, metrics, .. } = &*self.inner;
        let (memory, now) = (accumulator.memory(), Instant::now());
        let state = State {
            buffer_total: memory.total(),
            buffer_available: memory.available(),
            waiting: memory.waiting(),
            in_flight: client.in_flight(),
            metadata_age: client.metadata_age(now),
        };
        metrics.snapshot(state, now)
    }
}

impl Inner {
    /// Counts a record that was not accepted.
    pub(crate) fn refused(&self, error: SendError) -> SendError {
        let for_memory = matches!(error, SendError::BufferFull { .. });
        self.metrics.refused(for_memory, Instant::now());
        error
    }
}

/// Measures something that users wait for, whether it ends or they give up: it tells when it is dropped.
pub(crate) struct Timed<'a> {
    metrics: &'a ProducerMetrics,
    began: Instant,
    /// Takes the beginning and the end.
    tell: fn(&ProducerMetrics, Instant, Instant),
}

impl<'a> Timed<'a> {
    pub(crate) fn start(
        metrics: &'a ProducerMetrics,
        tell: fn(&ProducerMetrics, Instant, Instant),
    ) -> Self {
        Self { metrics, began: Instant::now(), tell }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        (self.tell)(self.metrics, self.began, Instant::now());
    }
}
