//! The task of one connection: it owns the socket, writes what is queued, reads what comes, and
//! watches the clock.
//!
//! One task does both directions, so that an answer never waits for another task to be scheduled.
//! It takes no decisions: what a frame or a deadline means is the [`Link`]'s.

use super::connector::Transport;
use super::frame::FrameReader;
use super::link::{End, Link};
use super::meter::Meter;
use super::outgoing::Outgoing;
use crate::error::{ClientError, DisconnectReason};
use crate::protocol::frame::FrameError;
use crate::protocol::header::correlation_id;
use crate::time::{Duration, Instant};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;
use tokio::time::Sleep;

/// How often a stream that always has more is read before other tasks get a turn.
const READS_PER_TURN: usize = 32;

pub(super) struct Driver {
    link: Arc<Link>,
    io: Box<dyn Transport>,
    meter: Meter,
    reader: FrameReader,
    outgoing: Outgoing,
    /// Whether something was written that a buffer below may still hold.
    unflushed: bool,
    timer: Option<Pin<Box<Sleep>>>,
    max_idle: Option<Duration>,
    /// Dropped when the socket is closed and every request has ended.
    _running: watch::Sender<()>,
}

impl Driver {
    pub(super) fn new(
        link: Arc<Link>,
        io: Box<dyn Transport>,
        meter: Meter,
        max_idle: Option<Duration>,
        running: watch::Sender<()>,
    ) -> Self {
        Self {
            link,
            io,
            meter,
            reader: FrameReader::default(),
            outgoing: Outgoing::default(),
            unflushed: false,
            timer: None,
            max_idle,
            _running: running,
        }
    }

    /// Runs until the connection ends, then ends what is left of its requests.
    pub(super) async fn run(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        tracing::debug!(peer = %self.link.peer, ?end, "connection closed");
        self.finish(&end);
    }

    fn finish(&self, end: &End) {
        self.link.finish(end, self.outgoing.untouched(), Instant::now());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // Registered before looking, so that what is queued after the look wakes this task again.
        self.link.waker.register(cx.waker());
        self.meter.begin_turn();
        let turn = self.turn(cx);
        self.meter.end_turn();
        match turn {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        self.link.take_outbound(|id, pieces| self.outgoing.push(id, pieces))?;
        // Reading first finds out that the broker has closed before more is sent in vain.
        self.read(cx)?;
        if let Err(end) = self.write(cx) {
            // It may have answered before it closed, and the answers count.
            self.read(cx)?;
            return Err(end);
        }
        self.watch_clock(cx)
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while !self.outgoing.is_empty() {
            let Self { link, meter, outgoing, io, .. } = self;
            let written = |id, size| {
                meter.requested(size);
                link.written(id);
            };
            match outgoing.poll_write(&mut **io, cx, written) {
                Poll::Ready(Ok(bytes)) => meter.sent(bytes),
                Poll::Ready(Err(error)) => return Err(failed(&error)),
                Poll::Pending => return Ok(()),
            }
            self.unflushed = true;
        }
        if self.unflushed {
            match Pin::new(&mut *self.io).poll_flush(cx) {
                Poll::Ready(result) => result.map_err(|error| failed(&error))?,
                Poll::Pending => return Ok(()),
            }
            self.unflushed = false;
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..READS_PER_TURN {
            match self.reader.poll_fill(&mut *self.io, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(failed(&error)),
                Poll::Ready(Ok(0)) => {
                    return Err(End::Disconnect(if self.reader.is_between_frames() {
                        DisconnectReason::ClosedByPeer
                    } else {
                        DisconnectReason::ClosedMidResponse
                    }));
                }
                Poll::Ready(Ok(bytes)) => {
                    self.meter.received(bytes);
                    self.dispatch()?;
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn dispatch(&mut self) -> Result<(), End> {
        let now = Instant::now();
        while let Some(frame) =
            self.reader.next(self.link.max_frame()).map_err(|error| self.not_understood(&error))?
        {
            let id = correlation_id(&frame).map_err(|error| {
                let cause = error.to_string().into();
                End::Protocol(ClientError::Decode { peer: self.link.peer.clone(), cause })
            })?;
            self.link.answer(id, frame, now)?;
            self.meter.answered();
        }
        Ok(())
    }

    fn not_understood(&self, error: &FrameError) -> End {
        let peer = self.link.peer.clone();
        End::Protocol(match *error {
            FrameError::NotKafka(protocol) => ClientError::NotKafka { peer, protocol },
            FrameError::TooLarge { length, max } => {
                ClientError::FrameTooLarge { peer, len: length as u64, max: max as u64 }
            }
            ref other => ClientError::Decode { peer, cause: other.to_string().into() },
        })
    }

    /// Deadlines mostly move away, as requests end in time; so the timer is left to ring early and
    /// set anew then.
    fn watch_clock(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let Some(due) = self.link.next_deadline(self.max_idle) else {
                self.timer = None;
                return Ok(());
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.is_elapsed() || due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            self.link.expire(Instant::now(), self.max_idle)?;
        }
    }
}

/// The runtime may drop the task before it has run to its end.
impl Drop for Driver {
    fn drop(&mut self) {
        self.finish(&End::Disconnect(DisconnectReason::ClosedByClient));
    }
}

fn failed(error: &io::Error) -> End {
    End::Disconnect(DisconnectReason::Io { kind: error.kind(), cause: error.to_string().into() })
}
