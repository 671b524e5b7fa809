//! Why a certificate or its key cannot be used.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The certificate or the key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {kind} from {}: {source}", path.display())]
    Read {
        /// What the file should contain.
        kind: PemKind,
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("the {kind} in {} is not valid PEM: {why}", path.display())]
    Pem {
        /// What the file should contain.
        kind: PemKind,
        /// The path of the file.
        path: PathBuf,
        /// The cause, without anything from the file.
        why: &'static str,
    },
    /// A file contains no certificate or no key.
    #[error("there is no {kind} in {}: {found}", path.display())]
    Missing {
        /// What the file should contain.
        kind: PemKind,
        /// The path of the file.
        path: PathBuf,
        /// What the file contains instead, and what to do; without anything from the file.
        found: &'static str,
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
    /// Returns which file the error is about, if it is about one alone.
    pub fn kind(&self) -> Option<PemKind> {
        match self {
            Self::Read { kind, .. } | Self::Pem { kind, .. } | Self::Missing { kind, .. } => {
                Some(*kind)
            }
            Self::Unusable { .. } | Self::NoTickets(_) | Self::Name { .. } | Self::Write { .. } => {
                None
            }
        }
    }
}

/// What a PEM file of a server is to contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemKind {
    /// The certificate chain.
    Certificate,
    /// The certificate's private key.
    PrivateKey,
}

impl fmt::Display for PemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
        })
    }
}
