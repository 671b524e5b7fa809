//! A service that is asked about clients, and clients that wait for its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use waddell_core::Hello;
use waddell_server::{AuthFailure, ServerConfig};
use waddell_tests::transport::Via;

use super::{assert_refused, connect, encoded, hello};
use crate::support::extended::ALL;
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::{soon, until};

/// A service over HTTP, which answers one request on each connection.
pub(super) struct Service {
    address: SocketAddr,
}

impl Service {
    /// Starts a service. `answer` gets what it is asked, and returns a status and a body; `None`:
    /// it never answers.
    pub(super) fn start(
        answer: impl Fn(Value) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there are free ports");
        listener.set_nonblocking(true).expect("it is a socket");
        let address = listener.local_addr().expect("it is bound");
        let listener = TcpListener::from_std(listener).expect("there is a runtime");
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        // Fails if the client gives up.
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    let head = String::from_utf8(head).expect("it is text").to_lowercase();
                    let (_, len) = head.split_once("content-length: ").expect("it has a length");
                    let len = len.lines().next().expect("there is a line");
                    let mut body = vec![0; len.parse().expect("it is a number")];
                    let Ok(_) = stream.read_exact(&mut body).await else { return };
                    let question = serde_json::from_slice(&body).expect("it is JSON");
                    let Some((status, body)) = answer(question) else {
                        return std::future::pending().await;
                    };
                    let len = body.len();
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\nconnection: close\r\n\
                         content-length: {len}\r\n\r\n{body}"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { address }
    }

    /// Makes a server ask this service.
    pub(super) fn ask(&self, config: &mut ServerConfig) {
        let url = format!("http://{}/waddell", self.address);
        config.access.url = Some(url.parse().expect("it is a URL"));
        config.access.timeout = Duration::from_secs(3600);
    }
}

#[tokio::test]
async fn the_service_is_told_of_the_client_and_decides() {
    let (sender, mut questions) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::start(move |question| {
        let allow = question["token"] == "let me in";
        sender.send(question).expect("the test goes on");
        Some((200, format!(r#"{{"allow":{allow}}}"#)))
    });
    let server = TestServer::start_with(|config| service.ask(config));
    for via in Via::ALL {
        let hello = Hello { agent: Some("test/1"), ..hello(b"let me in") };
        let stream = server.dial(via).await;
        let peer = crate::support::extended::Extended::over(stream, via, &hello).await;
        assert_eq!(peer.welcome().id, peer.id);
        let question = questions.recv().await.expect("it was asked");
        assert_eq!(question["address"], "127.0.0.1");
        assert_eq!(question["agent"], "test/1");
        let transport = question["transport"].as_str().expect("it is a word");
        assert_eq!(transport.starts_with("ws"), via.is_websocket(), "{via:?}");
        assert_eq!(question["origin"], Value::Null);
        assert_refused(&server, via, &super::hello(b"let me out"), 4500).await;
        questions.recv().await.expect("it was asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_service_delays_the_clients_that_it_is_asked_about_and_no_other() {
    // Each answer needs a permit.
    let permits = Arc::new(Semaphore::new(0));
    let service_permits = Arc::clone(&permits);
    let service = Service::start(move |question| {
        if question["token"] == "slow" {
            while service_permits.try_acquire().map(SemaphorePermit::forget).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Some((200, r#"{"allow":true}"#.to_owned()))
    });
    let server = TestServer::start_with(|config| service.ask(config));
    let mut quick = connect(&server, Via::Tcp, b"quick").await;
    for via in Via::ALL {
        let mut frames = encoded(&hello(b"slow"));
        frames.extend(message(quick.id, 1, b"after"));
        let mut slow = Peer::ungreeted(server.dial(via).await, via, &frames).await;
        quick.echo().await;
        assert_eq!(server.handle.peers(), 1, "{via:?}");
        permits.add_permits(1);
        let greeting = slow.receive().await;
        assert_eq!(quick.message().await.from, greeting.from);
        drop(slow);
        until(|| server.handle.peers() == 1).await;
    }
}

#[tokio::test]
async fn a_service_that_does_not_decide_is_no_refusal() {
    let service = Service::start(|_| Some((500, String::new())));
    let server = TestServer::start_with(|config| service.ask(config));
    assert_refused(&server, Via::Tcp, &hello(b"any"), 4003).await;
    assert_refused(&server, Via::Ws, &Hello::new(ALL), 4500).await;
    let server = TestServer::start_with(|config| {
        service.ask(config);
        config.access.failure = AuthFailure::Open;
    });
    connect(&server, Via::Tcp, b"any").await.echo().await;
    // Open or not, a client without credentials is none that cannot be checked.
    assert_refused(&server, Via::Ws, &Hello::new(ALL), 4500).await;
}

#[tokio::test]
async fn a_service_that_never_answers_is_waited_for_as_long_as_a_handshake_may_take() {
    let service = Service::start(|_| None);
    let server = TestServer::start_with(|config| {
        service.ask(config);
        config.access.timeout = Duration::from_millis(20);
    });
    assert_refused(&server, Via::Tcp, &hello(b"any"), 4003).await;
    let server = TestServer::start_with(|config| {
        service.ask(config);
        config.timeouts.handshake = Duration::from_secs(1);
    });
    assert_refused(&server, Via::Ws, &hello(b"any"), 4003).await;
    // A drain does not wait for it.
    let server = TestServer::start_with(|config| service.ask(config));
    let peer =
        Peer::ungreeted(server.dial(Via::Tcp).await, Via::Tcp, &encoded(&hello(b"any"))).await;
    drop(peer);
    soon(server.stop().done()).await;
}
