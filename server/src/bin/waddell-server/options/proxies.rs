//! Proxies that may name a client's address.

use clap::Args;
use clap::builder::BoolishValueParser;
use waddell_server::{IpNet, TrustedProxies};

use super::error::OptionsError;
use super::values::network;

#[derive(Debug, Args)]
#[command(next_help_heading = "Proxies")]
pub(super) struct ProxyArgs {
    /// Network of trusted proxies, such as 10.0.0.0/8 or 192.0.2.1. The server takes a client's
    /// address from their X-Forwarded-For or, with --proxy-protocol, from their PROXY header.
    /// Repeatable. [default: none]
    #[arg(
        long,
        value_name = "CIDR",
        env = "WADDELL_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_parser = network
    )]
    trusted_proxies: Vec<IpNet>,
    /// Connections from --trusted-proxies must begin with a PROXY header, version 1 or 2, on every
    /// listener.
    #[arg(long, env = "WADDELL_PROXY_PROTOCOL", value_parser = BoolishValueParser::new())]
    proxy_protocol: bool,
}

impl ProxyArgs {
    pub(super) fn to_proxies(&self) -> Result<TrustedProxies, OptionsError> {
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            let error = "--proxy-protocol: needs the proxies' networks in --trusted-proxies";
            return Err(OptionsError(error.to_owned()));
        }
        Ok(TrustedProxies {
            networks: self.trusted_proxies.clone(),
            send_header: self.proxy_protocol,
        })
    }
}
