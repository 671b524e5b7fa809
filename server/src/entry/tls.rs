//! TLS: the certificate, where it comes from, and what accepts connections with it.

mod acceptors;
mod certificate;
mod error;
mod expiry;
mod identity;
mod self_signed;

pub(crate) use acceptors::Acceptors;
pub use error::{PemKind, TlsError};
pub use self_signed::self_signed;
