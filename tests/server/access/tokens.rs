//! Clients with tokens, and without.

use waddell_core::{Capabilities, Hello, MessageIn};
use waddell_server::{AllowLegacy, ServerConfig};
use waddell_tests::transport::Via;

use super::{ALICE, BOB, Tokens, assert_refused, connect, encoded, hello, refused};
use crate::support::admin::{get, serve_operators};
use crate::support::extended::{ALL, Extended};
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::{soon, until};

#[tokio::test]
async fn a_client_with_a_token_is_admitted_on_every_transport() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let mut bob = connect(&server, Via::Tcp, BOB).await;
    for via in Via::ALL {
        let mut alice = connect(&server, via, ALICE).await;
        assert!(alice.welcome().granted.contains(Capabilities::AUTH), "{via:?}");
        assert_eq!(alice.welcome().credentials_expire_in, None);
        alice.send(bob.id, 1, b"hello").await;
        assert_eq!(bob.message().await.from, alice.id);
        bob.send(alice.id, 1, b"hello").await;
        assert_eq!(alice.message().await.from, bob.id);
    }
    assert_eq!(server.metrics().peers_connected, 1 + Via::ALL.len() as u64);
}

#[tokio::test]
async fn frames_after_hello_are_handled_once_the_client_is_admitted() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let mut bob = connect(&server, Via::Ws, BOB).await;
    for via in Via::ALL {
        let frames = [encoded(&hello(ALICE)), message(bob.id, 1, &[7; 9_000])].concat();
        for piece in [1_000, frames.len()] {
            let mut pieces = frames.chunks(piece);
            let first = pieces.next().expect("there is one");
            let mut alice = Peer::ungreeted(server.dial(via).await, via, first).await;
            for piece in pieces {
                alice.send_bytes(piece).await;
            }
            let greeting = alice.receive().await;
            let received = bob.message().await;
            assert_eq!((received.from, received.body.len()), (greeting.from, 9_000), "{via:?}");
        }
    }
}

#[tokio::test]
async fn wrong_credentials_and_none_are_refused_instead_of_the_greeting() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        serve_operators(config);
    });
    for via in Via::ALL {
        assert_refused(&server, via, &hello(b"token-of-alice-1"), 4500).await;
        let late = Hello { first_number: 77, ..Hello::new(ALL) };
        assert_refused(&server, via, &late, 4500).await;
    }
    until(|| server.metrics().handshakes_failed == 2 * Via::ALL.len() as u64).await;
    let metrics = server.metrics();
    assert_eq!((metrics.peers_connected, metrics.peers_disconnected), (0, 0));
    assert_eq!(metrics.peers_extended, 0);
    let page = get(&server, "/metrics").await;
    let count = Via::ALL.len();
    for line in [
        format!("waddell_auth_total{{result=\"unauthorized\"}} {count}"),
        format!("waddell_auth_total{{result=\"missing\"}} {count}"),
        format!("waddell_handshakes_failed_total{{reason=\"unauthorized\"}} {}", 2 * count),
    ] {
        assert!(page.text().contains(&line), "{line}\n{}", page.text());
    }
}

#[tokio::test]
async fn a_client_that_says_no_hello_gets_nothing_but_the_close() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let mut malformed = encoded(&hello(ALICE));
    malformed[25] = 1;
    for via in Via::ALL {
        for first in [&b"\x01\0k"[..], &message(server_id(), 1, b"hi"), &malformed] {
            let (said, close_code) = refused(&server, via, first).await;
            assert_eq!(said, [], "{via:?}");
            assert_eq!(close_code, via.is_websocket().then_some(4501), "{via:?}");
        }
    }
    assert_eq!(server.metrics().frames_in, 0);
}

#[tokio::test]
async fn clients_without_credentials_are_admitted_where_the_operator_allows_it() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        config.access.allow_legacy = AllowLegacy::Networks(vec![
            "10.0.0.0/8".parse().expect("it is a network"),
            "127.0.0.0/8".parse().expect("it is a network"),
        ]);
    });
    let mut alice = connect(&server, Via::Tcp, ALICE).await;
    for via in Via::ALL {
        // Another frame first; the timeout of silence is an hour.
        let frames = message(alice.id, 1, b"first");
        let mut legacy = Peer::over_saying(server.dial(via).await, via, &frames).await;
        let received = alice.message().await;
        assert_eq!((received.from, &received.body[..]), (legacy.id, &b"first"[..]), "{via:?}");
        legacy.echo().await;
        // A HELLO without credentials.
        let mut extended = Extended::connect(&server, via).await;
        assert!(!extended.welcome().granted.contains(Capabilities::AUTH));
        extended.echo().await;
        assert_refused(&server, via, &hello(b"token-of-alice-1"), 4500).await;
    }
    // A frame that is too long for a HELLO is none, before it is complete.
    let frame = message(alice.id, 1, &[7; 60_000]);
    let stream = server.dial(Via::Tcp).await;
    let (begin, rest) = frame.split_at(20_000);
    let mut legacy = Peer::over_saying(stream, Via::Tcp, begin).await;
    legacy.send_bytes(rest).await;
    assert_eq!(alice.message().await.body.len(), 60_000);
}

#[tokio::test]
async fn a_client_in_no_allowed_network_needs_credentials() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        let network = "10.0.0.0/8".parse().expect("it is a network");
        config.access.allow_legacy = AllowLegacy::Networks(vec![network]);
    });
    assert_eq!(refused(&server, Via::Tcp, b"\x01\0k").await.0, []);
    assert_refused(&server, Via::Tcp, &Hello::new(ALL), 4500).await;
}

#[tokio::test]
async fn a_reload_changes_who_is_admitted_and_disconnects_no_peer() {
    let tokens = Tokens::new();
    let server = TestServer::start();
    let mut before = Extended::connect(&server, Via::Tcp).await;
    let reload = |change: &dyn Fn(&mut ServerConfig)| {
        let mut config =
            ServerConfig { identity: Some(server.identity.clone()), ..ServerConfig::default() };
        change(&mut config);
        server.handle.reload(&config).map(drop).map_err(|error| error.to_string())
    };
    reload(&|config| tokens.require(config)).expect("it can be used");
    assert_refused(&server, Via::Ws, &Hello::new(ALL), 4500).await;
    let mut alice = connect(&server, Via::Ws, ALICE).await;
    before.echo().await;

    std::fs::write(tokens.0.path(), "alice short").expect("it can be written");
    let error = reload(&|config| tokens.require(config)).expect_err("a token is too short");
    assert!(error.starts_with("--auth-tokens "), "{error}");
    assert!(!error.contains("short"), "{error}");
    connect(&server, Via::Tcp, BOB).await;

    std::fs::write(tokens.0.path(), "").expect("it can be written");
    reload(&|config| tokens.require(config)).expect("it can be used");
    assert_refused(&server, Via::Ws, &hello(BOB), 4500).await;
    alice.echo().await;

    let error = reload(&|config| {
        tokens.require(config);
        config.extension.enabled = false;
    });
    let error = error.expect_err("clients could not authenticate themselves");
    assert!(error.starts_with("--extension off"), "{error}");
    reload(&|_| {}).expect("it can be used");
    Peer::connect(&server, Via::Ws).await.echo().await;
}

/// On a server without authentication, the greeting comes at once and credentials are not read.
#[tokio::test]
async fn without_authentication_credentials_mean_nothing() {
    let server = TestServer::start();
    let mut peer = connect(&server, Via::Tcp, b"anything").await;
    assert!(!peer.welcome().granted.contains(Capabilities::AUTH));
    peer.echo().await;
    let mut stream = server.connect("tcp").await;
    let mut greeting = [0; 20];
    soon(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut greeting)).await.expect("it comes");
    assert!(MessageIn::decode(&greeting[2..]).is_ok());
}

fn server_id() -> waddell_core::PeerId {
    waddell_core::PeerId::from_random([9; 16])
}
