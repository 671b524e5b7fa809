//! State of a client, and the reasons for a lost connection and a close.

use std::io;
use std::sync::Arc;

use tokio::time::Instant;
use waddell_core::{DisconnectReason, PeerId};

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
