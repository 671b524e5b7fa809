//! Why a peer is not watched.

use core::fmt;

/// The client watches 64 peers already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWatched;

impl fmt::Display for TooManyWatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 peers are watched already: unwatch one of them first")
    }
}

impl core::error::Error for TooManyWatched {}
