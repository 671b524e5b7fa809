//! The address of a connection's client, as far as it is known.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::admission::{Admission, Refused};
use crate::config::ServerConfig;
use crate::entry::forwarded_for;

/// The address of a connection's client, as far as it is known, and the connection's admission.
///
/// A connection counts against the limit of its address, unless that is a trusted proxy's. Then it
/// counts against the address that the proxy names.
#[derive(Debug)]
pub(crate) struct Source {
    address: IpAddr,
    admission: Admission,
    /// The configuration at the time when the connection was accepted.
    config: Arc<ServerConfig>,
}

impl Source {
    /// Makes the source of a connection whose socket leads to this address.
    pub(crate) fn new(
        address: IpAddr,
        admission: Admission,
        config: Arc<ServerConfig>,
    ) -> Result<Self, Refused> {
        let mut source = Self { address, admission, config };
        source.set_address(address)?;
        Ok(source)
    }

    /// Counts the connection against this address, which a trusted proxy has named. If the address
    /// has reached its limit, nothing changes.
    pub(crate) fn set_address(&mut self, address: IpAddr) -> Result<(), Refused> {
        if !self.config.proxies.contains(address) {
            self.admission.claim(address)?;
        }
        self.address = address;
        Ok(())
    }

    /// Counts the connection against the address in a request's `X-Forwarded-For`, if the request
    /// comes from a trusted proxy.
    pub(crate) fn set_address_from(&mut self, headers: &HeaderMap) -> Result<(), Refused> {
        if !self.is_proxy() {
            return Ok(());
        }
        self.set_address(forwarded_for::client(&self.config.proxies, self.address, headers))
    }

    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns whether the connection comes from a trusted proxy.
    pub(crate) fn is_proxy(&self) -> bool {
        self.config.proxies.contains(self.address)
    }

    /// Returns whether trusted proxies must send a PROXY header.
    pub(crate) fn proxies_send_header(&self) -> bool {
        self.config.proxies.send_header
    }

    pub(crate) fn into_admission(self) -> Admission {
        self.admission
    }
}
