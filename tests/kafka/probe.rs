//! Asks a broker which brokers it knows of, by one Metadata request written by hand: that a port is open says little,
//! and the code under test is not what a test should rely on to tell whether its server is up.

use std::io;
use std::net::Ipv4Addr;

use bytes::{Buf, BufMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const METADATA: i16 = 3;
/// From here on a request can say that it creates no topics; brokers from 0.11 to the newest speak it.
const VERSION: i16 = 4;
const CORRELATION_ID: i32 = 1;

/// The ids of the live brokers, as the one at this port of 127.0.0.1 tells.
pub(crate) async fn brokers(port: u16) -> io::Result<Vec<i32>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(&request()).await?;
    let length = usize::try_from(stream.read_i32().await?).map_err(io::Error::other)?;
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    parse(&answer).ok_or_else(|| io::Error::other("not an answer to a Metadata request"))
}

fn request() -> Vec<u8> {
    let mut body = Vec::new();
    body.put_i16(METADATA);
    body.put_i16(VERSION);
    body.put_i32(CORRELATION_ID);
    body.put_i16(-1); // no client id
    body.put_i32(0); // no topics
    body.put_u8(0); // create none
    let mut frame = Vec::new();
    frame.put_i32(i32::try_from(body.len()).unwrap());
    frame.extend(body);
    frame
}

fn parse(mut answer: &[u8]) -> Option<Vec<i32>> {
    if answer.try_get_i32().ok()? != CORRELATION_ID {
        return None;
    }
    let _throttle_ms = answer.try_get_i32().ok()?;
    let count = answer.try_get_i32().ok()?;
    (0..count).map(|_| broker(&mut answer)).collect()
}

fn broker(answer: &mut &[u8]) -> Option<i32> {
    let id = answer.try_get_i32().ok()?;
    skip_string(answer)?; // host
    let _port = answer.try_get_i32().ok()?;
    skip_string(answer)?; // rack
    Some(id)
}

fn skip_string(answer: &mut &[u8]) -> Option<()> {
    let length = answer.try_get_i16().ok()?.max(0);
    *answer = answer.get(usize::try_from(length).ok()?..)?;
    Some(())
}
