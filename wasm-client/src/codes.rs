//! Codes of errors, as applications get them.

use waddell_core::{CloseCode, DisconnectReason, DropReason, SendError, Undelivered};

use crate::WaddellError;

/// Returns the error code of a message that was not delivered, or may not have been.
pub(crate) fn undelivered_code(error: Undelivered) -> &'static str {
    match error {
        Undelivered::Dropped(reason) => drop_code(reason),
        Undelivered::MaybeDropped => "not-delivered",
        Undelivered::Lost => "recipient-lost",
        Undelivered::NotHandled => "not-handled",
        Undelivered::ConnectionLost => "connection-lost",
    }
}

pub(crate) fn drop_code(reason: DropReason) -> &'static str {
    match reason {
        DropReason::UnknownRecipient => "unknown-recipient",
        DropReason::RecipientAway => "recipient-away",
        DropReason::RecipientFull => "recipient-full",
        DropReason::ServerFull => "server-full",
        DropReason::Various
        | DropReason::TooFast
        | DropReason::ShortFrame
        | DropReason::ReservedRecipient
        | DropReason::Refused
        | DropReason::NodeUnreachable => "not-delivered",
    }
}

/// Returns the code and the text of the error of a client that the server does not serve.
pub(crate) fn refusal(code: CloseCode) -> (&'static str, &'static str) {
    match code {
        CloseCode::UNAUTHORIZED => ("unauthorized", "the server does not accept the token"),
        CloseCode::CREDENTIALS_EXPIRED => ("token-expired", "the token has expired"),
        _ => ("refused", "the server does not serve this client"),
    }
}

/// Returns the error code of a reason.
pub(crate) fn code_of(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::DialFailed => "dial-failed",
        DisconnectReason::TimedOut | DisconnectReason::Silent => "timed-out",
        DisconnectReason::ServerMisbehaved => "server-misbehaved",
        DisconnectReason::ClosedByServer(CloseCode::SUPERSEDED) => "superseded",
        DisconnectReason::Rotated => "rotated",
        DisconnectReason::ConnectionLost | DisconnectReason::ClosedByServer(_) => "connection-lost",
    }
}

// The messages are fixed texts: code that formats numbers would be a twentieth of the module.
pub(crate) fn send_error(error: SendError) -> WaddellError {
    let (code, message) = match error {
        SendError::Closed => ("closed", "the client is closed"),
        SendError::BodyTooLong(_) => {
            ("body-too-long", "the body is longer than 65517 bytes, the most that fits in a frame")
        }
        SendError::NotConnected => ("not-connected", "not connected: wait for the id event"),
        SendError::TooManyChecked => {
            ("buffer-full", "too many checked messages have no outcome yet: try again later")
        }
    };
    WaddellError::new(code, message)
}
