//! Thousands of peers against a running `waddell-server`, and checks of its promises.
//!
//! The server is a process of its own, so that its memory and descriptors can be told from those of
//! its peers. All peers run on one thread of this process.
//!
//! ```text
//!   server    the server: starts it, reads /metrics and /proc, ends it
//!   peer      how peers connect
//!   arrivals  checks of the frames that one peer receives
//!   healthy   pairs that must lose nothing and must never wait long
//!   wild      peers that stall, vanish, send invalid bytes and reconnect
//!   soak      all of these for some time, with the counters compared at quiet points
//!   attack    one kind of attack at a time, beside healthy pairs
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
