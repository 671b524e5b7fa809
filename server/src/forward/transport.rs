//! The seam between frames and sockets: what a connection is once its handshakes are done.

pub(crate) mod rewind;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod ws;

use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::forward::outbox::Framing;
use rewind::Rewind;

/// A connection that is ready to carry frames.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) socket: TcpStream,
    pub(crate) tls: Option<Box<ServerConnection>>,
    pub(crate) framing: Framing,
    pub(crate) early: Early,
}

/// Bytes that were read during the handshakes and belong to what comes after.
#[derive(Debug, Default)]
pub(crate) struct Early {
    /// As they came from the socket: still encrypted if there is TLS.
    pub(crate) wire: Vec<u8>,
    /// As they are inside TLS.
    pub(crate) plain: Vec<u8>,
}

/// A stream that handshakes were spoken over, and that comes apart when they are done.
pub(crate) trait HandshakeStream {
    fn into_transport(self, framing: Framing) -> Transport;
}

impl HandshakeStream for TcpStream {
    fn into_transport(self, framing: Framing) -> Transport {
        Transport { socket: self, tls: None, framing, early: Early::default() }
    }
}

impl<S: HandshakeStream> HandshakeStream for TlsStream<S> {
    fn into_transport(self, framing: Framing) -> Transport {
        let (stream, tls) = self.into_inner();
        let Transport { socket, early, .. } = stream.into_transport(framing);
        // What lay in front of the socket is what TLS has not read yet.
        let early = Early { wire: [early.wire, early.plain].concat(), plain: Vec::new() };
        Transport { socket, tls: Some(Box::new(tls)), framing, early }
    }
}

impl<S: HandshakeStream> HandshakeStream for Rewind<S> {
    fn into_transport(self, framing: Framing) -> Transport {
        let (head, stream) = self.into_parts();
        let mut transport = stream.into_transport(framing);
        transport.early.plain.extend_from_slice(&head);
        transport
    }
}
