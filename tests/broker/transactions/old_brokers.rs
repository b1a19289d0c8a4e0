//! Brokers that know less: connections whose ApiVersions answers are cut down, so that the client speaks older versions of
//! the protocol, or finds that it cannot do without what is missing. Row 46 of the bug list among them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use milena::broker::{ApiKey, Cluster};
use milena::net::{Connect, Transport, connect_fn};
use milena::protocol::header::{decode_request_header, encode_response};
use milena::protocol::messages::api_versions::ApiVersionsResponse;
use milena::protocol::{Message, Reader};
use milena::{
    ConsumerGroupMetadata, ErrorCode, OffsetAndMetadata, TransactionError, TransactionalProducer,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::stage::{all_committed, cluster, config, put};
use crate::support::tp;

/// The highest version that is told of an API; below its lowest it is not told at all.
type Caps = &'static [(ApiKey, i16)];

/// A connection to a broker that says it can do less than it does.
struct Older {
    stream: DuplexStream,
    caps: Caps,
    /// Until the version of the first request, which is ApiVersions, is known.
    asked: Option<BytesMut>,
    version: i16,
    /// What came and was not read, and whether the first answer was cut down.
    came: BytesMut,
    cut: bool,
}

fn older(cluster: &Cluster, caps: Caps) -> impl Connect + use<> {
    let cluster = cluster.clone();
    connect_fn(move |host, port| {
        let stream = cluster.connect(&host, port);
        async move {
            let older = Older {
                stream: stream?,
                caps,
                asked: Some(BytesMut::new()),
                version: 0,
                came: BytesMut::new(),
                cut: false,
            };
            Ok(Box::new(older) as Box<dyn Transport>)
        }
    })
}

impl Older {
    fn cut_down(&self, mut frame: Bytes) -> BytesMut {
        let correlation_id = frame.get_i32();
        let mut reader = Reader::new(frame);
        let mut response = ApiVersionsResponse::decode(&mut reader, self.version).expect("one");
        for &(api, highest) in self.caps {
            let told = response.api_keys.iter_mut().filter(|told| told.api_key == api.0);
            told.for_each(|told| told.max_version = told.max_version.min(highest));
        }
        response.api_keys.retain(|told| told.min_version <= told.max_version);
        let segments = encode_response(correlation_id, self.version, &response).expect("bytes");
        BytesMut::from_iter(segments.concat())
    }
}

impl AsyncRead for Older {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.cut {
            let mut bytes = [0; 4096];
            let mut some = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut some))?;
            if some.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.came.extend_from_slice(some.filled());
            let Some(length) = this.came.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
            else {
                continue;
            };
            let length = usize::try_from(length).expect("a length");
            if this.came.len() >= 4 + length {
                this.came.advance(4);
                let frame = this.came.split_to(length).freeze();
                let mut cut = this.cut_down(frame);
                cut.extend_from_slice(&this.came);
                (this.came, this.cut) = (cut, true);
            }
        }
        if this.came.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let some = this.came.len().min(buf.remaining());
        buf.put_slice(&this.came.split_to(some));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Older {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        if let Some(asked) = &mut self.asked {
            asked.extend_from_slice(&buf[..written]);
            if asked.len() >= 8 {
                let mut reader = Reader::new(asked.split_off(4).freeze());
                if let Ok(header) = decode_request_header(&mut reader) {
                    assert_eq!(header.api_key, ApiKey::API_VERSIONS);
                    (self.version, self.asked) = (header.api_version, None);
                }
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn producer(
    cluster: &Cluster,
    caps: Caps,
) -> Result<TransactionalProducer, TransactionError> {
    let config = config(cluster, &[]);
    TransactionalProducer::builder(config).connector(older(cluster, caps)).seed(1).init().await
}

/// Row 46: franz-go 1.21.4: version 2 was chosen by the feature, though the versions of the requests were not there. All
/// pairs of the feature's level and what a broker leaves out.
#[tokio::test(start_paused = true)]
async fn row_46_version_2_is_spoken_only_with_all_of_its_requests() {
    let all: [(Caps, bool); 8] = [
        (&[], true),
        (&[(ApiKey::PRODUCE, 11)], false),
        (&[(ApiKey::PRODUCE, 12)], true),
        (&[(ApiKey::END_TXN, 4)], false),
        (&[(ApiKey::TXN_OFFSET_COMMIT, 4)], false),
        (&[(ApiKey::INIT_PRODUCER_ID, 2)], true),
        // As brokers 2.8 and 2.1 have it.
        (
            &[
                (ApiKey::PRODUCE, 9),
                (ApiKey::END_TXN, 3),
                (ApiKey::TXN_OFFSET_COMMIT, 3),
                (ApiKey::ADD_PARTITIONS_TO_TXN, 3),
                (ApiKey::ADD_OFFSETS_TO_TXN, 3),
                (ApiKey::INIT_PRODUCER_ID, 4),
                (ApiKey::FIND_COORDINATOR, 3),
            ],
            false,
        ),
        (
            &[
                (ApiKey::PRODUCE, 7),
                (ApiKey::END_TXN, 1),
                (ApiKey::TXN_OFFSET_COMMIT, 2),
                (ApiKey::ADD_PARTITIONS_TO_TXN, 1),
                (ApiKey::ADD_OFFSETS_TO_TXN, 1),
                (ApiKey::INIT_PRODUCER_ID, 1),
                (ApiKey::FIND_COORDINATOR, 2),
            ],
            false,
        ),
    ];
    for level in [0, 1, 2] {
        for (caps, two) in all {
            let cluster = cluster(level, |it| it.nodes(2)).await;
            let mut producer = producer(&cluster, caps).await.unwrap();
            for (value, commits) in [("x", true), ("void", false), ("y", true)] {
                let transaction = producer.begin().await.unwrap();
                put(&transaction, "a", 0, value).await;
                put(&transaction, "a", 1, value).await;
                let offsets = [(tp("b", 0), OffsetAndMetadata::new(5))];
                let group = ConsumerGroupMetadata::no_member("g");
                transaction.send_offsets(&group, offsets).await.unwrap();
                if commits {
                    transaction.commit().await.unwrap();
                } else {
                    transaction.abort().await.unwrap();
                }
            }
            let visible = all_committed(&cluster, "a").await;
            assert_eq!(visible, ["x", "x", "y", "y"], "level {level}, {caps:?}");
            let added = cluster.requests(ApiKey::ADD_OFFSETS_TO_TXN);
            assert_eq!(added == 0, two && level == 2, "level {level}, {caps:?}");
        }
    }
}

/// Brokers before 0.11, or such as leave out what transactions need: said at once, and by which rule.
#[tokio::test(start_paused = true)]
async fn a_broker_without_transactions() {
    let init: Caps = &[(ApiKey::INIT_PRODUCER_ID, -1)];
    let find: Caps = &[(ApiKey::FIND_COORDINATOR, 0)];
    for caps in [init, find] {
        let cluster = cluster(2, |it| it).await;
        let error = producer(&cluster, caps).await.unwrap_err();
        let TransactionError::Fatal(fatal) = &error else { panic!("{caps:?}: {error}") };
        assert_eq!(fatal.code, ErrorCode::UNSUPPORTED_VERSION, "{caps:?}");
        assert!(
            error.is_fatal()
                && error.to_string().contains("do not offer idempotence or transactions"),
            "{error}"
        );
    }
}
