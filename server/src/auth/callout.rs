//! Credentials that a service of the operator decides about, over HTTP.

use std::error::Error;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::admitted::{Admitted, Credentials, Refused, Subject, SubjectLimits};
use super::error::AuthError;
use crate::config::AuthFailure;

/// Asks a service by `POST`, at most 64 times at once. Further clients wait in a line.
pub(super) struct Callout {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    /// Longest time for an answer, with the time in the line.
    timeout: Duration,
    failure: AuthFailure,
    /// Those that are being asked about, and those in the line.
    line: Semaphore,
    requests: Semaphore,
}

#[derive(Serialize)]
struct Question<'a> {
    token: &'a str,
    address: IpAddr,
    origin: Option<&'a str>,
    transport: &'a str,
    agent: Option<&'a str>,
}

/// The body of an answer with status 200. Other members are of no meaning.
#[derive(Deserialize)]
struct Answer {
    allow: bool,
    subject: Option<String>,
    /// Seconds.
    expires_in: Option<NonZeroU32>,
    #[serde(flatten)]
    limits: SubjectLimits,
}

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("{}", chain(.0))]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("the answer has status {0}")]
    Status(StatusCode),
    /// It ends early, or it is longer than [`MAX_ANSWER_LEN`].
    #[error("the answer is incomplete or has more than {MAX_ANSWER_LEN} bytes")]
    Body,
    #[error("the answer is not the JSON that is expected")]
    Answer,
}

impl Callout {
    pub(super) fn new(
        url: &Uri,
        timeout: Duration,
        failure: AuthFailure,
    ) -> Result<Self, AuthError> {
        let fault = |why| AuthError::Option { option: "auth-url", why };
        let secured = url.scheme() == Some(&Scheme::HTTPS);
        if !secured && url.scheme() != Some(&Scheme::HTTP) {
            return Err(fault("expected a URL such as https://example.org/waddell"));
        }
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(fault("a name or a password in it would not be sent"));
        }
        let roots = if secured { system_roots().map_err(fault)? } else { RootCertStore::empty() };
        Ok(Self::with_roots(url, timeout, failure, roots))
    }

    /// Makes a callout that trusts these authorities.
    fn with_roots(
        url: &Uri,
        timeout: Duration,
        failure: AuthFailure,
        roots: RootCertStore,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector.build());
        Self {
            client,
            url: url.clone(),
            timeout,
            failure,
            line: Semaphore::new(MAX_REQUESTS + MAX_WAITING),
            requests: Semaphore::new(MAX_REQUESTS),
        }
    }

    /// Asks the service. A failure is not a no: what it means is the operator's choice.
    pub(super) async fn check(&self, credentials: &Credentials) -> Result<Admitted, Refused> {
        // JSON has no other bytes, so the service cannot know such a token.
        let token = str::from_utf8(&credentials.token).map_err(|_| Refused::Unauthorized)?;
        // A flood must not open a server that is open on failure.
        let Ok(_in_line) = self.line.try_acquire() else { return Err(Refused::Busy) };
        let answered = timeout(self.timeout, async {
            let _request = self.requests.acquire().await;
            self.ask(token, credentials).await
        });
        let failure = match answered.await {
            Ok(Ok(verdict)) => return verdict,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Slow(self.timeout),
        };
        tracing::warn!(error = %failure, "auth-url: the service has not decided");
        match self.failure {
            AuthFailure::Closed => Err(Refused::Busy),
            AuthFailure::Open => {
                Ok(Admitted { subject: None, expires_in: None, limits: SubjectLimits::default() })
            }
        }
    }

    async fn ask(
        &self,
        token: &str,
        credentials: &Credentials,
    ) -> Result<Result<Admitted, Refused>, Failure> {
        let Credentials { token: _, address, origin, transport, agent } = credentials;
        let question = Question {
            token,
            address: address.to_canonical(),
            origin: origin.as_deref(),
            transport,
            agent: agent.as_deref(),
        };
        let body = serde_json::to_vec(&question).expect("texts can be written as JSON");
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("waddell-server/", env!("CARGO_PKG_VERSION")))
            .body(Full::from(body))
            .expect("a URL and constant headers make a request");
        let response = self.client.request(request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Ok(Err(Refused::Unauthorized));
            }
            status => return Err(Failure::Status(status)),
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER_LEN);
        let body = body.collect().await.map_err(|_| Failure::Body)?.to_bytes();
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| Failure::Answer)?;
        answer.verdict().ok_or(Failure::Answer)
    }
}

impl Answer {
    /// Returns `None` if the subject cannot be one.
    fn verdict(self) -> Option<Result<Admitted, Refused>> {
        if !self.allow {
            return Some(Err(Refused::Unauthorized));
        }
        let subject = match self.subject {
            None => None,
            Some(name) => Some(Subject::new(&name)?),
        };
        let expires_in = self.expires_in.map(|it| Duration::from_secs(it.get().into()));
        Some(Ok(Admitted { subject, expires_in, limits: self.limits }))
    }
}

/// Reads the certificates of the authorities that the system trusts.
fn system_roots() -> Result<RootCertStore, &'static str> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("the system has no certificates of authorities for https; install its \
            package ca-certificates, or set SSL_CERT_FILE");
    }
    Ok(roots)
}

/// Returns an error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        write!(text, ": {cause}").expect("strings can be written to");
        next = cause.source();
    }
    text
}

/// Most requests at a time.
const MAX_REQUESTS: usize = 64;

/// Most clients in the line.
const MAX_WAITING: usize = 1_024;

/// Longest answer, in bytes.
const MAX_ANSWER_LEN: usize = 16 << 10;

/// How long a connection to the service is kept for the next request. Many servers of HTTP close
/// idle connections after a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most connections that are kept.
const MAX_IDLE: usize = 16;

#[cfg(test)]
mod tests;
