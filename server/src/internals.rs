//! Private parts of the server, for the fuzz targets and the simulation.
//!
//! They are not part of the library's interface and may change at any time.

mod link;
mod proxy_header;
mod resume_token;

pub use link::{DropReason, Link, Lost, Pushed, Socket, Worker};
pub use proxy_header::proxy_header;
pub use resume_token::resume_token;
