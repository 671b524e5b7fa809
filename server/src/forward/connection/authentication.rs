//! How a client authenticates itself.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::time::Duration;

use waddell_core::{Instant, Pacer, RateLimit};

use crate::auth::admitted::{Admitted, Refused};
use crate::forward::client::Client;
use crate::forward::extension::Terms;

/// How a client authenticates itself. Only connections have this that began on a server where
/// clients have to.
#[derive(Debug)]
pub(super) struct Authentication {
    pub(super) client: Client,
    /// What its credentials have brought.
    pub(super) terms: Terms,
    /// When the connection ends, unless the client shows new credentials.
    pub(super) expires_at: Option<Instant>,
    /// How often it may show new credentials.
    attempts: Pacer,
}

/// Credentials that are being checked, or have been.
pub(super) enum Check {
    Running(Pin<Box<dyn Future<Output = Verdict>>>),
    Done(Verdict),
}

/// What is decided about credentials.
pub(super) type Verdict = Result<Admitted, Refused>;

impl Authentication {
    pub(super) fn new(client: Client, now: Instant) -> Self {
        let attempts = Pacer::new(ATTEMPTS, now);
        Self { client, terms: Terms::default(), expires_at: None, attempts }
    }

    /// Returns whether the client may show new credentials, and counts that.
    pub(super) fn may_try(&mut self, now: Instant) -> bool {
        let may = self.attempts.ready_at() <= now;
        if may {
            self.attempts.charge(SECONDS_PER_ATTEMPT, 0, now);
        }
        may
    }

    /// Records what credentials have brought.
    pub(super) fn set(&mut self, admitted: &Admitted, now: Instant) {
        let Admitted { subject, expires_in, limits } = admitted;
        let (subject, expires_in) = (subject.clone(), *expires_in);
        self.terms = Terms { authenticated: true, subject, expires_in, limits: *limits };
        self.expires_at = expires_in.and_then(|time| now.checked_add(time + GRACE));
    }

    /// Returns for how long its credentials are good; `None`: as long as it likes.
    pub(super) fn time_left(&self, now: Instant) -> Option<Duration> {
        self.expires_at.map(|at| (at - now).saturating_sub(GRACE))
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running(_) => "Running",
            Self::Done(_) => "Done",
        })
    }
}

/// For how long a connection outlives its credentials, so that new ones can arrive.
const GRACE: Duration = Duration::from_secs(10);

/// One attempt in 10 s, and three at once.
const ATTEMPTS: RateLimit = RateLimit {
    frames_per_second: Some(NonZeroU32::MIN),
    bytes_per_second: None,
    burst: Duration::from_secs(20),
};
const SECONDS_PER_ATTEMPT: usize = 10;
