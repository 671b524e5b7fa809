//! The order of the handshakes: PROXY header, TLS, HTTP, and detection on `auto` listeners.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admission::Refused;
use crate::entry::entrance::Entrance;
use crate::entry::handshake_error::HandshakeError;
use crate::entry::http::{self, Upgraded};
use crate::entry::proxy_header::Start;
use crate::entry::rewind::Rewind;
use crate::entry::source::Source;
use crate::entry::stream::HandshakeStream;
use crate::entry::tls::Acceptors;
use crate::forward::connection;
use crate::forward::outbox::Framing;
use crate::forward::transport::Transport;
use crate::forward::worker::WorkerSlot;
use crate::labels::AddressClaim;
use crate::listen_url::Scheme;

/// A socket that a listener has accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    socket: TcpStream,
    scheme: Scheme,
    source: Source,
}

impl Accepted {
    /// Counts the connection against the total limit and, unless it comes from a trusted proxy,
    /// against the limit of its address.
    pub(crate) fn new(
        socket: TcpStream,
        address: IpAddr,
        scheme: Scheme,
        entrance: &Entrance,
    ) -> Result<Self, Refused> {
        let admission = entrance.admissions.admit()?;
        let source = Source::new(address, admission, entrance.shared.config())?;
        Ok(Self { socket, scheme, source })
    }

    /// Moves the socket to this thread's runtime, which wakes the connection's task from then on.
    pub(crate) fn rebind(self) -> Result<Self, HandshakeError> {
        let moved = self.socket.into_std().and_then(TcpStream::from_std);
        let socket = moved.map_err(HandshakeError::Rebind)?;
        Ok(Self { socket, ..self })
    }
}

/// Begins the handshakes of an accepted socket, on the worker that will serve it.
pub(crate) fn begin(slot: WorkerSlot, entrance: Arc<Entrance>, accepted: Accepted) {
    let Accepted { socket, scheme, source } = accepted;
    let mut pending = Pending { slot, entrance, source };
    if scheme == Scheme::Tcp && !pending.awaits_header() {
        return pending.become_peer(socket, Framing::Raw);
    }
    // The handshakes have a task of their own. Its state is far larger than a peer's, and is freed
    // when they are done.
    tokio::task::spawn_local(async move {
        let entrance = Arc::clone(&pending.entrance);
        let result = match pending.read_proxy_header(socket, scheme).await {
            Ok((stream, scheme)) => {
                let address = pending.source.address();
                pending.shake_hands(stream, scheme).await.map_err(|error| (address, error))
            }
            Err(error) => Err((pending.source.address(), error)),
        };
        if let Err((address, error)) = result {
            entrance.report_failed(&error);
            let address = entrance.shared.config().logged(address);
            tracing::debug!(address, %error, "handshake failed");
        }
    });
}

/// A connection on its way to becoming a peer.
struct Pending {
    slot: WorkerSlot,
    entrance: Arc<Entrance>,
    source: Source,
}

/// The protocol that a client of an `auto` listener speaks.
enum Spoken {
    Tls,
    Http,
    Waddell,
}

impl Pending {
    /// Returns whether the connection must begin with a PROXY header. Nothing is sent before it.
    fn awaits_header(&self) -> bool {
        self.source.proxies_send_header() && self.source.is_proxy()
    }

    /// Reads the client's address from the PROXY header, if there is one.
    ///
    /// Returns the stream after the header, and its scheme: `Tcp` instead of `Auto` if the client
    /// was silent, otherwise unchanged.
    async fn read_proxy_header(
        &mut self,
        mut socket: TcpStream,
        scheme: Scheme,
    ) -> Result<(Rewind<TcpStream>, Scheme), HandshakeError> {
        let mut head = Vec::new();
        if !self.source.proxies_send_header() {
            return Ok((Rewind::new(head, socket), scheme));
        }
        let trusted = self.awaits_header();
        // A silent client waits for its greeting. With `Tcp` no second wait follows in `detect`.
        if !trusted && scheme == Scheme::Auto {
            let silence = self.entrance.shared.config().timeouts.auto_silence;
            let heard = async { Ok(timeout(silence, socket.read_buf(&mut head)).await) };
            match self.in_time(heard).await? {
                Err(_silent) => return Ok((Rewind::new(head, socket), Scheme::Tcp)),
                Ok(read) => read?,
            };
        }
        match self.in_time(read_start(&mut socket, &mut head)).await? {
            Start::Header(header) => {
                head.drain(..header.len);
                match header.client {
                    _ if !trusted => {
                        let address = self.source.address();
                        self.entrance
                            .shared
                            .report_ignored_claim(AddressClaim::ProxyHeader, Some(address));
                    }
                    Some(client) => self.source.set_address(client)?,
                    // The connection is the proxy's own, such as a health check.
                    None => {}
                }
            }
            Start::Incomplete if trusted => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            Start::Other if trusted => return Err(HandshakeError::NoProxyHeader),
            Start::Broken if trusted => return Err(HandshakeError::BrokenProxyHeader),
            Start::Incomplete | Start::Other | Start::Broken => {}
        }
        Ok((Rewind::new(head, socket), scheme))
    }

    async fn shake_hands(
        self,
        stream: Rewind<TcpStream>,
        scheme: Scheme,
    ) -> Result<(), HandshakeError> {
        match scheme {
            Scheme::Tcp => self.become_peer(stream, Framing::Raw),
            Scheme::Tls => {
                let acceptor = self.acceptors()?.raw.clone();
                let stream = self.in_time(acceptor.accept(stream)).await?;
                self.become_peer(stream, Framing::Raw);
            }
            Scheme::Ws => self.serve_http(stream).await?,
            Scheme::Wss => {
                let acceptor = self.acceptors()?.http.clone();
                let stream = self.in_time(acceptor.accept(stream)).await?;
                self.serve_http(stream).await?;
            }
            Scheme::Auto => self.detect(stream).await?,
        }
        Ok(())
    }

    /// Detects TLS, HTTP or waddell, and again HTTP or waddell inside TLS.
    async fn detect(self, stream: Rewind<TcpStream>) -> Result<(), HandshakeError> {
        let (spoken, stream) = self.detect_protocol(stream).await?;
        match spoken {
            Spoken::Waddell => self.become_peer(stream, Framing::Raw),
            Spoken::Http => self.serve_http(stream).await?,
            Spoken::Tls => {
                let acceptor = self.acceptors()?.http.clone();
                let stream = self.in_time(acceptor.accept(stream)).await?;
                if stream.get_ref().1.alpn_protocol().is_some() {
                    return self.serve_http(stream).await;
                }
                let (spoken, stream) = self.detect_protocol(stream).await?;
                match spoken {
                    Spoken::Http => self.serve_http(stream).await?,
                    // TLS inside TLS is not supported: it is read as the beginning of a long frame.
                    Spoken::Waddell | Spoken::Tls => self.become_peer(stream, Framing::Raw),
                }
            }
        }
        Ok(())
    }

    /// Reads until the client's protocol is known. A silent client speaks waddell, where the server
    /// sends first.
    async fn detect_protocol<S>(&self, mut stream: S) -> Result<(Spoken, Rewind<S>), HandshakeError>
    where
        S: AsyncRead + Unpin,
    {
        let silence = self.entrance.shared.config().timeouts.auto_silence;
        let mut head = Vec::with_capacity(MAX_DETECT_LEN);
        let spoken = self
            .in_time(async {
                match timeout(silence, stream.read_buf(&mut head)).await {
                    Err(_silent) => return Ok(Spoken::Waddell),
                    Ok(read) => read?,
                };
                loop {
                    match protocol_of(&head) {
                        Some(spoken) => return Ok(spoken),
                        // The end of the stream. The next reader sees it again.
                        None if stream.read_buf(&mut head).await? == 0 => {
                            return Ok(Spoken::Waddell);
                        }
                        None => {}
                    }
                }
            })
            .await?;
        Ok((spoken, Rewind::new(head, stream)))
    }

    /// Serves HTTP until the connection closes or becomes a WebSocket.
    async fn serve_http(mut self, stream: impl HandshakeStream) -> Result<(), HandshakeError> {
        let upgraded = http::serve(&self.entrance, &mut self.source, stream).await?;
        if let Some(Upgraded { stream, hello }) = upgraded {
            let mut transport = stream.into_transport(Framing::WebSocket);
            transport.early.frames = hello;
            self.serve(transport);
        }
        Ok(())
    }

    /// Serves the connection as a peer, after its handshakes.
    fn become_peer(self, stream: impl HandshakeStream, framing: Framing) {
        self.serve(stream.into_transport(framing));
    }

    fn serve(self, transport: Transport) {
        let Self { slot, source, .. } = self;
        let address = source.address();
        connection::serve(slot, transport, address, source.into_admission());
    }

    /// Waits for a step of the handshakes, as long as the configuration and a shutdown allow.
    async fn in_time<T>(
        &self,
        handshake: impl Future<Output = io::Result<T>>,
    ) -> Result<T, HandshakeError> {
        tokio::select! {
            biased;
            result = timeout(self.handshake_timeout(), handshake) => match result {
                Ok(result) => Ok(result?),
                Err(_elapsed) => Err(HandshakeError::TimedOut),
            },
            () = self.entrance.shared.shutdown.handshakes_over() => Err(HandshakeError::ShutDown),
        }
    }

    fn handshake_timeout(&self) -> Duration {
        self.entrance.shared.config().timeouts.handshake
    }

    fn acceptors(&self) -> Result<&Acceptors, HandshakeError> {
        self.entrance.tls.as_ref().ok_or(HandshakeError::NoCertificate)
    }
}

/// Reads until it is known whether a stream begins with a header of the PROXY protocol.
async fn read_start(socket: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<Start> {
    loop {
        match Start::of(head) {
            Start::Incomplete if socket.read_buf(head).await? > 0 => {}
            start @ (Start::Incomplete | Start::Other | Start::Header(_) | Start::Broken) => {
                return Ok(start);
            }
        }
    }
}

/// Most bytes that are read to detect the protocol: an HTTP method and a space.
const MAX_DETECT_LEN: usize = 8;

/// The first two bytes of a TLS handshake record: its type and the constant major version.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];

/// The methods with which an HTTP request can begin (RFC 9110), each with the space after it.
const HTTP_METHODS: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
];

/// Returns the protocol of a stream that begins with `head`; `None` if more bytes are needed.
///
/// A waddell frame begins with its length. A frame of 790 bytes looks like TLS, and one of 17,735
/// bytes or more can look like HTTP for some bytes. But waddell's clients wait for the greeting.
fn protocol_of(head: &[u8]) -> Option<Spoken> {
    let starts = |sign: &[u8]| head.starts_with(sign);
    let could_start = |sign: &[u8]| sign.starts_with(head);
    if starts(&TLS_HANDSHAKE) {
        return Some(Spoken::Tls);
    }
    if HTTP_METHODS.into_iter().any(starts) {
        return Some(Spoken::Http);
    }
    let open = could_start(&TLS_HANDSHAKE) || HTTP_METHODS.into_iter().any(could_start);
    (!open).then_some(Spoken::Waddell)
}
