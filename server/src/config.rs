//! Every option of a server, its default, and why.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracing::field::{DisplayValue, display};
use waddell_core::{ConnectionConfig, RateLimit};

use crate::listen_url::ListenUrl;

mod access;
mod extension;
mod ice;

pub use access::{AccessOptions, AllowLegacy, AuthFailure};
pub use extension::ExtensionOptions;
pub use ice::IceOptions;

/// How a server behaves.
///
/// ```
/// use waddell_server::{Limits, ServerConfig};
///
/// let config = ServerConfig {
///     listen: vec!["auto://127.0.0.1:0".parse().unwrap()],
///     limits: Limits { max_connections: 100, ..Limits::default() },
///     ..ServerConfig::default()
/// };
/// assert_eq!(config.limits.outbox_bytes, 1 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Addresses to listen on. Default: `tcp://0.0.0.0:62443` and `ws://0.0.0.0:62480`.
    pub listen: Vec<ListenUrl>,
    /// Certificate and key for `tls`, `wss` and `auto` listeners. Default: none.
    pub identity: Option<Identity>,
    /// Threads that serve connections. Default 0: one for each processor the process may use.
    pub workers: usize,
    /// Most bytes, connections and frames.
    pub limits: Limits,
    /// Longest times.
    pub timeouts: Timeouts,
    /// TCP options of each connection.
    pub tcp: TcpOptions,
    /// Proxies that may name the address of a client.
    pub proxies: TrustedProxies,
    /// What `ws`, `wss` and `auto` listeners answer over HTTP.
    pub http: HttpOptions,
    /// The extension of the protocol.
    pub extension: ExtensionOptions,
    /// Who may connect.
    pub access: AccessOptions,
    /// STUN and TURN servers that clients are told of.
    pub ice: IceOptions,
    /// The admin port.
    pub admin: AdminOptions,
    /// Whether the log shows the addresses of clients. Default: it does.
    pub log_addresses: bool,
}

/// Certificate and key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by those that lead to a known authority.
    pub cert: PathBuf,
    /// The key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Most bytes, connections and frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes in the outbox of one peer; a frame that does not fit is dropped and counted.
    /// Default 1 MiB: sixteen of the largest frames.
    pub outbox_bytes: usize,
    /// Most memory of all outboxes whose peer does not read fast enough, in bytes; 0: no limit.
    /// Should be sixteen times `outbox_bytes` or more. Default 256 MiB: half of the memory of the
    /// smallest machines, and more than a hundred full outboxes.
    ///
    /// An outbox may grow while it holds no more than a quarter of what is free, so the fullest
    /// lose frames first. Incomplete incoming frames have a budget of the same size; when it is
    /// short, the peers whose frames hold most for longest are disconnected.
    pub outbox_total_bytes: usize,
    /// Longest payload of a frame, in bytes; a peer that sends a longer one is disconnected.
    /// Default 65,535, the most that the prefix can say.
    pub max_frame_len: u16,
    /// Most connections at a time; 0: no limit. Default 65,536.
    pub max_connections: usize,
    /// Most connections at a time from one address (IPv6: one /64); 0: no limit. Default 16,384:
    /// one address cannot take all, and carrier-grade NATs and proxies still fit.
    pub max_connections_per_address: usize,
    /// Most connections accepted a second, on all listeners together. Unused ones are saved for a
    /// second. Further connections wait in the system's queue. Connections that another limit
    /// refuses do not count. Default: no limit.
    pub accept_rate: Option<NonZeroU32>,
    /// How fast a peer may send. A faster peer is read from more slowly and loses no frame. A
    /// WebSocket frame without a waddell frame counts as a frame, its header as bytes.
    /// Default: no limit.
    pub rate_limit: Option<RateLimit>,
}

/// Longest times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A peer that takes no byte for this long, while its outbox is not empty, is disconnected.
    /// Default 10 s: phones stall for seconds, and no other peer waits for them.
    pub write: Duration,
    /// Longest time for the TLS handshake and for the HTTP handshake, each. Default 10 s.
    pub handshake: Duration,
    /// On an `auto` listener, a client that is silent for this long waits for its greeting.
    /// Default 200 ms.
    pub auto_silence: Duration,
    /// Time between two pings of a WebSocket peer; each peer's is from 10 % less to 15 % more.
    /// Default 25 s: common proxies close idle connections after 30 s, and browsers answer without
    /// their page's help.
    pub ping_interval: Duration,
    /// Longest time from a ping to the next byte from the peer. Default 10 s.
    pub pong: Duration,
    /// Longest time without a frame (a keep-alive counts) before a peer is disconnected.
    /// Default: no limit.
    pub idle: Option<Duration>,
    /// Longest time from the first byte of a frame to its last. Time in which the peer is not read
    /// from because of [`Limits::rate_limit`] does not count. Default 60 s: enough for the longest
    /// frame at 9 kbit/s.
    pub frame: Duration,
    /// At a shutdown, how long the server accepts connections after `/readyz` begins to say 503.
    /// Default 0. Behind a load balancer: longer than its health checks need.
    pub drain_delay: Duration,
    /// Longest time from the end of accepting to the end of a shutdown. Handshakes in progress
    /// have a fifth of it, so that silent clients do not delay it. Default 10 s.
    pub drain: Duration,
}

/// TCP options of each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// TCP probes a connection on which nothing has arrived for this long, up to four times at
    /// intervals of a quarter of it; from 1 s to 9 h. Default 60 s: this is the only way to probe
    /// clients of 2015.
    pub keepalive: Duration,
    /// A peer that has not acknowledged data or a probe at TCP level for this long is disconnected;
    /// in whole milliseconds, Linux and Android only. TCP cannot tell it from a peer that does not
    /// read, so at least three times [`Timeouts::write`] is used. Default 30 s: as long as a phone
    /// may be between two cells.
    pub user_timeout: Duration,
}

/// Proxies that may name the address of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Networks of the proxies. Their own addresses have no limit of connections.
    /// Default: none, because any client can send `X-Forwarded-For`.
    pub networks: Vec<IpNet>,
    /// Whether these proxies begin each connection, on every listener, with a header of the PROXY
    /// protocol, version 1 or 2. Default: they do not.
    pub send_header: bool,
}

/// What `ws`, `wss` and `auto` listeners answer over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpOptions {
    /// Origins whose pages may open a WebSocket, as browsers send them: in small letters, and
    /// without the scheme's own port. An example is `https://example.org`. Default: any.
    pub origins: Vec<String>,
    /// What is served at `/`. Default: the demo page.
    pub www: Www,
}

/// What is served at `/` over plain HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Www {
    /// The demo page that is part of the program.
    #[default]
    Demo,
    /// The files of a folder.
    Folder(PathBuf),
    /// Nothing.
    Off,
}

/// The admin port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminOptions {
    /// Where `/metrics`, `/healthz` and `/readyz` are served over plain HTTP; port 0 picks a free
    /// one. Default: nowhere.
    pub address: Option<SocketAddr>,
    /// Whether `/debug/peers` there shows the state of each peer's connection: numbers and the
    /// first part of its id, never the contents of a frame. Default: no, because who writes how
    /// much is private.
    pub debug: bool,
}

impl ServerConfig {
    /// Returns how the core is to treat a connection.
    pub(crate) fn connection(&self) -> ConnectionConfig {
        ConnectionConfig { idle_timeout: self.timeouts.idle, rate_limit: self.limits.rate_limit }
    }

    /// Returns an address as a field of a log line; `None` if addresses stay out of the log.
    /// An IPv4 address is shown as one also if it came to a socket for both families.
    pub(crate) fn logged(&self, address: IpAddr) -> Option<DisplayValue<IpAddr>> {
        self.log_addresses.then(|| display(address.to_canonical()))
    }
}

impl TrustedProxies {
    /// Returns whether a connection from this address comes from a trusted proxy.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        let listen = |url: &str| url.parse().expect("the default addresses are valid");
        Self {
            listen: vec![listen("tcp://0.0.0.0:62443"), listen("ws://0.0.0.0:62480")],
            identity: None,
            workers: 0,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            tcp: TcpOptions::default(),
            proxies: TrustedProxies::default(),
            http: HttpOptions::default(),
            extension: ExtensionOptions::default(),
            access: AccessOptions::default(),
            ice: IceOptions::default(),
            admin: AdminOptions::default(),
            log_addresses: true,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outbox_bytes: 1 << 20,
            outbox_total_bytes: 256 << 20,
            max_frame_len: u16::MAX,
            max_connections: 65_536,
            max_connections_per_address: 16_384,
            accept_rate: None,
            rate_limit: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            write: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            auto_silence: Duration::from_millis(200),
            ping_interval: Duration::from_secs(25),
            pong: Duration::from_secs(10),
            idle: None,
            frame: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(10),
        }
    }
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { keepalive: Duration::from_secs(60), user_timeout: Duration::from_secs(30) }
    }
}
