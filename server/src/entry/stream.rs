//! The stream types of a connection in its handshakes: plain, TLS, rewound.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::entry::rewind::Rewind;
use crate::forward::outbox::Framing;
use crate::forward::transport::{Early, Transport};

/// The stream of a connection during its handshakes. It is taken apart after them.
pub(crate) trait HandshakeStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
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
        // Bytes in front of the socket are bytes that TLS has not read yet.
        let early = Early { wire: [early.wire, early.plain].concat(), ..Early::default() };
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
