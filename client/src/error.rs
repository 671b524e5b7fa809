//! Errors of connecting and sending.

use std::convert::Infallible;
use std::fmt;

use waddell_core::{BadCredentials, BodyTooLong, DropReason, TooManyWatched, Undelivered};

use crate::state::{Closed, Disconnected};
use crate::tls::CertificateError;
use crate::url::ParseServerUrlError;

/// Why a client could not connect.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address cannot be parsed.
    #[error(transparent)]
    Url(#[from] ParseServerUrlError),
    /// The certificate to pin cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A certificate is pinned, but the address is neither `tls` nor `wss`.
    #[error("a certificate is pinned, but the connection is not encrypted; use tls:// or wss://")]
    CertificateWithoutTls,
    /// The token has the wrong length.
    #[error("the token is not usable: {0}")]
    Token(#[from] BadCredentials),
    /// The server could not be reached, or did not greet.
    #[error("{server}: {}", failure(.reason))]
    Failed {
        /// The server's address.
        server: String,
        /// Why the client was closed.
        reason: Closed,
    },
}

/// Returns the failure of the last dial, if that is the reason.
fn failure(reason: &Closed) -> &dyn fmt::Display {
    match reason {
        Closed::AttemptsExhausted { last } => last,
        Closed::ByServer(why) => why,
        Closed::ByApplication | Closed::NoToken | Closed::TaskGone => reason,
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

/// Why the server may not have taken the last messages of a client that was closed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// There was no connection, and so these messages were not sent.
    #[error("there was no connection; number of messages that were not sent: {messages}")]
    NotSent {
        /// How many.
        messages: usize,
    },
    /// The connection on which the last messages were sent was lost, or the server ended it.
    #[error("it is not known whether the server took the last messages: {0}")]
    Lost(Disconnected),
    /// The server did not read the last messages, or did not close its side, in time.
    #[error(
        "it is not known whether the server took the last messages: it did not close the \
         connection in time"
    )]
    TimedOut,
    /// The client had ended for another reason before it was closed.
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

/// Why the state of a peer is not known.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The server does not tell about peers. A checked message may tell as much.
    #[error("the server does not tell about peers; send a checked message instead")]
    NotSupported,
    /// The client watches 64 peers already.
    #[error(transparent)]
    TooMany(#[from] TooManyWatched),
    /// The client is closed for good.
    #[error(transparent)]
    Closed(Closed),
}

/// Why a client has no new id.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The server has refused a new id, because it gave one a moment ago.
    #[error("the server gives no new id so soon; try again in a second")]
    TooSoon,
    /// The client is closed for good.
    #[error(transparent)]
    Closed(Closed),
}

/// Why a checked message was not delivered, or may not have been.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckedSendError {
    /// The client is closed for good. The message may have been sent before.
    #[error(transparent)]
    Closed(Closed),
    /// The body is longer than a frame can carry. Nothing was sent.
    #[error(transparent)]
    BodyTooLong(#[from] BodyTooLong),
    /// The server dropped the message, or the connection was lost.
    #[error(transparent)]
    Undelivered(#[from] Undelivered),
}

impl CheckedSendError {
    /// Returns why the server dropped the message; `None` if it is not known that it did.
    pub fn drop_reason(&self) -> Option<DropReason> {
        match self {
            Self::Undelivered(Undelivered::Dropped(reason)) => Some(*reason),
            Self::Undelivered(_) | Self::Closed(_) | Self::BodyTooLong(_) => None,
        }
    }
}
