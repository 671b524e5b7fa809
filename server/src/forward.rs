//! From a frame that a peer sends to the outbox of its recipient.
//!
//! ```text
//!   connection      the task of one peer: reads into the worker's scratch space
//!     inbound       bytes -> frames; the core decides on each
//!   worker          forward(recipient, frame) -> Fate
//!     registry      id -> Peer
//!     link          the recipient's outbox, its socket, and who writes next
//!       outbox      whole frames, bounded; WebSocket headers
//!   worker          writes each filled outbox once, at the end of its turn
//! ```
//!
//! What bounds the memory is in `budget`, `reclaim` and `buffer_pool`. This wing knows the ground
//! floor and no other wing. Its state is [`shared::Shared`] for all threads and [`worker::Worker`]
//! for one thread.

pub(crate) mod budget;
pub(crate) mod buffer_pool;
pub(crate) mod connection;
pub(crate) mod fate;
pub(crate) mod link;
pub(crate) mod outbox;
pub(crate) mod peer;
pub(crate) mod proxy_watch;
pub(crate) mod read_counts;
pub(crate) mod reclaim;
pub(crate) mod registry;
pub(crate) mod shared;
pub(crate) mod transport;
pub(crate) mod worker;
pub(crate) mod worker_buffers;
