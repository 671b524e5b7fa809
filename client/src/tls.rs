//! TLS that trusts one pinned certificate, or the system's roots.

mod explain;

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    WantsVerifier,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::transport::ByteStream;

/// Reads the one certificate of a PEM text.
pub(crate) fn parse_pinned(pem: &[u8]) -> Result<CertificateDer<'static>, CertificateError> {
    // Some editors put a byte order mark before the text.
    let pem = pem.strip_prefix("\u{feff}".as_bytes()).unwrap_or(pem);
    let mut certificates = CertificateDer::pem_slice_iter(pem);
    let certificate = match certificates.next() {
        Some(Ok(certificate)) => certificate,
        // The parser's text contains lines of the text, which may be a key by mistake.
        Some(Err(_)) => return Err(CertificateError::Pem),
        None => return Err(CertificateError::Missing),
    };
    // Only the server's own certificate is compared: pinning the rest of its chain would have no
    // effect.
    match certificates.next() {
        None => Ok(certificate),
        Some(_) => Err(CertificateError::SeveralCertificates),
    }
}

/// Makes a connector that trusts one certificate alone, byte for byte.
pub(crate) fn pinned_connector(
    certificate: CertificateDer<'static>,
    alpn: Vec<Vec<u8>>,
) -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = PinnedCertificate { certificate, provider: Arc::clone(&provider) };
    let config = builder(provider)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    connector(config, alpn)
}

/// Makes a connector that trusts the system's roots. Reads files.
///
/// # Errors
///
/// If the system has no usable root certificate.
pub(crate) fn system_connector(alpn: Vec<Vec<u8>>) -> io::Result<TlsConnector> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let mut text = "the system has no root certificates; install them, name a file in \
                        SSL_CERT_FILE, or pin the server's certificate"
            .to_owned();
        if let Some(error) = found.errors.first() {
            text = format!("{text} ({error})");
        }
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = builder(provider).with_root_certificates(roots).with_no_client_auth();
    Ok(connector(config, alpn))
}

/// Performs the TLS handshake with the server called `host` over a connected stream.
pub(crate) async fn handshake<S: ByteStream>(
    connector: &TlsConnector,
    host: &str,
    stream: S,
) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    connector.connect(name, stream).await.map_err(explain::explain)
}

fn builder(provider: Arc<CryptoProvider>) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default protocol versions")
}

fn connector(mut config: ClientConfig, alpn: Vec<Vec<u8>>) -> TlsConnector {
    config.alpn_protocols = alpn;
    TlsConnector::from(Arc::new(config))
}

/// Compares the server's own certificate with the pinned one. It does not check names, dates,
/// purposes and issuers: the caller trusts the holder of that certificate's key.
///
/// waddell's `ServerCert` makes the certificate the only trusted root and checks its name. Today's
/// TLS would then refuse a certificate that is no authority, or that has its name only as CN.
struct PinnedCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            let error = OtherError(Arc::new(NotThePinnedCertificate));
            Err(rustls::CertificateError::Other(error).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for PinnedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedCertificate").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the server does not present the pinned certificate")]
struct NotThePinnedCertificate;

/// Why a text is not a certificate to pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The text has no `BEGIN CERTIFICATE` line.
    #[error("no certificate: expected PEM text with a BEGIN CERTIFICATE line")]
    Missing,
    /// The text is not PEM.
    #[error("not a certificate in PEM form: is the text complete, with its line breaks?")]
    Pem,
    /// The text has more than one certificate: it is not clear which is the server's own.
    #[error("more than one certificate: pin the server's own, without its chain")]
    SeveralCertificates,
}
