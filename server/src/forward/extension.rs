//! What a client that says HELLO is granted, and the WELCOME that tells it.

use waddell_core::{
    Capabilities, EXTENSION_VERSION, Hello, PeerId, RateLimit, Welcome, WelcomeRate,
};

use crate::config::ServerConfig;
use crate::labels::TransportKind;

/// Returns the parts of the extension that the client wants and this server has.
pub(crate) fn granted(hello: &Hello<'_>) -> Capabilities {
    hello.wants & Capabilities::VERDICTS.with(Capabilities::PEERS)
}

/// Returns the answer to HELLO, for the peer with that id.
pub(crate) fn welcome(
    hello: &Hello<'_>,
    id: PeerId,
    transport: TransportKind,
    config: &ServerConfig,
) -> Welcome<'static> {
    let ping_interval = if transport.is_websocket() {
        u32::try_from(config.timeouts.ping_interval.as_millis()).unwrap_or(u32::MAX)
    } else {
        0
    };
    Welcome {
        version: hello.version.min(EXTENSION_VERSION),
        rate: config.limits.rate_limit.map(rate),
        ping_interval_ms: Some(ping_interval),
        ..Welcome::new(granted(hello), id, config.limits.max_frame_len)
    }
}

fn rate(limit: RateLimit) -> WelcomeRate {
    WelcomeRate {
        frames: limit.frames_per_second.map_or(0, Into::into),
        bytes: limit.bytes_per_second.map_or(0, Into::into),
    }
}
