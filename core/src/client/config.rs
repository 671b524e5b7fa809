//! Options of a client.

use core::time::Duration;

use crate::time::Instant;

/// Options of a [`Client`](crate::Client): when it dials, gives up and sends keep-alive frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Number of dials after a failed one before the client gives up. 0: none. `u32::MAX`: no
    /// limit. The client always dials again after it loses a connection that was ready.
    /// Default 10, about 5 s of waiting. Source: waddell `ClientConfig.ReconnectAttempts`.
    pub reconnect_attempts: u32,
    /// Longest time from a dial to the greeting before the attempt counts as failed.
    /// `None`: no limit. Default 10 s.
    pub connect_timeout: Option<Duration>,
    /// Interval of keep-alive frames while ready. `None`, the default: only
    /// [`Client::send_keep_alive`] sends them. Zero means `None`, because a driver would do
    /// nothing but send them.
    ///
    /// [`Client::send_keep_alive`]: crate::Client::send_keep_alive
    pub keep_alive_interval: Option<Duration>,
    /// Longest time without a byte from the server before the connection counts as lost. `None`,
    /// the default: no limit. Zero means `None`, as above.
    ///
    /// After half of it the client sends a probe: a message to itself on topic 0xFFFE, which every
    /// server returns, and which the application does not see.
    pub silence_timeout: Option<Duration>,
    /// Whether to speak the extension of the protocol, if the server does. Default true.
    ///
    /// The client's first frame is then HELLO, which other servers ignore. With `false` it sends
    /// and reads exactly what a client of 2015 does.
    pub extension: bool,
    /// Whether to keep the id over a lost connection, on a server that resumes. Default false: a
    /// new connection is a new id. Needs `extension`.
    pub resume: bool,
    /// Whether to ask for ICE servers for WebRTC. Default false.
    pub ice: bool,
    /// Whether the client has credentials, and whether it can get new ones. Default none.
    pub credentials: Credentials,
    /// Number of addresses of the server; see [`Client::address`]. Default 1; 0 means 1.
    ///
    /// [`Client::address`]: crate::Client::address
    pub addresses: usize,
    /// Seed of the random part of waiting times. Must differ between clients: take it from the
    /// system's entropy.
    pub jitter_seed: u64,
}

/// Whether a client has credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// It has none.
    None,
    /// It has the same for ever. If they expire or are refused, it closes for good.
    Fixed,
    /// The driver can get new ones: before each dial, and when they are due.
    Renewable,
}

impl ClientConfig {
    pub(super) fn next_keep_alive(&self, now: Instant) -> Option<Instant> {
        let interval = self.keep_alive_interval.filter(|interval| !interval.is_zero())?;
        now.checked_add(interval)
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            reconnect_attempts: 10,
            connect_timeout: Some(Duration::from_secs(10)),
            keep_alive_interval: None,
            silence_timeout: None,
            extension: true,
            resume: false,
            ice: false,
            credentials: Credentials::None,
            addresses: 1,
            jitter_seed: 0,
        }
    }
}
