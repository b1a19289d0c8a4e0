//! One connection to one broker: from a host and a port to requests and their answers.
//!
//! ```text
//! callers ─► link (queue, in flight) ─► driver ─► outgoing ─► socket
//!    ▲                                    │
//!    └──────────── answer ◄─ frame ◄──────┘
//! ```
//!
//! Nothing here knows the cluster, connects twice, or looks at records.

mod apis;
mod connection;
mod connector;
mod driver;
mod frame;
mod inflight;
mod link;
mod meter;
mod outgoing;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use connection::{Connection, ConnectionSettings};
pub use connector::{
    Connect, ConnectFn, Connecting, ResolveError, TcpConnector, Transport, connect_fn,
};
pub(crate) use link::api_name;
pub(crate) use meter::Meter;
