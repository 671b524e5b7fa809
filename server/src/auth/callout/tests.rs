//! The callout against a small service in this process.

use std::convert::Infallible;
use std::sync::Mutex;

use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A service that answers every request alike.
struct Service {
    url: Uri,
    state: Arc<State>,
}

struct State {
    status: u16,
    body: Vec<u8>,
    /// Bodies of the requests that have come, with their type.
    questions: Mutex<Vec<(String, Value)>>,
    /// How many requests are open, and the most so far.
    open: watch::Sender<(usize, usize)>,
    /// Answers leave while this is true.
    answers: watch::Sender<bool>,
}

impl Service {
    async fn start(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::start_with(None, status, body).await
    }

    async fn start_with(tls: Option<TlsAcceptor>, status: u16, body: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let port = listener.local_addr().unwrap().port();
        let url = format!("{scheme}://127.0.0.1:{port}/check?a=b").parse().unwrap();
        let state = Arc::new(State {
            status,
            body: body.into(),
            questions: Mutex::default(),
            open: watch::Sender::new((0, 0)),
            answers: watch::Sender::new(true),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&serving);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let http = http1::Builder::new();
                let tls = tls.clone();
                tokio::spawn(async move {
                    let Some(tls) = tls else {
                        return http.serve_connection(TokioIo::new(socket), service).await;
                    };
                    // It fails if the client trusts another authority.
                    let Ok(socket) = tls.accept(socket).await else { return Ok(()) };
                    http.serve_connection(TokioIo::new(socket), service).await
                });
            }
        });
        Self { url, state }
    }

    fn callout(&self, failure: AuthFailure) -> Callout {
        Callout::new(&self.url, LONG, failure).unwrap()
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method(), request.uri().to_string()), (&Method::POST, "/check?a=b".into()));
    let kind = request.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    let question = request.into_body().collect().await.unwrap().to_bytes();
    state.questions.lock().unwrap().push((kind, serde_json::from_slice(&question).unwrap()));
    state.open.send_modify(|(open, most)| {
        *open += 1;
        *most = (*most).max(*open);
    });
    state.answers.subscribe().wait_for(|answers| *answers).await.unwrap();
    state.open.send_modify(|(open, _)| *open -= 1);
    let response = Response::builder().status(state.status);
    Ok(response.body(Full::from(state.body.clone())).unwrap())
}

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

fn credentials(token: &[u8]) -> Credentials {
    Credentials {
        token: token.to_owned(),
        address: "::ffff:192.0.2.1".parse().unwrap(),
        origin: Some("https://example.org".to_owned()),
        transport: "wss",
        agent: None,
    }
}

async fn check(status: u16, body: impl Into<Vec<u8>>) -> Result<Admitted, Refused> {
    let service = Service::start(status, body).await;
    service.callout(AuthFailure::Closed).check(&credentials(b"token")).await
}

fn anonymous() -> Admitted {
    Admitted { subject: None, expires_in: None, limits: SubjectLimits::default() }
}

#[tokio::test]
async fn the_service_is_told_what_the_client_shows() {
    let service = Service::start(200, r#"{"allow":true}"#).await;
    let callout = service.callout(AuthFailure::Closed);
    assert_eq!(callout.check(&credentials(b"\"\\")).await, Ok(anonymous()));
    let expected = json!({
        "token": "\"\\",
        "address": "192.0.2.1",
        "origin": "https://example.org",
        "transport": "wss",
        "agent": null,
    });
    let questions = service.state.questions.lock().unwrap();
    assert_eq!(*questions, [("application/json".to_owned(), expected)]);
}

#[tokio::test]
async fn an_answer_may_name_a_subject_and_limits() {
    let body = json!({
        "allow": true,
        "subject": "alice",
        "expires_in": 60,
        "max_connections": 2,
        "rate_frames": 3,
        "rate_bytes": 4,
        "other": [],
    });
    let expected = Admitted {
        subject: Subject::new("alice"),
        expires_in: Some(Duration::from_secs(60)),
        limits: SubjectLimits {
            max_connections: NonZeroU32::new(2),
            rate_frames: NonZeroU32::new(3),
            rate_bytes: NonZeroU32::new(4),
        },
    };
    assert_eq!(check(200, body.to_string()).await, Ok(expected));
}

#[tokio::test]
async fn a_no_is_a_no() {
    assert_eq!(check(200, r#"{"allow":false,"subject":""}"#).await, Err(Refused::Unauthorized));
    for status in [401, 403] {
        assert_eq!(check(status, r#"{"allow":true}"#).await, Err(Refused::Unauthorized));
    }
    // Such a token cannot be written in JSON.
    let service = Service::start(200, r#"{"allow":true}"#).await;
    let verdict = service.callout(AuthFailure::Open).check(&credentials(b"\xff")).await;
    assert_eq!(verdict, Err(Refused::Unauthorized));
    assert!(service.state.questions.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_unusable_answer_is_neither_yes_nor_no() {
    let allow = r#"{"allow":true,"#;
    let longest = format!("{allow}\"x\":\"{}\"}}", "x".repeat(MAX_ANSWER_LEN - allow.len() - 7));
    assert_eq!(longest.len(), MAX_ANSWER_LEN);
    assert_eq!(check(200, longest.clone()).await, Ok(anonymous()));
    for (status, body) in [
        (200, String::new()),
        (200, "true".to_owned()),
        (200, "<html>".to_owned()),
        (200, "{}".to_owned()),
        (200, r#"{"allow":"true"}"#.to_owned()),
        (200, format!("{allow}\"subject\":\"\"}}")),
        (200, format!("{allow}\"subject\":\"{}\"}}", "a".repeat(256))),
        (200, format!("{allow}\"expires_in\":0}}")),
        (200, format!("{allow}\"max_connections\":-1}}")),
        (200, format!("{longest} ")),
        (200, "[".repeat(10_000)),
        (204, String::new()),
        (302, r#"{"allow":true}"#.to_owned()),
        (404, String::new()),
        (500, r#"{"allow":true}"#.to_owned()),
    ] {
        let service = Service::start(status, body.clone()).await;
        for (failure, expected) in
            [(AuthFailure::Closed, Err(Refused::Busy)), (AuthFailure::Open, Ok(anonymous()))]
        {
            let verdict = service.callout(failure).check(&credentials(b"token")).await;
            assert_eq!(verdict, expected, "{status} {body:.40}");
        }
    }
}

#[tokio::test]
async fn a_service_that_is_down_or_silent_is_a_failure() {
    let service = Service::start(200, r#"{"allow":true}"#).await;
    service.state.answers.send_replace(false);
    let slow = Callout::new(&service.url, Duration::from_millis(50), AuthFailure::Closed).unwrap();
    assert_eq!(slow.check(&credentials(b"token")).await, Err(Refused::Busy));

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", free.local_addr().unwrap()).parse().unwrap();
    drop(free);
    let down = Callout::new(&url, LONG, AuthFailure::Closed).unwrap();
    assert_eq!(down.check(&credentials(b"token")).await, Err(Refused::Busy));
}

#[tokio::test]
async fn at_most_64_requests_are_open_and_1024_clients_wait() {
    let service = Service::start(200, r#"{"allow":true}"#).await;
    service.state.answers.send_replace(false);
    // A full line refuses even if a failure would admit.
    let callout = Arc::new(service.callout(AuthFailure::Open));
    let mut checks = JoinSet::new();
    for _ in 0..MAX_REQUESTS + MAX_WAITING {
        let callout = Arc::clone(&callout);
        checks.spawn(async move { callout.check(&credentials(b"token")).await });
    }
    while callout.line.available_permits() > 0 {
        yield_now().await;
    }
    let mut open = service.state.open.subscribe();
    open.wait_for(|(open, _)| *open == MAX_REQUESTS).await.unwrap();
    assert_eq!(callout.check(&credentials(b"token")).await, Err(Refused::Busy));
    service.state.answers.send_replace(true);
    while let Some(verdict) = checks.join_next().await {
        assert_eq!(verdict.unwrap(), Ok(anonymous()));
    }
    assert_eq!(*service.state.open.borrow(), (0, MAX_REQUESTS));
    assert_eq!(callout.check(&credentials(b"token")).await, Ok(anonymous()));
}

#[tokio::test]
async fn a_service_with_tls_must_have_a_certificate_of_a_trusted_authority() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let tls = Some(TlsAcceptor::from(Arc::new(config)));
    let service = Service::start_with(tls, 200, r#"{"allow":true}"#).await;
    let mut trusted = RootCertStore::empty();
    trusted.add(cert.der().clone()).unwrap();
    for (roots, expected) in
        [(trusted, Ok(anonymous())), (RootCertStore::empty(), Err(Refused::Busy))]
    {
        let callout = Callout::with_roots(&service.url, LONG, AuthFailure::Closed, roots);
        assert_eq!(callout.check(&credentials(b"token")).await, expected);
    }
    assert_eq!(service.state.questions.lock().unwrap().len(), 1);
}

#[test]
fn a_url_that_cannot_be_asked_is_an_error_that_names_the_option() {
    for url in ["/path", "example.org", "ftp://example.org/", "http://user:hidden@example.org/"] {
        let error = Callout::new(&url.parse().unwrap(), LONG, AuthFailure::Closed).err().unwrap();
        let error = error.to_string();
        assert!(error.starts_with("auth-url: "), "{error}");
        assert!(!error.contains("hidden"), "{error}");
    }
}
