//! What a client that says HELLO is granted, and the WELCOME that tells it.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use waddell_core::{
    Capabilities, EXTENSION_VERSION, Hello, IceServers, NotResumed, Notice, PeerId, RateLimit,
    Restarting, ResumeWindows, Welcome, WelcomeRate, greeting,
};

use crate::auth::admitted::{Subject, SubjectLimits};
use crate::clock::unix_seconds;
use crate::config::{ExtensionOptions, ServerConfig};
use crate::forward::worker::Worker;
use crate::ice;
use crate::ids;
use crate::labels::TransportKind;
use crate::resume::token::{Claims, TOKEN_LEN, TokenError};
use crate::secrets::Secrets;

/// The id that a client gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    pub(crate) id: PeerId,
    /// The generation of its resume token.
    pub(crate) generation: u32,
    /// Whether it is the id of the client's resume token.
    pub(crate) resumed: bool,
    /// Why it is not, if there was one.
    pub(crate) reason: Option<NotResumed>,
    /// Whether the client has not got the greeting yet.
    pub(crate) is_ungreeted: bool,
}

/// What a client's credentials have brought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Whether it has shown any.
    pub(crate) authenticated: bool,
    pub(crate) subject: Option<Subject>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) limits: SubjectLimits,
}

impl Terms {
    /// Returns the client's rate limit on a server with that one.
    pub(crate) fn tighten(&self, limit: Option<RateLimit>) -> Option<RateLimit> {
        let SubjectLimits { rate_frames, rate_bytes, .. } = self.limits;
        if rate_frames.is_none() && rate_bytes.is_none() {
            return limit;
        }
        let none = RateLimit { frames_per_second: None, bytes_per_second: None, burst: BURST };
        let RateLimit { frames_per_second, bytes_per_second, burst } = limit.unwrap_or(none);
        let lower = |of_server: Option<NonZeroU32>, own: Option<NonZeroU32>| {
            of_server.into_iter().chain(own).min()
        };
        Some(RateLimit {
            frames_per_second: lower(frames_per_second, rate_frames),
            bytes_per_second: lower(bytes_per_second, rate_bytes),
            burst,
        })
    }

    /// Returns the digest of the subject; zeros without one.
    fn digest(&self) -> [u8; 8] {
        self.subject.as_ref().map_or([0; 8], Subject::digest)
    }
}

/// What the server has for a client that says HELLO.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) config: Rc<ServerConfig>,
    secrets: Arc<Secrets>,
    terms: Terms,
}

impl Offer {
    pub(crate) fn new(worker: &Worker, terms: Terms) -> Self {
        Self { config: worker.config(), secrets: worker.shared.secrets(), terms }
    }

    /// Returns the parts of the extension that the client wants and this server has.
    pub(crate) fn granted(&self, hello: &Hello<'_>) -> Capabilities {
        let mut has = ALWAYS;
        if !self.config.extension.resume_window.is_zero() {
            has = has.with(Capabilities::RESUME);
        }
        if self.secrets.ice.is_some() {
            has = has.with(Capabilities::ICE);
        }
        if self.terms.authenticated {
            has = has.with(Capabilities::AUTH);
        }
        hello.wants & has
    }

    /// Returns the frame that answers HELLO, after the greeting if that is still to be sent.
    pub(crate) fn welcome(
        &self,
        hello: &Hello<'_>,
        client: &Granted,
        transport: TransportKind,
    ) -> Vec<u8> {
        let ServerConfig { extension, limits, timeouts, .. } = &*self.config;
        let granted = self.granted(hello);
        let resumes = granted.contains(Capabilities::RESUME);
        let token = self.issue(client.id, client.generation);
        let ice = self.secrets.ice.as_ref().filter(|_| granted.contains(Capabilities::ICE));
        let ice = ice.map(|ice| self.ice_for(ice, client.id));
        let ping_interval =
            if transport.is_websocket() { timeouts.ping_interval } else { Duration::ZERO };
        let welcome = Welcome {
            version: hello.version.min(EXTENSION_VERSION),
            resumed: client.resumed,
            reads_hello_in_upgrade: transport.is_websocket(),
            tokens_outlive_restart: resumes && self.secrets.resume_keys.outlives_restart(),
            resume_token: resumes.then_some(&token),
            not_resumed: client.reason,
            windows: resumes.then(|| ResumeWindows {
                resume: seconds(extension.resume_window),
                away: seconds(extension.away_time),
            }),
            ice: ice.as_ref().map(|(valid_for, json)| IceServers { valid_for: *valid_for, json }),
            credentials_expire_in: self.terms.expires_in.map(seconds),
            rate: self.terms.tighten(limits.rate_limit).map(rate),
            ping_interval_ms: Some(millis(ping_interval)),
            ..Welcome::new(granted, client.id, limits.max_frame_len)
        };
        let mut frames = Vec::new();
        if client.is_ungreeted {
            frames.extend_from_slice(&greeting(client.id));
        }
        welcome.encode(&mut frames);
        frames
    }

    /// Makes a resume token. It is good for twice the window, and a new one is sent each window: so
    /// when a connection is lost, its latest token is good for at least one window more.
    pub(crate) fn issue(&self, id: PeerId, generation: u32) -> [u8; TOKEN_LEN] {
        let window = self.config.extension.resume_window;
        let expires_at = unix_seconds().saturating_add(window.as_secs().saturating_mul(2));
        let subject = self.terms.digest();
        self.secrets.resume_keys.issue(&Claims { id, generation, expires_at, subject })
    }

    /// Returns what a resume token says, if the client may use it.
    pub(crate) fn verify(&self, token: &[u8]) -> Result<Claims, NotResumed> {
        if self.config.extension.resume_window.is_zero() {
            return Err(NotResumed::Off);
        }
        let verified = self.secrets.resume_keys.verify(token, unix_seconds());
        let claims = verified.map_err(|error| match error {
            TokenError::Expired => NotResumed::Expired,
            TokenError::Forged => NotResumed::Forged,
        })?;
        if claims.subject == self.terms.digest() {
            Ok(claims)
        } else {
            Err(NotResumed::OtherSubject)
        }
    }

    fn ice_for(&self, ice: &ice::IceServers, id: PeerId) -> (u32, String) {
        ice.json_for(id, self.terms.subject.as_ref().map(Subject::digest), unix_seconds())
    }

    /// Appends the frame that answers the client with that id when it asks for ICE servers.
    pub(crate) fn encode_ice(&self, id: PeerId, out: &mut Vec<u8>) {
        // Without servers since a reload, the client is to ask again.
        let none = || (ASK_AGAIN_AFTER, "[]".to_owned());
        let ice = self.secrets.ice.as_ref();
        let (valid_for, json) = ice.map_or_else(none, |ice| self.ice_for(ice, id));
        Notice::Ice(IceServers { valid_for, json: &json }).encode(out);
    }
}

/// Returns the notice that the server stops, to a client whose connection ends after that time.
pub(crate) fn restarting(ends_in: Duration, options: &ExtensionOptions) -> Restarting {
    Restarting {
        in_ms: millis(ends_in),
        wait_ms: millis(options.restart_wait),
        spread_ms: millis(options.restart_spread),
        elsewhere: options.restart_elsewhere,
    }
}

/// Returns the time from one resume token to the next: the window, give or take a tenth, so that
/// peers that connected together do not get theirs together.
pub(crate) fn token_interval(id: PeerId, window: Duration) -> Duration {
    let random = ids::spread(id) >> 24;
    window.saturating_mul(922 + random * 4 / 5) / 1024
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

pub(crate) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn rate(limit: RateLimit) -> WelcomeRate {
    WelcomeRate {
        frames: limit.frames_per_second.map_or(0, Into::into),
        bytes: limit.bytes_per_second.map_or(0, Into::into),
    }
}

/// How much a client may send at once whose credentials limit it, on a server without a limit.
const BURST: Duration = Duration::from_secs(1);

/// The parts of the extension that need no option.
const ALWAYS: Capabilities = Capabilities::VERDICTS
    .with(Capabilities::PEERS)
    .with(Capabilities::RESTART)
    .with(Capabilities::RENEW);

/// The time after which a client asks for ICE servers again if there are none, in seconds.
const ASK_AGAIN_AFTER: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_each_window_give_or_take_a_tenth() {
        let of = |first| token_interval(PeerId::from_bytes([first; 16]), Duration::from_secs(1024));
        assert_eq!((of(0), of(255)), (Duration::from_secs(922), Duration::from_secs(1126)));
    }
}
