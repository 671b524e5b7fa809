//! What the bytes of frames go through: the socket, TLS, and WebSocket framing.

pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod ws;

use rustls::ServerConnection;
use tokio::net::TcpStream;

use crate::forward::outbox::Framing;

/// A connection that is ready to carry frames.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) socket: TcpStream,
    pub(crate) tls: Option<Box<ServerConnection>>,
    pub(crate) framing: Framing,
    pub(crate) early: Early,
}

/// Bytes that were read during the handshakes but belong to the frames after them.
#[derive(Debug, Default)]
pub(crate) struct Early {
    /// Whole frames that came in an upgrade, before all other bytes.
    pub(crate) frames: Vec<u8>,
    /// As read from the socket: still encrypted if there is TLS.
    pub(crate) wire: Vec<u8>,
    /// As they are inside TLS.
    pub(crate) plain: Vec<u8>,
}
