//! What the server of a connection grants.

use crate::control::Capabilities;
use crate::control::hello::{NotResumed, ResumeWindows, WelcomeRate};

/// What the server of a connection grants, and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The version of the extension on this connection.
    pub version: u8,
    /// The parts of the extension that the client has.
    pub granted: Capabilities,
    /// Whether the client has kept the id of its connection before.
    pub resumed: bool,
    /// Why it has not, if it had asked for that.
    pub not_resumed: Option<NotResumed>,
    /// For how long the server resumes, if it does.
    pub windows: Option<ResumeWindows>,
    /// Longest payload of a frame that the server takes, in bytes.
    pub max_payload: u16,
    /// How fast the client may send, if the server has told.
    pub rate: Option<WelcomeRate>,
}
