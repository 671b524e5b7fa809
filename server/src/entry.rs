//! From an accepted socket to a peer.
//!
//! ```text
//!   listener        accepts a socket; accept_rate and crate::admission limit how many
//!   dispatcher      picks the worker with the fewest connections
//!   handshake       the order of the handshakes; on `auto` listeners detects what a client speaks
//!     proxy_header  the client's address, from a trusted proxy
//!     tls           the certificate, and what accepts TLS with it
//!     http          the demo page, the npm package, /healthz, and the upgrade to a WebSocket
//!   -> forward      crate::forward::connection::serve, once the handshakes are done
//! ```
//!
//! This wing imports from the wing `forward` and the ground floor. Its state is
//! [`entrance::Entrance`].

pub(crate) mod accept_rate;
pub(crate) mod descriptors;
pub(crate) mod dispatcher;
pub(crate) mod entrance;
pub(crate) mod forwarded_for;
pub(crate) mod handshake;
pub(crate) mod handshake_error;
pub(crate) mod http;
pub(crate) mod inherited;
pub(crate) mod listener;
pub(crate) mod proxy_header;
pub(crate) mod rewind;
pub(crate) mod source;
pub(crate) mod stream;
pub(crate) mod tls;
