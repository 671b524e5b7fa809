//! Options of a client, and every default with its reason.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use uuid::Uuid;
use waddell_core::{Credentials, InboxConfig, PeerId};

use crate::dial::{CustomDial, Dialer};
use crate::driver::OnId;
use crate::error::ConnectError;
use crate::tls::{CertificateError, parse_pinned};
use crate::token::TokenSource;
use crate::transport::BoxedStream;
use crate::url::{ParseServerUrlError, ServerUrl};

/// Options of a client: its server, reconnects, keep-alives and limits.
///
/// ```
/// use std::time::Duration;
/// use waddell_client::ClientConfig;
///
/// let config = ClientConfig::new("wss://server.example/ws")?
///     .reconnect_attempts(u32::MAX)
///     .keep_alive_interval(Duration::from_secs(25))
///     .on_id(|id| println!("my id is {id}"));
/// # Ok::<_, waddell_client::ParseServerUrlError>(())
/// ```
#[derive(Clone)]
pub struct ClientConfig {
    /// The addresses of the server; none if the caller's dialer connects bare frames.
    urls: Vec<ServerUrl>,
    dialer: Option<CustomDial>,
    server_cert: Option<CertificateDer<'static>>,
    reconnect_attempts: u32,
    connect_timeout: Option<Duration>,
    keep_alive_interval: Option<Duration>,
    silence_timeout: Option<Duration>,
    extension: bool,
    resume: bool,
    ice: bool,
    pub(crate) token: Option<TokenSource>,
    pub(crate) inbox: InboxConfig,
    pub(crate) outgoing_capacity: usize,
    pub(crate) on_id: Option<OnId>,
}

impl ClientConfig {
    /// Connects to an address such as `tcp://host` or `wss://host/ws`.
    ///
    /// # Errors
    ///
    /// [`ParseServerUrlError`] if `url` is not such an address.
    pub fn new(url: &str) -> Result<Self, ParseServerUrlError> {
        Ok(Self::from(url.parse::<ServerUrl>()?))
    }

    /// Adds another address of the same service. The addresses are dialed in turns: the next one
    /// after a failed dial, and when a server that stops says that the client is to go elsewhere.
    ///
    /// # Errors
    ///
    /// [`ParseServerUrlError`] if `url` is not an address.
    pub fn also(mut self, url: &str) -> Result<Self, ParseServerUrlError> {
        self.urls.push(url.parse()?);
        Ok(self)
    }

    /// Sends bare frames, as over TCP, over the stream that `dial` connects.
    ///
    /// For TLS or a WebSocket over such a stream, use an address and a [`dialer`](Self::dialer).
    pub fn from_dialer<F, D, S>(dial: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::with_urls(Vec::new()).dialer(dial)
    }

    /// Calls `dial` for each connection instead of connecting a TCP socket, for example through a
    /// proxy. TLS and WebSocket, as the address demands, run over its stream.
    ///
    /// The future is dropped after the [`connect_timeout`](Self::connect_timeout), and when the
    /// client is closed.
    #[must_use]
    pub fn dialer<F, D, S>(mut self, dial: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.dialer = Some(Arc::new(move || {
            let dialing = dial();
            Box::pin(async move { Ok(Box::new(dialing.await?) as BoxedStream) })
        }));
        self
    }

    /// Trusts only the server with exactly this certificate (PEM). Its names, issuer and dates are
    /// not checked. Without this option the client trusts the system's roots. Only for `tls` and
    /// `wss`.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if `pem` is not exactly one certificate.
    pub fn server_cert(mut self, pem: impl AsRef<[u8]>) -> Result<Self, CertificateError> {
        self.server_cert = Some(parse_pinned(pem.as_ref())?);
        Ok(self)
    }

    /// Number of dials after a failed one before the client gives up; 0: none, `u32::MAX`: no
    /// limit. The client always dials again after it loses a connection that was ready. Default
    /// 10. The wait before the n-th is n x 100 ms, at most 5 s, plus a random half of it at most.
    #[must_use]
    pub fn reconnect_attempts(mut self, attempts: u32) -> Self {
        self.reconnect_attempts = attempts;
        self
    }

    /// Longest time from a dial to the greeting before the attempt counts as failed.
    /// `None`: no limit. Default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = timeout.into();
        self
    }

    /// Interval of keep-alives while connected; at least a millisecond.
    /// Default `None`: only [`Client::send_keep_alive`](crate::Client::send_keep_alive) sends them.
    #[must_use]
    pub fn keep_alive_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.keep_alive_interval = interval.into();
        self
    }

    /// Longest time without a byte from the server before the connection counts as lost: the server
    /// is stopped, or the network is gone. Half of it after the last byte, the client sends itself
    /// an empty message on topic 0xFFFE. The application does not see that message.
    /// `None`: no limit. Default 60 s; at least a millisecond.
    ///
    /// Choose more if the client sends so much over a slow network that a message needs as long.
    #[must_use]
    pub fn silence_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.silence_timeout = timeout.into();
        self
    }

    /// Whether to speak the extension of the protocol with servers that do. The client's first
    /// frame is then HELLO, which other servers ignore; it delays nothing. If a server hangs up on
    /// it twice in a row, every other dial goes without. Default true.
    #[must_use]
    pub fn extension(mut self, extension: bool) -> Self {
        self.extension = extension;
        self
    }

    /// Whether to keep the peer id over a lost connection, on a server that resumes: the messages
    /// that are queued meanwhile go out under the same id, and other peers can go on writing to
    /// it. The resume token, which is as good as the id, stays in memory. Default false: every
    /// connection has a new id.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Whether to ask for ICE servers for WebRTC; see
    /// [`Client::ice_servers`](crate::Client::ice_servers). Default false.
    #[must_use]
    pub fn ice(mut self, ice: bool) -> Self {
        self.ice = ice;
        self
    }

    /// Gives this token, of 1 to 4,096 bytes, to servers that ask for credentials. If it is refused
    /// or expires, the client closes for good. It travels inside the connection, so use `tls` or
    /// `wss`.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(TokenSource::Fixed(token.into().into()));
        self
    }

    /// Calls `provider` for a token before each dial, and when the present one expires soon. The
    /// [`connect_timeout`](Self::connect_timeout) includes it. An error counts as a failed dial.
    /// An empty token means that there is none for this client: it closes for good. If the server
    /// refuses a token, the client asks for another, once in a row.
    #[must_use]
    pub fn token_from<F, D, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.token = Some(TokenSource::provider(provider));
        self
    }

    /// Limits of received messages that wait for the application. Default 1 MiB for each open
    /// topic, and 1 MiB for all other topics together.
    #[must_use]
    pub fn inbox(mut self, inbox: InboxConfig) -> Self {
        self.inbox = inbox;
        self
    }

    /// Limit of queued outgoing bytes; senders wait while it is reached. A message counts its frame
    /// plus 64. At least one of the largest messages always fits. Default 1 MiB.
    #[must_use]
    pub fn outgoing_capacity(mut self, bytes: usize) -> Self {
        self.outgoing_capacity = bytes;
        self
    }

    /// Calls `on_id` with each id of this client: the first, one after every reconnect, and one
    /// after [`Client::rotate`](crate::Client::rotate). After a reconnect with
    /// [`resume`](Self::resume) it can be the same. It runs in the client's task and must not
    /// block.
    #[must_use]
    pub fn on_id(mut self, on_id: impl Fn(PeerId) + Send + Sync + 'static) -> Self {
        self.on_id = Some(Arc::new(on_id));
        self
    }

    pub(crate) fn core(&self) -> waddell_core::ClientConfig {
        let (seed, _) = Uuid::new_v4().as_u64_pair();
        waddell_core::ClientConfig {
            reconnect_attempts: self.reconnect_attempts,
            connect_timeout: self.connect_timeout,
            keep_alive_interval: self.keep_alive_interval.map(|it| it.max(MIN_INTERVAL)),
            silence_timeout: self.silence_timeout.map(|it| it.max(MIN_INTERVAL)),
            extension: self.extension,
            resume: self.resume,
            ice: self.ice,
            credentials: match self.token {
                None => Credentials::None,
                Some(TokenSource::Fixed(_)) => Credentials::Fixed,
                Some(TokenSource::Provider(_)) => Credentials::Renewable,
            },
            addresses: self.urls.len().max(1),
            jitter_seed: seed,
        }
    }

    /// Returns a dialer for each address; at least one.
    pub(crate) fn into_dialers(self) -> Result<Vec<Arc<Dialer>>, ConnectError> {
        let Self { urls, dialer, server_cert, .. } = self;
        let is_tls = !urls.is_empty() && urls.iter().all(|url| url.scheme().is_tls());
        if server_cert.is_some() && !is_tls {
            return Err(ConnectError::CertificateWithoutTls);
        }
        let new = |url| Arc::new(Dialer::new(url, dialer.clone(), server_cert.clone()));
        if urls.is_empty() {
            return Ok(vec![new(None)]);
        }
        Ok(urls.into_iter().map(|url| new(Some(url))).collect())
    }

    fn with_urls(urls: Vec<ServerUrl>) -> Self {
        let core = waddell_core::ClientConfig::default();
        Self {
            urls,
            dialer: None,
            server_cert: None,
            reconnect_attempts: core.reconnect_attempts,
            connect_timeout: core.connect_timeout,
            keep_alive_interval: core.keep_alive_interval,
            silence_timeout: Some(DEFAULT_SILENCE_TIMEOUT),
            extension: core.extension,
            resume: core.resume,
            ice: core.ice,
            token: None,
            inbox: InboxConfig::default(),
            outgoing_capacity: DEFAULT_OUTGOING_CAPACITY,
            on_id: None,
        }
    }
}

impl From<ServerUrl> for ClientConfig {
    fn from(url: ServerUrl) -> Self {
        Self::with_urls(vec![url])
    }
}

impl TryFrom<&str> for ClientConfig {
    type Error = ParseServerUrlError;

    fn try_from(url: &str) -> Result<Self, Self::Error> {
        Self::new(url)
    }
}

impl TryFrom<&String> for ClientConfig {
    type Error = ParseServerUrlError;

    fn try_from(url: &String) -> Result<Self, Self::Error> {
        Self::new(url)
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("urls", &self.urls)
            .field("custom_dialer", &self.dialer.is_some())
            .field("pinned_certificate", &self.server_cert.is_some())
            .field("reconnect_attempts", &self.reconnect_attempts)
            .field("connect_timeout", &self.connect_timeout)
            .field("keep_alive_interval", &self.keep_alive_interval)
            .field("silence_timeout", &self.silence_timeout)
            .field("extension", &self.extension)
            .field("resume", &self.resume)
            .field("ice", &self.ice)
            .field("token", &self.token)
            .field("inbox", &self.inbox)
            .field("outgoing_capacity", &self.outgoing_capacity)
            .finish_non_exhaustive()
    }
}

/// Sixteen of the largest messages, like the server's outbox for a peer.
const DEFAULT_OUTGOING_CAPACITY: usize = 1 << 20;

/// Long enough for a network that changes, short enough for a person who waits.
const DEFAULT_SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// With an interval of zero the client would do nothing but send keep-alives or probes.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
