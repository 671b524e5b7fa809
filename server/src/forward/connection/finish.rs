//! The end of a connection: what waits is delivered, and both sides hang up.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use waddell_core::Instant;

use super::end::End;
use super::{Connection, READS_PER_TURN};
use crate::forward::link::LinkStatus;
use crate::forward::transport::ws;

/// What is left to do once there is a reason to end.
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) end: End,
    deadline: Instant,
    /// All is written and the peer knows that nothing more comes.
    shut_down: bool,
}

/// Longest time for a peer that was told of the end to hang up too.
const LINGER: Duration = Duration::from_secs(2);

impl Connection {
    /// Takes nothing more for the peer, and sets about delivering what waits.
    pub(super) fn begin_finish(&mut self, end: End) -> Box<Finish> {
        self.end_last_read();
        self.registration.end();
        let shared = &self.worker.shared;
        self.inbound.close(&shared.unfinished);
        match end {
            End::Closed(_) | End::Broken | End::Shutdown => {}
            End::Stalled => shared.metrics.peers_stalled.increment(),
            End::TimedOut => shared.metrics.peers_timed_out.increment(),
            End::CrowdedOut => shared.metrics.peers_crowded_out.increment(),
            End::Misbehaved(_) => shared.metrics.peers_misbehaved.increment(),
        }
        let mut link = self.peer().link();
        link.close();
        if self.kind.is_websocket()
            && let Some(close) = end.close()
        {
            self.worker.with_buffers(|buffers| link.push_control(&ws::close(close), buffers));
        }
        let deadline = shared.clock.now() + self.worker.config().timeouts.write;
        Box::new(Finish { end, deadline, shut_down: false })
    }

    /// Delivers what waits, says that nothing more comes, and gives the peer time to hang up too:
    /// a socket that is closed with unread bytes in it takes back what was just delivered.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>, finish: &mut Finish) -> Poll<()> {
        match finish.end {
            End::Broken | End::Stalled | End::TimedOut | End::CrowdedOut => return Poll::Ready(()),
            End::Closed(_) | End::Misbehaved(_) | End::Shutdown => {}
        }
        if !finish.shut_down {
            match self.poll_deliver(cx, &mut finish.deadline) {
                Poll::Pending => {}
                Poll::Ready(Err(Undeliverable)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if finish.end == End::Closed(None) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    finish.shut_down = true;
                    finish.deadline = finish.deadline.min(self.worker.shared.clock.now() + LINGER);
                }
            }
        }
        if finish.shut_down && self.poll_hung_up(cx).is_ready() {
            return Poll::Ready(());
        }
        self.timer.poll_until(cx, self.worker.shared.clock.timer(finish.deadline))
    }

    /// Writes all that waits, then ends the stream towards the peer. The deadline moves whenever
    /// the peer takes something.
    fn poll_deliver(
        &mut self,
        cx: &mut Context<'_>,
        deadline: &mut Instant,
    ) -> Poll<Result<(), Undeliverable>> {
        let write_timeout = self.worker.config().timeouts.write;
        let mut link = self.peer().link();
        self.worker.with_buffers(|buffers| {
            link.write_now(buffers);
            match link.poll_blocked(cx, write_timeout, buffers) {
                LinkStatus::Stalled(since) => {
                    *deadline = since + write_timeout;
                    return Poll::Pending;
                }
                LinkStatus::Broken | LinkStatus::CrowdedOut => {
                    return Poll::Ready(Err(Undeliverable));
                }
                LinkStatus::Flowing => {}
            }
            if let Some(tls) = &mut link.tls {
                tls.send_close_notify();
                // If this does not fit, the peer is told by the end of the stream alone.
                link.write_now(buffers);
            }
            link.shut_down();
            Poll::Ready(Ok(()))
        })
    }

    /// Throws away what the peer still sends, until it hangs up.
    fn poll_hung_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let worker = Rc::clone(&self.worker);
        worker.with_scratch(|scratch| {
            for _ in 0..READS_PER_TURN {
                let mut buffer = ReadBuf::new(&mut scratch.wire);
                let result = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer));
                if result.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(());
                }
            }
            if self.socket.as_ref().poll_read_ready(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
    }
}

/// The socket broke before all was delivered.
struct Undeliverable;
