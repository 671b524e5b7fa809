//! How a server behaves, and every default with its reason.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use waddell_core::RateLimit;

use crate::entry::tls::Identity;
use crate::listen_url::ListenUrl;

/// How a server behaves.
///
/// ```
/// use waddell_server::ServerConfig;
///
/// let config = ServerConfig {
///     listen: vec!["auto://127.0.0.1:0".parse().unwrap()],
///     ..ServerConfig::default()
/// };
/// assert_eq!(config.outbox_bytes, 1 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen. Default: `tcp://0.0.0.0:62443` and `ws://0.0.0.0:62480`.
    pub listen: Vec<ListenUrl>,
    /// Certificate and key for `tls`, `wss` and `auto` listeners. Default: none.
    pub identity: Option<Identity>,
    /// Threads that serve connections. Default 0: one for each processor the process may use.
    pub workers: usize,
    /// Most bytes that wait for one peer; a frame that does not fit is dropped and counted.
    /// Default 1 MiB: sixteen of the largest frames.
    pub outbox_bytes: usize,
    /// Most memory for what waits for all peers together, in bytes; 0: no limit. The fullest outboxes
    /// are refused more first, and lose frames: one may grow while it holds no more than a
    /// quarter of what is free. Should be sixteen times `outbox_bytes` or more. Default 256 MiB: half of the smallest machines' memory, and more
    /// than a hundred outboxes that are full. As much again is the most that frames hold which peers have
    /// begun to send; whoever begins one that finds no room is hung up.
    pub outbox_total_bytes: usize,
    /// A peer that takes no byte for this long, though some wait for it, is hung up. Default 10 s:
    /// phones stall for seconds, and nobody else waits for them.
    pub write_timeout: Duration,
    /// Longest time for the TLS and HTTP handshakes, each. Default 10 s.
    pub handshake_timeout: Duration,
    /// On an `auto` listener, a client that stays silent for this long is one that waits for its
    /// greeting. Default 200 ms.
    pub auto_silence: Duration,
    /// How often a WebSocket peer is pinged, give or take a tenth. Default 25 s: below the 30 s
    /// after which common proxies hang up, and browsers answer without their page's help.
    pub ping_interval: Duration,
    /// Longest time from a ping to any sign of life. Default 10 s.
    pub pong_timeout: Duration,
    /// A connection on which nothing has come for this long is asked by TCP whether the peer's
    /// machine is still there, four times at distances of a quarter of this; from 1 s to 9 h.
    /// Default 60 s: clients of 2015 cannot be asked in any other way.
    pub tcp_keepalive: Duration,
    /// A peer whose machine has not confirmed what was sent to it for this long, be it a question
    /// of `tcp_keepalive`, is gone; in whole milliseconds. Linux and Android only. To these, a peer
    /// that takes nothing looks the same: it is three times `write_timeout` if that is longer.
    /// Default 30 s: so long a phone may be between two cells.
    pub tcp_user_timeout: Duration,
    /// Longest payload of a frame, in bytes; a longer one hangs up. Default 65,535, which is all
    /// that the prefix can say.
    pub max_frame_len: u16,
    /// Longest time without a frame (a keep-alive counts) before a peer is hung up. Default: none.
    pub idle_timeout: Option<Duration>,
    /// Longest time from the first byte of a frame to its last; the time in which a peer is not read
    /// from because of `rate_limit` does not count. Default 60 s: the longest frame takes no longer
    /// at 9 kbit/s.
    pub frame_timeout: Duration,
    /// How fast a peer may send; one that sends faster is read from more slowly, and loses nothing.
    /// Frames of WebSocket that carry none of waddell's count as frames, their headers as bytes.
    /// Default: as fast as it can.
    pub rate_limit: Option<RateLimit>,
    /// Most connections at a time; 0: no limit. Default 65,536.
    pub max_connections: usize,
    /// Most connections at a time from one address (IPv6: one /64); 0: no limit. Default 16,384:
    /// one address cannot take all, and carrier-grade NATs and proxies still fit.
    pub max_connections_per_address: usize,
    /// Most connections accepted a second, on all listeners together; what was not used is saved up
    /// for a second. Beyond that they wait, and are not refused; those that
    /// another limit refuses do not count. Default: no limit.
    pub accept_rate: Option<NonZeroU32>,
    /// Networks of the proxies whose word on a client's address is taken: in `X-Forwarded-For`, and
    /// in the header of the PROXY protocol. Their own addresses have no limit of connections.
    /// Default: none, since anybody can claim any address.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections from [`trusted_proxies`](Self::trusted_proxies) begin with a header of the PROXY
    /// protocol, version 1 or 2, on every listener. Default: they do not.
    pub proxy_protocol: bool,
    /// Origins whose pages may open a WebSocket, such as `https://example.org`. Default: any.
    pub origins: Vec<String>,
    /// What `ws`, `wss` and `auto` listeners serve at `/`. Default: the demo page.
    pub www: Www,
    /// Where operators and their machines find `/metrics`, `/healthz` and `/readyz` over plain
    /// HTTP; port 0 picks a free one. Default: nowhere.
    pub admin: Option<SocketAddr>,
    /// Whether `/debug/peers` there says what each peer's connection is doing: numbers and the first
    /// part of its id, never what is in a frame. Default: no, since who writes how much is nobody's
    /// business while all is well.
    pub admin_debug: bool,
    /// Whether the log says from which addresses connections come. Default: it does.
    pub log_addresses: bool,
    /// How long a server that is told to shut down still accepts connections while `/readyz` says
    /// that it is not ready. Default 0: for a load balancer, more than it takes to notice.
    pub drain_delay: Duration,
    /// Longest time from when a server stops listening to the end of its shutdown. Handshakes that
    /// are in progress have a fifth of it, so that silent clients do not hold it up. Default 10 s.
    pub drain_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let listen = |url: &str| url.parse().expect("the default addresses are valid");
        Self {
            listen: vec![listen("tcp://0.0.0.0:62443"), listen("ws://0.0.0.0:62480")],
            identity: None,
            workers: 0,
            outbox_bytes: 1 << 20,
            outbox_total_bytes: 256 << 20,
            write_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            auto_silence: Duration::from_millis(200),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            tcp_keepalive: Duration::from_secs(60),
            tcp_user_timeout: Duration::from_secs(30),
            max_frame_len: u16::MAX,
            idle_timeout: None,
            frame_timeout: Duration::from_secs(60),
            rate_limit: None,
            max_connections: 65_536,
            max_connections_per_address: 16_384,
            accept_rate: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            origins: Vec::new(),
            www: Www::Demo,
            admin: None,
            admin_debug: false,
            log_addresses: true,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// What is served at `/` to those who ask over plain HTTP.
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
