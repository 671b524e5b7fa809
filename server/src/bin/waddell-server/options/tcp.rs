//! TCP options of each connection.

use std::time::Duration;

use clap::Args;
use waddell_server::TcpOptions;

use super::values::{tcp_time, time_text};

#[derive(Debug, Args)]
#[command(next_help_heading = "TCP")]
pub(super) struct TcpArgs {
    /// Probe a peer at TCP level if nothing has arrived from it for this long: up to four times, at
    /// intervals of a quarter of this time.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(TcpOptions::default().keepalive),
        env = "WADDELL_TCP_KEEPALIVE",
        value_parser = tcp_time
    )]
    tcp_keepalive: Duration,
    /// Disconnect a peer that has not acknowledged data at TCP level for this long, or for three
    /// times --write-timeout if that is longer.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(TcpOptions::default().user_timeout),
        env = "WADDELL_TCP_USER_TIMEOUT",
        value_parser = tcp_time
    )]
    tcp_user_timeout: Duration,
}

impl TcpArgs {
    pub(super) fn to_options(&self) -> TcpOptions {
        TcpOptions { keepalive: self.tcp_keepalive, user_timeout: self.tcp_user_timeout }
    }
}
