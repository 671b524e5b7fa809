//! Listening sockets from another process, such as systemd with its socket activation.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::listen_url::{ListenUrl, Scheme};

/// A listening socket from the process that started this one.
///
/// That process may keep it open for the next server, so that no connection is refused in between.
#[derive(Debug)]
pub struct Inherited {
    socket: TcpListener,
    address: SocketAddr,
    scheme: Option<Scheme>,
}

impl Inherited {
    /// Takes over a listening socket.
    ///
    /// Without a scheme, the socket serves the URL in
    /// [`ServerConfig::listen`](crate::ServerConfig::listen) that has its address.
    ///
    /// # Errors
    ///
    /// The system's error if it does not know the socket's address.
    pub fn new(socket: TcpListener, scheme: Option<Scheme>) -> io::Result<Self> {
        Ok(Self { address: socket.local_addr()?, socket, scheme })
    }

    /// Returns the listener's URL; `None` if the socket has no scheme of its own.
    pub fn url(&self) -> Option<ListenUrl> {
        self.scheme.map(|scheme| ListenUrl { scheme, address: self.address.to_string() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    pub(crate) fn into_socket(self) -> TcpListener {
        self.socket
    }

    /// Returns whether the socket is for a URL with this scheme whose host has these addresses.
    ///
    /// `0.0.0.0` and `[::]` count as equal: both stand for all addresses of the machine.
    pub(crate) fn is_for(&self, scheme: Scheme, addresses: &[SocketAddr]) -> bool {
        let here = self.address;
        let same = |wanted: &SocketAddr| {
            let both_any = here.ip().is_unspecified() && wanted.ip().is_unspecified();
            here.port() == wanted.port() && (here.ip() == wanted.ip() || both_any)
        };
        self.scheme.is_none_or(|own| own == scheme) && addresses.iter().any(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(address: &str, scheme: Option<Scheme>) -> Inherited {
        let socket = TcpListener::bind(address).unwrap();
        Inherited::new(socket, scheme).unwrap()
    }

    #[test]
    fn a_socket_is_for_the_url_with_its_address_and_scheme() {
        let socket = inherited("127.0.0.1:0", None);
        let (here, port) = (socket.address(), socket.address().port());
        assert!(socket.is_for(Scheme::Tcp, &[here]));
        assert!(socket.is_for(Scheme::Auto, &[([127, 0, 0, 9], 1).into(), here]));
        assert!(!socket.is_for(Scheme::Tcp, &[([127, 0, 0, 2], port).into()]));
        assert!(!socket.is_for(Scheme::Tcp, &[([127, 0, 0, 1], 0).into()]));
        assert!(!socket.is_for(Scheme::Tcp, &[([0, 0, 0, 0], port).into()]));
        let named = inherited("127.0.0.1:0", Some(Scheme::Ws));
        assert!(named.is_for(Scheme::Ws, &[named.address()]));
        assert!(!named.is_for(Scheme::Tcp, &[named.address()]));
        let url = named.url().unwrap().to_string();
        assert_eq!(url, format!("ws://{}", named.address()));
    }

    #[test]
    fn the_unspecified_addresses_of_both_families_are_equal() {
        let socket = inherited("0.0.0.0:0", None);
        let port = socket.address().port();
        assert!(socket.is_for(Scheme::Tcp, &[([0; 16], port).into()]));
        assert!(!socket.is_for(Scheme::Tcp, &[([127, 0, 0, 1], port).into()]));
    }
}
