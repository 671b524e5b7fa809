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
//! # The path of a frame
//!
//! ```text
//!   listener     accepts, and gives the socket to the least busy worker
//!   handshake    a proxy's header, TLS, HTTP; on `auto` listeners finds out which
//!   connection   the task that owns the socket: reads into the worker's scratch space,
//!                decodes, asks the core who gets each frame
//!   registry     PeerId -> Peer
//!   outbox       whole frames that wait for one peer; bounded
//!   worker       at the end of its turn writes each outbox that was filled, once
//! ```
//!
//! A server has threads of its own, one for each processor unless told otherwise, and no global
//! state: any number of servers can live in one process, and [`Server::run`] can be awaited on
//! any runtime.

mod admission;
mod clock;
mod config;
mod entry;
mod forward;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod histogram;
mod ids;
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
pub use entry::tls::{TlsError, self_signed};
pub use ipnet::IpNet;
pub use listen_url::{ListenUrl, ParseListenUrlError, ParseSchemeError, Scheme};
pub use metrics::MetricsSnapshot;
pub use run::server::{BindError, Server, ServerHandle};
pub use waddell_core::RateLimit;
