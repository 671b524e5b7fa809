//! The writing half of a socket, as a link needs it.

use std::io::{self, IoSlice, Write};
use std::net::Shutdown;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

/// The writing half of a socket, as a link needs it. No method waits.
pub(crate) trait WriteHalf {
    /// Writes to the socket. Fails with [`io::ErrorKind::WouldBlock`] if the socket has no room.
    type Writer<'a>: Write
    where
        Self: 'a;

    fn writer(&mut self, attempt: Attempt) -> Self::Writer<'_>;

    /// Returns whether the socket has room; if not, the task is woken when it has.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the stream towards the peer, after all bytes that were written.
    fn shut_down(&mut self);
}

/// When a write is attempted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt {
    /// Not while the socket has no room, as far as the runtime knows.
    IfReady,
    /// In any case.
    Always,
}

impl WriteHalf for OwnedWriteHalf {
    type Writer<'a> = TcpWriter<'a>;

    fn writer(&mut self, attempt: Attempt) -> TcpWriter<'_> {
        TcpWriter { socket: (*self).as_ref(), attempt }
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (*self).as_ref().poll_write_ready(cx)
    }

    fn shut_down(&mut self) {
        // Fails if the peer has closed the connection already.
        let _ = SockRef::from((*self).as_ref()).shutdown(Shutdown::Write);
    }
}

/// Writes to a TCP socket without waiting.
pub(crate) struct TcpWriter<'a> {
    socket: &'a TcpStream,
    attempt: Attempt,
}

impl Write for TcpWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.attempt {
            Attempt::IfReady => self.socket.try_write(bytes),
            Attempt::Always => SockRef::from(self.socket).send(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.attempt {
            Attempt::IfReady => self.socket.try_write_vectored(parts),
            Attempt::Always => SockRef::from(self.socket).send_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
