//! Why a connection ends.

use waddell_core::{CloseCode, FrameTooLong};

use crate::auth::admitted::Refused;
use crate::forward::transport::ws;
use crate::labels::FailureReason;

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
    /// The client's credentials have expired.
    Expired,
    /// The client may not connect, or not any longer.
    Refused(Refusal),
}

/// Why a client may not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its credentials are missing or not good.
    Unauthorized,
    /// Its credentials cannot be checked at the moment.
    Busy,
    /// Its subject has too many connections.
    TooMany,
    /// Its first frame is no HELLO.
    NoHello,
    /// It has sent no frame in time.
    Silent,
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
            Self::Expired => "expired",
            Self::Refused(_) => "unauthorized",
        }
    }

    /// Returns the close frame for a WebSocket peer; `None` if it is sent none.
    pub(super) const fn close(self) -> Option<ws::Close> {
        match self {
            Self::Closed(close) => close,
            Self::Misbehaved(close) => Some(close),
            Self::Shutdown => Some(ws::Close::GOING_AWAY),
            Self::Superseded => Some(ws::Close::SUPERSEDED),
            Self::Expired => Some(ws::Close::EXPIRED),
            Self::Refused(Refusal::Unauthorized) => Some(ws::Close::UNAUTHORIZED),
            Self::Refused(Refusal::Busy) => Some(ws::Close::BUSY),
            Self::Refused(Refusal::TooMany) => Some(ws::Close::TOO_MANY),
            Self::Refused(Refusal::NoHello | Refusal::Silent) => Some(ws::Close::HELLO_REQUIRED),
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
            Self::Expired | Self::Refused(_) => false,
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
            Self::Expired => Some((CloseCode::CREDENTIALS_EXPIRED, "the credentials have expired")),
            Self::Refused(Refusal::Unauthorized) => {
                Some((CloseCode::UNAUTHORIZED, "the credentials are missing or not accepted"))
            }
            Self::Refused(Refusal::Busy) => {
                Some((CloseCode::BUSY, "the credentials cannot be checked at the moment"))
            }
            Self::Refused(Refusal::TooMany) => {
                Some((CloseCode::TOO_MANY, "there are too many connections with this subject"))
            }
            Self::Refused(Refusal::NoHello | Refusal::Silent) => None,
            Self::Closed(_) | Self::Broken | Self::Stalled | Self::CrowdedOut => None,
        }
    }

    /// Returns why a connection failed that ended in this way before its client was admitted.
    pub(super) const fn failure(self) -> FailureReason {
        match self {
            Self::Closed(_) | Self::Broken | Self::Superseded => FailureReason::Closed,
            Self::Stalled | Self::TimedOut | Self::Shutdown => FailureReason::Timeout,
            Self::Refused(Refusal::Silent) => FailureReason::Timeout,
            Self::CrowdedOut => FailureReason::System,
            Self::Misbehaved(_) | Self::Expired | Self::Refused(_) => FailureReason::Unauthorized,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unauthorized => Self::Unauthorized,
            Refused::Busy => Self::Busy,
            Refused::TooMany => Self::TooMany,
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
            End::Expired,
            End::Refused(Refusal::Unauthorized),
        ];
        let words: Vec<_> = ends.into_iter().map(End::as_str).chain([End::ABORTED]).collect();
        assert_eq!(explained("`reason` of a peer's end"), words);
        let words = FailureReason::ALL.map(FailureReason::as_str);
        assert_eq!(explained("`reason` of a failed handshake"), words);
    }
}
