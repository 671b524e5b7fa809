//! The stream between hyper and a client: it knows whether an answer is being written, how many
//! clients do not read theirs, and how many send a large head.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::ReplyBody;
use crate::places::{Lost, Place, Places};

/// How far the answer to the present request is; shared by a connection's gate, service and bodies.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    progress: Cell<Progress>,
    /// Bytes that were read, less those of the heads of requests.
    pending: Cell<usize>,
    displaced: Cell<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// No request is being answered.
    #[default]
    Idle,
    /// The answer is being made.
    Answering,
    /// The answer is made, and hyper has its last byte.
    Buffered,
}

impl Exchange {
    /// Records that the answer to a request begins, whose head has about this length.
    pub(super) fn begin(&self, head_len: usize) {
        self.progress.set(Progress::Answering);
        self.pending.set(self.pending.get().saturating_sub(head_len));
    }

    /// Returns whether each request up to now has been answered to its last byte.
    pub(super) fn is_idle(&self) -> bool {
        self.progress.get() == Progress::Idle
    }

    /// Returns whether the connection was given up because of its large head or unread answer.
    pub(super) fn is_displaced(&self) -> bool {
        self.displaced.get()
    }
}

/// The stream that hyper reads and writes.
///
/// What hyper writes while no request is being answered is its own answer to something that is no
/// request. It has no body and is not counted, so it is discarded; the caller sends a better one.
///
/// An answer that the client does not read holds memory: of hyper, of TLS, and a piece of a file.
/// So it needs one of a bounded number of places, and so does a large head that is incomplete.
#[derive(Debug)]
pub(super) struct Gate<S> {
    stream: S,
    exchange: Rc<Exchange>,
    places: HttpPlaces,
    /// Set while the client does not read.
    waiting: Option<(Place, Lost)>,
    /// Set while a large head is incomplete.
    large_head: Option<(Place, Lost)>,
}

/// The places of connections that hold memory.
#[derive(Clone, Debug)]
pub(crate) struct HttpPlaces {
    unread_answers: Arc<Places>,
    large_heads: Arc<Places>,
}

impl HttpPlaces {
    /// Most connections whose client does not read its answer. Each holds up to 64 KiB of a file,
    /// and as much again in TLS.
    const MAX_UNREAD_ANSWERS: usize = 512;

    /// Most connections with a large head that is incomplete. Each holds up to 64 KiB.
    const MAX_LARGE_HEADS: usize = 512;

    pub(crate) fn new() -> Self {
        Self {
            unread_answers: Places::new(Self::MAX_UNREAD_ANSWERS),
            large_heads: Places::new(Self::MAX_LARGE_HEADS),
        }
    }
}

/// Longest head that needs no place, in bytes. hyper's buffer has that size in any case.
const SMALL_HEAD: usize = 8 << 10;

impl<S> Gate<S> {
    pub(super) fn new(stream: S, exchange: Rc<Exchange>, places: HttpPlaces) -> Self {
        Self { stream, exchange, places, waiting: None, large_head: None }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Takes a place while a write waits for the client, and gives it back when it goes on.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let (_, lost) = self.waiting.get_or_insert_with(|| self.places.unread_answers.take());
        if Pin::new(lost).poll(cx).is_ready() {
            self.exchange.displaced.set(true);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Takes a place while a large head is incomplete. Fails once a newcomer has it.
    fn watch_head(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.exchange.is_idle() || self.exchange.pending.get() <= SMALL_HEAD {
            self.large_head = None;
            return Ok(());
        }
        let (_, lost) = self.large_head.get_or_insert_with(|| self.places.large_heads.take());
        if Pin::new(lost).poll(cx).is_ready() {
            self.exchange.displaced.set(true);
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.watch_head(cx)?;
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let pending = &self.exchange.pending;
        pending.set(pending.get().saturating_add(buf.filled().len() - before));
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.exchange.is_idle() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.exchange.is_idle() {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all that it holds.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.exchange.progress.get() == Progress::Buffered {
            self.exchange.progress.set(Progress::Idle);
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, closed)
    }
}

/// The body of an answer. hyper drops it when it has its last byte.
#[derive(Debug)]
pub(super) struct WatchedBody {
    body: ReplyBody,
    exchange: Rc<Exchange>,
}

impl WatchedBody {
    pub(super) fn new(body: ReplyBody, exchange: Rc<Exchange>) -> Self {
        Self { body, exchange }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.exchange.progress.set(Progress::Buffered);
    }
}
