//! Why a client could not be connected, and why something was not sent.

use std::convert::Infallible;
use std::fmt;

use waddell_core::BodyTooLong;

use crate::state::Closed;
use crate::tls::CertificateError;
use crate::url::ParseServerUrlError;

/// Why there is no client.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not one.
    #[error(transparent)]
    Url(#[from] ParseServerUrlError),
    /// The certificate to pin is not one.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A certificate is pinned, but the address is not one of `tls` or `wss`.
    #[error("a certificate is pinned, but the connection is not encrypted; use tls:// or wss://")]
    CertificateWithoutTls,
    /// The server could not be reached, or did not greet.
    #[error("{server}: {}", why_failed(.reason))]
    Failed {
        /// Whom the client tried to connect to.
        server: String,
        /// What became of it.
        reason: Closed,
    },
}

/// The last attempt's failure says it all.
fn why_failed(reason: &Closed) -> &dyn fmt::Display {
    match reason {
        Closed::AttemptsExhausted { last } => last,
        Closed::ByApplication | Closed::TaskGone => reason,
    }
}

impl From<Infallible> for ConnectError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Why no keep-alive was sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// There is no connection right now.
    #[error("not connected")]
    NotConnected,
    /// The client is closed for good.
    #[error(transparent)]
    Closed(Closed),
}

/// Why a message was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The client is closed for good.
    #[error(transparent)]
    Closed(Closed),
    /// The body is longer than a frame can carry.
    #[error(transparent)]
    BodyTooLong(#[from] BodyTooLong),
}
