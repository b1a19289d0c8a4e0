//! Ports for servers that are other processes. A port is free when it is picked and cannot be held until the server
//! takes it, so whoever starts one must be ready to pick again.

use std::net::{Ipv4Addr, TcpListener};

/// Below the range that systems give to outgoing connections, so that none of those takes a port between its pick and
/// its use, or while a stopped server is to come back on it.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Picks `count` different ports of 127.0.0.1 that nobody listens on.
pub(crate) fn free(count: usize) -> Vec<u16> {
    let mut held: Vec<TcpListener> = Vec::with_capacity(count);
    for _ in 0..10_000 {
        if held.len() == count {
            break;
        }
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE))));
    }
    assert_eq!(held.len(), count, "no free ports in {RANGE:?}");
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
