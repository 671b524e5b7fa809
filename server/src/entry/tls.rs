//! TLS: the certificate, its files, and the acceptors that use it.

mod acceptors;
mod certificate;
mod error;
mod expiry;
mod identity;
mod pem;
mod self_signed;

pub(crate) use acceptors::Acceptors;
pub(crate) use certificate::Certificate;
pub use error::{PemKind, TlsError};
pub use self_signed::self_signed;
