//! The steps of a client's life: when it dials, is ready, loses a connection, and ends.

use core::mem;
use core::time::Duration;

use super::config::Credentials;
use super::output::{ClientEvent, CloseReason, DisconnectReason, Output};
use super::session::encode;
use super::silence::Silence;
use super::{Client, State};
use crate::control::Capabilities;
use crate::control::request::Request;
use crate::frame::FrameDecoder;
use crate::id::PeerId;
use crate::time::Instant;

impl Client {
    pub(super) fn dial(&mut self, attempt: u32, now: Instant) {
        let deadline = self.config.connect_timeout.and_then(|timeout| now.checked_add(timeout));
        self.state = State::Dialing { attempt, deadline };
        self.outputs.push_back(Output::Dial);
    }

    #[inline(never)]
    pub(super) fn become_ready(&mut self, id: PeerId, now: Instant) {
        let keep_alive_at = self.config.next_keep_alive(now);
        let silence = Silence::begin(&self.config, now);
        self.state = State::Ready { id, since: now, keep_alive_at, silence };
        self.unauthorized = false;
        self.may_ask = true;
        let extension = self.session.extension();
        if extension.is_none() {
            // WELCOME may still come, but the server will not tell about connections before.
            self.session.forget_token();
            self.checked.end_former(&mut self.outputs);
            self.peers.end();
        }
        self.emit(ClientEvent::Connected { id });
        if let Some(extension) = extension {
            self.emit(ClientEvent::Extended(extension));
        }
    }

    #[inline(never)]
    pub(super) fn hang_up(&mut self, reason: DisconnectReason, now: Instant) {
        self.outputs.push_back(Output::HangUp);
        self.lose(reason, now);
    }

    /// Handles the loss of the transport: waits for the next dial, or gives up.
    pub(super) fn lose(&mut self, reason: DisconnectReason, now: Instant) {
        self.decoder = FrameDecoder::new();
        let (attempt, steps) = match self.state {
            State::Dialing { attempt, .. }
            | State::AwaitingId { attempt, .. }
            | State::AwaitingWelcome { attempt, .. } => {
                self.session.fail_upgrade();
                if let State::AwaitingId { since, .. } | State::AwaitingWelcome { since, .. } =
                    self.state
                {
                    self.session.lose(now - since < STABLE_AFTER, now);
                }
                let attempt = attempt.saturating_add(1);
                (attempt, attempt.saturating_add(self.short_lived))
            }
            State::Ready { since, .. } => {
                let was_short = now - since < STABLE_AFTER;
                self.session.lose(was_short, now);
                let steps = if was_short { self.short_lived } else { 0 };
                self.short_lived = if was_short { self.short_lived.saturating_add(1) } else { 0 };
                (0, steps)
            }
            State::Waiting { .. } | State::Closed => return,
        };
        if !self.session.may_resume(now) {
            self.checked.end(&mut self.outputs);
            self.peers.end();
        }
        let ending = mem::take(&mut self.ending);
        let is_unauthorized = ending.is_unauthorized();
        let can_renew = self.config.credentials == Credentials::Renewable
            && !(is_unauthorized && self.unauthorized);
        self.unauthorized |= is_unauthorized;
        if let Some(code) = ending.forbids(can_renew) {
            self.finish(CloseReason::ByServer(code));
            return;
        }
        if attempt > self.config.reconnect_attempts {
            self.finish(CloseReason::AttemptsExhausted { last: reason });
            return;
        }
        if attempt > 0 || ending.is_elsewhere() {
            self.change_address();
        }
        let scheduled = RETRY_STEP.saturating_mul(steps).min(MAX_RETRY_DELAY);
        let until = now + ending.delay(scheduled, &mut self.jitter);
        self.state = State::Waiting { attempt, until };
        self.emit(ClientEvent::Disconnected { reason, retry_at: until });
    }

    pub(super) fn close_for(&mut self, reason: CloseReason) {
        match self.state {
            State::Ready { .. } => {
                if self.has(Capabilities::RESUME) {
                    self.transmit(encode(&Request::Bye));
                }
                self.outputs.push_back(Output::HangUp);
            }
            State::Dialing { .. } | State::AwaitingId { .. } | State::AwaitingWelcome { .. } => {
                self.outputs.push_back(Output::HangUp);
            }
            State::Waiting { .. } => {}
            State::Closed => return,
        }
        self.finish(reason);
    }

    pub(super) fn change_address(&mut self) {
        if self.config.addresses > 1 {
            self.address = (self.address + 1) % self.config.addresses;
            self.session.change_address();
        }
    }

    pub(super) fn finish(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.decoder = FrameDecoder::new();
        self.session.forget_token();
        self.checked.end(&mut self.outputs);
        self.emit(ClientEvent::Closed { reason });
    }
}

/// Each failed dial adds this to the wait before the next. Source: waddell `client.go`.
pub(super) const RETRY_STEP: Duration = Duration::from_millis(100);

/// Longest wait between two dials, before jitter. Source: waddell `client.go`.
pub(super) const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Longest wait for WELCOME after the greeting, on a connection that is to keep the id.
pub(super) const WELCOME_TIMEOUT: Duration = Duration::from_secs(2);

/// After a connection that lasted at least this long, the client dials again at once.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(5);
