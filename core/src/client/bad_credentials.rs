//! Why credentials cannot be sent.

use core::fmt;

/// The credentials are empty or longer than 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCredentials {
    /// Their length, in bytes.
    pub len: usize,
}

impl fmt::Display for BadCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("credentials must have 1 to 4096 bytes")
    }
}

impl core::error::Error for BadCredentials {}
