//! State of a client, and the reasons for a lost connection and a close.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::time::Instant;
use waddell_core::{CloseCode, DisconnectReason, PeerId};

use crate::transport::ws::WebSocketClosed;

/// State of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Dialing, or waiting for the server's greeting.
    Connecting,
    /// Greeted: the client can send and receive.
    Ready {
        /// The client's peer id, until the connection is lost.
        id: PeerId,
    },
    /// Waiting to dial again.
    Waiting {
        /// Why there is no connection.
        reason: Disconnected,
        /// When the next dial is due.
        retry_at: Instant,
    },
    /// Closed for good.
    Closed {
        /// Why.
        reason: Closed,
    },
}

/// Why a connection ended or could not be made.
#[derive(Clone, Debug)]
pub struct Disconnected {
    reason: DisconnectReason,
    error: Option<Arc<io::Error>>,
}

impl Disconnected {
    pub(crate) fn new(reason: DisconnectReason, error: Option<Arc<io::Error>>) -> Self {
        Self { reason, error }
    }

    /// Returns the reason.
    pub fn reason(&self) -> DisconnectReason {
        self.reason
    }

    /// Returns the error of the system, TLS, the WebSocket or the caller's dialer, if any.
    pub fn io_error(&self) -> Option<&io::Error> {
        self.error.as_deref()
    }

    /// Returns the code with which the server ended the connection: that of CLOSING if the server
    /// speaks the extension of the protocol, else that of the WebSocket's close frame. `None` if it
    /// gave none. waddell's codes are in PROTOCOL.md, others in RFC 6455, section 7.4.
    pub fn close_code(&self) -> Option<u16> {
        match self.reason {
            DisconnectReason::ClosedByServer(code) => Some(code.0),
            _other => self.cause::<WebSocketClosed>().and_then(|closed| closed.code),
        }
    }

    /// Returns the server's reason beside that code, of at most 123 bytes; `None` if it gave none.
    /// Control characters are removed.
    pub fn close_reason(&self) -> Option<&str> {
        let closing = self.cause::<ServerClosing>().map(|closing| closing.reason.as_str());
        let closed = || self.cause::<WebSocketClosed>().map(|closed| closed.reason.as_str());
        closing.or_else(closed).filter(|reason| !reason.is_empty())
    }

    fn cause<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.error.as_deref()?.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{}: {error}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl std::error::Error for Disconnected {}

/// The server said CLOSING.
#[derive(Debug)]
pub(crate) struct ServerClosing {
    code: CloseCode,
    /// At most 123 bytes; without control characters. Empty if the server gave none.
    reason: String,
}

impl ServerClosing {
    pub(crate) fn new(code: CloseCode, reason: &str) -> Self {
        let reason = reason.chars().filter(|character| !character.is_control()).collect();
        Self { code, reason }
    }
}

impl fmt::Display for ServerClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "code {}", self.code.0),
            reason => write!(f, "{reason} (code {})", self.code.0),
        }
    }
}

impl std::error::Error for ServerClosing {}

/// Why a client is closed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// [`Client::close`](crate::Client::close) was called, or the last handle was dropped.
    #[error("the client is closed")]
    ByApplication,
    /// The provider of [`ClientConfig::token_from`] has returned an empty token.
    ///
    /// [`ClientConfig::token_from`]: crate::ClientConfig::token_from
    #[error("the client is closed: there is no token for it")]
    NoToken,
    /// The server ended the connection, and said that the client may not dial again.
    #[error("the client is closed: {0}")]
    ByServer(Disconnected),
    /// One more dial failed than [`ClientConfig::reconnect_attempts`] allows.
    ///
    /// [`ClientConfig::reconnect_attempts`]: crate::ClientConfig::reconnect_attempts
    #[error("the client is closed after its last reconnect attempt: {last}")]
    AttemptsExhausted {
        /// Why the last dial failed.
        last: Disconnected,
    },
    /// The client's task ended early: its tokio runtime was shut down, or a callback panicked.
    #[error("the client is closed: its tokio runtime was shut down, or a callback panicked")]
    TaskGone,
}
