//! Why a connection did not become a peer.

use std::error::Error as _;
use std::io;

use crate::admission::Refused;

/// Why a connection did not become a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("no certificate is configured")]
    NoCertificate,
    #[error("the handshake took longer than handshake-timeout allows")]
    TimedOut,
    #[error("the server shut down before the handshake was done")]
    ShutDown,
    #[error("a proxy sends no PROXY header, which proxy-protocol asks of those in trusted-proxies")]
    NoProxyHeader,
    #[error("a proxy sends a PROXY header that is broken")]
    BrokenProxyHeader,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the worker cannot take it on: {0}")]
    NotTakenOn(io::Error),
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
            Self::NotTakenOn(_) => FailureReason::System,
            Self::Io(error) => of_stream(error),
            Self::Http(error) if error.is_timeout() => FailureReason::Timeout,
            Self::Http(error) if error.is_parse() => FailureReason::Http,
            Self::Http(error) => error
                .source()
                .and_then(|source| source.downcast_ref())
                .map_or(FailureReason::Closed, of_stream),
        }
    }
}

/// rustls's errors come wrapped; all others are the socket's.
fn of_stream(error: &io::Error) -> FailureReason {
    match error.get_ref() {
        Some(inner) if inner.is::<rustls::Error>() => FailureReason::Tls,
        Some(_) | None => FailureReason::Closed,
    }
}

/// The kinds of [`HandshakeError`]; the words are those in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureReason {
    /// It took longer than `handshake-timeout` allows, or a shutdown.
    Timeout,
    /// TLS failed: the client speaks something else, or there is no common ground.
    Tls,
    /// What came is not HTTP.
    Http,
    /// A listed proxy sends no PROXY header, though it is to.
    NoProxyHeader,
    /// A listed proxy sends a broken PROXY header.
    ProxyHeader,
    /// The address that a proxy names has as many connections as it may.
    Refused,
    /// The client hung up, or the connection broke.
    Closed,
    /// The system refused what the server needs to go on.
    System,
}

impl FailureReason {
    /// Each reason, in the order of their declaration.
    pub(crate) const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Tls,
        Self::Http,
        Self::NoProxyHeader,
        Self::ProxyHeader,
        Self::Refused,
        Self::Closed,
        Self::System,
    ];

    /// Returns the word that metrics use.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::NoProxyHeader => "no_proxy_header",
            Self::ProxyHeader => "proxy_header",
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::System => "system",
        }
    }
}
