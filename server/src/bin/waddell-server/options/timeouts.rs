//! Timeouts.

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
    /// Longest time for the TLS handshake, and again for the HTTP handshake.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().handshake),
        env = "WADDELL_HANDSHAKE_TIMEOUT",
        value_parser = time
    )]
    handshake_timeout: Duration,
    /// On auto:// listeners, send the greeting to a client that has been silent for this long.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().auto_silence),
        env = "WADDELL_AUTO_SILENCE",
        value_parser = time
    )]
    auto_silence: Duration,
    /// Time between two pings to a WebSocket peer.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().ping_interval),
        env = "WADDELL_PING_INTERVAL",
        value_parser = time
    )]
    ping_interval: Duration,
    /// Disconnect a WebSocket peer that has sent no byte for this long after a ping.
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
    /// Disconnect a peer that has begun a frame and not completed it within this time.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().frame),
        env = "WADDELL_FRAME_TIMEOUT",
        value_parser = time
    )]
    frame_timeout: Duration,
    /// On shutdown, still accept connections for this long while /readyz answers 503. Behind a load
    /// balancer, set it to more than its health checks need to notice.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(Timeouts::default().drain_delay),
        env = "WADDELL_DRAIN_DELAY",
        value_parser = delay
    )]
    drain_delay: Duration,
    /// Longest time for the rest of a shutdown. Peers are disconnected at 2,000 a second, or faster
    /// if that would take more than four fifths of this time. Handshakes get a fifth of it.
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
