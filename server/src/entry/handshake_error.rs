//! Why a connection did not become a peer.

use std::error::Error as _;
use std::io;

use crate::admission::Refused;
use crate::labels::FailureReason;

/// Why a connection did not become a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the client speaks TLS, but no certificate is configured")]
    NoCertificate,
    #[error("the handshake took longer than handshake-timeout allows")]
    TimedOut,
    #[error("the server shut down before the handshake was done")]
    ShutDown,
    #[error("a proxy in trusted-proxies sent no PROXY header, which proxy-protocol requires")]
    NoProxyHeader,
    #[error("a proxy in trusted-proxies sent a malformed PROXY header")]
    BrokenProxyHeader,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("cannot move the socket to its worker: {0}")]
    Rebind(io::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

impl HandshakeError {
    pub(crate) fn reason(&self) -> FailureReason {
        match self {
            Self::NoCertificate => FailureReason::Tls,
            Self::TimedOut | Self::ShutDown => FailureReason::Timeout,
            Self::NoProxyHeader => FailureReason::NoProxyHeader,
            Self::BrokenProxyHeader => FailureReason::ProxyHeader,
            Self::Refused(_) => FailureReason::Refused,
            Self::Rebind(_) => FailureReason::System,
            Self::Io(error) => of_stream_error(error),
            Self::Http(error) if error.is_timeout() => FailureReason::Timeout,
            Self::Http(error) if error.is_parse() => FailureReason::Http,
            Self::Http(error) => error
                .source()
                .and_then(|source| source.downcast_ref())
                .map_or(FailureReason::Closed, of_stream_error),
        }
    }
}

/// Returns the reason for an error of a stream. rustls's errors are wrapped in it; all others are
/// the socket's.
fn of_stream_error(error: &io::Error) -> FailureReason {
    match error.get_ref() {
        Some(inner) if inner.is::<rustls::Error>() => FailureReason::Tls,
        Some(_) | None => FailureReason::Closed,
    }
}
