//! The TLS acceptors of the listeners.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ResolvesServerCert;
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;
use super::error::TlsError;
use super::identity::provider;
use crate::config::Identity;

/// The TLS acceptors of the listeners.
#[derive(Clone)]
pub(crate) struct Acceptors {
    /// The certificate that both present.
    pub(crate) certificate: Arc<Certificate>,
    /// For `tls` listeners. Ignores the protocols that a client offers.
    pub(crate) raw: TlsAcceptor,
    /// For `wss` and `auto` listeners. Accepts `http/1.1`, or a client that offers no protocol.
    pub(crate) http: TlsAcceptor,
}

impl Acceptors {
    pub(crate) fn load(identity: &Identity) -> Result<Self, TlsError> {
        let certificate = Arc::new(Certificate::load(identity)?);
        let ticketer = Ticketer::new().map_err(TlsError::NoTickets)?;
        let acceptor = |alpn: &[&[u8]]| {
            let mut config = rustls::ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .expect("the provider has cipher suites for TLS 1.2 and 1.3")
                .with_no_client_auth()
                .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
            // Tickets save both sides a signature when a client returns. The server stores none.
            config.ticketer = Arc::clone(&ticketer);
            config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
            TlsAcceptor::from(Arc::new(config))
        };
        Ok(Self { raw: acceptor(&[]), http: acceptor(&[b"http/1.1"]), certificate })
    }
}

impl fmt::Debug for Acceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptors").finish_non_exhaustive()
    }
}
