//! Clients that say HELLO in the upgrade to a WebSocket.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use waddell_core::{Handled, Hello, MessageIn, Notice, PeerId, Request, TopicId, Welcome};
use waddell_tests::checks::split_frames;
use waddell_tests::transport::Via;

use crate::support::extended::{ALL, Extended};
use crate::support::http::{UPGRADE, ask};
use crate::support::peer::message;
use crate::support::server::{Stream, TestServer};
use crate::support::soon;

/// Returns the subprotocol that carries this HELLO.
fn name(hello: &Hello<'_>) -> String {
    let mut frame = Vec::new();
    hello.encode(&mut frame);
    format!("waddell.2.hello.{}", URL_SAFE_NO_PAD.encode(&frame[20..]))
}

/// A WebSocket client that knows nothing of waddell.
struct Foreign {
    websocket: WebSocketStream<Stream>,
    echoed: Option<String>,
    frames: Vec<Vec<u8>>,
}

impl Foreign {
    async fn connect(server: &TestServer, via: Via, offers: &str) -> Self {
        let mut request = "ws://localhost/ws".into_client_request().expect("it is a URL");
        let offers = offers.parse().expect("it is a header");
        request.headers_mut().insert("sec-websocket-protocol", offers);
        let opened = soon(client_async(request, server.dial(via).await)).await;
        let (websocket, response) = opened.expect("the server echoes an offered name");
        let echoed = response.headers().get("sec-websocket-protocol");
        let echoed = echoed.map(|name| name.to_str().expect("it is text").to_owned());
        Self { websocket, echoed, frames: Vec::new() }
    }

    /// Returns the next frame's payload.
    async fn receive(&mut self) -> MessageIn {
        while self.frames.is_empty() {
            let received = soon(self.websocket.next()).await.expect("it goes on");
            if let Message::Binary(bytes) = received.expect("it works") {
                let (frames, rest) = split_frames(&bytes);
                assert!(rest.is_empty());
                self.frames.extend(frames.into_iter().map(<[u8]>::to_vec));
            }
        }
        MessageIn::decode(&Bytes::from(self.frames.remove(0)).slice(2..)).expect("it has a header")
    }

    async fn send(&mut self, frames: Vec<u8>) {
        soon(self.websocket.send(Message::binary(frames))).await.expect("it works");
    }
}

fn welcome(message: &MessageIn) -> Welcome<'_> {
    assert_eq!((message.from, message.topic), (PeerId::NIL, TopicId::CONTROL));
    match Notice::decode(&message.body) {
        Ok(Notice::Welcome(welcome)) => welcome,
        other => panic!("{other:?} is no WELCOME"),
    }
}

#[tokio::test]
async fn a_client_that_knows_no_waddell_says_hello_in_the_names_that_it_offers() {
    let server = TestServer::start();
    for via in Via::ALL.into_iter().filter(|via| via.is_websocket()) {
        let hello = Hello { first_number: 7, ..Hello::new(ALL) };
        let offers = format!("waddell.2, {}, waddell", name(&hello));
        let mut client = Foreign::connect(&server, via, &offers).await;
        assert_eq!(client.echoed.as_deref(), Some("waddell.2"), "{via:?}");
        let greeting = client.receive().await;
        let answer = client.receive().await;
        assert_eq!(welcome(&answer).id, greeting.from);
        assert!(welcome(&answer).reads_hello_in_upgrade);
        // Its stream begins with the frame after HELLO.
        let mut sync = message(greeting.from, 1, b"to myself");
        Request::Sync { seen: 0 }.encode(&mut sync);
        client.send(sync).await;
        let mut received = [client.receive().await, client.receive().await];
        received.sort_by_key(|message| message.from);
        assert_eq!(
            Notice::decode(&received[0].body),
            Ok(Notice::Handled(Handled { upto: 8, complete: true }))
        );
        assert_eq!(received[1].body, &b"to myself"[..]);
    }
}

#[tokio::test]
async fn an_id_is_resumed_in_the_upgrade() {
    let server = TestServer::start();
    let before = Extended::connect(&server, Via::Ws).await;
    let token = before.token();
    let hello = Hello { resume_token: Some(&token), ..Hello::new(ALL) };
    let offers = format!("{}, waddell.2", name(&hello));
    let mut client = Foreign::connect(&server, Via::Ws, &offers).await;
    client.receive().await;
    let answer = client.receive().await;
    assert_eq!((welcome(&answer).id, welcome(&answer).resumed), (before.id, true));
}

#[tokio::test]
async fn what_is_no_hello_is_answered_as_by_a_server_that_does_not_read_it() {
    let server = TestServer::start();
    let good = name(&Hello::new(ALL));
    let credentials = [7; 3_072];
    let too_long = name(&Hello { credentials: Some(&credentials), ..Hello::new(ALL) });
    for malformed in [&good[..good.len() - 1], &format!("{good}!"), &too_long, "waddell.2.hello."] {
        let offers = format!("waddell.2, {malformed}, waddell");
        let mut client = Foreign::connect(&server, Via::Ws, &offers).await;
        assert_eq!(client.echoed.as_deref(), Some("waddell"), "{malformed}");
        let greeting = client.receive().await;
        // HELLO may still come in the stream.
        let mut hello = Vec::new();
        Hello::new(ALL).encode(&mut hello);
        client.send(hello).await;
        assert_eq!(welcome(&client.receive().await).id, greeting.from);
    }
    assert_eq!(server.metrics().peers_extended, 4);
}

#[tokio::test]
async fn a_second_hello_in_the_stream_is_late() {
    let server = TestServer::start();
    let mut hello = Vec::new();
    Hello::new(ALL).encode(&mut hello);
    let offers = format!("waddell.2, {}", name(&Hello::new(ALL)));
    let mut client = Foreign::connect(&server, Via::Wss, &offers).await;
    client.receive().await;
    client.receive().await;
    client.send(hello).await;
    let dropped = client.receive().await;
    assert!(matches!(Notice::decode(&dropped.body), Ok(Notice::Dropped(_))));
    assert_eq!(server.metrics().peers_extended, 1);
}

#[tokio::test]
async fn with_the_extension_off_hello_in_the_upgrade_is_not_read() {
    let server = TestServer::start_with(|config| config.extension.enabled = false);
    let offers = format!("waddell.2, {}, waddell", name(&Hello::new(ALL)));
    let mut client = Foreign::connect(&server, Via::Ws, &offers).await;
    assert_eq!(client.echoed.as_deref(), Some("waddell"));
    let id = client.receive().await.from;
    client.send(message(id, 1, b"to myself")).await;
    assert_eq!(client.receive().await.body, &b"to myself"[..]);
    assert_eq!(server.metrics().frames_in, 1);
}

#[tokio::test]
async fn only_websockets_are_told_that_hello_is_read_in_the_upgrade() {
    let server = TestServer::start();
    for via in Via::ALL {
        let peer = Extended::connect(&server, via).await;
        assert_eq!(peer.welcome().reads_hello_in_upgrade, via.is_websocket(), "{via:?}");
    }
}

#[tokio::test]
async fn a_refused_upgrade_says_no_hello() {
    let server = TestServer::start_with(|config| {
        config.http.origins = vec!["https://example.org".to_owned()];
    });
    let mut stream = server.dial(Via::Ws).await;
    let hello = name(&Hello::new(ALL));
    let request =
        format!("{UPGRADE}\norigin: https://other.org\nsec-websocket-protocol: waddell.2, {hello}");
    let response = ask(&mut stream, &request).await;
    assert_eq!(response.status, 403);
    assert_eq!(response.header("sec-websocket-protocol"), None);
    assert_eq!(server.metrics().peers_connected, 0);
}
