//! The server of a case: the in-process cluster, with somebody between it and the client who does
//! to connections and responses what the case says.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena::broker::{ApiKey, Cluster};
use milena::net::{Connect, ResolveError, Transport, connect_fn};
use milena::protocol::header::{decode_request_header, decode_response, encode_response};
use milena::protocol::{Reader, Request};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;

/// How long a response is on its way: without it, a client that asks on and on would hang the test
/// instead of failing it.
const LATENCY: Duration = Duration::from_millis(1);
/// What a connection holds in each direction.
const ROOM: usize = 64 * 1024;
/// The topic of all cases; it has one partition.
pub(crate) const TOPIC: &str = "orders";

/// A response about to be sent.
pub(crate) struct Exchange<'a> {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// The true response, without its length.
    pub(crate) response: &'a Bytes,
}

/// What is sent in its place.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    True,
    /// These bytes after their length.
    Frame(Vec<u8>),
    /// These bytes as they are.
    Raw(Vec<u8>),
    /// As `Raw`, and then the connection is closed.
    Last(Vec<u8>),
    /// Nothing, now or later on this connection.
    Silence,
}

/// What happens to an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dial {
    Accept,
    Refuse,
    NoSuchName,
    /// Neither accepted nor refused.
    Ignore,
}

type Tamper = Box<dyn FnMut(&Exchange<'_>) -> Reply + Send>;

/// Clones are the same server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    conduct: Arc<Conduct>,
}

struct Conduct {
    dial: Mutex<Dial>,
    /// Sent before anything was asked.
    banner: Mutex<&'static [u8]>,
    tamper: Mutex<Tamper>,
    /// Changes when all connections are to be closed.
    hang_ups: watch::Sender<u64>,
    connections: Mutex<usize>,
    requests: Mutex<BTreeMap<ApiKey, usize>>,
}

impl Server {
    /// A server that does nothing wrong yet.
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::builder().in_memory().seed(1).start().await.unwrap();
        cluster.create_topic(TOPIC).unwrap();
        let conduct = Conduct {
            dial: Mutex::new(Dial::Accept),
            banner: Mutex::new(b""),
            tamper: Mutex::new(Box::new(|_| Reply::True)),
            hang_ups: watch::Sender::new(0),
            connections: Mutex::default(),
            requests: Mutex::default(),
        };
        Self { cluster, conduct: Arc::new(conduct) }
    }

    pub(crate) fn dial(&self, dial: Dial) {
        *self.conduct.dial.lock() = dial;
    }

    pub(crate) fn banner(&self, banner: &'static [u8]) {
        *self.conduct.banner.lock() = banner;
    }

    pub(crate) fn tamper(&self, tamper: impl FnMut(&Exchange<'_>) -> Reply + Send + 'static) {
        *self.conduct.tamper.lock() = Box::new(tamper);
    }

    /// Tampers with the responses of one API only.
    pub(crate) fn tamper_with(
        &self,
        api: ApiKey,
        mut tamper: impl FnMut(&Exchange<'_>) -> Reply + Send + 'static,
    ) {
        self.tamper(
            move |exchange| {
                if exchange.api == api { tamper(exchange) } else { Reply::True }
            },
        );
    }

    /// Changes what the responses to `R` say.
    pub(crate) fn edit<R: Request>(&self, mut edit: impl FnMut(&mut R::Response) + Send + 'static) {
        self.tamper_with(R::API, move |exchange| exchange.edited::<R>(&mut edit));
    }

    /// From now on everything is as it should be.
    pub(crate) fn behave(&self) {
        self.dial(Dial::Accept);
        self.banner(b"");
        self.tamper(|_| Reply::True);
    }

    /// Closes the connections that there are, and gives clients time to see it.
    pub(crate) async fn hang_up(&self) {
        self.conduct.hang_ups.send_modify(|count| *count += 1);
        tokio::time::sleep(LATENCY).await;
    }

    /// How many connections were attempted.
    pub(crate) fn connections(&self) -> usize {
        *self.conduct.connections.lock()
    }

    /// How many connections and requests of any kind there were.
    pub(crate) fn effort(&self) -> usize {
        self.connections() + self.conduct.requests.lock().values().sum::<usize>()
    }

    pub(crate) fn connector(&self) -> impl Connect + use<> {
        let server = self.clone();
        connect_fn(move |host, port| {
            let server = server.clone();
            async move { server.connect(&host, port).await }
        })
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Transport>> {
        *self.conduct.connections.lock() += 1;
        let dial = *self.conduct.dial.lock();
        match dial {
            Dial::Accept => {}
            Dial::Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
            Dial::NoSuchName => {
                let cause = io::Error::new(io::ErrorKind::NotFound, "no such name");
                return Err(ResolveError::new(cause).into_io());
            }
            Dial::Ignore => pending().await,
        }
        let broker = self.cluster.connect(host, port)?;
        let (ours, theirs) = tokio::io::duplex(ROOM);
        let conduct = Arc::clone(&self.conduct);
        let mut hang_ups = conduct.hang_ups.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                // It ends with an error when one of the sides has gone.
                ended = converse(&conduct, theirs, broker) => drop(ended),
                _ = hang_ups.changed() => {}
            }
        });
        Ok(Box::new(ours))
    }
}

async fn converse(
    conduct: &Conduct,
    mut client: DuplexStream,
    mut broker: DuplexStream,
) -> io::Result<()> {
    let banner = *conduct.banner.lock();
    client.write_all(banner).await?;
    let mut silent = false;
    loop {
        let request = read_frame(&mut client).await?;
        let header = decode_request_header(&mut Reader::new(request.clone())).unwrap();
        *conduct.requests.lock().entry(header.api_key).or_default() += 1;
        broker.write_all(&framed(&request)).await?;
        let response = read_frame(&mut broker).await?;
        tokio::time::sleep(LATENCY).await;
        let exchange = Exchange {
            api: header.api_key,
            version: header.api_version,
            correlation_id: header.correlation_id,
            response: &response,
        };
        let reply = (conduct.tamper.lock())(&exchange);
        silent |= matches!(reply, Reply::Silence);
        match reply {
            _ if silent => {}
            Reply::True | Reply::Silence => client.write_all(&framed(&response)).await?,
            Reply::Frame(bytes) => client.write_all(&framed(&bytes)).await?,
            Reply::Raw(bytes) => client.write_all(&bytes).await?,
            Reply::Last(bytes) => return client.write_all(&bytes).await,
        }
    }
}

async fn read_frame(stream: &mut DuplexStream) -> io::Result<Bytes> {
    let length = stream.read_u32().await?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await?;
    Ok(frame.into())
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap();
    [&length.to_be_bytes(), frame].concat()
}

impl Exchange<'_> {
    /// The response after some change, if it is one to `R`.
    pub(crate) fn edited_if<R: Request>(&self, edit: impl FnOnce(&mut R::Response)) -> Reply {
        if self.api == R::API { self.edited::<R>(edit) } else { Reply::True }
    }

    /// The response after some change.
    pub(crate) fn edited<R: Request>(&self, edit: impl FnOnce(&mut R::Response)) -> Reply {
        let (_, mut response) = decode_response::<R>(self.response.clone(), self.version).unwrap();
        edit(&mut response);
        let segments = encode_response(self.correlation_id, self.version, &response).unwrap();
        Reply::Raw(segments.concat())
    }
}
