//! Thousands of peers against a running `waddell-server`, and what must hold meanwhile.
//!
//! The server is a process of its own, so that its memory and its descriptors can be told from
//! those of its peers. All peers live on one thread of this one.
//!
//! ```text
//!   server    the server: starts it, asks /metrics and /proc, ends it
//!   peer      one connection of any transport
//!   arrivals  whether what one peer receives is what it may receive
//!   healthy   pairs that lose nothing and never wait long
//!   wild      peers that stall, vanish, send rubbish and come back
//!   soak      all of it for a while, with the counters added up at quiet points
//!   attack    one kind of abuse at a time, beside a healthy pair
//! ```

mod arrivals;
mod attack;
mod healthy;
mod memory;
mod peer;
mod prometheus;
mod rubbish;
mod server;
mod soak;
mod wild;
mod world;

pub use attack::{Attack, Cost, Siege, attack};
pub use server::Launch;
pub use soak::{Plan, Report, soak};
