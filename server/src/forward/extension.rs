//! What a client that says HELLO is granted, and the WELCOME that tells it.

use std::time::Duration;

use waddell_core::{
    Capabilities, EXTENSION_VERSION, Hello, NotResumed, PeerId, RateLimit, Restarting,
    ResumeWindows, Welcome, WelcomeRate,
};

use crate::config::{ExtensionOptions, ServerConfig};
use crate::ids;
use crate::labels::TransportKind;
use crate::resume::ResumeKeys;
use crate::resume::token::{Claims, TOKEN_LEN};

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

/// Returns the parts of the extension that the client wants and this server has.
pub(crate) fn granted(hello: &Hello<'_>, options: &ExtensionOptions) -> Capabilities {
    let always = Capabilities::VERDICTS
        .with(Capabilities::PEERS)
        .with(Capabilities::RESTART)
        .with(Capabilities::RENEW);
    let has =
        if options.resume_window.is_zero() { always } else { always.with(Capabilities::RESUME) };
    hello.wants & has
}

/// Returns the frame that answers HELLO. `now` is the time in Unix seconds.
pub(crate) fn welcome(
    hello: &Hello<'_>,
    client: &Granted,
    transport: TransportKind,
    config: &ServerConfig,
    keys: &ResumeKeys,
    now: u64,
) -> Vec<u8> {
    let ServerConfig { extension, limits, timeouts, .. } = config;
    let granted = granted(hello, extension);
    let resumes = granted.contains(Capabilities::RESUME);
    let token = issue(keys, client.id, client.generation, extension.resume_window, now);
    let ping_interval =
        if transport.is_websocket() { timeouts.ping_interval } else { Duration::ZERO };
    let welcome = Welcome {
        version: hello.version.min(EXTENSION_VERSION),
        resumed: client.resumed,
        tokens_outlive_restart: resumes && keys.outlives_restart(),
        resume_token: resumes.then_some(&token),
        not_resumed: client.reason,
        windows: resumes.then(|| ResumeWindows {
            resume: seconds(extension.resume_window),
            away: seconds(extension.away_time),
        }),
        rate: limits.rate_limit.map(rate),
        ping_interval_ms: Some(millis(ping_interval)),
        ..Welcome::new(granted, client.id, limits.max_frame_len)
    };
    let mut frame = Vec::new();
    welcome.encode(&mut frame);
    frame
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

/// Makes a resume token. It is good for twice the window, and a new one is sent each window: so
/// when a connection is lost, its latest token is good for at least one window more.
pub(crate) fn issue(
    keys: &ResumeKeys,
    id: PeerId,
    generation: u32,
    window: Duration,
    now: u64,
) -> [u8; TOKEN_LEN] {
    let expires_at = now.saturating_add(window.as_secs().saturating_mul(2));
    keys.issue(&Claims { id, generation, expires_at, subject: [0; 8] })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_each_window_give_or_take_a_tenth() {
        let of = |first| token_interval(PeerId::from_bytes([first; 16]), Duration::from_secs(1024));
        assert_eq!((of(0), of(255)), (Duration::from_secs(922), Duration::from_secs(1126)));
    }
}
