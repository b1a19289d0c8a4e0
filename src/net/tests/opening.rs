//! Opening a connection: servers that are not Kafka, are silent, hang up or send random bytes, and
//! connectors that fail. None takes more memory or time than it may, and each gets an error that
//! says what to look at.

use super::*;
use crate::net::connect_fn;
use crate::net::connection::MAX_FIRST_FRAME;
use crate::net::testing::meter;
use crate::protocol::messages::metadata::MetadataResponseTopic;
use std::io;

/// What comes of connecting to a server that says `bytes`, then closes or not.
async fn greeted_by(bytes: &[u8], close: bool) -> (ClientError, FakeBroker) {
    let (ours, theirs) = tokio::io::duplex(ROOM);
    let mut broker = FakeBroker::new(theirs);
    let settings = settings();
    let (result, broker) = tokio::join!(open_over(ours, &settings), async {
        let _request = broker.expect().await;
        broker.send(bytes).await;
        if close {
            tokio::io::AsyncWriteExt::shutdown(&mut broker.write).await.unwrap();
        }
        broker
    });
    (result.unwrap_err(), broker)
}

#[tokio::test(start_paused = true)]
async fn servers_that_are_not_kafka_are_named() {
    let cases: [(&[u8], &str); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "HTTP"),
        (&[0x15, 3, 3, 0, 2, 2, 22], "TLS"),
        (&[0x16, 3, 1, 0, 200, 1, 0], "TLS"),
    ];
    for (bytes, protocol) in cases {
        let (error, mut broker) = greeted_by(bytes, false).await;
        assert_eq!(error, ClientError::NotKafka { peer: peer(), protocol });
        assert!(error.to_string().contains("check the port"), "{error}");
        assert!(broker.next().await.is_none(), "the socket is still open");
    }
}

#[tokio::test(start_paused = true)]
async fn a_greeting_before_anything_was_asked_is_named_too() {
    let (ours, theirs) = tokio::io::duplex(ROOM);
    let mut server = FakeBroker::new(theirs);
    server.send(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    let error = open_over(ours, &settings()).await.unwrap_err();
    assert_eq!(error, ClientError::NotKafka { peer: peer(), protocol: "SSH" });
}

#[tokio::test(start_paused = true)]
async fn a_first_frame_may_be_small_only() {
    let length = u32::try_from(MAX_FIRST_FRAME).unwrap() + 1;
    let (error, _) = greeted_by(&length.to_be_bytes(), false).await;
    let (len, max) = (u64::from(length), MAX_FIRST_FRAME as u64);
    assert_eq!(error, ClientError::FrameTooLarge { peer: peer(), len, max });
}

#[tokio::test(start_paused = true)]
async fn afterwards_the_limit_is_the_configured_one() {
    let settings = ConnectionSettings { max_frame: 200_000, ..settings() };
    let (connection, mut broker) = connected(&settings, ROOM).await;
    let call = connection.call(&metadata(), TIMEOUT);
    let request = broker.expect().await;
    let large = MetadataResponseTopic {
        name: Some("x".repeat(30_000)),
        ..MetadataResponseTopic::default()
    };
    let response = MetadataResponse { topics: vec![large; 5], ..MetadataResponse::default() };
    broker.answer(&request, &response).await;
    assert_eq!(call.await.unwrap(), response);
    let call = connection.call(&metadata(), TIMEOUT);
    let _request = broker.expect().await;
    broker.send(&200_001_u32.to_be_bytes()).await;
    let (len, max) = (200_001, 200_000);
    assert_eq!(call.await, Err(ClientError::FrameTooLarge { peer: peer(), len, max }));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_is_told_from_one_that_breaks_off() {
    let (error, _) = greeted_by(b"", true).await;
    assert!(error.to_string().contains("without TLS and SASL"), "{error}");
    let (error, _) = greeted_by(&[0, 0, 0, 60, 0, 0], true).await;
    assert!(error.to_string().contains("in the middle of a response"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn random_bytes_give_an_error_within_the_request_timeout() {
    let start = Instant::now();
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
        if random.bool() && bytes.len() > 4 {
            // Random contents of a frame that is in order.
            let length = u32::try_from(bytes.len() - 4).unwrap();
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
        let (error, _) = greeted_by(&bytes, random.bool()).await;
        assert!(!error.to_string().is_empty());
    }
    assert!(start.elapsed() <= settings().request_timeout * 200);
}

/// Random contents under the right correlation id, and whole answers with a few bytes changed.
#[tokio::test(start_paused = true)]
async fn random_answers_give_an_answer_or_an_error() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (connection, mut broker) = connected(&settings(), ROOM).await;
        let call = connection.call(&metadata(), TIMEOUT);
        let next = connection.call(&metadata(), TIMEOUT);
        let request = broker.expect().await;
        let mut answer = request.answer(&numbered(1));
        if random.bool() {
            answer.truncate(8);
            answer.extend((0..random.usize(0..100)).map(|_| random.u8(..)));
            let length = u32::try_from(answer.len() - 4).unwrap();
            answer[..4].copy_from_slice(&length.to_be_bytes());
        } else {
            for _ in 0..random.usize(1..4) {
                let at = random.usize(8..answer.len());
                answer[at] = random.u8(..);
            }
        }
        broker.send(&answer).await;
        match call.await {
            Ok(_) => assert!(connection.is_open(), "seed {seed}"),
            Err(error) => {
                assert!(matches!(error, ClientError::Decode { .. }), "seed {seed}: {error:?}");
                assert_eq!(next.await.unwrap_err(), error, "seed {seed}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_after_the_request_timeout() {
    let start = Instant::now();
    let (error, _) = greeted_by(b"", false).await;
    assert!(matches!(error, ClientError::RequestTimeout { api: "ApiVersions", .. }));
    assert_eq!(start.elapsed(), settings().request_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_hangs_is_given_up_after_the_set_up_timeout() {
    let connector = connect_fn(|_, _| std::future::pending());
    let after = Duration::from_secs(10);
    let error =
        Connection::open(&connector, peer(), &settings(), after, meter()).await.unwrap_err();
    assert_eq!(error, ClientError::SetupTimeout { peer: peer(), after });
}

#[tokio::test]
async fn a_refusal_and_a_name_that_does_not_resolve_are_told_apart() {
    let refusing = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = refusing.local_addr().unwrap().port();
    drop(refusing);
    let tcp = crate::net::TcpConnector::default();
    let refused = crate::error::Peer::new(None, "127.0.0.1", port);
    let error = Connection::open(&tcp, refused, &settings(), TIMEOUT, meter()).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Connect { kind: io::ErrorKind::ConnectionRefused, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("bootstrap server 127.0.0.1"), "{error}");
    let unknown = crate::error::Peer::new(None, "no such host", 9092);
    let error = Connection::open(&tcp, unknown, &settings(), TIMEOUT, meter()).await.unwrap_err();
    assert!(matches!(error, ClientError::Resolve { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn giving_up_the_opening_closes_the_socket() {
    let (ours, theirs) = tokio::io::duplex(ROOM);
    let mut broker = FakeBroker::new(theirs);
    let settings = settings();
    let opening = open_over(ours, &settings);
    let given_up = tokio::time::timeout(Duration::from_secs(1), opening).await;
    assert!(given_up.is_err());
    assert_eq!(broker.expect().await.api, ApiKey::API_VERSIONS);
    assert!(broker.next().await.is_none());
}
