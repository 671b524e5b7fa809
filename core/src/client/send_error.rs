//! Why a message was not sent.

use core::fmt;

use crate::message::BodyTooLong;

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no connection right now; wait for [`Connected`].
    ///
    /// [`Connected`]: crate::ClientEvent::Connected
    NotConnected,
    /// The client is closed for good.
    Closed,
    /// The body is longer than a frame can carry.
    BodyTooLong(BodyTooLong),
    /// There are 16,384 checked messages whose outcome is not known yet; wait for
    /// [`Checked`](crate::ClientEvent::Checked).
    TooManyChecked,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("not connected"),
            Self::Closed => f.write_str("the client is closed"),
            Self::BodyTooLong(error) => error.fmt(f),
            Self::TooManyChecked => f.write_str("too many checked messages without an outcome"),
        }
    }
}

impl core::error::Error for SendError {}

impl From<BodyTooLong> for SendError {
    fn from(error: BodyTooLong) -> Self {
        Self::BodyTooLong(error)
    }
}
