//! Values of labels in metrics that several wings use. Log lines use the same words.

use waddell_core::NotResumed;

use crate::auth::admitted::Refused;

/// The transport of a peer's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportKind {
    /// Frames over TCP.
    Tcp,
    /// Frames over TLS.
    Tls,
    /// Frames in WebSocket messages.
    Ws,
    /// Frames in WebSocket messages over TLS.
    Wss,
}

impl TransportKind {
    /// Every transport, in the order of declaration.
    pub(crate) const ALL: [Self; 4] = [Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    pub(crate) const fn new(websocket: bool, encrypted: bool) -> Self {
        match (websocket, encrypted) {
            (false, false) => Self::Tcp,
            (false, true) => Self::Tls,
            (true, false) => Self::Ws,
            (true, true) => Self::Wss,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    pub(crate) const fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    pub(crate) const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// What became of a HELLO, the first frame of a client that speaks the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HelloResult {
    /// It was answered with WELCOME.
    Welcomed,
    /// It was malformed.
    Malformed,
    /// It was not the first frame of its connection.
    Late,
    /// The extension is switched off.
    Off,
}

impl HelloResult {
    /// Every result, in the order of declaration.
    pub(crate) const ALL: [Self; 4] = [Self::Welcomed, Self::Malformed, Self::Late, Self::Off];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Welcomed => "welcomed",
            Self::Malformed => "malformed",
            Self::Late => "late",
            Self::Off => "off",
        }
    }
}

/// What became of a client that has to authenticate itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthResult {
    /// Its credentials are good.
    Admitted,
    /// It may connect without credentials, and did.
    Legacy,
    /// Its credentials are not good.
    Unauthorized,
    /// It showed none.
    Missing,
    /// Its credentials could not be checked.
    Busy,
    /// Its subject has too many connections.
    TooMany,
}

impl AuthResult {
    /// Every result, in the order of declaration.
    pub(crate) const ALL: [Self; 6] = [
        Self::Admitted,
        Self::Legacy,
        Self::Unauthorized,
        Self::Missing,
        Self::Busy,
        Self::TooMany,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Legacy => "legacy",
            Self::Unauthorized => "unauthorized",
            Self::Missing => "missing",
            Self::Busy => "busy",
            Self::TooMany => "too many",
        }
    }
}

impl From<Refused> for AuthResult {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unauthorized => Self::Unauthorized,
            Refused::Busy => Self::Busy,
            Refused::TooMany => Self::TooMany,
        }
    }
}

/// What became of a resume token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeResult {
    /// Its id was away.
    Away,
    /// Its id was connected; that connection handed over.
    TakenOver,
    /// Its id was unknown here, such as after a restart.
    Unknown,
    /// It had expired.
    Expired,
    /// This server did not sign it.
    Forged,
    /// Its id was resumed with a newer one.
    Stale,
    /// Too many connections claimed its id.
    Contested,
    /// It belongs to other credentials.
    OtherSubject,
    /// Resuming is switched off.
    Off,
}

impl ResumeResult {
    /// Every result, in the order of declaration.
    pub(crate) const ALL: [Self; 9] = [
        Self::Away,
        Self::TakenOver,
        Self::Unknown,
        Self::Expired,
        Self::Forged,
        Self::Stale,
        Self::Contested,
        Self::OtherSubject,
        Self::Off,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::TakenOver => "taken over",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Forged => "forged",
            Self::Stale => "stale",
            Self::Contested => "contested",
            Self::OtherSubject => "other subject",
            Self::Off => "off",
        }
    }
}

impl From<NotResumed> for ResumeResult {
    fn from(reason: NotResumed) -> Self {
        match reason {
            NotResumed::Expired => Self::Expired,
            NotResumed::Forged => Self::Forged,
            NotResumed::Stale => Self::Stale,
            NotResumed::Contested => Self::Contested,
            NotResumed::OtherSubject => Self::OtherSubject,
            NotResumed::Off => Self::Off,
        }
    }
}

/// The reason why a connection ended before it became a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureReason {
    /// It took longer than `handshake-timeout` or a shutdown allows.
    Timeout,
    /// TLS failed: the client speaks something else, or no version or cipher is common to both.
    Tls,
    /// The client sent no valid HTTP request.
    Http,
    /// A trusted proxy did not send the PROXY header that it must send.
    NoProxyHeader,
    /// A trusted proxy sent a malformed PROXY header.
    ProxyHeader,
    /// The client address named by a proxy has reached its connection limit.
    Refused,
    /// The client did not show good credentials.
    Unauthorized,
    /// The client closed the connection, or it broke.
    Closed,
    /// The operating system refused a resource that the server needs.
    System,
}

impl FailureReason {
    /// Every reason, in the order of declaration.
    pub(crate) const ALL: [Self; 9] = [
        Self::Timeout,
        Self::Tls,
        Self::Http,
        Self::NoProxyHeader,
        Self::ProxyHeader,
        Self::Refused,
        Self::Unauthorized,
        Self::Closed,
        Self::System,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::NoProxyHeader => "no_proxy_header",
            Self::ProxyHeader => "proxy_header",
            Self::Refused => "refused",
            Self::Unauthorized => "unauthorized",
            Self::Closed => "closed",
            Self::System => "system",
        }
    }
}

/// The reason why a request for a WebSocket was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpgradeRefusal {
    /// The page's origin may not connect.
    Origin,
    /// The path is not the one for WebSockets.
    Path,
    /// The WebSocket version is not 13, or the HTTP version not 1.1.
    Version,
    /// The client address named by a proxy has reached its connection limit.
    Address,
    /// A request on the WebSocket path is not a WebSocket handshake.
    Request,
}

impl UpgradeRefusal {
    /// Every reason, in the order of declaration.
    pub(crate) const ALL: [Self; 5] =
        [Self::Origin, Self::Path, Self::Version, Self::Address, Self::Request];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Path => "path",
            Self::Version => "version",
            Self::Address => "address",
            Self::Request => "request",
        }
    }
}

/// A way for a proxy to name the address of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressClaim {
    /// The HTTP header `X-Forwarded-For`.
    ForwardedFor,
    /// The header of the PROXY protocol.
    ProxyHeader,
}

impl AddressClaim {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ForwardedFor => "x-forwarded-for",
            Self::ProxyHeader => "proxy header",
        }
    }
}
