//! Whom a connection is from, as far as that is known.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::admission::{Admission, Refused};
use crate::entry::proxies::Proxies;

/// Whom a connection is from, as far as that is known, and its place among those of the same
/// address. A listed proxy has no such place: it takes that of whom it speaks for.
#[derive(Debug)]
pub(crate) struct Source {
    address: IpAddr,
    admission: Admission,
    proxies: Arc<Proxies>,
}

impl Source {
    /// The other end of a socket.
    pub(crate) fn new(
        address: IpAddr,
        admission: Admission,
        proxies: Arc<Proxies>,
    ) -> Result<Self, Refused> {
        let mut client = Self { address, admission, proxies };
        client.set_address(address)?;
        Ok(client)
    }

    /// The connection is from this address, as a listed proxy says. It stays what it was if there
    /// is no place for that.
    pub(crate) fn set_address(&mut self, address: IpAddr) -> Result<(), Refused> {
        if !self.proxies.contains(address) {
            self.admission.claim(address)?;
        }
        self.address = address;
        Ok(())
    }

    /// The connection is from whom a request is made for, if it is a listed proxy's.
    pub(crate) fn set_address_from(&mut self, headers: &HeaderMap) -> Result<(), Refused> {
        if !self.is_proxy() {
            return Ok(());
        }
        self.set_address(self.proxies.client(self.address, headers))
    }

    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// Says whether the address is a listed proxy's, whose word on whom it speaks for is taken.
    pub(crate) fn is_proxy(&self) -> bool {
        self.proxies.contains(self.address)
    }

    /// Says whether whoever may begins a connection with a header of the PROXY protocol.
    pub(crate) fn proxies_send_header(&self) -> bool {
        self.proxies.send_header
    }

    pub(crate) fn into_admission(self) -> Admission {
        self.admission
    }
}
