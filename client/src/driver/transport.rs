//! The transport of the latest dial, and what happens to it.

use std::io;
use std::mem;

use futures_util::future::BoxFuture;

use crate::connection::Connection;
use crate::dial::Dialed;
use crate::token::AskToken;

/// The transport of the latest dial.
pub(super) enum Transport {
    None,
    /// A token is being asked for, before the dial.
    Asking(AskToken),
    Dialing(BoxFuture<'static, io::Result<Dialed>>),
    Connected(Connection),
    /// Hung up; its unsent bytes are still to be written.
    Closing(Connection),
}

/// An event of the transport.
pub(super) enum TransportEvent<'a> {
    Token(io::Result<String>),
    Dialed(io::Result<Dialed>),
    Read(&'a mut [u8]),
    Written,
    Failed(io::Error),
}

impl Transport {
    pub(super) fn take(&mut self) -> Self {
        mem::replace(self, Self::None)
    }

    /// Waits for the transport's next event. Nothing is lost when the future is dropped.
    pub(super) async fn next_event(&mut self) -> TransportEvent<'_> {
        match self {
            Self::Asking(asking) => TransportEvent::Token(asking.await),
            Self::Dialing(dial) => TransportEvent::Dialed(dial.await),
            Self::Connected(connection) => match connection.advance().await {
                Ok(Some(input)) => TransportEvent::Read(input),
                Ok(None) => TransportEvent::Written,
                Err(error) => TransportEvent::Failed(error),
            },
            Self::None | Self::Closing(_) => std::future::pending().await,
        }
    }
}
