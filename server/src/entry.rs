//! From an accepted socket to a peer.
//!
//! ```text
//!   listener        accepts a socket; admission counts it
//!   dispatcher      picks the worker with the fewest connections
//!   handshake       PROXY header, TLS, HTTP; on `auto` listeners detects which
//!     http          the page, the package, /healthz, and the upgrade to a WebSocket
//!   -> forward      connection::serve, once the handshakes are done
//! ```
//!
//! This wing knows the wing `forward` and the ground floor. Its state is [`entrance::Entrance`].

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
