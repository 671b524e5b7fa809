//! From a frame that a peer sends to the outbox of its recipient.
//!
//! ```text
//!   connection             the task of one peer: reads from its socket, keeps its deadlines
//!     connection::inbound  cuts the bytes into frames, asks the core about each, counts them
//!     connection::control  handles the frames for the server itself; `extension` says what it has
//!   worker                 forward(recipient, frame) -> Fate
//!     registry             id -> Peer
//!     link                 the recipient's outbox, its socket, and which task writes next
//!       outbox             whole frames, up to a limit; headers of WebSocket messages
//!   worker                 writes each outbox with new frames once, at the end of its turn
//! ```
//!
//! `budget` and `reclaim` keep the memory of all outboxes within a limit, and that of all
//! incomplete incoming frames. `buffer_pool` lends buffers to outboxes. This wing imports from the
//! ground floor and from no other wing. The state of all threads is [`shared::Shared`], that of one
//! thread [`worker::Worker`].

pub(crate) mod away;
pub(crate) mod budget;
pub(crate) mod buffer_pool;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod extension;
pub(crate) mod fate;
pub(crate) mod lease;
pub(crate) mod link;
pub(crate) mod outbox;
pub(crate) mod peer;
pub(crate) mod proxy_watch;
pub(crate) mod read_counts;
pub(crate) mod reclaim;
pub(crate) mod registry;
pub(crate) mod shared;
pub(crate) mod takeover;
pub(crate) mod transport;
pub(crate) mod watchers;
pub(crate) mod worker;
pub(crate) mod worker_buffers;
