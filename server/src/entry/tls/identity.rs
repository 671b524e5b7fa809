//! Loads a certificate and its key from PEM files.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::error::{PemKind, TlsError};
use crate::config::Identity;

impl Identity {
    /// Checks that certificate and key can be read and belong together.
    ///
    /// # Errors
    ///
    /// [`TlsError`] says what is wrong.
    pub fn check(&self) -> Result<(), TlsError> {
        self.load().map(drop)
    }

    pub(super) fn load(&self) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_file_iter(&self.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| TlsError::pem(PemKind::Certificate, &self.cert, error))?;
        if chain.is_empty() {
            return Err(TlsError::Missing { kind: PemKind::Certificate, path: self.cert.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::pem(PemKind::PrivateKey, &self.key, error))?;
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
