//! Why a connection ends.

use waddell_core::FrameTooLong;

use crate::forward::transport::ws;

/// Why a connection ends. The words are those that logs and metrics use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed.
    Closed(Option<ws::Close>),
    /// The socket broke.
    Broken,
    /// The peer took no byte for too long.
    Stalled,
    /// The peer did not take what all outboxes together had no memory for, or began a frame that
    /// all unfinished ones together had none for.
    CrowdedOut,
    /// The peer gave no sign of life, or did not finish a frame in time.
    TimedOut,
    /// The peer broke the rules of TLS, of WebSocket or of waddell.
    Misbehaved(ws::Close),
    /// The server shuts down.
    Shutdown,
}

impl End {
    /// What is said of a connection whose task was ended from outside.
    pub(super) const ABORTED: &str = "aborted";

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed(_) => "closed",
            Self::Broken => "broken",
            Self::Stalled => "stalled",
            Self::CrowdedOut => "crowded out",
            Self::TimedOut => "timed out",
            Self::Misbehaved(_) => "misbehaved",
            Self::Shutdown => "shutdown",
        }
    }

    /// What a WebSocket peer is told; `None` if it cannot be told anything.
    pub(super) const fn close(self) -> Option<ws::Close> {
        match self {
            Self::Closed(close) => close,
            Self::Misbehaved(close) => Some(close),
            Self::Shutdown => Some(ws::Close::GOING_AWAY),
            Self::Broken | Self::Stalled | Self::CrowdedOut | Self::TimedOut => None,
        }
    }
}

impl From<FrameTooLong> for End {
    fn from(_: FrameTooLong) -> Self {
        Self::Misbehaved(ws::Close::TOO_BIG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::FailureReason;

    /// Returns the words in the first column of the table of that title in docs/operating.md.
    fn explained(title: &str) -> Vec<&'static str> {
        let operating = include_str!("../../../../docs/operating.md");
        let (_, table) = operating.split_once(&format!("| {title} |")).expect("there is a table");
        let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
        rows.filter_map(|row| row.split('`').nth(1)).collect()
    }

    #[test]
    fn every_reason_why_a_connection_ends_is_explained_to_operators() {
        let close = ws::Close::GOING_AWAY;
        let ends = [
            End::Closed(None),
            End::Broken,
            End::Stalled,
            End::CrowdedOut,
            End::TimedOut,
            End::Misbehaved(close),
            End::Shutdown,
        ];
        let words: Vec<_> = ends.into_iter().map(End::as_str).chain([End::ABORTED]).collect();
        assert_eq!(explained("`reason` of a peer's end"), words);
        let words = FailureReason::ALL.map(FailureReason::as_str);
        assert_eq!(explained("`reason` of a failed handshake"), words);
    }
}
