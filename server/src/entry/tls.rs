//! Keys and certificates: PEM files into what rustls needs.

mod acceptors;
mod certificate;
mod expiry;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::sign::CertifiedKey;

pub(crate) use acceptors::Acceptors;

use crate::config::Identity;

impl Identity {
    /// Says whether certificate and key can be read and belong together.
    ///
    /// # Errors
    ///
    /// [`TlsError`] says what is wrong.
    pub fn check(&self) -> Result<(), TlsError> {
        self.load().map(drop)
    }

    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_file_iter(&self.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| TlsError::pem("certificate", &self.cert, error))?;
        if chain.is_empty() {
            return Err(TlsError::Missing { what: "certificate", path: self.cert.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::pem("private key", &self.key, error))?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|source| TlsError::Unusable {
            cert: self.cert.clone(),
            key: self.key.clone(),
            source,
        })
    }
}

/// Makes a certificate for development, for `name`, and puts it and its key into `folder`.
///
/// Subject CN and SAN both bear the name: waddell's clients take it from the one, others from the
/// other. A certificate that is there already is used again, so that what pins it goes on working.
///
/// # Errors
///
/// [`TlsError`] if the name cannot stand in a certificate or the files cannot be written.
pub fn self_signed(name: &str, folder: &Path) -> Result<Identity, TlsError> {
    let file = |kind| {
        let stem: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
            .collect();
        folder.join(format!("{stem}.{kind}.pem"))
    };
    let identity = Identity { cert: file("cert"), key: file("key") };
    if identity.load().is_ok() {
        return Ok(identity);
    }
    let unusable = |source: rcgen::Error| TlsError::Name { name: name.to_owned(), source };
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).map_err(unusable)?;
    let mut subject = rcgen::DistinguishedName::new();
    subject.push(rcgen::DnType::CommonName, name);
    // No authority has this name, so that nobody looks for a signature of one.
    subject.push(rcgen::DnType::OrganizationName, "waddell-server self-signed");
    params.distinguished_name = subject;
    let key = rcgen::KeyPair::generate().map_err(unusable)?;
    let cert = params.self_signed(&key).map_err(unusable)?;
    let write = |path: &Path, text: String| {
        write_private(path, &text)
            .map_err(|source| TlsError::Write { path: path.to_owned(), source })
    };
    std::fs::create_dir_all(folder)
        .map_err(|source| TlsError::Write { path: folder.to_owned(), source })?;
    write(&identity.key, key.serialize_pem())?;
    write(&identity.cert, cert.pem())?;
    Ok(identity)
}

/// Writes a file that nobody but its owner may read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// The cryptography; passed on explicitly, so that nothing depends on a process-wide default.
/// aws-lc-rs signs with RSA 2048 in half the time that ring takes, which is most of a handshake.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The certificate or the key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {what} from {}: {source}", path.display())]
    Read {
        /// What was to be read.
        what: &'static str,
        /// From where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("the {what} in {} is not valid PEM: {why}", path.display())]
    Pem {
        /// What was to be read.
        what: &'static str,
        /// From where.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file has nothing of use in it.
    #[error("there is no {what} in {} (expected a PEM block)", path.display())]
    Missing {
        /// What was to be read.
        what: &'static str,
        /// From where.
        path: PathBuf,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("the certificate in {} and the key in {} cannot be used: {source}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// The system has no random numbers for the keys of session tickets.
    #[error("cannot make keys for session tickets: {0}")]
    NoTickets(rustls::Error),
    /// The name cannot stand in a certificate.
    #[error("cannot make a certificate for {name:?}: {source}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        source: rcgen::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl TlsError {
    fn pem(what: &'static str, path: &Path, error: pem::Error) -> Self {
        let path = path.to_owned();
        match error {
            pem::Error::Io(source) => Self::Read { what, path, source },
            pem::Error::NoItemsFound => Self::Missing { what, path },
            error => Self::Pem { what, path, why: error.to_string() },
        }
    }
}
