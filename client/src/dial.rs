//! Turns an address into a connected byte stream.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;

use crate::tls;
use crate::transport::ws::WsStream;
use crate::transport::{BoxedStream, tcp};
use crate::url::ServerUrl;

/// The caller's function that connects in place of TCP.
pub(crate) type CustomDial =
    Arc<dyn Fn() -> BoxFuture<'static, io::Result<BoxedStream>> + Send + Sync>;

/// A connected byte stream.
pub(crate) struct Dialed {
    pub(crate) stream: BoxedStream,
    /// Whether the server has read HELLO in the upgrade.
    pub(crate) took_hello: bool,
}

/// Connects byte streams to one server, again and again.
pub(crate) struct Dialer {
    /// `None`: bare frames over the stream that `custom` connects.
    url: Option<ServerUrl>,
    custom: Option<CustomDial>,
    /// Trusted certificates. The system's roots are read at the first dial that needs them.
    tls: OnceCell<TlsConnector>,
}

impl Dialer {
    pub(crate) fn new(
        url: Option<ServerUrl>,
        custom: Option<CustomDial>,
        pinned: Option<CertificateDer<'static>>,
    ) -> Self {
        let alpn = alpn(url.as_ref());
        let tls = OnceCell::new_with(pinned.map(|pinned| tls::pinned_connector(pinned, alpn)));
        Self { url, custom, tls }
    }

    /// Connects, including TLS and WebSocket, and sends the body of HELLO in the upgrade if there
    /// is one. Dropping the future hangs up.
    pub(crate) async fn dial(self: Arc<Self>, hello: Option<Vec<u8>>) -> io::Result<Dialed> {
        let Some(url) = &self.url else {
            return Ok(Dialed { stream: self.connect().await?, took_hello: false });
        };
        let stream = self.connect_secured(url).await?;
        if !url.scheme().is_websocket() {
            return Ok(Dialed { stream, took_hello: false });
        }
        let uri = url.to_string().parse().map_err(io::Error::other)?;
        let (stream, took_hello) = WsStream::handshake(stream, &uri, hello.as_deref()).await?;
        Ok(Dialed { stream: Box::new(stream), took_hello })
    }

    /// Returns whether connections are WebSockets, whose upgrade can bear HELLO.
    pub(crate) fn is_websocket(&self) -> bool {
        self.url.as_ref().is_some_and(|url| url.scheme().is_websocket())
    }

    async fn connect_secured(&self, url: &ServerUrl) -> io::Result<BoxedStream> {
        let stream = self.connect().await?;
        if !url.scheme().is_tls() {
            return Ok(stream);
        }
        let connector = self.tls.get_or_try_init(|| async {
            let alpn = alpn(Some(url));
            spawn_blocking(|| tls::system_connector(alpn)).await.map_err(io::Error::other)?
        });
        let connector = connector.await?;
        Ok(Box::new(tls::handshake(connector, url.host(), stream).await?))
    }

    async fn connect(&self) -> io::Result<BoxedStream> {
        match (&self.custom, &self.url) {
            (Some(dial), _) => dial().await,
            (None, Some(url)) => Ok(Box::new(tcp::connect(url.host(), url.port()).await?)),
            (None, None) => unreachable!("a configuration has an address, a dialer or both"),
        }
    }
}

impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            Some(url) => url.fmt(f),
            None => f.write_str("the server behind the dialer"),
        }
    }
}

/// Returns the protocols to offer in TLS. An `auto` listener takes `http/1.1` for a WebSocket, and
/// no offer for bare frames.
fn alpn(url: Option<&ServerUrl>) -> Vec<Vec<u8>> {
    match url {
        Some(url) if url.scheme().is_websocket() => vec![b"http/1.1".to_vec()],
        Some(_) | None => Vec::new(),
    }
}
