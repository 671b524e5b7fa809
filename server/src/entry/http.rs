//! Plain HTTP on a listener: the page, the package, the health check, the upgrade.

mod body;
pub(crate) mod file_reads;
mod files;
mod folder;
pub(crate) mod gate;
mod refusal;
mod reply;
pub(crate) mod request;
mod subprotocol;
mod upgrade;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep_until, timeout};

use crate::config::{ServerConfig, Www};
use crate::entry::entrance::Entrance;
use crate::entry::forwarded_for::FORWARDED_FOR;
use crate::entry::handshake_error::HandshakeError;
use crate::entry::rewind::Rewind;
use crate::entry::source::Source;
use crate::entry::stream::HandshakeStream;
use crate::labels::{AddressClaim, UpgradeRefusal};
use files::{EMBEDDED_PKG, EMBEDDED_WWW, embedded, find, from_folder};
use gate::{Exchange, Gate, WatchedBody};
use refusal::{MAX_HEAD_LEN, Refusal};
use reply::{Answer, Reply, not_found, other_method, share_with_any_origin, text};

/// The paths at which clients open a WebSocket. Some proxies add the slash.
const WEBSOCKET_PATHS: [&str; 2] = ["/ws", "/ws/"];

/// Where the browser package is, which pages of any origin may import.
const PACKAGE: &str = "pkg/";

/// Most bytes of a refused origin that are logged: a scheme, the longest host name, and a port.
const MAX_LOGGED_ORIGIN: usize = 8 + 253 + 6;

/// Longest life of an HTTP connection. A page needs seconds, and a browser that needs longer
/// connects again.
const MAX_LIFE: Duration = Duration::from_secs(60);

/// The stream of a connection that has become a WebSocket.
pub(crate) struct Upgraded<S> {
    pub(crate) stream: Rewind<S>,
    /// The frame of the HELLO that came with the request; empty if there is none.
    pub(crate) hello: Vec<u8>,
}

/// Serves HTTP on a connection until it closes or becomes a WebSocket.
pub(crate) async fn serve<S: HandshakeStream>(
    entrance: &Entrance,
    source: &mut Source,
    stream: S,
) -> Result<Option<Upgraded<S>>, HandshakeError> {
    let shared = &entrance.shared;
    let shutdown = &shared.shutdown;
    let limit = shared.config().timeouts.handshake;
    let source = RefCell::new(source);
    let outcome = Cell::new(Outcome::NoRequest);
    let hello = Cell::default();
    let exchange = Rc::new(Exchange::default());
    let service = service_fn(|request: Request<Incoming>| {
        let (source, outcome, hello, exchange) = (&source, &outcome, &hello, &exchange);
        outcome.set(Outcome::Requested);
        exchange.begin(request::head_len(&request));
        Box::pin(async move {
            let Answer { mut reply, hello: said, .. } = answer(&request, entrance, source).await;
            if reply.status() == StatusCode::SWITCHING_PROTOCOLS {
                outcome.set(Outcome::Upgraded);
                hello.set(said);
            } else if shutdown.has_stopped_accepting() {
                reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(reply.map(|body| WatchedBody::new(body, Rc::clone(exchange))))
        })
    });
    let gate = Gate::new(stream, Rc::clone(&exchange), entrance.http_places.clone());
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // At most that long, because hyper cannot wait for ever.
        .header_read_timeout(limit.min(MAX_LIFE))
        // The first limits the buffer, which may hold more than one head.
        .max_buf_size(MAX_HEAD_LEN)
        .max_header_size(MAX_HEAD_LEN)
        // A client may close its sending half after its request, as `nc -N` and HTTP/1.0 clients
        // do.
        .half_close(true)
        .serve_connection(TokioIo::new(gate), service);
    // In a shutdown, a connection may wait for its first request until the deadline of handshakes.
    // It does not wait for further requests.
    let mut idle_too_long = pin!(async {
        let deadline = shutdown.handshake_deadline().await;
        if matches!(outcome.get(), Outcome::NoRequest) {
            sleep_until(deadline).await;
        }
    });
    let mut closing = false;
    let serving = poll_fn(|cx| {
        // Requests that have arrived come first.
        let served = connection.poll_without_shutdown(cx).map_err(HandshakeError::from);
        if served.is_ready() || closing || idle_too_long.as_mut().poll(cx).is_pending() {
            return served;
        }
        closing = true;
        if matches!(outcome.get(), Outcome::NoRequest) {
            return Poll::Ready(Err(HandshakeError::ShutDown));
        }
        // Closes the connection once the request is answered.
        Pin::new(&mut connection).graceful_shutdown();
        connection.poll_without_shutdown(cx).map_err(HandshakeError::from)
    });
    let served = timeout(MAX_LIFE, serving).await;
    let (mut gate, unread) = {
        let parts = connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    };
    if exchange.is_displaced() {
        if exchange.is_idle() {
            // By another client with a large head.
            return Err(HandshakeError::TimedOut);
        }
        shared.metrics.http_answers_unread.increment();
        return Ok(None);
    }
    if let Ok(Err(HandshakeError::Http(error))) = &served
        && error.is_parse()
        && exchange.is_idle()
    {
        let refusal = Refusal::new(error, &unread);
        drop(unread);
        report_answer(entrance, *source.borrow(), refusal.status());
        exchange.begin(0);
        // Fails if the client has gone, or does not read.
        let _ = timeout(limit, refusal.send(&mut gate)).await;
        return match outcome.get() {
            Outcome::NoRequest => served.unwrap_or(Ok(())).map(|()| None),
            Outcome::Requested | Outcome::Upgraded => Ok(None),
        };
    }
    match (outcome.get(), served) {
        (Outcome::Upgraded, Ok(Ok(()))) => {
            let stream = Rewind::new(unread.into(), gate.into_inner());
            Ok(Some(Upgraded { stream, hello: hello.take() }))
        }
        (Outcome::Upgraded | Outcome::NoRequest, Ok(Err(error))) => Err(error),
        (Outcome::Upgraded | Outcome::NoRequest, Err(_elapsed)) => Err(HandshakeError::TimedOut),
        // A connection that carried a request has not failed, however it ends.
        (Outcome::Requested, _) | (Outcome::NoRequest, Ok(Ok(()))) => {
            let _ = timeout(limit, gate.shutdown()).await;
            Ok(None)
        }
    }
}

/// Counts an answer by its status, and logs it if it refuses a request.
fn report_answer(entrance: &Entrance, source: &Source, status: StatusCode) {
    let shared = &entrance.shared;
    shared.metrics.http_answered(status);
    let address = shared.config().logged(source.address());
    let (status, reason) = (status.as_u16(), status.canonical_reason());
    match status {
        // The client is a browser with a great many cookies, and the operator can help it.
        414 | 431 => tracing::info!(address, status, reason, "HTTP request refused"),
        400 | 405 | 501 | 503 => tracing::debug!(address, status, reason, "HTTP request refused"),
        _ => {}
    }
}

/// Answers a request, and counts the answer, ignored addresses and refused upgrades.
async fn answer<B>(
    request: &Request<B>,
    entrance: &Entrance,
    source: &RefCell<&mut Source>,
) -> Answer {
    let shared = &entrance.shared;
    let config = shared.config();
    let mut answer = respond(entrance, &config, request).await;
    let source = &mut *source.borrow_mut();
    if request.headers().contains_key(FORWARDED_FOR) && !source.is_proxy() {
        shared.report_ignored_claim(AddressClaim::ForwardedFor, Some(source.address()));
    }
    // A proxy may send requests of several clients on one connection. From an upgrade on the
    // connection belongs to one client.
    if answer.reply.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Err(refused) = source.set_address_from(request.headers())
    {
        entrance.report_refused(refused);
        answer = upgrade::too_many();
    }
    if let Some(refusal) = answer.refusal {
        shared.metrics.upgrade_refused(refusal);
        let address = config.logged(source.address());
        let reason = refusal.as_str();
        match refusal {
            // The operator may have to add this origin to the list.
            UpgradeRefusal::Origin => {
                let origin = request.headers().get(header::ORIGIN).map(HeaderValue::to_str);
                let origin = origin.and_then(Result::ok);
                // No browser's is longer; a client's may be.
                let origin = origin.map(|origin| &origin[..origin.len().min(MAX_LOGGED_ORIGIN)]);
                tracing::info!(address, reason, origin, "WebSocket refused");
            }
            UpgradeRefusal::Path
            | UpgradeRefusal::Version
            | UpgradeRefusal::Address
            | UpgradeRefusal::Request => {
                tracing::debug!(address, reason, "WebSocket refused");
            }
        }
    }
    report_answer(entrance, source, answer.reply.status());
    answer
}

/// What a client has requested on a connection so far.
#[derive(Clone, Copy)]
enum Outcome {
    NoRequest,
    /// At least one request, but no upgrade.
    Requested,
    /// The upgrade to a WebSocket, which was granted.
    Upgraded,
}

async fn respond<B>(entrance: &Entrance, config: &ServerConfig, request: &Request<B>) -> Answer {
    let options = &config.http;
    let bad_request = |why| Answer::new(text(StatusCode::BAD_REQUEST, why), None);
    if let Some(fault) = request::fault(request) {
        return bad_request(fault);
    }
    let Some(path) = request::path(request) else {
        return bad_request("the path is not UTF-8");
    };
    let method = request.method();
    if WEBSOCKET_PATHS.contains(&&*path) && *method != Method::OPTIONS {
        return upgrade::answer(request, &options.origins, config.extension.enabled);
    }
    let path = path.strip_prefix('/').unwrap_or(&path);
    let mut reply = match *method {
        Method::GET | Method::HEAD => serve_file(entrance, &options.www, path, request).await,
        _ => other_method(method),
    };
    if path.starts_with(PACKAGE) {
        share_with_any_origin(&mut reply, method);
    }
    let refusal = upgrade::asks_for_websocket(request).then_some(UpgradeRefusal::Path);
    Answer::new(reply, refusal)
}

async fn serve_file<B>(entrance: &Entrance, www: &Www, path: &str, request: &Request<B>) -> Reply {
    match path {
        "healthz" => text(StatusCode::OK, "ok"),
        _ if path.starts_with(PACKAGE) => match find(EMBEDDED_PKG, path) {
            Some(file) => embedded(file, request.headers()),
            None if EMBEDDED_PKG.is_empty() => text(
                StatusCode::NOT_FOUND,
                "this server was built without the browser package; `cargo xtask serve` builds \
                     both",
            ),
            None => not_found(),
        },
        _ => match www {
            Www::Off => not_found(),
            Www::Demo => {
                let path = if path.is_empty() { "index.html" } else { path };
                find(EMBEDDED_WWW, path)
                    .map_or_else(not_found, |file| embedded(file, request.headers()))
            }
            Www::Folder(folder) => from_folder(&entrance.file_reads, folder, path, request).await,
        },
    }
}
