//! The admin port.

use std::net::SocketAddr;

use clap::Args;
use clap::builder::BoolishValueParser;
use waddell_server::AdminOptions;

#[derive(Debug, Args)]
#[command(next_help_heading = "Admin port")]
pub(super) struct AdminArgs {
    /// Serve /metrics, /healthz and /readyz over plain HTTP on this address. Use an address of this
    /// machine or of a private network, such as 127.0.0.1:62490. [default: not served]
    #[arg(long, value_name = "IP:PORT", env = "WADDELL_ADMIN")]
    admin: Option<SocketAddr>,
    /// Also serve /debug/peers there: the state of each peer's connection, without bodies or whole
    /// peer ids.
    #[arg(long, env = "WADDELL_ADMIN_DEBUG", value_parser = BoolishValueParser::new())]
    admin_debug: bool,
}

impl AdminArgs {
    pub(super) fn to_options(&self) -> AdminOptions {
        AdminOptions { address: self.admin, debug: self.admin_debug }
    }
}
