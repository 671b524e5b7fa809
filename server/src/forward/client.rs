//! Where a client comes from.

use std::net::IpAddr;

/// Where a client comes from.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its address: from the proxy, if a trusted one names it.
    pub(crate) address: IpAddr,
    /// The origin of the page, if the client is a browser. Set only if clients have to authenticate
    /// themselves.
    pub(crate) origin: Option<String>,
    /// An `auto` listener has waited for it to speak, and it has not.
    pub(crate) was_silent: bool,
}
