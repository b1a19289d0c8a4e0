//! Addresses at which there is no Kafka.

use std::time::Duration;

use milena::{ClientError, DisconnectReason, Producer, ProducerConfig, ProducerRecord, SendError};
use tokio::time::Instant;

use crate::harness::{MIB, all, run};
use crate::server::{Dial, Reply, Server, TOPIC};
use crate::session::{
    innermost, produce, producer, produces_again, read, read_cause, reader, reads_again, says,
};

struct Wrong {
    name: &'static str,
    set: fn(&Server),
    expected: fn(&ClientError) -> bool,
    says: &'static [&'static str],
}

const WRONG: &[Wrong] = &[
    Wrong {
        name: "a name that does not resolve",
        set: |server| server.dial(Dial::NoSuchName),
        expected: |error| matches!(error, ClientError::Resolve { .. }),
        says: &["cannot resolve the name", "check bootstrap.servers", "DNS"],
    },
    Wrong {
        name: "a server that refuses",
        set: |server| server.dial(Dial::Refuse),
        expected: |error| {
            let refused = std::io::ErrorKind::ConnectionRefused;
            matches!(error, ClientError::Connect { kind, .. } if *kind == refused)
        },
        says: &["cannot connect", "refused", "check that a broker listens there"],
    },
    Wrong {
        name: "a server that neither accepts nor refuses",
        set: |server| server.dial(Dial::Ignore),
        expected: |error| {
            // A reader says so before the set-up time-out is over.
            let early = matches!(error, ClientError::NoAnswerYet { .. });
            early || matches!(error, ClientError::SetupTimeout { .. })
        },
        says: &[],
    },
    Wrong {
        name: "a server that accepts and says nothing",
        set: |server| server.tamper(|_| Reply::Silence),
        expected: |error| {
            let early = matches!(error, ClientError::NoAnswerYet { .. });
            early || matches!(error, ClientError::RequestTimeout { api: "ApiVersions", .. })
        },
        says: &["answer"],
    },
    Wrong {
        name: "a listener that hangs up on plain text",
        set: |server| server.tamper(|_| Reply::Last(Vec::new())),
        expected: |error| {
            let hung_up = DisconnectReason::ClosedBeforeFirstAnswer;
            matches!(error, ClientError::Disconnected { reason, .. } if *reason == hung_up)
        },
        says: &[
            "without answering an ApiVersions request",
            "a Kafka listener without TLS and SASL",
        ],
    },
    Wrong {
        name: "HTTP",
        set: |server| {
            let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
            server.tamper(|_| Reply::Last(answer.to_vec()));
        },
        expected: |error| matches!(error, ClientError::NotKafka { protocol: "HTTP", .. }),
        says: &["answered in HTTP", "check the port"],
    },
    Wrong {
        name: "TLS: an alert and the end",
        set: |server| server.tamper(|_| Reply::Last(vec![0x15, 3, 3, 0, 2, 2, 10])),
        expected: |error| matches!(error, ClientError::NotKafka { protocol: "TLS", .. }),
        says: &["answered in TLS", "whether the listener expects TLS"],
    },
    Wrong {
        name: "SSH: a banner before anything was asked",
        set: |server| {
            server.banner(b"SSH-2.0-OpenSSH_9.6\r\n");
            server.tamper(|_| Reply::Silence);
        },
        expected: |error| matches!(error, ClientError::NotKafka { protocol: "SSH", .. }),
        says: &["answered in SSH", "check the port"],
    },
    Wrong {
        name: "a banner of another protocol",
        set: |server| {
            server.banner(b"220 mail.example ESMTP\r\n");
            server.tamper(|_| Reply::Silence);
        },
        expected: |error| matches!(error, ClientError::FrameTooLarge { max: 65_536, .. }),
        says: &["if it is a Kafka broker, raise receive.message.max.bytes"],
    },
];

#[test]
fn a_producer_and_a_reader_say_what_is_there_in_place_of_kafka() {
    all(WRONG, |wrong| wrong.name.to_owned(), |case, wrong| run(case, MIB, meets(case, wrong)));
}

async fn meets(case: &str, wrong: &Wrong) {
    let server = Server::start().await;
    (wrong.set)(&server);
    let (producer, mut reader) = (producer(&server), reader(&server));
    let (unsent, unread) = tokio::join!(produce(&producer), read(&mut reader));
    let (unsent, unread) = (unsent.expect_err(case), unread.expect_err(case));
    for (text, cause) in
        [(unsent.text(), unsent.cause()), (unread.to_string(), read_cause(&unread))]
    {
        let cause = cause.unwrap_or_else(|| panic!("{case}: no cause: {text}"));
        assert!((wrong.expected)(cause), "{case}: {cause:?}");
        says(case, &text, &[TOPIC, "bootstrap server broker-1.milena.internal:9092"]);
        says(case, &text, wrong.says);
    }
    // Two clients, each about once a second after a start at 20 a second.
    assert!(server.effort() <= 120, "{case}: {} attempts", server.effort());
    server.behave();
    produces_again(case, &producer).await;
    reads_again(case, &mut reader).await;
}

/// The same over TCP, with the system's resolver and its clock.
#[tokio::test]
async fn over_tcp_too() {
    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = bound.local_addr().unwrap().to_string();
    let refusing = {
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        bound.local_addr().unwrap().to_string()
    };
    // A label of more than 63 characters is refused before any server is asked.
    let unknown = format!("{}.invalid:9092", "x".repeat(64));
    for address in [silent.clone(), refusing.clone(), unknown.clone()] {
        let config = ProducerConfig::builder()
            .bootstrap_servers(&*address)
            .max_block(Duration::from_millis(500))
            .build()
            .unwrap();
        let producer = Producer::new(config);
        let start = Instant::now();
        let error = producer.send(&ProducerRecord::new(TOPIC, "value")).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(5), "{address}: {:?}", start.elapsed());
        let text = error.to_string();
        says(&address, &text, &["bootstrap server", &address, "check"]);
        let SendError::MetadataTimeout { last: Some(last), .. } = &error else {
            panic!("{address}: {error:?}");
        };
        let expected = match innermost(last) {
            ClientError::NoAnswerYet { .. } => &silent,
            ClientError::Connect { .. } => &refusing,
            ClientError::Resolve { .. } => &unknown,
            other => panic!("{address}: {other:?}"),
        };
        assert_eq!(expected, &address);
    }
}
