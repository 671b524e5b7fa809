//! Tokens with which a peer gets its id back on a new connection.
//!
//! The server stores nothing for a token: it signs what the token says, and checks its own
//! signature later. Servers with the same keys accept each other's tokens. To its holder a token
//! is a number of opaque bytes.

mod keys;
pub(crate) mod token;

pub use keys::{ResumeKeyError, ResumeKeys};
