//! Decides which clients leave the lobby, and how.

use std::task::{Context, Poll};

use waddell_core::{HEADER_LEN, MAX_CONTROL_BODY, PREFIX_LEN, Request, control_body};

use super::end::{End, Refusal};
use super::{Connection, READS_PER_TURN};
use crate::auth::admitted::Refused;
use crate::labels::AuthResult;

impl Connection {
    /// Waits until the client is admitted. Ready with an error if it is not.
    pub(super) fn poll_lobby(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut has_read = false;
        loop {
            self.judge()?;
            if let Poll::Ready(Err(end)) = self.poll_check(cx) {
                return Poll::Ready(Err(end));
            }
            if !self.inbound.is_in_lobby() {
                return Poll::Ready(Ok(()));
            }
            if has_read || self.inbound.is_checking() {
                return self.poll_lobby_deadlines(cx);
            }
            if let Poll::Ready(end) = self.poll_reads(cx, READS_PER_TURN) {
                return Poll::Ready(Err(self.judge_last(end)));
            }
            has_read = true;
        }
    }

    /// Acts on the frames that came before the end of the connection, unless they have to wait.
    /// Returns why it ends.
    pub(super) fn judge_last(&mut self, end: End) -> End {
        if !self.inbound.is_in_lobby() {
            return end;
        }
        self.judge().err().unwrap_or(end)
    }

    /// Acts on the first frame, once it is here.
    fn judge(&mut self) -> Result<(), End> {
        if self.inbound.is_checking() {
            return Ok(());
        }
        match self.inbound.first_held() {
            Some(payload) => {
                let request = control_body(payload).map(Request::decode);
                if let Some(Ok(Request::Hello(_))) = request {
                    return self.account(Self::release);
                }
            }
            None if self.inbound.buffered() <= MAX_HELLO_LEN => return Ok(()),
            None => {}
        }
        if !self.may_lack_credentials() {
            self.io.worker.shared.metrics.auth(AuthResult::Missing);
            return Err(End::Refused(Refusal::NoHello));
        }
        self.admit_legacy();
        self.inbound.forget_authentication();
        self.account(Self::release)
    }

    fn poll_lobby_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let may_be_silent = self.may_lack_credentials()
            && !self.inbound.is_checking()
            && self.inbound.buffered() == 0;
        let Some(lobby) = self.inbound.lobby_mut() else { return Poll::Ready(Ok(())) };
        if lobby.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(End::Shutdown));
        }
        let (deadline, silent_at) = (lobby.deadline, lobby.silent_at);
        if may_be_silent && self.io.poll_until(cx, silent_at).is_ready() {
            if self.io.has_arrived() {
                // The kernel has not told the runtime yet, which then wakes this task.
                return Poll::Pending;
            }
            self.admit_legacy();
            return match self.account(Self::release) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(end) => Poll::Ready(Err(end)),
            };
        }
        if self.io.poll_until(cx, deadline).is_pending() {
            return Poll::Pending;
        }
        let Some(body) = self.inbound.take_request() else {
            return Poll::Ready(Err(End::Refused(Refusal::Silent)));
        };
        self.io.worker.shared.metrics.auth(AuthResult::Busy);
        Poll::Ready(Err(match Request::decode(&body) {
            Ok(Request::Hello(hello)) => self.refuse(&hello, Refused::Busy),
            Ok(_) | Err(_) => End::Refused(Refusal::Busy),
        }))
    }

    /// Admits a client that needs no credentials, and greets it.
    fn admit_legacy(&mut self) {
        self.io.worker.shared.metrics.auth(AuthResult::Legacy);
        self.greet();
        self.leave_lobby();
    }

    /// Makes a peer of the client.
    pub(super) fn leave_lobby(&mut self) {
        let Some(extended) = &mut self.inbound.extended else { return };
        extended.lobby = None;
        if let Some(authentication) = &extended.authentication {
            let address = authentication.client.address;
            self.enter(address);
        }
    }

    /// Returns whether the client is one of those that need no credentials.
    pub(super) fn may_lack_credentials(&self) -> bool {
        let worker = &self.io.worker;
        if worker.shared.secrets().access.is_none() {
            // A reload has switched authentication off.
            return true;
        }
        let authentication = self.inbound.authentication();
        let config = worker.config();
        authentication.is_some_and(|it| config.access.allow_legacy.contains(it.client.address))
    }
}

/// Longest frame of a HELLO, in bytes.
const MAX_HELLO_LEN: usize = PREFIX_LEN + HEADER_LEN + MAX_CONTROL_BODY;
