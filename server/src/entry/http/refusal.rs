//! The answer to bytes that are no HTTP request, or one with too long a head.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::reply::text;
use crate::entry::rewind::Rewind;

/// The answer to bytes that hyper cannot parse as a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    why: &'static str,
    /// The client expects no body.
    of_head: bool,
}

impl Refusal {
    /// Chooses the answer to the bytes in `unread`, of which hyper says `error`.
    pub(super) fn new(error: &hyper::Error, unread: &[u8]) -> Self {
        let (status, why) = if !error.is_parse_too_large() {
            (StatusCode::BAD_REQUEST, "this is not a valid request of HTTP/1.1 or HTTP/1.0")
        } else if unread.iter().take(MAX_HEAD_LEN).any(|byte| *byte == b'\n') {
            let why =
                "the request's head is too large: at most 32 KiB and 100 headers are accepted";
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why)
        } else {
            let why = "the request's target is too long: its head may have at most 32 KiB";
            (StatusCode::URI_TOO_LONG, why)
        };
        Self { status, why, of_head: unread.starts_with(b"HEAD ") }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Sends the answer and closes the sending half. Then reads what the client still sends, for a
    /// while: a socket that is closed before that resets the connection, and the client may not see
    /// the answer.
    pub(super) async fn send<S>(self, mut stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // hyper writes the answer, as if this had been the request.
        let method = if self.of_head { "HEAD" } else { "GET" };
        let request = format!("{method} / HTTP/1.1\r\n\r\n");
        let answered = Rewind::new(request.into_bytes(), &mut stream);
        let service = service_fn(async |_| Ok::<_, Infallible>(text(self.status, self.why)));
        http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(answered), service)
            .without_shutdown()
            .await
            .map_err(io::Error::other)?;
        stream.shutdown().await?;
        let mut rest = stream.take(MAX_DISCARDED);
        let discard = async { tokio::io::copy(&mut rest, &mut tokio::io::sink()).await };
        let _ = timeout(DISCARD_TIME, discard).await;
        Ok(())
    }
}

/// Most bytes of a request's head: other programs on the same host may have set many cookies.
pub(super) const MAX_HEAD_LEN: usize = 32 * 1024;

/// Most bytes that are read after an answer, and the longest time for it.
const MAX_DISCARDED: u64 = 1 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);
