//! Answers to HTTP requests, and the headers of every answer.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use super::body::ReplyBody;
use super::request::{ALLOWED, NOT_ALLOWED, is_known};
use crate::labels::UpgradeRefusal;

pub(super) type Reply = Response<ReplyBody>;

/// The answer to a request.
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// Why the upgrade to a WebSocket was refused, if it was.
    pub(super) refusal: Option<UpgradeRefusal>,
    /// The frame of the HELLO that came with a granted upgrade; empty if there is none.
    pub(super) hello: Vec<u8>,
}

impl Answer {
    pub(super) fn new(reply: Reply, refusal: Option<UpgradeRefusal>) -> Self {
        Self { reply, refusal, hello: Vec::new() }
    }
}

pub(super) fn not_found() -> Reply {
    text(StatusCode::NOT_FOUND, "not found")
}

/// Refuses a method, or says which ones there are.
pub(super) fn other_method(method: &Method) -> Reply {
    let mut reply = if method == Method::OPTIONS {
        empty(StatusCode::NO_CONTENT)
    } else if is_known(method) {
        text(StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED)
    } else {
        text(StatusCode::NOT_IMPLEMENTED, NOT_ALLOWED)
    };
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    reply
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Reply::new(ReplyBody::default());
    *reply.status_mut() = status;
    reply
}

/// Lets pages of any origin use what is answered, also those that are isolated from other origins.
///
/// Source: the Fetch standard, sections "CORS protocol" and "Cross-Origin-Resource-Policy header".
pub(super) fn share_with_any_origin(reply: &mut Reply, method: &Method) {
    let mut headers = vec![
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    if method == Method::OPTIONS {
        headers.extend([
            (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
            (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        ]);
    }
    for (name, value) in headers {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

pub(super) fn text(status: StatusCode, line: &str) -> Reply {
    let body = Bytes::from(format!("{line}\n"));
    let mut reply = reply(status, "text/plain; charset=utf-8", body.into());
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

pub(super) fn reply(status: StatusCode, content_type: &'static str, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in headers {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}

/// Allows a page its own scripts, its own WebAssembly, and WebSockets to any server; nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
     style-src 'self'; img-src 'self' data: blob:; connect-src 'self' ws: wss:; \
     worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";
