//! A connected byte stream, and what waits to be written to it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, copy, sink, split};
use tokio::time::timeout;

use crate::transport::BoxedStream;

/// One connection to the server.
pub(crate) struct Connection {
    reader: ReadHalf<BoxedStream>,
    writer: WriteHalf<BoxedStream>,
    input: Box<[u8]>,
    unsent: BytesMut,
    /// TLS and WebSocket keep bytes back until they are told to flush.
    unflushed: bool,
}

impl Connection {
    pub(crate) fn new(stream: BoxedStream) -> Self {
        let (reader, writer) = split(stream);
        let input = vec![0; READ_BUFFER].into_boxed_slice();
        Self { reader, writer, input, unsent: BytesMut::new(), unflushed: false }
    }

    /// Queues bytes to be written.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Returns whether so much waits to be written that more should wait elsewhere.
    pub(crate) fn is_congested(&self) -> bool {
        self.unsent.len() >= CONGESTED
    }

    /// Writes what waits, and reads, until something was read or all or some was written.
    ///
    /// `Some` holds what was read, and is empty at the end of the stream. No byte is lost when the
    /// future is dropped.
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
        tokio::select! {
            read = reader.read(input) => Ok(Some(&mut input[..read?])),
            written = write, if busy => written.map(|()| None),
        }
    }

    /// Writes what waits, says goodbye, and closes; gives up on a server that takes nothing.
    pub(crate) async fn finish(self) {
        let Self { mut reader, mut writer, mut unsent, .. } = self;
        let write = pin!(timeout(FLUSH_TIMEOUT, async {
            writer.write_all_buf(&mut unsent).await?;
            writer.flush().await?;
            writer.shutdown().await
        }));
        // Reading goes on: a server that writes to this client before it reads on would never
        // take the rest, and a socket closed with unread bytes resets the connection, which can
        // destroy what was written.
        let mut sink = sink();
        let mut read = pin!(copy(&mut reader, &mut sink).fuse());
        tokio::select! {
            biased;
            written = write => {
                if matches!(written, Ok(Ok(()))) && !read.is_terminated() {
                    let _ = timeout(GOODBYE_TIMEOUT, read).await;
                }
            }
            // The server is gone.
            Err(_) = &mut read => {}
        }
    }
}

/// What is read at once.
const READ_BUFFER: usize = 16 << 10;

/// More than this many bytes are not taken over from the queue; about what goes in one write.
const CONGESTED: usize = 64 << 10;

/// How long closing waits for a server to take what was sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long closing waits, after everything was written, for the server to close as well.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
