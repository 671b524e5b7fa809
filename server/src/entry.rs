//! From an accepted socket to a peer.

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
