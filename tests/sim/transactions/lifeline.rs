//! The connections of one life of a worker, which all break when it is killed: what a process leaves behind that loses
//! its power, whatever its tasks would still like to do.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use milena::net::{Connect, Transport, connect_fn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Wire;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Lifeline(Arc<AtomicBool>);

impl Lifeline {
    pub(super) fn kill(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn connector(&self, wire: &Wire) -> impl Connect + use<> {
        let (line, connector) = (self.clone(), Arc::new(wire.connector()));
        connect_fn(move |host, port| {
            let (line, connector) = (line.clone(), Arc::clone(&connector));
            async move {
                if line.is_cut() {
                    return Err(broken());
                }
                let inner = connector.connect(&host, port).await?;
                Ok(Box::new(Line { line, inner }) as Box<dyn Transport>)
            }
        })
    }
}

fn broken() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

struct Line {
    line: Lifeline,
    inner: Box<dyn Transport>,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.line.is_cut() {
            return Poll::Ready(Err(broken()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.line.is_cut() {
            return Poll::Ready(Err(broken()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
