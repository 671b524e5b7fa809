//! What belongs to the subject of credentials: ids that are resumed, and limits.

use waddell_core::{Hello, NotResumed, WelcomeRate};
use waddell_tests::transport::Via;

use super::service::Service;
use super::{ALICE, BOB, Tokens, assert_refused, connect, hello};
use crate::support::admin::{get, serve_operators};
use crate::support::extended::Extended;
use crate::support::server::TestServer;
use crate::support::{soon, until};

#[tokio::test]
async fn an_id_is_resumed_with_credentials_of_the_same_subject_only() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let alice = connect(&server, Via::Tcp, ALICE).await;
    let token = alice.token();
    for away in [false, true] {
        let stolen = Hello { resume_token: Some(&token), ..hello(BOB) };
        let bob = Extended::over(server.dial(Via::Ws).await, Via::Ws, &stolen).await;
        assert_eq!(bob.welcome().not_resumed, Some(NotResumed::OtherSubject), "{away}");
        assert_ne!(bob.id, alice.id);
    }
    let own = Hello { resume_token: Some(&token), ..hello(ALICE) };
    let next = Extended::over(server.dial(Via::Ws).await, Via::Ws, &own).await;
    assert_eq!((next.id, next.welcome().resumed), (alice.id, true));
}

#[tokio::test]
async fn a_subject_has_no_more_connections_than_allowed() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        config.access.max_connections_per_subject = 2;
    });
    let first = connect(&server, Via::Tcp, ALICE).await;
    let _second = connect(&server, Via::Wss, ALICE).await;
    for via in [Via::Tcp, Via::Ws] {
        assert_refused(&server, via, &hello(ALICE), 4004).await;
    }
    let _bob = connect(&server, Via::Tcp, BOB).await;
    drop(first);
    until(|| server.handle.peers() == 2).await;
    // The place is free once the connection has ended, which is just after it is unlisted.
    until(|| server.metrics().peers_disconnected == 1).await;
    connect(&server, Via::Tcp, ALICE).await;
}

#[tokio::test]
async fn a_connection_that_is_taken_over_gives_up_its_place() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        config.access.max_connections_per_subject = 1;
    });
    let mut alice = connect(&server, Via::Tcp, ALICE).await;
    let id = alice.id;
    for via in [Via::Ws, Via::Tcp] {
        let token = alice.token();
        let own = Hello { resume_token: Some(&token), ..hello(ALICE) };
        let next = Extended::over(server.dial(via).await, via, &own).await;
        assert_eq!((next.id, next.welcome().resumed), (id, true));
        let old = std::mem::replace(&mut alice, next);
        alice.handled().await;
        alice.echo().await;
        drop(old);
        until(|| server.handle.peers() == 1).await;
        assert_refused(&server, via, &hello(ALICE), 4004).await;
        // A token that is no good takes over nothing.
        let forged = Hello { resume_token: Some(&[7; 70]), ..hello(ALICE) };
        assert_refused(&server, via, &forged, 4004).await;
    }
    drop(alice);
    until(|| server.metrics().peers_disconnected == 3).await;
    connect(&server, Via::Tcp, ALICE).await;
}

#[tokio::test]
async fn a_connection_that_may_not_take_over_needs_a_place_of_its_own() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        serve_operators(config);
        config.access.max_connections_per_subject = 1;
    });
    let mut alice = connect(&server, Via::Tcp, ALICE).await;
    let started = std::time::Instant::now();
    for _ in 0..3 {
        let token = alice.token();
        let own = Hello { resume_token: Some(&token), ..hello(ALICE) };
        alice = Extended::over(server.dial(Via::Tcp).await, Via::Tcp, &own).await;
        alice.handled().await;
    }
    let token = alice.token();
    let contested = Hello { resume_token: Some(&token), first_number: 5, ..hello(ALICE) };
    if started.elapsed() < std::time::Duration::from_secs(9) {
        assert_refused(&server, Via::Ws, &contested, 4004).await;
    }
    alice.echo().await;
    until(|| server.handle.peers() == 1).await;
    drop(alice);
    until(|| server.handle.peers() == 0).await;
    let none = "waddell_peers_extended 0\n";
    soon(async { while !get(&server, "/metrics").await.text().contains(none) {} }).await;
}

#[tokio::test]
async fn credentials_tighten_the_limits_of_their_holder() {
    let service = Service::start(|_| {
        Some((
            200,
            r#"{"allow":true,"subject":"carol","max_connections":1,"rate_frames":50}"#.to_owned(),
        ))
    });
    let server = TestServer::start_with(|config| service.ask(config));
    let mut carol = connect(&server, Via::Tcp, b"any").await;
    assert_eq!(carol.welcome().rate, Some(WelcomeRate { frames: 50, bytes: 0 }));
    assert_refused(&server, Via::Tcp, &hello(b"any"), 4004).await;
    // More than a second's worth at once, in reads of 2 KiB.
    let frames = b"\x01\0k".repeat(5_000);
    carol.send_bytes(&frames[..6_000]).await;
    until(|| server.metrics().peers_paused > 0).await;
}
