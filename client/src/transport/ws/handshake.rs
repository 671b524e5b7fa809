//! The HTTP request that turns a stream into a WebSocket.
//!
//! hyper speaks HTTP: interim answers, headers in any form, and answers in pieces.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::transport::ByteStream;

/// Name of waddell's subprotocol. It is offered, and not required: a plain bridge to a TCP server
/// does not know it.
const SUBPROTOCOL: &str = "waddell";

/// Subprotocol of a server that has read the HELLO in the request.
const WITH_HELLO: &str = "waddell.2";

/// Longest head of an answer, in bytes: proxies add headers of their own.
const MAX_HEAD_LEN: usize = 64 << 10;

/// Longest body of a refusal that is read, in bytes.
const MAX_REASON_LEN: usize = 1 << 10;

/// Longest time to wait for the body of a refusal.
const REASON_TIMEOUT: Duration = Duration::from_secs(2);

/// A stream on which the server speaks WebSocket.
pub(super) struct Upgraded<S> {
    pub(super) stream: S,
    /// The bytes that came after the answer.
    pub(super) early: Bytes,
    /// Whether the server has read HELLO.
    pub(super) took_hello: bool,
}

/// Requests a WebSocket over a connected stream, with the body of HELLO if there is one.
///
/// Source: RFC 6455, section 4.1.
pub(super) async fn request<S: ByteStream>(
    stream: S,
    uri: &Uri,
    hello: Option<&[u8]>,
) -> io::Result<Upgraded<S>> {
    let key = generate_key();
    let mut subprotocols = HeaderValue::from_static(SUBPROTOCOL);
    if let Some(hello) = hello {
        let hello = base64url(hello);
        let offer = format!("{WITH_HELLO}, {WITH_HELLO}.hello.{hello}, {SUBPROTOCOL}");
        subprotocols = HeaderValue::try_from(offer).map_err(io::Error::other)?;
        subprotocols.set_sensitive(true);
    }
    let request = Request::get(uri.path_and_query().map_or("/", |target| target.as_str()))
        .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, subprotocols)
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_LEN)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(into_io)?;
    let mut answer = pin!(sender.send_request(request));
    let response = poll_fn(|cx| {
        // An answer that has arrived counts, whatever comes after it.
        let served = connection.poll_without_shutdown(cx);
        match (answer.as_mut().poll(cx), served) {
            (Poll::Ready(answer), _) => Poll::Ready(answer),
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Pending, Poll::Ready(Ok(())) | Poll::Pending) => Poll::Pending,
        }
    })
    .await
    .map_err(into_io)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(io::Error::other(refusal(response, connection).await));
    }
    let chosen = check(response.headers(), &key, hello.is_some()).map_err(io::Error::other)?;
    let parts = connection.into_parts();
    let took_hello = chosen.as_deref() == Some(WITH_HELLO);
    Ok(Upgraded { stream: parts.io.into_inner(), early: parts.read_buf, took_hello })
}

/// Describes an answer that opens no WebSocket, with the server's reason if there is one.
async fn refusal<S: ByteStream>(
    response: Response<Incoming>,
    connection: http1::Connection<TokioIo<S>, Empty<Bytes>>,
) -> String {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    // Pages for people come from proxies and other servers, and say less than the status.
    let is_text = content_type.is_some_and(|it| it.as_bytes().starts_with(b"text/plain"));
    let reason = if is_text { reason(response.into_body(), connection).await } else { None };
    let answered = format!("the server answered HTTP {status} instead of opening a WebSocket");
    match reason {
        Some(reason) => format!("{answered}: {reason}"),
        None => format!("{answered}; check the path"),
    }
}

/// Reads the beginning of a body, without control characters; `None` if there is no text.
async fn reason<S: ByteStream>(
    mut body: Incoming,
    connection: http1::Connection<TokioIo<S>, Empty<Bytes>>,
) -> Option<String> {
    let mut text = Vec::new();
    let read = async {
        while text.len() < MAX_REASON_LEN
            && let Some(Ok(frame)) = body.frame().await
        {
            text.extend(frame.into_data().unwrap_or_default());
        }
    };
    // The connection brings the body, and may end while the last of it is still to be read.
    let read = async {
        if let Either::Right((_ended, read)) = select(pin!(read), pin!(connection)).await {
            read.await;
        }
    };
    // If it breaks or takes too long, the text so far is the reason.
    let _ = timeout(REASON_TIMEOUT, read).await;
    text.truncate(MAX_REASON_LEN);
    let text = String::from_utf8_lossy(&text);
    let text: String = text.trim().chars().filter(|character| !character.is_control()).collect();
    (!text.is_empty()).then_some(text)
}

/// Checks the answer to a request with that key, except for its status. Returns the subprotocol.
fn check(headers: &HeaderMap, key: &str, with_hello: bool) -> Result<Option<String>, String> {
    let only = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    let accept = only(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    let is_offered = |name: &HeaderValue| name == SUBPROTOCOL || with_hello && name == WITH_HELLO;
    let fault = if !has_token(headers, header::UPGRADE, "websocket") {
        "it has no header `Upgrade: websocket`"
    } else if !has_token(headers, header::CONNECTION, "upgrade") {
        "it has no header `Connection: Upgrade`"
    } else if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        "its Sec-WebSocket-Accept does not belong to the request"
    } else if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        "it has an extension that was not offered"
    } else if !headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().all(is_offered) {
        "it has a subprotocol that was not offered"
    } else {
        let chosen = only(header::SEC_WEBSOCKET_PROTOCOL);
        return Ok(chosen.and_then(|name| name.to_str().ok()).map(str::to_owned));
    };
    Err(format!("the answer opens no WebSocket: {fault}"))
}

/// Returns whether a header whose value is a list, perhaps on several lines, has this item.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// Returns bytes in base64url without padding.
///
/// Source: RFC 4648, section 5.
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[bits >> (18 - 6 * digit) & 63]));
        }
    }
    text
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn into_io(error: hyper::Error) -> io::Error {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        let text = "the server closed the connection instead of answering";
        return io::Error::new(io::ErrorKind::UnexpectedEof, text);
    }
    if error.is_parse() {
        let text = "the server does not speak HTTP; is this a tcp:// address?";
        return io::Error::new(io::ErrorKind::InvalidData, text);
    }
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: RFC 4648, section 10.
    #[test]
    fn base64url_has_no_padding_and_no_plus() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (b"\xfb\xff\xfe", "-__-"),
        ] {
            assert_eq!(base64url(bytes), text);
        }
    }
}
