//! From a frame that a peer sends to the outbox of its recipient.

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
