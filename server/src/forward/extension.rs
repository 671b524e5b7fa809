//! What a client that says HELLO is granted, and the WELCOME that tells it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use waddell_core::{
    Capabilities, EXTENSION_VERSION, Hello, IceServers, NotResumed, Notice, PeerId, RateLimit,
    Restarting, ResumeWindows, Welcome, WelcomeRate,
};

use crate::clock::unix_seconds;
use crate::config::{ExtensionOptions, ServerConfig};
use crate::forward::worker::Worker;
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
}

/// What the server has for clients that say HELLO.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) config: Rc<ServerConfig>,
    secrets: Arc<Secrets>,
}

impl Offer {
    pub(crate) fn new(worker: &Worker) -> Self {
        Self { config: worker.config(), secrets: worker.shared.secrets() }
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
        hello.wants & has
    }

    /// Returns the frame that answers HELLO.
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
        let ice = ice.map(|ice| ice.json_for(client.id, None, unix_seconds()));
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
            rate: limits.rate_limit.map(rate),
            ping_interval_ms: Some(millis(ping_interval)),
            ..Welcome::new(granted, client.id, limits.max_frame_len)
        };
        let mut frame = Vec::new();
        welcome.encode(&mut frame);
        frame
    }

    /// Makes a resume token. It is good for twice the window, and a new one is sent each window: so
    /// when a connection is lost, its latest token is good for at least one window more.
    pub(crate) fn issue(&self, id: PeerId, generation: u32) -> [u8; TOKEN_LEN] {
        let window = self.config.extension.resume_window;
        let expires_at = unix_seconds().saturating_add(window.as_secs().saturating_mul(2));
        self.secrets.resume_keys.issue(&Claims { id, generation, expires_at, subject: [0; 8] })
    }

    /// Returns what a resume token says.
    pub(crate) fn verify(&self, token: &[u8]) -> Result<Claims, NotResumed> {
        if self.config.extension.resume_window.is_zero() {
            return Err(NotResumed::Off);
        }
        self.secrets.resume_keys.verify(token, unix_seconds()).map_err(|error| match error {
            TokenError::Expired => NotResumed::Expired,
            TokenError::Forged => NotResumed::Forged,
        })
    }

    /// Appends the frame that answers the client with that id when it asks for ICE servers.
    pub(crate) fn encode_ice(&self, id: PeerId, out: &mut Vec<u8>) {
        // Without servers since a reload, the client is to ask again.
        let none = || (ASK_AGAIN_AFTER, "[]".to_owned());
        let ice = self.secrets.ice.as_ref();
        let (valid_for, json) = ice.map_or_else(none, |it| it.json_for(id, None, unix_seconds()));
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

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn rate(limit: RateLimit) -> WelcomeRate {
    WelcomeRate {
        frames: limit.frames_per_second.map_or(0, Into::into),
        bytes: limit.bytes_per_second.map_or(0, Into::into),
    }
}

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
