//! The admin port: metrics, health, readiness, list of peers. Not for the open internet.

mod metrics;
mod page;
mod peers;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use peers::BadQuery;
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::entry::http::request::{self, ALLOWED, NOT_ALLOWED};
use crate::entry::tls::Certificate;
use crate::forward::shared::Shared;
use crate::places::Places;
use crate::shutdown::Phase;

/// The listening socket of the admin port.
#[derive(Debug)]
pub(crate) struct Admin {
    socket: std::net::TcpListener,
    pub(crate) address: SocketAddr,
}

/// Most bytes of a request's head.
const MAX_HEAD_LEN: usize = 32 * 1024;

/// Longest time for a request's head, and longest life of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_LIFE: Duration = Duration::from_secs(300);

/// Pause after an error while accepting.
const PAUSE: Duration = Duration::from_millis(100);

impl Admin {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { address: socket.local_addr()?, socket })
    }

    /// Serves the admin port on this worker, also while the server shuts down. There are at most
    /// `max_connections` at a time: one more ends the one that has been idle longest.
    pub(crate) fn start(
        self,
        shared: Arc<Shared>,
        certificate: Option<Arc<Certificate>>,
        max_connections: usize,
    ) -> io::Result<()> {
        let socket = TcpListener::from_std(self.socket)?;
        let watched = Arc::new(Watched { shared, certificate });
        tokio::task::spawn_local(accept(socket, watched, Places::new(max_connections)));
        Ok(())
    }
}

/// What the pages show.
struct Watched {
    shared: Arc<Shared>,
    certificate: Option<Arc<Certificate>>,
}

async fn accept(socket: TcpListener, watched: Arc<Watched>, places: Arc<Places>) {
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the admin port");
                sleep(PAUSE).await;
                continue;
            }
        };
        let watched = Arc::clone(&watched);
        let (place, lost) = places.take();
        tokio::task::spawn_local(async move {
            let service = service_fn(async |request| {
                place.used();
                Ok::<_, Infallible>(respond(&watched, &request).await)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD_LEN)
                // A client may close its sending half after its request, as health checks do.
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // Errors of a client are not reported.
                _ = timeout(MAX_LIFE, connection) => {}
                _ = lost => {}
            }
        });
        // The connection that has lost its place ends before the next one is accepted.
        yield_now().await;
    }
}

async fn respond<B>(watched: &Watched, request: &Request<B>) -> Response<Full<Bytes>> {
    let Watched { shared, certificate } = watched;
    if let Some(fault) = request::fault(request) {
        return reply(StatusCode::BAD_REQUEST, PLAIN, format!("{fault}\n"));
    }
    let method = request.method();
    if !matches!(*method, Method::GET | Method::HEAD) {
        return other_method(method);
    }
    match request.uri().path() {
        "/metrics" => {
            reply(StatusCode::OK, PROMETHEUS, metrics::page(shared, certificate.as_deref()))
        }
        "/healthz" => reply(StatusCode::OK, PLAIN, "ok\n".into()),
        "/readyz" => match shared.shutdown.phase() {
            Phase::Serving => reply(StatusCode::OK, PLAIN, "ready\n".into()),
            Phase::Unready | Phase::LastReads | Phase::Closing => {
                reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "shutting down\n".into())
            }
        },
        "/debug/peers" if !shared.config().admin.debug => reply(
            StatusCode::NOT_FOUND,
            PLAIN,
            "start the server with --admin-debug to see its peers here\n".into(),
        ),
        "/debug/peers" => match peers::peers(shared, request.uri().query()).await {
            Ok(json) => reply(StatusCode::OK, JSON, json),
            Err(BadQuery) => reply(StatusCode::BAD_REQUEST, PLAIN, BadQuery::EXPLANATION.into()),
        },
        _ => reply(StatusCode::NOT_FOUND, PLAIN, PATHS.into()),
    }
}

fn other_method(method: &Method) -> Response<Full<Bytes>> {
    let mut reply = if method == Method::OPTIONS {
        let mut reply = Response::new(Full::default());
        *reply.status_mut() = StatusCode::NO_CONTENT;
        reply
    } else {
        reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, format!("{NOT_ALLOWED}\n"))
    };
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    reply
}

const PATHS: &str = "expected /metrics, /healthz, /readyz or /debug/peers\n";

const JSON: &str = "application/json";

const PLAIN: &str = "text/plain; charset=utf-8";

/// Source: Prometheus's text exposition format, version 0.0.4.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
