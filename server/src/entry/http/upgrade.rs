//! The upgrade to a WebSocket.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::body::ReplyBody;
use super::reply::{Answer, text};
use crate::labels::UpgradeRefusal;

/// Answers a request to open a WebSocket. With a 101, the connection becomes one.
pub(super) fn answer<B>(request: &Request<B>, origins: &[String]) -> Answer {
    let headers = request.headers();
    if let Some(origin) = headers.get(header::ORIGIN)
        && !origins.is_empty()
        && !origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    {
        let reply = text(StatusCode::FORBIDDEN, "pages of this origin may not connect");
        return Answer { reply, refusal: Some(UpgradeRefusal::Origin) };
    }
    match create_response_with_body(request, ReplyBody::default) {
        Ok(mut reply) => {
            if offers_subprotocol(headers) {
                let name = HeaderValue::from_static(SUBPROTOCOL);
                reply.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
            }
            Answer { reply, refusal: None }
        }
        Err(error) => {
            let why = format!("expected a WebSocket handshake: {error}");
            let mut reply = text(StatusCode::UPGRADE_REQUIRED, &why);
            let headers = reply.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
            let other_version = asks_for_websocket(request) && !has_supported_version(request);
            let refusal =
                if other_version { UpgradeRefusal::Version } else { UpgradeRefusal::Request };
            Answer { reply, refusal: Some(refusal) }
        }
    }
}

/// Refuses a WebSocket because its client's address has reached its connection limit.
pub(super) fn too_many() -> Answer {
    let why = "there are too many connections from your address";
    Answer {
        reply: text(StatusCode::TOO_MANY_REQUESTS, why),
        refusal: Some(UpgradeRefusal::Address),
    }
}

/// Returns whether a request asks for a WebSocket, whatever its path.
pub(super) fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && request
            .headers()
            .get(header::UPGRADE)
            .is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Returns whether a request has an HTTP version and a WebSocket version that are supported.
fn has_supported_version<B>(request: &Request<B>) -> bool {
    request.version() >= Version::HTTP_11
        && request.headers().get(header::SEC_WEBSOCKET_VERSION).is_some_and(|it| it == VERSION)
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL)
}

/// The only version of WebSocket (RFC 6455).
const VERSION: &str = "13";

/// The subprotocol that the server accepts if a client offers it.
const SUBPROTOCOL: &str = "waddell";
