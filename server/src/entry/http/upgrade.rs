//! The upgrade to a WebSocket.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::body::ReplyBody;
use super::reply::{Answer, Reply, other_method, text};
use super::subprotocol::Subprotocol;
use crate::labels::UpgradeRefusal;

/// Answers a request on the path of WebSockets, other than OPTIONS. With a 101, the connection
/// becomes one. A HELLO in the request counts if `reads_hello`.
pub(super) fn answer<B>(request: &Request<B>, origins: &[String], reads_hello: bool) -> Answer {
    let headers = request.headers();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let reply = other_method(request.method());
        return Answer::new(reply, Some(UpgradeRefusal::Request));
    }
    if !origins.is_empty() && !headers.get_all(header::ORIGIN).iter().all(|it| is_in(origins, it)) {
        let reply = text(StatusCode::FORBIDDEN, "pages of this origin may not connect");
        return Answer::new(reply, Some(UpgradeRefusal::Origin));
    }
    match handshake_key(request) {
        Ok(key) => switch_protocols(key, headers, reads_hello),
        Err(fault) => {
            let mut reply = text(
                StatusCode::UPGRADE_REQUIRED,
                &format!("expected a WebSocket handshake: {}", fault.as_str()),
            );
            let headers = reply.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
            let other_version =
                asks_for_websocket(request) && matches!(fault, Fault::Version | Fault::HttpVersion);
            let refusal =
                if other_version { UpgradeRefusal::Version } else { UpgradeRefusal::Request };
            Answer::new(reply, Some(refusal))
        }
    }
}

fn is_in(origins: &[String], origin: &HeaderValue) -> bool {
    origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
}

/// Why a request is not a WebSocket handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Method,
    HttpVersion,
    Upgrade,
    Connection,
    Version,
    Key,
}

impl Fault {
    fn as_str(self) -> &'static str {
        match self {
            Self::Method => "the method is not GET",
            Self::HttpVersion => "the HTTP version is not 1.1",
            Self::Upgrade => "there is no header `Upgrade: websocket`",
            Self::Connection => "there is no header `Connection: Upgrade`",
            Self::Version => "there is no header `Sec-WebSocket-Version: 13`",
            Self::Key => "there is no header Sec-WebSocket-Key of 24 Base64 characters",
        }
    }
}

/// Checks a request for a WebSocket, and returns its key.
///
/// `Connection` and `Upgrade` are lists, which may be on several lines.
///
/// Source: RFC 6455, section 4.2.1.
fn handshake_key<B>(request: &Request<B>) -> Result<&[u8], Fault> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Fault::Method);
    }
    if request.version() < Version::HTTP_11 {
        return Err(Fault::HttpVersion);
    }
    if !has_token(headers, header::UPGRADE, "websocket") {
        return Err(Fault::Upgrade);
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(Fault::Connection);
    }
    if only(headers, header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(Fault::Version);
    }
    let key = only(headers, header::SEC_WEBSOCKET_KEY).ok_or(Fault::Key)?;
    if is_key(key.as_bytes()) { Ok(key.as_bytes()) } else { Err(Fault::Key) }
}

/// Returns whether these bytes are the Base64 form of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(is_base64))
}

fn switch_protocols(key: &[u8], headers: &HeaderMap, reads_hello: bool) -> Answer {
    let accept = HeaderValue::try_from(derive_accept_key(key)).expect("Base64 is valid in headers");
    let mut reply = Reply::new(ReplyBody::default());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = reply.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    let offered: Vec<_> = items(headers, header::SEC_WEBSOCKET_PROTOCOL).collect();
    let subprotocol = Subprotocol::choose(&offered, reads_hello);
    if let Some(name) = subprotocol.header() {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    Answer { reply, refusal: None, hello: subprotocol.hello }
}

/// Refuses a WebSocket because its client's address has reached its connection limit.
pub(super) fn too_many() -> Answer {
    let why = "there are too many connections from your address";
    Answer::new(text(StatusCode::TOO_MANY_REQUESTS, why), Some(UpgradeRefusal::Address))
}

/// Returns whether a request asks for a WebSocket, whatever its path.
pub(super) fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET && has_token(request.headers(), header::UPGRADE, "websocket")
}

/// Returns the value of a header that must not be there more than once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

/// Returns the items of a header whose value is a list, perhaps on several lines.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// The only version of WebSocket (RFC 6455).
const VERSION: &str = "13";
