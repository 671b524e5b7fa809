//! HTTP by hand: requests as text, and parsed responses.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::soon;

/// Response of a server.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("it is text")
    }
}

/// Sends a request without a body, and reads the response. `request` is the request line without
/// the version, then further headers, each on its own line.
pub(crate) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
) -> Response {
    let (line, headers) = request.split_once('\n').unwrap_or((request, ""));
    let mut text = format!("{line} HTTP/1.1\r\nhost: localhost\r\n");
    for header in headers.lines().map(str::trim).filter(|header| !header.is_empty()) {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    ask_raw(stream, &text).await
}

/// Sends a request as it is, and reads the response.
pub(crate) async fn ask_raw(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
) -> Response {
    soon(async {
        stream.write_all(request.as_bytes()).await.expect("it is connected");
        stream.flush().await.expect("it is connected");
        read_response(stream, request.starts_with("HEAD")).await
    })
    .await
}

async fn read_response(stream: &mut (impl AsyncRead + Unpin), of_head: bool) -> Response {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the answer is whole"));
    }
    let head = String::from_utf8(head).expect("it is text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut response =
        Response { status: status.expect("there is a status"), head, body: Vec::new() };
    let len = response.header("content-length").map_or(0, |len| len.parse().expect("it is one"));
    if !of_head && response.status != 304 {
        response.body = vec![0; len];
        stream.read_exact(&mut response.body).await.expect("the answer is whole");
    }
    response
}

/// Request for a WebSocket, without subprotocol and origin.
pub(crate) const UPGRADE: &str = "GET /ws
    connection: upgrade
    upgrade: websocket
    sec-websocket-version: 13
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
