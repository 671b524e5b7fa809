//! Connecting: success, failure and giving up.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use waddell_client::{Client, ClientConfig, Closed, ConnectError, DisconnectReason, State};

use crate::fake_server::FakeServer;

#[tokio::test(start_paused = true)]
async fn id_is_known_when_connect_returns() {
    let (seen, mut ids) = mpsc::unbounded_channel();
    let config = FakeServer::new().config().on_id(move |id| seen.send(id).unwrap());
    let client = Client::connect(config).await.unwrap();
    let id = client.id().unwrap();
    assert!(matches!(client.state(), State::Ready { id: ready } if ready == id));
    assert_eq!(ids.try_recv(), Ok(id));
}

#[tokio::test(start_paused = true)]
async fn connect_gives_up_after_the_attempts_and_reports_the_failure() {
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dials);
    let config = ClientConfig::from_dialer(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err::<DuplexStream, _>(io::Error::other("the cable is cut")) }
    });
    let start = Instant::now();
    let error = Client::connect(config.reconnect_attempts(3)).await.unwrap_err();
    assert_eq!(dials.load(Ordering::Relaxed), 4);
    // 100, 200 and 300 ms, each up to half as long again.
    let waited = start.elapsed().as_millis();
    assert!((600..=910).contains(&waited), "{waited} ms");
    assert_eq!(
        error.to_string(),
        "the server behind the dialer: could not connect: the cable is cut"
    );
    let ConnectError::Failed { reason: Closed::AttemptsExhausted { last }, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(last.reason(), DisconnectReason::DialFailed);
    assert_eq!(last.io_error().unwrap().to_string(), "the cable is cut");
}

#[tokio::test(start_paused = true)]
async fn dial_that_hangs_times_out() {
    let config = ClientConfig::from_dialer(pending::<io::Result<DuplexStream>>)
        .reconnect_attempts(0)
        .connect_timeout(Duration::from_secs(2));
    let start = Instant::now();
    let error = Client::connect(config).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 2);
    assert!(error.to_string().contains("did not greet in time"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn server_that_does_not_greet_times_out_and_is_hung_up() {
    let (give, mut take) = mpsc::unbounded_channel();
    let config = ClientConfig::from_dialer(move || {
        let (near, far) = duplex(64);
        give.send(far).unwrap();
        async { Ok(near) }
    });
    let config = config.reconnect_attempts(0).connect_timeout(Duration::from_secs(2));
    let error = Client::connect(config.extension(false)).await.unwrap_err();
    assert!(error.to_string().contains("did not greet in time"), "{error}");
    let mut server = take.recv().await.unwrap();
    assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn endless_timeouts_are_accepted() {
    for forever in [Some(Duration::MAX), None] {
        let config =
            FakeServer::new().config().connect_timeout(forever).keep_alive_interval(forever);
        assert!(Client::connect(config).await.unwrap().id().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_connect_drops_the_dial() {
    let (alive, mut gone) = mpsc::channel::<()>(1);
    let config = ClientConfig::from_dialer(move || {
        let alive = alive.clone();
        async move {
            let _alive = alive;
            pending::<io::Result<DuplexStream>>().await
        }
    });
    let connecting = Client::connect(config.connect_timeout(None));
    timeout(Duration::from_secs(1), connecting).await.unwrap_err();
    assert_eq!(gone.recv().await, None, "the dial and the dialer are dropped");
}

#[tokio::test]
async fn wrong_configuration_is_refused_at_once() {
    let error = Client::connect("127.0.0.1:62443").await.unwrap_err();
    assert!(matches!(error, ConnectError::Url(_)), "{error:?}");
    assert!(error.to_string().contains("must begin with tcp://"), "{error}");

    let pem = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem();
    let config = ClientConfig::new("ws://127.0.0.1").unwrap().server_cert(&pem).unwrap();
    let error = Client::connect(config).await.unwrap_err();
    assert!(matches!(error, ConnectError::CertificateWithoutTls), "{error:?}");

    let config = ClientConfig::new("tls://127.0.0.1").unwrap();
    for (text, problem) in [
        ("", "no certificate"),
        ("hello", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "PEM form"),
        (&format!("{pem}{pem}"), "more than one"),
    ] {
        let error = config.clone().server_cert(text).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}
