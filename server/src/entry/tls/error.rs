//! Why a certificate or its key cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem;

/// The certificate or the key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {what} from {}: {source}", path.display())]
    Read {
        /// What the file should contain.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("the {what} in {} is not valid PEM: {why}", path.display())]
    Pem {
        /// What the file should contain.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// A file contains no certificate or no key.
    #[error("there is no {what} in {} (expected a PEM block)", path.display())]
    Missing {
        /// What the file should contain.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error(
        "the certificate in {} and the key in {} cannot be used: {source}",
        cert.display(),
        key.display()
    )]
    Unusable {
        /// The path of the certificate.
        cert: PathBuf,
        /// The path of the key.
        key: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// The system provides no random numbers for the keys of session tickets.
    #[error("cannot make keys for session tickets: {0}")]
    NoTickets(rustls::Error),
    /// The name is not valid in a certificate.
    #[error("cannot make a certificate for {name:?}: {source}")]
    Name {
        /// The name.
        name: String,
        /// The cause.
        source: rcgen::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl TlsError {
    pub(super) fn pem(what: &'static str, path: &Path, error: pem::Error) -> Self {
        let path = path.to_owned();
        match error {
            pem::Error::Io(source) => Self::Read { what, path, source },
            pem::Error::NoItemsFound => Self::Missing { what, path },
            error => Self::Pem { what, path, why: error.to_string() },
        }
    }
}
