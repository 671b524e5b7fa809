//! Both sides of a takeover: the connection that gives its id away, and the one that gets it.

use std::sync::Arc;
use std::task::{Context, Poll};

use waddell_core::Session;

use super::Connection;
use super::LAST_READS;
use super::end::End;
use super::extended::Takeover;
use crate::forward::peer::Peer;
use crate::forward::takeover::hand_over;

impl Connection {
    /// Reads what has arrived, then hands over to the connection that waits. Ready with the reason
    /// to end.
    pub(super) fn give_way(&mut self, cx: &mut Context<'_>, to: &Arc<Peer>) -> Poll<End> {
        if !self.io.poll_readable(cx) && self.io.has_arrived() {
            // The kernel has not told the runtime yet, which then wakes this task.
            return Poll::Pending;
        }
        let read = self.poll_reads(cx, LAST_READS);
        if self.hand_over_to(to) { Poll::Ready(End::Superseded) } else { read }
    }

    /// Hands over everything to the connection that waits. Returns whether that was done.
    pub(super) fn hand_over_to(&mut self, to: &Arc<Peer>) -> bool {
        let (state, from) = (&mut self.inbound.state, self.io.registration.peer());
        hand_over(state.id(), from, to, || state.split_off_session(), &self.io.worker)
    }

    /// Continues as soon as the connection before has handed over, or has been waited for long
    /// enough. Pending as long as nothing is to be read.
    pub(super) fn poll_takeover(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Some(Takeover { from, deadline }) = self.inbound.takeover() else {
            return Poll::Ready(Ok(()));
        };
        let inherited = self.io.peer().link().take_inheritance();
        if let Some(inheritance) = inherited {
            return Poll::Ready(self.finish_takeover(inheritance.session));
        }
        if self.io.now() < *deadline {
            let deadline = *deadline;
            if self.io.poll_until(cx, deadline).is_pending() {
                return Poll::Pending;
            }
        }
        let from = Arc::clone(from);
        hand_over(self.inbound.state.id(), &from, self.io.peer(), || None, &self.io.worker);
        from.link().wake_owner();
        let session = self.io.peer().link().take_inheritance().and_then(|it| it.session);
        Poll::Ready(self.finish_takeover(session))
    }

    /// Lists the peer under the id that it has got, and handles the frames that came meanwhile.
    pub(super) fn finish_takeover(&mut self, session: Option<Session>) -> Result<(), End> {
        self.io.registration.take_over(self.inbound.state.id());
        self.inbound.state.resume(session);
        self.account(Self::release)
    }

    /// Gets the id that another connection has handed over in the last moment, before this one
    /// ends.
    pub(super) fn settle_takeover(&mut self) {
        if self.inbound.takeover().is_none() {
            return;
        }
        let inherited = self.io.peer().link().take_inheritance();
        if let Some(inheritance) = inherited {
            // The frames that came meanwhile are handled like all that came before the end.
            let _end = self.finish_takeover(inheritance.session);
        }
    }

    /// Gets the id that another connection has handed over after that moment. CLOSING is sent, so
    /// the frames that came meanwhile are not handled any more.
    pub(super) fn take_late_inheritance(&mut self) {
        let inherited = self.io.peer().link().take_inheritance();
        if let Some(inheritance) = inherited {
            self.io.registration.take_over(self.inbound.state.id());
            self.inbound.state.resume(inheritance.session);
            self.inbound.drop_held();
        }
    }
}
