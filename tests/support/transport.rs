//! Ways to reach a server.

/// A way to reach a server. The four after `Wss` use the one `auto` listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Frames over TCP.
    Tcp,
    /// Frames over TLS.
    Tls,
    /// WebSocket messages over TCP.
    Ws,
    /// WebSocket messages over TLS.
    Wss,
    /// As `Tcp`, on the `auto` listener.
    AutoTcp,
    /// As `Tls`, on the `auto` listener.
    AutoTls,
    /// As `Ws`, on the `auto` listener.
    AutoWs,
    /// As `Wss`, on the `auto` listener.
    AutoWss,
}

impl Via {
    /// Every way.
    pub const ALL: [Self; 8] = [
        Self::Tcp,
        Self::Tls,
        Self::Ws,
        Self::Wss,
        Self::AutoTcp,
        Self::AutoTls,
        Self::AutoWs,
        Self::AutoWss,
    ];

    /// The ways with a listener of their own.
    pub const DIRECT: [Self; 4] = [Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// The ways that carry WebSocket messages.
    pub const WEBSOCKETS: [Self; 4] = [Self::Ws, Self::Wss, Self::AutoWs, Self::AutoWss];

    /// Returns the scheme of the listener.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::AutoTcp | Self::AutoTls | Self::AutoWs | Self::AutoWss => "auto",
        }
    }

    /// Returns whether the listener is the `auto` one.
    pub const fn is_auto(self) -> bool {
        matches!(self, Self::AutoTcp | Self::AutoTls | Self::AutoWs | Self::AutoWss)
    }

    /// Returns whether TLS is spoken.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss | Self::AutoTls | Self::AutoWss)
    }

    /// Returns whether frames travel in WebSocket messages.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss | Self::AutoWs | Self::AutoWss)
    }

    /// Returns the protocols that such a client offers by ALPN.
    pub const fn alpn(self) -> &'static [&'static [u8]] {
        if self.is_websocket() { &[b"http/1.1"] } else { &[] }
    }
}
