//! What the server says about the end of a connection, and when to dial again.

use core::time::Duration;

use super::jitter::Jitter;
use crate::control::CloseCode;
use crate::control::notice::Restarting;

/// What the server has said about the end of the present connection.
#[derive(Debug, Default)]
pub(super) struct Ending {
    restarting: Option<Restarting>,
    code: Option<CloseCode>,
}

impl Ending {
    pub(super) fn handle_restarting(&mut self, restarting: Restarting) {
        self.restarting = Some(restarting);
    }

    pub(super) fn handle_closing(&mut self, code: CloseCode) {
        self.code = Some(code);
    }

    /// Returns the code that forbids to dial again. With new credentials, one that refuses the
    /// present ones does not.
    pub(super) fn forbids(&self, can_renew: bool) -> Option<CloseCode> {
        self.code.filter(|code| match *code {
            CloseCode::CREDENTIALS_EXPIRED | CloseCode::UNAUTHORIZED => !can_renew,
            _other => !code.may_reconnect(),
        })
    }

    /// Returns whether the server has refused the credentials.
    pub(super) fn is_unauthorized(&self) -> bool {
        self.code == Some(CloseCode::UNAUTHORIZED)
    }

    /// Returns whether another address is to be dialed.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.restarting.is_some_and(|restarting| restarting.elsewhere)
    }

    /// Returns how long to wait before the next dial, where the schedule says `scheduled`.
    pub(super) fn delay(&self, scheduled: Duration, jitter: &mut Jitter) -> Duration {
        if let Some(Restarting { wait_ms, spread_ms, .. }) = self.restarting {
            let wait = Duration::from_millis(wait_ms.into()).min(MAX_WAIT);
            let spread = Duration::from_millis(spread_ms.into()).min(MAX_WAIT);
            return wait + jitter.below(spread);
        }
        let least = match self.code {
            Some(CloseCode::BUSY) => BUSY_DELAY,
            Some(CloseCode::TOO_MANY) => TOO_MANY_DELAY,
            Some(_) | None => Duration::ZERO,
        };
        jitter.stretch(scheduled.max(least))
    }
}

/// Longest wait that a server can ask for, and longest random time in addition.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Wait for a server that cannot check credentials at the moment.
const BUSY_DELAY: Duration = Duration::from_secs(1);

/// Wait if there are too many connections with the same subject: one of them has to end.
const TOO_MANY_DELAY: Duration = Duration::from_secs(5);
