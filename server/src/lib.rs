//! A signaling server, which forwards small messages between programs that cannot reach each other
//! yet: waddell's protocol over TCP, TLS and WebSocket, in one process.
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
//! Clients connect and become *peers*, with a random id each. A peer sends *frames*, each to the id
//! of another peer, and the server forwards them. The protocol itself is in `waddell_core`.
//!
//! # The wings
//!
//! The modules are sorted into four wings, one above the other, over a ground floor. A module may
//! import from its own wing, from the wings below it in this picture, and from the ground floor.
//! Modules of the ground floor import each other only. `cargo xtask test structure` checks this.
//!
//! ```text
//!   run        a server's life: bind, worker threads, reload, shutdown
//!   watch      what operators see: admin port, metrics page, list of peers; it changes nothing
//!   entry      from a socket to a peer: listeners, PROXY header, TLS, HTTP, upgrade to WebSocket
//!   forward    from a frame to its recipient: connections, registry, outboxes, memory budgets
//!   (ground)   config, listen_url            every option
//!              clock, ids                    time; peer ids
//!              files                         the operator's files, which may hang
//!              metrics, counter, histogram   what is counted and measured
//!              labels                        the values of labels in metrics
//!              admission, places             how many connections may be open, or hold something
//!              shutdown                      the phases of a server's end
//!              auth                          who may connect
//!              resume                        tokens with which a peer gets its id back
//!              ice                           STUN and TURN servers that clients are told of
//!              secrets                       what is read from files with secrets
//! ```
//!
//! # The way of a frame
//!
//! ```text
//!   entry::listener                accepts a socket
//!   entry::dispatcher              picks the worker with the fewest connections
//!   entry::handshake               PROXY header, TLS, HTTP; on `auto` listeners detects which
//!   forward::connection            the task that owns the socket: reads into a buffer that all
//!                                  connections of a worker share
//!   forward::connection::inbound   cuts the bytes into frames. waddell_core says what each frame
//!                                  is, Decision: Forward | KeepAlive | Reject
//!   forward::worker                forward(recipient, frame). The server says what happened to it,
//!                                  Fate: Forwarded | Dropped(reason)
//!     forward::registry            looks the recipient up by its id
//!     forward::link                puts the frame into the recipient's outbox
//!   forward::worker                writes each outbox with new frames once, after it has polled
//!                                  all tasks that are ready (its *turn*)
//! ```
//!
//! # The end of a server
//!
//! `shutdown` has the phases: `Serving`, `Unready`, `LastReads`, `Closing`. It goes through them
//! itself; `run::server` implements what it does to the server, such as closing the listeners.
//! Connections, handshakes and the admin port look at the phase.
//!
//! # Where an addition would go
//!
//! - A frame for the server itself: one more `Decision` of the core, handled in
//!   `forward::connection::inbound`.
//! - A recipient on another machine: looked up in `forward::registry`, beside the connected peers.
//! - A metric: a field in `metrics`, counted where the event happens, shown by
//!   `watch::admin::metrics`.
//! - An option: a field in `config`, a flag in the program's `options`.
//!
//! # Threads
//!
//! A server has worker threads of its own, by default one for each processor, and no state outside
//! of [`Server`]. Any number of servers can live in one process, and [`Server::run`] can be awaited
//! on any runtime. A worker has a single-threaded runtime. It writes to the recipient's socket
//! itself, so forwarding a frame wakes no other thread.
//!
//! # The log
//!
//! The library logs with `tracing`: a line at `info` for each connection, and one at `warn` for
//! each refused connection. So clients can cause any number of lines. Limit their rate in the
//! subscriber, as the program `waddell-server` does.

mod admission;
#[cfg_attr(not(test), expect(dead_code, reason = "the connection does not ask yet"))]
mod auth;
mod clock;
mod config;
mod counter;
mod entry;
mod files;
mod forward;
mod histogram;
mod ice;
mod ids;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod internals;
mod labels;
mod listen_url;
mod metrics;
mod places;
mod resume;
mod run;
mod secrets;
mod shutdown;
mod watch;

pub use auth::error::AuthError;
pub use config::{
    AccessOptions, AdminOptions, AllowLegacy, AuthFailure, ExtensionOptions, HttpOptions,
    IceOptions, Identity, Limits, ServerConfig, TcpOptions, Timeouts, TrustedProxies, Www,
};
pub use entry::descriptors::raise_descriptor_limit;
pub use entry::inherited::Inherited;
pub use entry::tls::{PemKind, TlsError, self_signed};
pub use files::read_file;
pub use http::Uri;
pub use ice::url::{IceKind, IceUrl, ParseIceUrlError};
pub use ice::{IceError, IceServers};
pub use ipnet::IpNet;
pub use listen_url::{ListenUrl, ParseListenUrlError, ParseSchemeError, Scheme};
pub use metrics::MetricsSnapshot;
pub use resume::{ResumeKeyError, ResumeKeys};
pub use run::server::{BindError, ReloadError, Server, ServerHandle};
pub use secrets::SecretError;
pub use waddell_core::RateLimit;
