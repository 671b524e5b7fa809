//! What a connection has to do by when.

use std::rc::Rc;
use std::task::Context;

use waddell_core::{Instant, Liveness};

use super::Connection;
use super::end::End;
use super::pings::Beat;
use crate::forward::transport::ws;

impl Connection {
    /// Does what is due, and sees to it that the task is woken for what is due next.
    pub(super) fn poll_timer(
        &mut self,
        cx: &mut Context<'_>,
        stalled_since: Option<Instant>,
        close_at: Option<Instant>,
    ) -> Option<End> {
        let shared = &self.worker.shared;
        let worker = Rc::clone(&self.worker);
        let timeouts = &worker.config().timeouts;
        loop {
            let stalled_at = stalled_since.map(|since| since + timeouts.write);
            let idle_at = self.inbound.state.poll_timeout();
            let ping_at = self.inbound.websocket.as_ref().map(|ws| ws.pings.due());
            let frame_at = self.inbound.frame_due(timeouts.frame);
            let dues = [stalled_at, idle_at, ping_at, frame_at, close_at];
            let Some(due) = dues.into_iter().flatten().min() else {
                self.timer.rest();
                return None;
            };
            if self.timer.poll_until(cx, shared.clock.timer(due)).is_pending() {
                return None;
            }
            let now = shared.clock.now();
            if stalled_at.is_some_and(|at| at <= now) {
                return Some(End::Stalled);
            }
            if close_at.is_some_and(|at| at <= now) {
                return None;
            }
            match self.inbound.state.handle_timeout(now) {
                Liveness::Alive => {}
                Liveness::Expired => return Some(End::TimedOut),
            }
            if frame_at.is_some_and(|at| at <= now) {
                return Some(End::TimedOut);
            }
            let Some(websocket) = &mut self.inbound.websocket else { continue };
            let pings = &mut websocket.pings;
            // Behind much that waits a ping would come too late to ask anything, and a peer that is
            // not read from cannot answer.
            let paused = self.inbound.state.paused_until(now).is_some();
            let unasked = paused || stalled_since.is_some();
            if unasked {
                pings.heard();
            }
            match pings.beat(timeouts, self.inbound.state.id(), now) {
                Beat::Wait => {}
                Beat::Ping if unasked => pings.heard(),
                Beat::Ping => self.worker.send_control(self.registration.peer(), &ws::ping()),
                Beat::Dead => return Some(End::TimedOut),
            }
        }
    }
}
