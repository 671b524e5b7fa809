//! The end of a connection: its outbox is written, then both sides close.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use waddell_core::Instant;

use super::end::End;
use super::io::Io;
use crate::forward::link::Lost;

/// The rest of a connection's life, after it has a reason to end.
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) end: End,
    deadline: Instant,
    /// The outbox is written, and the peer is told that no more bytes follow.
    shut_down: bool,
}

/// Longest time for a peer to close its side after the server has closed its own.
const LINGER: Duration = Duration::from_secs(2);

impl Finish {
    pub(super) fn new(end: End, io: &Io) -> Self {
        let deadline = io.now() + io.worker.config().timeouts.write;
        Self { end, deadline, shut_down: false }
    }

    /// Writes the outbox, ends the stream, and gives the peer time to close its side. If a socket
    /// is closed with unread bytes in it, the system discards the bytes that were just written.
    pub(super) fn poll(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<()> {
        match self.end {
            End::Broken | End::Stalled | End::TimedOut | End::CrowdedOut => return Poll::Ready(()),
            End::Closed(_) | End::Misbehaved(_) | End::Shutdown | End::Superseded => {}
            End::Expired | End::Refused(_) => {}
        }
        if !self.shut_down {
            match self.poll_deliver(io, cx) {
                Poll::Pending => {}
                Poll::Ready(Err(_lost)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if self.end == End::Closed(None) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    self.shut_down = true;
                    self.deadline = self.deadline.min(io.now() + LINGER);
                }
            }
        }
        if self.shut_down && poll_closed(io, cx).is_ready() {
            return Poll::Ready(());
        }
        io.poll_until(cx, self.deadline)
    }

    /// Writes the outbox, then ends the stream towards the peer. The deadline moves whenever the
    /// peer takes a byte.
    fn poll_deliver(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let write_timeout = io.worker.config().timeouts.write;
        let mut link = io.peer().link();
        io.worker.with_buffers(|buffers| {
            link.write_now(buffers);
            if let Some(since) = link.poll_blocked(cx, write_timeout, buffers)? {
                self.deadline = since + write_timeout;
                return Poll::Pending;
            }
            if let Some(tls) = &mut link.tls {
                tls.send_close_notify();
                // If this does not fit, the end of the stream alone tells the peer.
                link.write_now(buffers);
            }
            link.shut_down();
            Poll::Ready(Ok(()))
        })
    }
}

/// Discards the peer's bytes until it closes its side.
fn poll_closed(io: &mut Io, cx: &mut Context<'_>) -> Poll<()> {
    let worker = Rc::clone(&io.worker);
    worker.with_scratch(|scratch| {
        match ready!(io.poll_read(cx, &mut scratch.wire)) {
            Ok(0) | Err(_) => return Poll::Ready(()),
            Ok(_) => {}
        }
        if io.poll_readable(cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
}
