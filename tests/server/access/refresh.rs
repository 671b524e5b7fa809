//! Clients that show new credentials while they are connected, and those that do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use waddell_core::{CloseCode, Notice, Request};
use waddell_tests::transport::Via;

use super::service::Service;
use super::{ALICE, BOB, Tokens, connect};
use crate::support::extended::Extended;
use crate::support::peer::message;
use crate::support::server::TestServer;

/// Shows new credentials. Returns for how many seconds they are good.
async fn authorize(peer: &mut Extended, credentials: &[u8]) -> u32 {
    peer.request(Request::Auth(credentials)).await;
    let notice = peer.notice().await;
    match Notice::decode(&notice) {
        Ok(Notice::Authorized { expires_in }) => expires_in,
        other => panic!("{other:?} came instead of AUTHORIZED"),
    }
}

async fn last_code(peer: &mut Extended) -> CloseCode {
    let notices = peer.last_notices().await;
    match Notice::decode(notices.last().expect("there is one")) {
        Ok(Notice::Closing(closing)) => closing.code,
        other => panic!("{other:?} came last"),
    }
}

#[tokio::test]
async fn new_credentials_of_the_same_subject_are_taken_and_others_end_the_connection() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    for (via, other) in [(Via::Tcp, BOB), (Via::Ws, &b"token-of-alice-1"[..])] {
        let mut alice = connect(&server, via, ALICE).await;
        assert_eq!(authorize(&mut alice, ALICE).await, 0, "they do not expire");
        alice.echo().await;
        alice.request(Request::Auth(other)).await;
        assert_eq!(last_code(&mut alice).await, CloseCode::UNAUTHORIZED);
        assert_eq!(alice.close_code(), via.is_websocket().then_some(Some(4500)));
    }
    assert_eq!(server.metrics().peers_unauthorized, 2);
}

#[tokio::test]
async fn few_attempts_at_once_are_answered() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let mut alice = connect(&server, Via::Tcp, ALICE).await;
    let mut attempts = Vec::new();
    for _ in 0..20 {
        Request::Auth(ALICE).encode(&mut attempts);
    }
    let before = server.metrics();
    alice.send_bytes(&attempts).await;
    for _ in 0..3 {
        let notice = alice.notice().await;
        assert_eq!(Notice::decode(&notice), Ok(Notice::Authorized { expires_in: 0 }));
    }
    alice.sync().await;
    let ignored = server.metrics().controls_ignored - before.controls_ignored;
    assert!((16..=17).contains(&ignored), "{ignored}");
}

#[tokio::test]
async fn a_connection_ends_ten_seconds_after_its_credentials_have_expired() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let service = Service::start(move |_| {
        let seconds = if counted.fetch_add(1, Relaxed) == 0 { 1 } else { 3 };
        Some((200, format!(r#"{{"allow":true,"expires_in":{seconds}}}"#)))
    });
    let server = TestServer::start_with(|config| service.ask(config));
    let mut client = connect(&server, Via::Ws, b"any").await;
    assert_eq!(client.welcome().credentials_expire_in, Some(1));
    // Frames after AUTH are handled after it is answered.
    let mut frames = Vec::new();
    Request::Auth(b"other").encode(&mut frames);
    frames.extend(message(client.id, 1, b"after"));
    client.send_bytes(&frames).await;
    let notice = client.notice().await;
    assert_eq!(Notice::decode(&notice), Ok(Notice::Authorized { expires_in: 3 }));
    assert_eq!(client.message().await.body, &b"after"[..]);
    assert_eq!(last_code(&mut client).await, CloseCode::CREDENTIALS_EXPIRED);
    assert_eq!(client.close_code(), Some(Some(4002)));
    assert_eq!(server.metrics().peers_expired, 1);
    assert_eq!(calls.load(Relaxed), 2);
}

#[tokio::test]
async fn a_service_that_does_not_decide_keeps_the_present_credentials() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let service = Service::start(move |_| {
        let status = if counted.fetch_add(1, Relaxed) == 0 { 200 } else { 500 };
        Some((status, r#"{"allow":true,"expires_in":3600}"#.to_owned()))
    });
    let server = TestServer::start_with(|config| service.ask(config));
    let mut client = connect(&server, Via::Tcp, b"any").await;
    let left = authorize(&mut client, b"any").await;
    assert!((3_500..=3_600).contains(&left), "{left}");
    client.echo().await;
}
