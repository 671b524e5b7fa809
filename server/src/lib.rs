//! A signaling server: waddell's protocol over TCP, TLS and WebSocket, in one process.
//!
//! ```no_run
//! use waddell_server::{Server, ServerConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ServerConfig {
//!     listen: vec!["tcp://127.0.0.1:0".parse()?, "ws://127.0.0.1:0".parse()?],
//!     ..ServerConfig::default()
//! };
//! let server = Server::bind(config)?;
//! for url in server.local_urls() {
//!     println!("listening on {url}");
//! }
//! server.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The wings
//!
//! The modules are sorted into four wings over a ground floor. A module knows modules of its own
//! wing and of those below; `cargo xtask test structure` checks that from the imports.
//!
//! ```text
//!   run        a server's life: bind, worker threads, reload, the steps of a shutdown
//!   watch      what operators see: admin port, metrics page, list of peers; only reads
//!   entry      from a socket to a peer: listeners, limits, PROXY header, TLS, HTTP, upgrade
//!   forward    from a frame to its recipient: connections, registry, outboxes, memory budgets
//!   (ground)   config, listen_url    what the operator says
//!              clock, ids            time and peer ids
//!              metrics, histogram, counter, labels    counters and their words
//!              admission             how many connections there may be
//!              shutdown              the phases of a server's end
//! ```
//!
//! # The way of a frame
//!
//! ```text
//!   entry::listener       accepts, and gives the socket to the least busy worker
//!   entry::handshake      PROXY header, TLS, HTTP; on `auto` listeners detects which
//!   forward::connection   the task that owns the socket: reads into the worker's scratch space
//!     inbound             cuts frames; waddell_core decides on each: Forward | KeepAlive | Reject
//!   forward::worker       forward(recipient, frame) -> Fate: Forwarded | Dropped(reason)
//!     registry            recipient's id -> Peer
//!     link, outbox        whole frames, bounded, until they are written
//!   forward::worker       at the end of its turn writes each outbox that was filled, once
//! ```
//!
//! Where further features go: a frame that is for the server itself is one more `Decision` of the
//! core, handled in `forward::connection::inbound`. A recipient on another machine is found in
//! `forward::registry`. A new step of a shutdown is one more phase in `shutdown`.
//!
//! # Threads
//!
//! A server has threads of its own, by default one for each processor, and no global state. Any
//! number of servers can live in one process, and [`Server::run`] can be awaited on any runtime.
//! Each thread is a worker with a single-threaded runtime, so that a message costs no hand-over
//! between threads.
//!
//! # The log
//!
//! The library logs with `tracing`: `info` for each connection, `warn` for each refused one, so
//! clients decide how many lines there are. Limit them in the subscriber, as the program does.

mod admission;
mod clock;
mod config;
mod counter;
mod entry;
mod forward;
mod histogram;
mod ids;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod internals;
mod labels;
mod listen_url;
mod metrics;
mod run;
mod shutdown;
mod watch;

pub use config::{
    AdminOptions, HttpOptions, Identity, Limits, ServerConfig, TcpOptions, Timeouts,
    TrustedProxies, Www,
};
pub use entry::descriptors::raise_descriptor_limit;
pub use entry::inherited::Inherited;
pub use entry::tls::{PemKind, TlsError, self_signed};
pub use ipnet::IpNet;
pub use listen_url::{ListenUrl, ParseListenUrlError, ParseSchemeError, Scheme};
pub use metrics::MetricsSnapshot;
pub use run::server::{BindError, Server, ServerHandle};
pub use waddell_core::RateLimit;
