//! What accepts TLS, for each kind of listener.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ResolvesServerCert;
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;
use super::error::TlsError;
use super::identity::provider;
use crate::config::Identity;

/// What accepts TLS, for each kind of listener.
#[derive(Clone)]
pub(crate) struct Acceptors {
    /// What all of them show.
    pub(crate) certificate: Arc<Certificate>,
    /// For `tls` listeners: whatever protocol the client offers, or none.
    pub(crate) raw: TlsAcceptor,
    /// For `wss` and `auto` listeners: `http/1.1`, or none.
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
            // A client that comes back saves both sides the signature; nothing is kept for it here.
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
