//! One entry of `bootstrap.servers`. Says nothing about whether the host can be resolved or
//! reached.

use std::fmt;

/// The name or address of a host and a port.
///
/// Displays as Kafka writes it: `host:port`, an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A host name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// The port; never 0.
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port`, `[ipv6]:port`, and either after `PLAINTEXT://`, which Java accepts too.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = match text.split_once("://") {
            Some((protocol, rest)) if protocol.eq_ignore_ascii_case("PLAINTEXT") => rest,
            Some(_) => return None,
            None => text,
        };
        let (host, port) = text.rsplit_once(':')?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(address) if address.contains(':') => address,
            Some(_) => return None,
            None => host,
        };
        let allowed = |c: char| {
            c.is_ascii_alphanumeric()
                || matches!(c, '-' | '.' | '_' | '%')
                || (c == ':' && bracketed.is_some())
        };
        if host.is_empty() || !host.chars().all(allowed) {
            return None;
        }
        // `u16::from_str` would accept a leading plus.
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
