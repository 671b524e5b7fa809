//! A connected byte stream and its unsent bytes.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, copy, sink, split};
use tokio::time::timeout;
use waddell_core::DisconnectReason;

use crate::error::CloseError;
use crate::state::Disconnected;
use crate::transport::BoxedStream;

/// One connection to the server.
pub(crate) struct Connection {
    reader: ReadHalf<BoxedStream>,
    writer: WriteHalf<BoxedStream>,
    input: Box<[u8]>,
    unsent: BytesMut,
    /// Whether a flush is due: TLS and WebSocket hold bytes back until then.
    unflushed: bool,
}

impl Connection {
    pub(crate) fn new(stream: BoxedStream) -> Self {
        let (reader, writer) = split(stream);
        let input = vec![0; READ_BUFFER].into_boxed_slice();
        Self { reader, writer, input, unsent: BytesMut::new(), unflushed: false }
    }

    /// Queues bytes for writing.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Returns whether more bytes should stay in the client's queue for now.
    pub(crate) fn is_congested(&self) -> bool {
        self.unsent.len() >= MAX_UNSENT
    }

    /// Reads and writes until one of both has made progress.
    ///
    /// Returns `Some` with the bytes that were read, or `None` after a write. The bytes are empty
    /// at the end of the stream. No byte is lost when the future is dropped.
    pub(crate) async fn advance(&mut self) -> io::Result<Option<&mut [u8]>> {
        let Self { reader, writer, input, unsent, unflushed } = self;
        let busy = *unflushed || !unsent.is_empty();
        let write = async {
            if unsent.is_empty() {
                writer.flush().await?;
                *unflushed = false;
            } else {
                *unflushed = true;
                if writer.write_buf(unsent).await? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
            Ok(())
        };
        let write_error = tokio::select! {
            read = reader.read(input) => return Ok(Some(&mut input[..read?])),
            written = write, if busy => match written {
                Ok(()) => return Ok(None),
                Err(error) => error,
            },
        };
        // The reason may have arrived: a close frame, after some messages.
        match reader.read(input).now_or_never() {
            Some(Ok(len @ 1..)) => Ok(Some(&mut input[..len])),
            Some(Err(reason)) => Err(reason),
            Some(Ok(0)) | None => Err(write_error),
        }
    }

    /// Writes the unsent bytes, ends the stream, and waits for the server to end its own. `Ok`
    /// means that it has done so: it has read all bytes.
    ///
    /// # Errors
    ///
    /// [`CloseError::Lost`] if the connection broke, or if the server ended it first.
    /// [`CloseError::TimedOut`] if the server did not read or did not close in time.
    pub(crate) async fn finish(self) -> Result<(), CloseError> {
        let Self { mut reader, mut writer, mut unsent, .. } = self;
        let write = timeout(FLUSH_TIMEOUT, async {
            writer.write_all_buf(&mut unsent).await?;
            writer.flush().await?;
            writer.shutdown().await
        });
        // Keep reading, for two reasons. A server that first writes to this client and then reads
        // would never take the rest. And closing a socket with unread bytes resets the connection,
        // which can destroy bytes that were written.
        let mut sink = sink();
        let mut read = pin!(copy(&mut reader, &mut sink));
        tokio::select! {
            biased;
            ended = &mut read => {
                let closed_first = || io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server closed the connection first",
                );
                return Err(lost(ended.err().unwrap_or_else(closed_first)));
            }
            written = write => written.map_err(|_| CloseError::TimedOut)?.map_err(lost)?,
        }
        match timeout(CLOSE_TIMEOUT, read).await {
            Ok(Ok(_discarded)) => Ok(()),
            Ok(Err(error)) => Err(lost(error)),
            Err(_) => Err(CloseError::TimedOut),
        }
    }
}

fn lost(error: io::Error) -> CloseError {
    let reason = DisconnectReason::ConnectionLost;
    CloseError::Lost(Disconnected::new(reason, Some(Arc::new(error))))
}

/// Size of the read buffer, in bytes.
const READ_BUFFER: usize = 16 << 10;

/// Unsent bytes at which no more are taken from the queue; about the size of one write.
const MAX_UNSENT: usize = 64 << 10;

/// How long closing waits until the unsent bytes are written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long closing then waits for the server to close as well.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
