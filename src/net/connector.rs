//! How the client gets a byte stream to a broker: over TCP, or over whatever the user plugs in.
//!
//! It decides which address of a name is taken. It knows nothing of Kafka; time-outs of an attempt
//! are its caller's, who drops the future.

use crate::time::Duration;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// A byte stream to a broker.
///
/// Implemented for everything that can be read and written, such as [`tokio::io::DuplexStream`].
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}

/// What [`Connect::connect`] gives: a future that ends in a stream, or in the reason why there is
/// none.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Transport>>> + Send>>;

/// Opens byte streams to brokers. The default is [`TcpConnector`].
///
/// Replace it to run over in-memory streams, a simulated network or a proxy; [`connect_fn`] makes
/// one of a closure.
pub trait Connect: Send + Sync + fmt::Debug + 'static {
    /// Opens a stream to `host`, as written in `bootstrap.servers` or advertised by a broker.
    ///
    /// Called anew for every attempt. The caller bounds the wait by
    /// `socket.connection.setup.timeout.ms` and drops the future when it has passed. If the name
    /// has no address, the error should hold a [`ResolveError`], so that it can be told from a
    /// broker that refuses.
    fn connect(&self, host: &str, port: u16) -> Connecting;
}

/// A host name that could not be turned into an address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(io::Error);

impl ResolveError {
    /// With the resolver's words.
    pub fn new(cause: io::Error) -> Self {
        Self(cause)
    }

    /// Wraps it as the error of an attempt to connect.
    pub fn into_io(self) -> io::Error {
        io::Error::new(self.0.kind(), self)
    }
}

/// A connector made of a closure; see [`connect_fn`].
pub struct ConnectFn<F>(F);

/// Makes a [`Connect`] of a closure.
///
/// ```
/// use milena::net::{Transport, connect_fn};
///
/// let connector = connect_fn(|_host: String, _port: u16| async {
///     let (ours, _theirs) = tokio::io::duplex(64 * 1024);
///     Ok(Box::new(ours) as Box<dyn Transport>)
/// });
/// ```
pub fn connect_fn<F, Fut>(connect: F) -> ConnectFn<F>
where
    F: Fn(String, u16) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<Box<dyn Transport>>> + Send + 'static,
{
    ConnectFn(connect)
}

impl<F> fmt::Debug for ConnectFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectFn")
    }
}

impl<F, Fut> Connect for ConnectFn<F>
where
    F: Fn(String, u16) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<Box<dyn Transport>>> + Send + 'static,
{
    fn connect(&self, host: &str, port: u16) -> Connecting {
        Box::pin((self.0)(host.to_owned(), port))
    }
}

/// Connects over TCP with `TCP_NODELAY` and keep-alive.
///
/// The name is resolved at every attempt, since brokers move. All its addresses are tried, in the
/// order in which the system gives them: the next one as soon as one refuses, or when one has been
/// silent for a quarter of a second, and the first that accepts wins (as in RFC 8305). So one dead
/// address costs little, whatever the time-out.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TcpConnector {
    /// `send.buffer.bytes`: the size of the socket's send buffer; the system's choice if `None`.
    pub send_buffer: Option<u32>,
    /// `receive.buffer.bytes`: the size of the socket's receive buffer; the system's choice if
    /// `None`.
    pub receive_buffer: Option<u32>,
}

/// How long an address may be silent before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

impl Connect for TcpConnector {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let (options, host) = (self.clone(), host.to_owned());
        Box::pin(async move {
            let addresses =
                resolve(&host, port).await.map_err(|e| ResolveError::new(e).into_io())?;
            let stream = first_of(addresses, |address| options.clone().dial(address)).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

impl TcpConnector {
    /// A connector whose sockets have buffers of these sizes in bytes; the system's choice if
    /// `None`.
    pub fn new(send_buffer: Option<u32>, receive_buffer: Option<u32>) -> Self {
        Self { send_buffer, receive_buffer }
    }

    async fn dial(self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_keepalive(true)?;
        let stream = socket.connect(address).await.map_err(|e| naming(address, &e))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The system's error does not say which of the addresses it is about.
fn naming(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    // An IPv6 address may be written in brackets, as in a URL.
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Tries all addresses, each begun when the one before has failed or has been silent for
/// [`STAGGER`].
async fn first_of<S, Fut>(
    addresses: Vec<SocketAddr>,
    dial: impl Fn(SocketAddr) -> Fut,
) -> io::Result<S>
where
    Fut: Future<Output = io::Result<S>>,
{
    let mut waiting = addresses.into_iter();
    let mut running: FuturesUnordered<Fut> = waiting.next().map(&dial).into_iter().collect();
    let mut failures: Vec<io::Error> = Vec::new();
    loop {
        let more = waiting.len() > 0;
        tokio::select! {
            biased;
            ended = running.next() => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failures.push(error),
                None if !more => return Err(all_failed(&failures)),
                None => {}
            },
            () = tokio::time::sleep(STAGGER), if more => {}
        }
        running.extend(waiting.next().map(&dial));
    }
}

fn all_failed(failures: &[io::Error]) -> io::Error {
    let kind = failures.last().map_or(io::ErrorKind::NotFound, io::Error::kind);
    let texts: Vec<_> = failures.iter().map(ToString::to_string).collect();
    io::Error::new(kind, texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;
    use parking_lot::Mutex;

    fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, n], 9092))
    }

    #[tokio::test(start_paused = true)]
    async fn all_addresses_are_tried_and_a_silent_one_does_not_hold_up_the_next() {
        let start = Instant::now();
        let tried = Mutex::new(Vec::new());
        let connected = first_of(vec![address(1), address(2), address(3)], |address| {
            tried.lock().push((address, start.elapsed()));
            async move {
                match address.ip().to_string().as_str() {
                    "127.0.0.1" => std::future::pending().await,
                    "127.0.0.2" => Err(io::ErrorKind::ConnectionRefused.into()),
                    _ => Ok(address),
                }
            }
        });
        assert_eq!(connected.await.unwrap(), address(3));
        let expected = [(address(1), Duration::ZERO), (address(2), STAGGER), (address(3), STAGGER)];
        assert_eq!(*tried.lock(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_still_wins_if_the_others_refuse() {
        let connected = first_of(vec![address(1), address(2)], |at| async move {
            if at == address(1) {
                tokio::time::sleep(STAGGER * 3).await;
                return Ok(at);
            }
            Err(naming(at, &io::ErrorKind::ConnectionRefused.into()))
        });
        assert_eq!(connected.await.unwrap(), address(1));
    }

    #[tokio::test]
    async fn the_error_names_every_address() {
        let dial = |address| async move {
            Err::<(), _>(naming(address, &io::ErrorKind::ConnectionRefused.into()))
        };
        let error = first_of(vec![address(1), address(2)], dial).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let text = error.to_string();
        assert!(text.contains("127.0.0.1:9092") && text.contains("127.0.0.2:9092"), "{text}");
    }

    #[tokio::test]
    async fn tcp_connects_to_whichever_address_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Where `localhost` also means ::1, that address refuses.
        for host in ["127.0.0.1", "localhost"] {
            let connector = TcpConnector::new(Some(65_536), Some(65_536));
            assert!(connector.connect(host, port).await.is_ok(), "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_a_resolve_error() {
        let error = match TcpConnector::default().connect("no such host", 9092).await {
            Ok(_) => panic!("a name with spaces resolved"),
            Err(error) => error,
        };
        assert!(error.get_ref().is_some_and(|cause| cause.is::<ResolveError>()), "{error:?}");
    }
}
