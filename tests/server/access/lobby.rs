//! Connections that wait for the admission of their client.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waddell_core::{Hello, Notice, Request};
use waddell_server::AllowLegacy;
use waddell_tests::transport::Via;

use super::{ALICE, BOB, Tokens, closing, connect, encoded, hello};
use crate::support::extended::{ALL, Extended};
use crate::support::http::{UPGRADE, ask};
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::websocket::{BINARY, CLOSE, FIN, masked, read_frame};
use crate::support::{soon, until};

#[tokio::test]
async fn greeting_and_welcome_come_together_with_the_resumed_id() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    for via in [Via::Tcp, Via::Ws] {
        let alice = connect(&server, via, ALICE).await;
        let (id, token) = (alice.id, alice.token());
        // Once while the first connection is open, and once after its end.
        let hello = Hello { resume_token: Some(&token), ..hello(ALICE) };
        let taken_over = Extended::over(server.dial(via).await, via, &hello).await;
        let token = taken_over.token();
        drop((alice, taken_over));
        until(|| server.handle.peers() == 0).await;
        let hello = Hello { resume_token: Some(&token), ..super::hello(ALICE) };
        let mut peer = Peer::over_saying(server.dial(via).await, via, &encoded(&hello)).await;
        assert_eq!(peer.id, id, "the greeting bears the resumed id");
        let welcome = peer.receive().await;
        let Ok(Notice::Welcome(welcome)) = Notice::decode(&welcome.body) else { panic!("{via:?}") };
        assert_eq!((welcome.id, welcome.resumed), (id, true));
    }
    // In one WebSocket message, so they were in one write.
    let mut stream = server.dial(Via::Ws).await;
    let offers = format!("waddell.2.hello.{}", URL_SAFE_NO_PAD.encode(&encoded(&hello(BOB))[20..]));
    let request = format!("{UPGRADE}\nsec-websocket-protocol: waddell.2, {offers}");
    let response = ask(&mut stream, &request).await;
    assert_eq!(response.header("sec-websocket-protocol"), Some("waddell.2"));
    let (_, message) = read_frame(&mut stream).await;
    assert_eq!(message[..2], [18, 0]);
    assert_eq!(message[22..38], [0; 16], "WELCOME is from the nil id");
}

#[tokio::test]
async fn wrong_credentials_in_the_upgrade_are_refused_in_the_stream() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let mut stream = server.dial(Via::Ws).await;
    let wrong = encoded(&hello(b"token-of-alice-1"));
    let offers = format!("waddell.2.hello.{}", URL_SAFE_NO_PAD.encode(&wrong[20..]));
    let response =
        ask(&mut stream, &format!("{UPGRADE}\nsec-websocket-protocol: waddell.2, {offers}")).await;
    assert_eq!(response.status, 101);
    let (_, message) = read_frame(&mut stream).await;
    let said = [waddell_core::MessageIn::decode(&message[2..]).expect("a header")];
    assert_eq!(closing(&said).code.0, 4500);
    let (kind, close) = read_frame(&mut stream).await;
    assert_eq!((kind & 0xf, &close[..2]), (8, &4500_u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn a_silent_client_is_admitted_only_where_the_operator_allows_it() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        config.access.allow_legacy = AllowLegacy::On;
        config.timeouts.auto_silence = Duration::from_millis(20);
    });
    for via in Via::ALL {
        let mut silent = Peer::ungreeted(server.dial(via).await, via, b"").await;
        silent.id = silent.receive().await.from;
        silent.echo().await;
    }
    // It may say HELLO after that, and is what its credentials say.
    for (credentials, is_good) in [(ALICE, true), (&b"token-of-alice-1"[..], false)] {
        let mut slow = Peer::ungreeted(server.dial(Via::Ws).await, Via::Ws, b"").await;
        slow.id = slow.receive().await.from;
        slow.send_bytes(&encoded(&hello(credentials))).await;
        let answer = slow.receive().await;
        match Notice::decode(&answer.body) {
            Ok(Notice::Welcome(welcome)) => assert_eq!((welcome.id, is_good), (slow.id, true)),
            Ok(Notice::Closing(closing)) => assert_eq!((closing.code.0, is_good), (4500, false)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn frames_before_the_end_of_a_connection_are_handled() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let mut bob = connect(&server, Via::Tcp, BOB).await;
    let mut frames = encoded(&hello(ALICE));
    Request::Auth(ALICE).encode(&mut frames);
    frames.extend(message(bob.id, 1, b"good-bye"));
    // All in one read.
    let mut bytes = masked(FIN | BINARY, &frames);
    bytes.extend(masked(FIN | CLOSE, &1000_u16.to_be_bytes()));
    for via in Via::ALL {
        let mut stream = server.dial(via).await;
        if via.is_websocket() {
            assert_eq!(ask(&mut stream, UPGRADE).await.status, 101);
        }
        let bytes = if via.is_websocket() { &bytes } else { &frames };
        soon(stream.write_all(bytes)).await.expect("it is connected");
        soon(stream.shutdown()).await.expect("it is connected");
        assert_eq!(bob.message().await.body, &b"good-bye"[..], "{via:?}");
    }
}

#[tokio::test]
async fn clients_that_wait_in_the_lobby_are_no_peers_and_are_cut_off() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let hello = encoded(&hello(ALICE));
    let mut waiting = Vec::new();
    for via in Via::ALL {
        let stream = server.dial(via).await;
        // All but the last byte of HELLO.
        waiting.push(Peer::ungreeted(stream, via, &hello[..hello.len() - 1]).await);
    }
    // Another client is served meanwhile.
    connect(&server, Via::Tcp, BOB).await.echo().await;
    until(|| server.handle.peers() == 0).await;
    assert_eq!(server.metrics().peers_connected, 1);
    for peer in &mut waiting {
        peer.send_bytes(&hello[hello.len() - 1..]).await;
        peer.id = peer.receive().await.from;
        peer.receive().await;
        peer.echo().await;
    }
    assert_eq!(server.handle.peers(), waiting.len());

    let server = TestServer::start_with(|config| {
        tokens.require(config);
        config.timeouts.handshake = Duration::from_secs(1);
    });
    for via in Via::ALL {
        for begin in [0, 1, hello.len() - 1] {
            // Silence on the auto listener alone would be a timeout before the lobby.
            if begin == 0 && via.is_auto() {
                continue;
            }
            let (said, code) = super::refused(&server, via, &hello[..begin]).await;
            assert_eq!((said, code), (vec![], via.is_websocket().then_some(4501)), "{via:?}");
        }
    }
}

#[tokio::test]
async fn the_end_of_a_drain_cuts_the_lobby() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        config.timeouts.drain = Duration::from_secs(2);
    });
    let mut waiting = server.connect("tcp").await;
    let mut websocket = Peer::ungreeted(server.dial(Via::Ws).await, Via::Ws, b"").await;
    let mut admitted = connect(&server, Via::Tcp, ALICE).await;
    let stopping = server.stop();
    let mut rest = Vec::new();
    soon(waiting.read_to_end(&mut rest)).await.expect("it ends in order");
    assert_eq!(rest, b"");
    assert_eq!(websocket.rest().await, []);
    assert_eq!(websocket.close_code(), Some(Some(1001)));
    admitted.last_notices().await;
    drop((waiting, websocket, admitted));
    let handle = stopping.done().await;
    assert_eq!(handle.metrics().handshakes_failed, 2);
}

#[tokio::test]
async fn hello_is_admitted_on_a_listener_that_detects_the_protocol() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        config.access.allow_legacy = AllowLegacy::On;
        // The listener waits for that time, and the lobby does not wait again.
        config.timeouts.auto_silence = Duration::from_millis(20);
    });
    for via in Via::ALL.into_iter().filter(|via| via.is_auto()) {
        let stream = server.dial(via).await;
        let mut peer = Extended::over(stream, via, &Hello::new(ALL)).await;
        peer.echo().await;
        let mut silent = Peer::ungreeted(server.dial(via).await, via, b"").await;
        silent.id = silent.receive().await.from;
        silent.echo().await;
    }
}
