//! Longest times.

use std::time::Duration;

use clap::Args;
use waddell_server::Timeouts;

use super::values::{delay, time, time_text};

#[derive(Debug, Args)]
#[command(next_help_heading = "Timeouts")]
pub(super) struct TimeoutArgs {
    /// Disconnect a peer that takes no byte for this long while its outbox is not empty.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().write),
        env = "WADDELL_WRITE_TIMEOUT",
        value_parser = time
    )]
    write_timeout: Duration,
    /// Longest time for the TLS handshake and for the HTTP handshake, each.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().handshake),
        env = "WADDELL_HANDSHAKE_TIMEOUT",
        value_parser = time
    )]
    handshake_timeout: Duration,
    /// On auto:// listeners, a client that is silent for this long waits for waddell's greeting.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().auto_silence),
        env = "WADDELL_AUTO_SILENCE",
        value_parser = time
    )]
    auto_silence: Duration,
    /// Time between two pings of a WebSocket peer.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().ping_interval),
        env = "WADDELL_PING_INTERVAL",
        value_parser = time
    )]
    ping_interval: Duration,
    /// Longest time from a ping to the next byte from the peer.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().pong),
        env = "WADDELL_PONG_TIMEOUT",
        value_parser = time
    )]
    pong_timeout: Duration,
    /// Disconnect a peer that sends no frame, not even a keep-alive, for this long.
    /// [default: never]
    #[arg(long, value_name = "TIME", env = "WADDELL_IDLE_TIMEOUT", value_parser = time)]
    idle_timeout: Option<Duration>,
    /// Disconnect a peer that does not complete a frame within this time.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().frame),
        env = "WADDELL_FRAME_TIMEOUT",
        value_parser = time
    )]
    frame_timeout: Duration,
    /// On shutdown, accept connections for this long after /readyz begins to say 503: longer than
    /// a load balancer's health checks need.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().drain_delay),
        env = "WADDELL_DRAIN_DELAY",
        value_parser = delay
    )]
    drain_delay: Duration,
    /// Longest time for the rest of a shutdown. Peers are disconnected 2,000 a second, or faster
    /// where that would take more than four fifths of this time. Handshakes have a fifth of it.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().drain),
        env = "WADDELL_DRAIN_TIMEOUT",
        value_parser = time
    )]
    drain_timeout: Duration,
}

impl TimeoutArgs {
    pub(super) fn to_timeouts(&self) -> Timeouts {
        Timeouts {
            write: self.write_timeout,
            handshake: self.handshake_timeout,
            auto_silence: self.auto_silence,
            ping_interval: self.ping_interval,
            pong: self.pong_timeout,
            idle: self.idle_timeout,
            frame: self.frame_timeout,
            drain_delay: self.drain_delay,
            drain: self.drain_timeout,
        }
    }
}
