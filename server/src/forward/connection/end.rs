//! Why a connection ends.

use waddell_core::{CloseCode, FrameTooLong};

use crate::forward::transport::ws;

/// Why a connection ends. The words are those that logs and metrics use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed the connection.
    Closed(Option<ws::Close>),
    /// The socket broke.
    Broken,
    /// The peer took no byte for too long.
    Stalled,
    /// There was no memory for the peer's outbox or for its incomplete frame.
    CrowdedOut,
    /// The peer gave no sign of life, or did not complete a frame in time.
    TimedOut,
    /// The peer broke the rules of TLS, of WebSocket or of waddell.
    Misbehaved(ws::Close),
    /// The server shuts down.
    Shutdown,
    /// Another connection of the client has taken over its id.
    Superseded,
}

impl End {
    /// The word for a connection whose task was dropped before it ended.
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
            Self::Superseded => "superseded",
        }
    }

    /// Returns the close frame for a WebSocket peer; `None` if it is sent none.
    pub(super) const fn close(self) -> Option<ws::Close> {
        match self {
            Self::Closed(close) => close,
            Self::Misbehaved(close) => Some(close),
            Self::Shutdown => Some(ws::Close::GOING_AWAY),
            Self::Superseded => Some(ws::Close::SUPERSEDED),
            Self::Broken | Self::Stalled | Self::CrowdedOut | Self::TimedOut => None,
        }
    }
}

impl End {
    /// Returns whether a client that may resume counts as away after this.
    pub(super) fn may_come_back(self) -> bool {
        match self {
            Self::Closed(Some(close)) => !matches!(close.code, Some(1000 | 1001)),
            Self::Closed(None) | Self::Broken | Self::Stalled | Self::CrowdedOut => true,
            Self::TimedOut => true,
            Self::Misbehaved(_) | Self::Shutdown | Self::Superseded => false,
        }
    }

    /// Returns what CLOSING says; `None` if it is not sent.
    pub(super) const fn closing(self) -> Option<(CloseCode, &'static str)> {
        match self {
            Self::TimedOut => Some((CloseCode::TIMED_OUT, "timed out")),
            Self::Misbehaved(close) => {
                let code = if let Some(code) = close.code { code } else { PROTOCOL_ERROR };
                Some((CloseCode(code), close.reason))
            }
            Self::Shutdown => Some((CloseCode::RESTARTING, "the server stops")),
            Self::Superseded => {
                Some((CloseCode::SUPERSEDED, "another connection has taken over the id"))
            }
            Self::Closed(_) | Self::Broken | Self::Stalled | Self::CrowdedOut => None,
        }
    }
}

impl From<FrameTooLong> for End {
    fn from(_: FrameTooLong) -> Self {
        Self::Misbehaved(ws::Close::TOO_BIG)
    }
}

/// The close code of RFC 6455 for a broken rule.
const PROTOCOL_ERROR: u16 = 1002;

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
            End::Superseded,
        ];
        let words: Vec<_> = ends.into_iter().map(End::as_str).chain([End::ABORTED]).collect();
        assert_eq!(explained("`reason` of a peer's end"), words);
        let words = FailureReason::ALL.map(FailureReason::as_str);
        assert_eq!(explained("`reason` of a failed handshake"), words);
    }
}
