//! The TCP side of a node: accepts connections while the node runs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::connection;
use super::shared::Shared;
use crate::types::BrokerId;

/// How long to wait when the machine has no room for another connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(10);

/// Listens on loopback; port 0 lets the system choose.
pub(crate) async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Serves whoever connects. Dropping this future closes the listener and all of its connections.
pub(crate) async fn run(shared: Arc<Shared>, node: BrokerId, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Without it small answers would wait for the client's acknowledgement of the last.
                    let _ = stream.set_nodelay(true);
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move { connection::serve(&shared, node, stream).await });
                }
                Err(error) => {
                    tracing::warn!(%node, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
