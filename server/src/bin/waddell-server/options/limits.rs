//! How much of everything there may be, and how long it may take.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use waddell_server::{IpNet, RateLimit};

use super::OptionsError;
use super::values::{bytes, delay, memory, network, rate, tcp_time, time};

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct Limits {
    /// Most bytes that wait for one peer; a frame that does not fit is dropped and counted.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", env = "WADDELL_OUTBOX", value_parser = bytes)]
    pub(super) outbox: usize,
    /// Most memory for what waits for all peers together, at least 16 times --outbox; the fullest
    /// outboxes are refused more first. 0: no limit.
    #[arg(long, value_name = "BYTES", default_value = "256MiB", env = "WADDELL_OUTBOX_TOTAL", value_parser = memory)]
    pub(super) outbox_total: usize,
    /// Longest frame, in bytes; a longer one hangs up.
    #[arg(long, value_name = "BYTES", default_value = "65535", env = "WADDELL_MAX_FRAME", value_parser = clap::value_parser!(u16).range(18..))]
    pub(super) max_frame: u16,
    /// Most connections at a time; 0: no limit.
    #[arg(long, value_name = "N", default_value = "65536", env = "WADDELL_MAX_CONNECTIONS")]
    pub(super) max_connections: usize,
    /// Most connections at a time from one address (IPv6: one /64); 0: no limit.
    #[arg(
        long,
        value_name = "N",
        default_value = "16384",
        env = "WADDELL_MAX_CONNECTIONS_PER_ADDRESS"
    )]
    pub(super) max_connections_per_address: usize,
    /// Most connections accepted a second, on all listeners together; further ones wait.
    /// [default: no limit]
    #[arg(long, value_name = "N", env = "WADDELL_ACCEPT_RATE")]
    pub(super) accept_rate: Option<NonZeroU32>,
    /// Networks of proxies whose word on a client's address is taken (X-Forwarded-For, or see
    /// --proxy-protocol), such as 10.0.0.0/8 or 192.0.2.1. Repeatable. [default: none]
    #[arg(long, value_name = "CIDR", env = "WADDELL_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub(super) trusted_proxies: Vec<IpNet>,
    /// Connections from --trusted-proxies begin with a header of the PROXY protocol, version 1 or
    /// 2, on every listener.
    #[arg(long, env = "WADDELL_PROXY_PROTOCOL", value_parser = BoolishValueParser::new())]
    pub(super) proxy_protocol: bool,
    /// Hang up on a peer that takes no byte for this long though some wait for it.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WADDELL_WRITE_TIMEOUT", value_parser = time)]
    pub(super) write_timeout: Duration,
    /// Longest time for the TLS and HTTP handshakes, each.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WADDELL_HANDSHAKE_TIMEOUT", value_parser = time)]
    pub(super) handshake_timeout: Duration,
    /// On auto:// listeners, a client silent for this long waits for waddell's greeting.
    #[arg(long, value_name = "TIME", default_value = "200ms", env = "WADDELL_AUTO_SILENCE", value_parser = time)]
    pub(super) auto_silence: Duration,
    /// How often a WebSocket peer is pinged.
    #[arg(long, value_name = "TIME", default_value = "25s", env = "WADDELL_PING_INTERVAL", value_parser = time)]
    pub(super) ping_interval: Duration,
    /// Longest time from a ping to any sign of life.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WADDELL_PONG_TIMEOUT", value_parser = time)]
    pub(super) pong_timeout: Duration,
    /// Have TCP ask a peer from which nothing has come for this long whether it is still there, up
    /// to four times at distances of a quarter of this.
    #[arg(long, value_name = "TIME", default_value = "60s", env = "WADDELL_TCP_KEEPALIVE", value_parser = tcp_time)]
    pub(super) tcp_keepalive: Duration,
    /// A peer whose machine has not confirmed for this long what was sent to it is gone; three
    /// times --write-timeout, if that is longer.
    #[arg(long, value_name = "TIME", default_value = "30s", env = "WADDELL_TCP_USER_TIMEOUT", value_parser = tcp_time)]
    pub(super) tcp_user_timeout: Duration,
    /// Hang up on a peer that sends no frame, not even a keep-alive, for this long.
    /// [default: never]
    #[arg(long, value_name = "TIME", env = "WADDELL_IDLE_TIMEOUT", value_parser = time)]
    pub(super) idle_timeout: Option<Duration>,
    /// Hang up on a peer that has begun a frame and not finished it after this long.
    #[arg(long, value_name = "TIME", default_value = "60s", env = "WADDELL_FRAME_TIMEOUT", value_parser = time)]
    pub(super) frame_timeout: Duration,
    /// Most frames a second from one peer; a faster one is read from more slowly, and loses
    /// nothing. [default: no limit]
    #[arg(long, value_name = "N", env = "WADDELL_RATE_FRAMES")]
    pub(super) rate_frames: Option<NonZeroU32>,
    /// Most bytes a second from one peer, in the same way. [default: no limit]
    #[arg(long, value_name = "BYTES", env = "WADDELL_RATE_BYTES", value_parser = rate)]
    pub(super) rate_bytes: Option<NonZeroU32>,
    /// What a peer has not used of its rate is saved up for this long, and may come at once.
    #[arg(long, value_name = "TIME", default_value = "1s", env = "WADDELL_RATE_BURST", value_parser = time)]
    pub(super) rate_burst: Duration,
    /// On shutdown, go on accepting for this long while /readyz says 503: the time that a load
    /// balancer needs to notice.
    #[arg(long, value_name = "TIME", default_value = "0s", env = "WADDELL_DRAIN_DELAY", value_parser = delay)]
    pub(super) drain_delay: Duration,
    /// Longest time that the rest of a shutdown takes. Peers are hung up 2,000 a second, or as fast
    /// as four fifths of this time demand. Handshakes in progress have a fifth of it.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WADDELL_DRAIN_TIMEOUT", value_parser = time)]
    pub(super) drain_timeout: Duration,
}

impl Limits {
    /// Checks what limits have to do with each other.
    pub(super) fn check(&self) -> Result<(), OptionsError> {
        let largest_frame = usize::from(self.max_frame) + waddell_core::PREFIX_LEN;
        if self.outbox < largest_frame {
            return Err(OptionsError(format!(
                "--outbox {}: no room for the largest frame, {largest_frame} bytes; \
                 raise it or lower --max-frame",
                self.outbox
            )));
        }
        if self.outbox_total != 0 && self.outbox_total / 16 < self.outbox {
            return Err(OptionsError(format!(
                "--outbox-total {}: less than 16 times --outbox, {} bytes; raise it or lower --outbox",
                self.outbox_total, self.outbox
            )));
        }
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return Err(OptionsError(
                "--proxy-protocol: list the networks of the proxies with --trusted-proxies"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) fn rate_limit(&self) -> Option<RateLimit> {
        let Self { rate_frames, rate_bytes, rate_burst, .. } = *self;
        (rate_frames.is_some() || rate_bytes.is_some()).then_some(RateLimit {
            frames_per_second: rate_frames,
            bytes_per_second: rate_bytes,
            burst: rate_burst,
        })
    }
}
