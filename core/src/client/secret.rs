//! Bytes that no one may see.

use alloc::vec::Vec;
use core::fmt;

/// A resume token or credentials.
pub(super) struct Secret(pub(super) Vec<u8>);

impl fmt::Debug for Secret {
    /// Does not show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
