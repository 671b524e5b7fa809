//! State of a client, and the reasons for a lost connection and a close.

use std::io;
use std::sync::Arc;

use tokio::time::Instant;
use waddell_core::{DisconnectReason, PeerId};

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

    /// Returns the code of the close frame with which the server ended the WebSocket; `None` if it
    /// sent none, and over TCP. waddell's codes are in PROTOCOL.md, others in RFC 6455, section
    /// 7.4.
    pub fn close_code(&self) -> Option<u16> {
        self.web_socket_closed().and_then(|closed| closed.code)
    }

    /// Returns the reason in that close frame, of at most 123 bytes; `None` if it has none. Control
    /// characters are removed.
    pub fn close_reason(&self) -> Option<&str> {
        let reason = self.web_socket_closed().map(|closed| closed.reason.as_str());
        reason.filter(|reason| !reason.is_empty())
    }

    fn web_socket_closed(&self) -> Option<&WebSocketClosed> {
        self.error.as_deref()?.get_ref()?.downcast_ref()
    }
}

impl std::fmt::Display for Disconnected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{}: {error}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl std::error::Error for Disconnected {}

/// Why a client is closed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// [`Client::close`](crate::Client::close) was called, or the last handle was dropped.
    #[error("the client is closed")]
    ByApplication,
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
