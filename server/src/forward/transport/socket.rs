//! Writes to a socket without waiting.

use std::io::{self, IoSlice, Write};

use socket2::SockRef;
use tokio::net::TcpStream;

/// Writes to a socket without waiting.
pub(crate) struct NonBlocking<'a> {
    pub(crate) socket: &'a TcpStream,
    pub(crate) asking: Asking,
}

/// When the system is asked whether a socket has room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asking {
    /// Unless it has said that there is none, and not yet that there is some again.
    WhenReady,
    Always,
}

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.asking {
            Asking::WhenReady => self.socket.try_write(bytes),
            Asking::Always => SockRef::from(self.socket).send(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.asking {
            Asking::WhenReady => self.socket.try_write_vectored(parts),
            Asking::Always => SockRef::from(self.socket).send_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
