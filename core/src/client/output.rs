//! What a client tells its driver, and through it the application.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use super::extension::Extension;
use super::ice::IceServerList;
use super::outcome::{Delivery, Ticket, Undelivered};
use crate::control::CloseCode;
use crate::control::dropped::Dropped;
use crate::control::notice::Restarting;
use crate::control::peer::PeerNotice;
use crate::id::PeerId;
use crate::message::MessageIn;
use crate::time::Instant;

/// What the driver must do, in the order of [`Client::poll_output`](crate::Client::poll_output).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect a transport, then call `handle_connected` or `handle_disconnected`.
    Dial,
    /// Write these bytes to the transport.
    Transmit(Bytes),
    /// Close the transport once all bytes before are written, and report nothing more of it.
    HangUp,
    /// Pass this on to the application.
    Event(ClientEvent),
}

/// An event for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server has given the client a new id.
    Connected {
        /// The id by which others reach this client, until the connection is lost.
        id: PeerId,
    },
    /// The server speaks the extension on this connection. Comes after `Connected`.
    Extended(Extension),
    /// The client has another id on the same connection; or the same, if the server has refused
    /// the new one that [`Client::rotate`](crate::Client::rotate) asked for.
    Renamed {
        /// The id.
        id: PeerId,
    },
    /// A message has arrived.
    Message(MessageIn),
    /// It is known what became of a message of [`Client::send_checked`].
    ///
    /// [`Client::send_checked`]: crate::Client::send_checked
    Checked {
        /// The message.
        ticket: Ticket,
        /// What became of it.
        outcome: Result<Delivery, Undelivered>,
    },
    /// The server dropped messages, checked or not.
    Undelivered(Dropped),
    /// The state of a peer: one that is watched, or one to which this client has written. Its
    /// `lost` counts the last messages to it that the server had accepted.
    Peer(PeerNotice),
    /// The server does not speak the extension on this connection. Only a client that watches a
    /// peer, checks a message or calls [`Client::find_extension`] learns this.
    ///
    /// [`Client::find_extension`]: crate::Client::find_extension
    NotExtended,
    /// ICE servers: with the connection, or because
    /// [`Client::request_ice_servers`](crate::Client::request_ice_servers) was called.
    IceServers(IceServerList),
    /// The credentials expire soon. The driver is to get new ones, and to pass them to
    /// [`Client::authenticate`](crate::Client::authenticate). If the connection is lost before, it
    /// need not: it gets some for the next dial.
    CredentialsDue,
    /// The server will stop. The client dials again when the server says so, and at another
    /// address if it says so and there is one.
    Restarting(Restarting),
    /// The server ends the connection. `Disconnected` or `Closed` comes next.
    Closing {
        /// Why.
        code: CloseCode,
        /// The reason in the server's words; can be empty.
        reason: String,
    },
    /// There is no connection. The client will dial again.
    Disconnected {
        /// Why there is none.
        reason: DisconnectReason,
        /// When the next dial is due.
        retry_at: Instant,
    },
    /// The client is closed for good.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// State of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Dialing, or waiting for the greeting.
    Connecting,
    /// Greeted: it has an id and can send.
    Ready,
    /// Waiting to dial again.
    Waiting,
    /// Closed for good.
    Closed,
}

/// Why a connection ended or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The transport could not be connected.
    DialFailed,
    /// The transport ended.
    ConnectionLost,
    /// The server ended the connection, and said so first.
    ClosedByServer(CloseCode),
    /// No greeting arrived within
    /// [`ClientConfig::connect_timeout`](crate::ClientConfig::connect_timeout).
    TimedOut,
    /// The server sent a frame shorter than a header, which no waddell server does.
    ServerMisbehaved,
    /// The client hung up to get a new id: [`Client::rotate`](crate::Client::rotate) was called.
    Rotated,
    /// The server sent nothing, not even the probe, for
    /// [`ClientConfig::silence_timeout`](crate::ClientConfig::silence_timeout).
    Silent,
}

impl DisconnectReason {
    /// Returns the text that `Display` writes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DialFailed => "could not connect",
            Self::ConnectionLost => "the connection was lost",
            Self::ClosedByServer(_) => "the server closed the connection",
            Self::TimedOut => "the server did not greet in time",
            Self::ServerMisbehaved => {
                "the server sent a frame shorter than a header; is it a waddell server?"
            }
            Self::Rotated => "the client hung up to get a new id",
            Self::Silent => "the server did not answer",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a client is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// [`Client::close`](crate::Client::close) was called.
    ByApplication,
    /// There are no credentials: [`Client::refuse_credentials`] was called.
    ///
    /// [`Client::refuse_credentials`]: crate::Client::refuse_credentials
    NoCredentials,
    /// The server ended the connection, and said that the client may not dial again.
    ByServer(CloseCode),
    /// One more dial failed than
    /// [`ClientConfig::reconnect_attempts`](crate::ClientConfig::reconnect_attempts) allows.
    AttemptsExhausted {
        /// Why the last dial failed.
        last: DisconnectReason,
    },
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByApplication => f.write_str("the client was closed"),
            Self::NoCredentials => f.write_str("there are no credentials"),
            Self::ByServer(_) => f.write_str("the server does not serve this client"),
            Self::AttemptsExhausted { last } => {
                write!(f, "no reconnect attempt is left: {last}")
            }
        }
    }
}
