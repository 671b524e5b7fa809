//! Loads a certificate and its key from PEM files.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;

use super::certificate::expires;
use super::error::TlsError;
use super::pem;
use crate::config::Identity;

impl Identity {
    /// Checks that certificate and key can be read and belong together. Returns when the
    /// certificate expires; `None` if its validity cannot be read.
    ///
    /// # Errors
    ///
    /// [`TlsError`] says what is wrong.
    pub fn check(&self) -> Result<Option<SystemTime>, TlsError> {
        self.load().map(|loaded| expires(&loaded))
    }

    pub(super) fn load(&self) -> Result<CertifiedKey, TlsError> {
        let chain = pem::certificates(&self.cert)?;
        let key = pem::private_key(&self.key)?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|source| TlsError::Unusable {
            cert: self.cert.clone(),
            key: self.key.clone(),
            source,
        })
    }
}

/// Returns the cryptography provider. It is passed on explicitly, so that nothing depends on a
/// process-wide default. aws-lc-rs signs with RSA 2048, which is most of a handshake, in half the
/// time of ring.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
