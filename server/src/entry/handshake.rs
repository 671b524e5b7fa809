//! From an accepted socket to a peer: TLS, HTTP, and on `auto` listeners finding out which.

mod error;

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admission::Refused;
use crate::entry::http;
use crate::entry::proxy_header::Start;
use crate::entry::source::Source;
use crate::forward::connection;
use crate::forward::outbox::Framing;
use crate::forward::transport::HandshakeStream;
use crate::forward::transport::rewind::Rewind;
use crate::forward::worker::WorkerSlot;
use crate::labels::AddressClaim;
use crate::listen_url::Scheme;
use crate::run::shared::Shared;
pub(crate) use error::HandshakeError;

/// A socket that a listener has accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    socket: TcpStream,
    scheme: Scheme,
    client: Source,
}

impl Accepted {
    /// Finds a place for the connection: among all, and unless a proxy speaks for somebody else
    /// among those of its address.
    pub(crate) fn new(
        socket: TcpStream,
        address: IpAddr,
        scheme: Scheme,
        shared: &Shared,
    ) -> Result<Self, Refused> {
        let admission = shared.admissions.admit()?;
        let client = Source::new(address, admission, shared.config())?;
        Ok(Self { socket, scheme, client })
    }

    /// Has this thread's runtime watch the socket in the place of the one that accepted it: what
    /// arrives wakes the worker that serves it, and is there once that has looked.
    pub(crate) fn rebind(self) -> Result<Self, HandshakeError> {
        let moved = self.socket.into_std().and_then(TcpStream::from_std);
        let socket = moved.map_err(HandshakeError::NotTakenOn)?;
        Ok(Self { socket, ..self })
    }
}

/// Sets about making a peer of an accepted socket.
pub(crate) fn begin(slot: WorkerSlot, accepted: Accepted) {
    let Accepted { socket, scheme, client } = accepted;
    let mut pending = Pending { slot, client };
    if scheme == Scheme::Tcp && !pending.awaits_header() {
        return pending.become_peer(socket, Framing::Raw);
    }
    // The handshakes' state is far larger than a peer's, and gone when they are done: it has a
    // task of its own.
    tokio::task::spawn_local(async move {
        let worker = Rc::clone(&pending.slot);
        let result = match pending.find_client(socket, scheme).await {
            Ok((stream, scheme)) => {
                let address = pending.client.address();
                pending.shake_hands(stream, scheme).await.map_err(|error| (address, error))
            }
            Err(error) => Err((pending.client.address(), error)),
        };
        if let Err((address, error)) = result {
            worker.shared.note_failed(&error);
            let address = worker.shared.config().logged(address);
            tracing::debug!(address, %error, "handshake failed");
        }
    });
}

/// A connection on its way to becoming a peer.
pub(crate) struct Pending {
    pub(crate) slot: WorkerSlot,
    pub(crate) client: Source,
}

/// What the client turns out to speak.
enum Spoken {
    Tls,
    Http,
    Waddell,
}

impl Pending {
    /// Says whether nothing may be said to the client before its proxy has said who it is.
    fn awaits_header(&self) -> bool {
        self.client.proxies_send_header() && self.client.is_proxy()
    }

    /// Finds out who the client is from the header of the PROXY protocol, if there is one. Returns
    /// the stream without it, and what is spoken there as far as that has turned out by then.
    async fn find_client(
        &mut self,
        mut socket: TcpStream,
        scheme: Scheme,
    ) -> Result<(Rewind<TcpStream>, Scheme), HandshakeError> {
        let mut head = Vec::new();
        if !self.client.proxies_send_header() {
            return Ok((Rewind::new(head, socket), scheme));
        }
        let trusted = self.awaits_header();
        // Whoever is not listed need not say anything, and does not wait twice for its greeting.
        if !trusted && scheme == Scheme::Auto {
            let silence = self.slot.shared.config().timeouts.auto_silence;
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
                        let address = self.client.address();
                        self.slot.shared.note_ignored(AddressClaim::ProxyHeader, Some(address));
                    }
                    Some(client) => self.client.set_address(client)?,
                    // The proxy speaks for itself.
                    None => {}
                }
            }
            Start::Open if trusted => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            Start::Other if trusted => return Err(HandshakeError::NoProxyHeader),
            Start::Broken if trusted => return Err(HandshakeError::BrokenProxyHeader),
            Start::Open | Start::Other | Start::Broken => {}
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
            Scheme::Ws => http::serve(self, stream).await?,
            Scheme::Wss => {
                let acceptor = self.acceptors()?.http.clone();
                let stream = self.in_time(acceptor.accept(stream)).await?;
                http::serve(self, stream).await?;
            }
            Scheme::Auto => self.find_out(stream).await?,
        }
        Ok(())
    }

    /// Tells TLS, HTTP and waddell apart, in clear and again inside TLS.
    async fn find_out(self, stream: Rewind<TcpStream>) -> Result<(), HandshakeError> {
        let (spoken, stream) = self.listen_to(stream).await?;
        match spoken {
            Spoken::Waddell => self.become_peer(stream, Framing::Raw),
            Spoken::Http => http::serve(self, stream).await?,
            Spoken::Tls => {
                let acceptor = self.acceptors()?.http.clone();
                let stream = self.in_time(acceptor.accept(stream)).await?;
                if stream.get_ref().1.alpn_protocol().is_some() {
                    return http::serve(self, stream).await;
                }
                let (spoken, stream) = self.listen_to(stream).await?;
                match spoken {
                    Spoken::Http => http::serve(self, stream).await?,
                    // TLS within TLS is nothing that is served; to a peer it is a long frame.
                    Spoken::Waddell | Spoken::Tls => self.become_peer(stream, Framing::Raw),
                }
            }
        }
        Ok(())
    }

    /// Reads until it is clear what the client speaks; silence is waddell, whose server speaks first.
    async fn listen_to<S>(&self, mut stream: S) -> Result<(Spoken, Rewind<S>), HandshakeError>
    where
        S: AsyncRead + Unpin,
    {
        let silence = self.slot.shared.config().timeouts.auto_silence;
        let mut head = Vec::with_capacity(LONGEST_TELL);
        let spoken = self
            .in_time(async {
                match timeout(silence, stream.read_buf(&mut head)).await {
                    Err(_silent) => return Ok(Spoken::Waddell),
                    Ok(read) => read?,
                };
                loop {
                    match tell(&head) {
                        Some(spoken) => return Ok(spoken),
                        // The end of the stream: whoever takes it over sees it again.
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

    /// Makes a peer of the connection: it has said all that it had to say before its frames.
    pub(crate) fn become_peer(self, stream: impl HandshakeStream, framing: Framing) {
        let Self { slot, client } = self;
        connection::serve(slot, stream.into_transport(framing), client);
    }

    /// Waits for a handshake no longer than the configuration allows, or a shutdown.
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
            () = self.slot.shared.last_call_is_over() => Err(HandshakeError::ShutDown),
        }
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.slot.shared.config().timeouts.handshake
    }

    fn acceptors(&self) -> Result<&crate::entry::tls::Acceptors, HandshakeError> {
        self.slot.shared.tls.as_ref().ok_or(HandshakeError::NoCertificate)
    }
}

/// Reads until it is clear whether a stream begins with a header of the PROXY protocol.
async fn read_start(socket: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<Start> {
    loop {
        match Start::of(head) {
            Start::Open if socket.read_buf(head).await? > 0 => {}
            start @ (Start::Open | Start::Other | Start::Header(_) | Start::Broken) => {
                return Ok(start);
            }
        }
    }
}

/// What streams that handshakes are spoken over can do.
pub(crate) trait Stream:
    AsyncRead + AsyncWrite + HandshakeStream + Send + Unpin + 'static
{
}

impl<S: AsyncRead + AsyncWrite + HandshakeStream + Send + Unpin + 'static> Stream for S {}

/// Most bytes that are read before it is told what a client speaks: a method and the space after.
const LONGEST_TELL: usize = 8;

/// First byte of a TLS handshake record, and the second: the major version, ever the same.
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

/// Says what bytes that begin so are; `None` if more of them are needed.
///
/// waddell's frames begin with their length. One of 790 bytes looks like TLS and one of 17,735
/// bytes or more may look like HTTP for a while; but its client waits for the greeting first.
fn tell(head: &[u8]) -> Option<Spoken> {
    let starts = |tell: &[u8]| head.starts_with(tell);
    let could_start = |tell: &[u8]| tell.starts_with(head);
    if starts(&TLS_HANDSHAKE) {
        return Some(Spoken::Tls);
    }
    if HTTP_METHODS.into_iter().any(starts) {
        return Some(Spoken::Http);
    }
    let open = could_start(&TLS_HANDSHAKE) || HTTP_METHODS.into_iter().any(could_start);
    (!open).then_some(Spoken::Waddell)
}
