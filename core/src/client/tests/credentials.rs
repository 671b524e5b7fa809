//! Credentials: with HELLO, while connected, and when the server refuses them.

use super::extension::{extended_config, requests};
use super::*;
use crate::control::hello::Welcome;
use crate::control::notice::{Closing, Notice};
use crate::control::{Capabilities, CloseCode};

const NOW: Instant = Instant::EPOCH;
const GRANTED: Capabilities = Capabilities::VERDICTS.with(Capabilities::AUTH);

#[test]
fn credentials_go_with_every_hello_and_stay_secret() {
    let mut client = client_with(Credentials::Fixed);
    client.set_credentials(b"open sesame").unwrap();
    for _connection in 0..2 {
        client.handle_connected(NOW);
        assert!(requests(&mut client).concat().contains("has_credentials: true"));
        client.handle_disconnected(NOW);
        client.retry_now(NOW);
    }
    assert!(!format!("{client:?}").contains("111, 112, 101, 110"), "they stay secret");
}

#[test]
fn credentials_must_have_a_length_that_fits() {
    let mut client = client_with(Credentials::Fixed);
    for len in [0, 4_097] {
        let error = Err(BadCredentials { len });
        assert_eq!(client.set_credentials(&vec![1; len]), error);
        assert_eq!(client.authenticate(&vec![1; len]), error);
    }
    client.set_credentials(&[1; 4_096]).unwrap();
    client.handle_connected(NOW);
    assert_eq!(requests(&mut client).len(), 1);
}

#[test]
fn new_credentials_are_due_at_four_fifths_of_their_time() {
    let mut client = authorized(Credentials::Renewable, Some(100));
    assert_eq!(client.poll_timeout(), Some(at(80.0)));
    client.handle_timeout(at(80.0));
    assert_eq!(drain(&mut client), ["CredentialsDue"]);
    assert_eq!(client.poll_timeout(), None, "it asks once");
    client.authenticate(b"new").unwrap();
    assert_eq!(requests(&mut client), ["Auth(..)"]);
    receive(&mut client, Notice::Authorized { expires_in: 50 }, at(81.0));
    assert_eq!(client.poll_timeout(), Some(at(121.0)));
    receive(&mut client, Notice::Authorized { expires_in: 0 }, at(82.0));
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn nothing_is_due_where_nothing_expires_or_nothing_new_can_be_had() {
    assert_eq!(authorized(Credentials::Renewable, None).poll_timeout(), None);
    assert_eq!(authorized(Credentials::Fixed, Some(100)).poll_timeout(), None);
    // What was due on a connection ends with it.
    let mut client = authorized(Credentials::Renewable, Some(100));
    client.handle_disconnected(NOW);
    client.retry_now(NOW);
    greet(&mut client, NOW);
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn expired_credentials_are_replaced_if_that_is_possible() {
    for (credentials, state) in [
        (Credentials::None, ClientState::Closed),
        (Credentials::Fixed, ClientState::Closed),
        (Credentials::Renewable, ClientState::Waiting),
    ] {
        let mut client = authorized(credentials, Some(100));
        receive(&mut client, closing(CloseCode::CREDENTIALS_EXPIRED), NOW);
        assert_eq!(client.state(), state, "{credentials:?}");
    }
}

#[test]
fn refused_credentials_are_replaced_once_in_a_row() {
    for (credentials, dials) in
        [(Credentials::None, 1), (Credentials::Fixed, 1), (Credentials::Renewable, 2)]
    {
        let mut client = client_with(credentials);
        for dial in 1..=dials {
            client.handle_connected(NOW);
            receive(&mut client, closing(CloseCode::UNAUTHORIZED), NOW);
            let closed = client.state() == ClientState::Closed;
            assert_eq!(closed, dial == dials, "{credentials:?}, {dial}");
            client.retry_now(NOW);
        }
    }
    // Credentials that were taken in between make it another row.
    let mut client = client_with(Credentials::Renewable);
    for _round in 0..5 {
        client.handle_connected(NOW);
        receive(&mut client, closing(CloseCode::UNAUTHORIZED), NOW);
        client.retry_now(NOW);
        greet(&mut client, NOW);
        client.handle_disconnected(NOW);
        client.retry_now(NOW);
    }
    assert_eq!(client.state(), ClientState::Connecting);
}

#[test]
fn client_without_credentials_can_be_closed_for_good() {
    let mut client = client_with(Credentials::Renewable);
    drain(&mut client);
    client.refuse_credentials();
    assert_eq!(drain(&mut client), ["HangUp", "Closed(NoCredentials)"]);
    client.refuse_credentials();
    assert_eq!(drain(&mut client), [""; 0]);
}

fn client_with(credentials: Credentials) -> Client {
    Client::new(ClientConfig { credentials, ..extended_config() }, NOW)
}

/// Returns a drained client whose credentials expire in so many seconds.
fn authorized(credentials: Credentials, expire_in: Option<u32>) -> Client {
    let mut client = client_with(credentials);
    greet(&mut client, NOW);
    let welcome = Welcome::new(GRANTED, peer_id(1), 1000);
    let welcome = Welcome { credentials_expire_in: expire_in, ..welcome };
    receive(&mut client, Notice::Welcome(welcome), NOW);
    drain(&mut client);
    client
}

fn closing(code: CloseCode) -> Notice<'static> {
    Notice::Closing(Closing { code, handled: 0, reason: "no" })
}

fn receive(client: &mut Client, notice: Notice<'_>, now: Instant) {
    let mut bytes = vec![];
    notice.encode(&mut bytes);
    client.handle_bytes(&mut bytes, now);
}
