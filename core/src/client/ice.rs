//! ICE servers for WebRTC, as a client gets them.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// ICE servers for WebRTC.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServerList {
    /// JSON text of an array of `RTCIceServer`. The core does not read it.
    pub json: String,
    /// For how long the credentials in it are valid.
    pub valid_for: Duration,
}

impl fmt::Debug for IceServerList {
    /// Does not show the text: it contains credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServerList").field("valid_for", &self.valid_for).finish_non_exhaustive()
    }
}
