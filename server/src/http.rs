//! What a listener answers to plain HTTP: the page, the package, the health check, the upgrade.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::config::{ServerConfig, Www};
use crate::handshake::{HandshakeError, Pending, Stream};
use crate::outbox::Framing;
use crate::transport::rewind::Rewind;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// A file that is part of the program.
#[derive(Debug)]
struct Embedded {
    /// Where it is served, from the root, without the slash.
    path: &'static str,
    bytes: &'static [u8],
    /// Changes with the bytes.
    etag: &'static str,
}

/// Where WebSockets are opened.
const WEBSOCKET_PATH: &str = "/ws";

/// The subprotocol that is echoed if a client offers it.
const SUBPROTOCOL: &str = "waddell";

/// Longest life of an HTTP connection, in all: a page needs seconds, and whoever needs longer
/// comes again.
const MAX_LIFE: Duration = Duration::from_secs(60);

/// Most bytes of a request's head; hyper takes no less.
const MAX_HEAD_LEN: usize = 8 * 1024;

/// What the page may do: its own scripts, its own WebAssembly, WebSockets to any server, and
/// nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
     style-src 'self'; img-src 'self' data: blob:; connect-src 'self' ws: wss:; \
     worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Serves HTTP on a connection until it closes or becomes a WebSocket.
pub(crate) async fn serve<S: Stream>(pending: Pending, stream: S) -> Result<(), HandshakeError> {
    let worker = Rc::clone(&pending.seat);
    let outcome = Cell::new(Outcome::NothingAsked);
    let service = service_fn(|request: Request<Incoming>| {
        let (site, outcome) = (worker.shared.site(), &outcome);
        Box::pin(async move {
            let response = site.respond(&request).await;
            outcome.set(match response.status() {
                StatusCode::SWITCHING_PROTOCOLS => Outcome::Upgraded,
                _ => Outcome::Answered,
            });
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(pending.handshake_timeout())
        .max_buf_size(MAX_HEAD_LEN)
        .serve_connection(TokioIo::new(stream), service);
    let served = timeout(MAX_LIFE, poll_fn(|cx| connection.poll_without_shutdown(cx))).await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    match (outcome.get(), served) {
        (Outcome::Upgraded, Ok(Ok(()))) => {
            pending.become_peer(Rewind::new(parts.read_buf.into(), stream), Framing::WebSocket);
            Ok(())
        }
        (Outcome::Upgraded | Outcome::NothingAsked, Ok(Err(error))) => Err(error.into()),
        (Outcome::Upgraded | Outcome::NothingAsked, Err(_elapsed)) => Err(HandshakeError::TimedOut),
        // Whoever was answered got what it came for, however it leaves.
        (Outcome::Answered, _) | (Outcome::NothingAsked, Ok(Ok(()))) => {
            let _ = timeout(pending.handshake_timeout(), stream.shutdown()).await;
            Ok(())
        }
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    NothingAsked,
    Answered,
    Upgraded,
}

/// What is served, and to whom.
#[derive(Debug)]
pub(crate) struct Site {
    www: Www,
    origins: Vec<String>,
}

type Reply = Response<Full<Bytes>>;

impl Site {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        Self { www: config.www.clone(), origins: config.origins.clone() }
    }

    async fn respond(&self, request: &Request<Incoming>) -> Reply {
        let path = request.uri().path();
        if path == WEBSOCKET_PATH {
            return self.open_websocket(request);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut reply =
                text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here");
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return reply;
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        match path {
            "healthz" => text(StatusCode::OK, "ok"),
            _ if path.starts_with("pkg/") => match find(EMBEDDED_PKG, path) {
                Some(file) => embedded(file, request.headers()),
                None if EMBEDDED_PKG.is_empty() => text(
                    StatusCode::NOT_FOUND,
                    "this server was built without the browser package; `cargo xtask serve` builds both",
                ),
                None => not_found(),
            },
            _ => match &self.www {
                Www::Off => not_found(),
                Www::Demo => {
                    let path = if path.is_empty() { "index.html" } else { path };
                    find(EMBEDDED_WWW, path)
                        .map_or_else(not_found, |file| embedded(file, request.headers()))
                }
                Www::Folder(folder) => from_folder(folder, path, request.headers()).await,
            },
        }
    }

    /// Answers a request to open a WebSocket; the connection is one as soon as this is sent.
    fn open_websocket(&self, request: &Request<Incoming>) -> Reply {
        if let Some(origin) = request.headers().get(header::ORIGIN)
            && !self.origins.is_empty()
            && !self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
        {
            return text(StatusCode::FORBIDDEN, "pages of this origin may not connect");
        }
        match create_response_with_body(request, Full::default) {
            Ok(mut reply) => {
                if offers_subprotocol(request.headers()) {
                    let name = HeaderValue::from_static(SUBPROTOCOL);
                    reply.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
                }
                reply
            }
            Err(error) => {
                let why = format!("expected a WebSocket handshake: {error}");
                let mut reply = text(StatusCode::UPGRADE_REQUIRED, &why);
                let headers = reply.headers_mut();
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                reply
            }
        }
    }
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL)
}

fn find(files: &'static [Embedded], path: &str) -> Option<&'static Embedded> {
    files.iter().find(|file| file.path == path)
}

fn embedded(file: &Embedded, request: &HeaderMap) -> Reply {
    content(file.path, file.etag, Bytes::from_static(file.bytes), request)
}

async fn from_folder(folder: &Path, path: &str, request: &HeaderMap) -> Reply {
    let Some(mut file) = within(folder, path) else { return not_found() };
    let read = async {
        let mut metadata = tokio::fs::metadata(&file).await?;
        if metadata.is_dir() {
            file.push("index.html");
            metadata = tokio::fs::metadata(&file).await?;
        }
        let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH);
        let etag =
            format!("\"{:x}-{:x}\"", modified.unwrap_or_default().as_nanos(), metadata.len());
        Ok::<_, io::Error>((etag, tokio::fs::read(&file).await?))
    };
    match read.await {
        Ok((etag, bytes)) => content(&file.to_string_lossy(), &etag, bytes.into(), request),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            text(StatusCode::FORBIDDEN, "the server may not read this file")
        }
        Err(_) => not_found(),
    }
}

/// Returns the file that a URL's path names inside a folder; `None` if it would lead out of it.
fn within(folder: &Path, path: &str) -> Option<PathBuf> {
    let decoded = percent_decode(path)?;
    let relative = Path::new(&decoded);
    let stays = relative.components().all(|part| match part {
        Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
        Component::CurDir => true,
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
    });
    stays.then(|| folder.join(relative))
}

fn percent_decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        rest = tail;
        bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
    }
    (!bytes.contains(&0)).then(|| String::from_utf8(bytes).ok())?
}

fn content(path: &str, etag: &str, bytes: Bytes, request: &HeaderMap) -> Reply {
    let known =
        request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged = known.flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    });
    let (status, body) =
        if unchanged { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (StatusCode::OK, bytes) };
    let mut reply = reply(status, content_type(path), body);
    if let Ok(etag) = HeaderValue::from_str(etag) {
        reply.headers_mut().insert(header::ETAG, etag);
    }
    // Kept by the browser, and asked for again each time: a new server's page is never mixed
    // with an old one's package.
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "md" | "ts" | "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn not_found() -> Reply {
    text(StatusCode::NOT_FOUND, "not found")
}

fn text(status: StatusCode, line: &str) -> Reply {
    let body = Bytes::from(format!("{line}\n"));
    let mut reply = reply(status, "text/plain; charset=utf-8", body);
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let folder = Path::new("/srv/www");
        assert_eq!(within(folder, "a/b.js"), Some("/srv/www/a/b.js".into()));
        assert_eq!(within(folder, "a%20b.js"), Some("/srv/www/a b.js".into()));
        assert_eq!(within(folder, ""), Some("/srv/www/".into()));
        for path in [
            "../x",
            "a/../../x",
            "%2e%2e/x",
            "/etc/passwd",
            "%2fetc/passwd",
            "a/%00",
            "%",
            "%f",
            ".git/x",
            "%zz",
        ] {
            assert_eq!(within(folder, path), None, "{path}");
        }
    }
}
