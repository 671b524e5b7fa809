//! Clients that try to get in without good credentials, or to cost the server much.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio::io::AsyncWriteExt;
use waddell_core::Hello;
use waddell_tests::transport::Via;

use super::{ALICE, Tokens, assert_refused, connect, encoded, file, hello};
use crate::support::extended::{ALL, Extended};
use crate::support::http::{UPGRADE, ask};
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::until;
use crate::support::websocket::{FIN, PING, PONG, masked, read_frame};

/// Returns a JSON Web Token whose signature `sign` makes.
fn jwt(algorithm: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
    let [header, claims] = [&*header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{claims}");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()))).into_bytes()
}

/// Returns claims that expire in that many seconds from now.
fn claims(subject: &str, expires_in: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    format!(r#"{{"sub":"{subject}","exp":{}}}"#, now as i64 + expires_in)
}

fn hs256(key: &[u8], signed: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed).as_ref().to_vec()
}

#[tokio::test]
async fn the_algorithm_of_a_token_is_that_of_the_key_and_its_time_is_checked() {
    let key = Ed25519KeyPair::generate().expect("there are random numbers");
    let public = key.public_key().as_ref();
    // The 12 bytes of RFC 8410 say that it is an Ed25519 key.
    let der = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], public].concat();
    let text = STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    let keys = file(&pem);
    let server = TestServer::start_with(|config| {
        config.access.keys = Some(keys.path().to_owned());
    });
    let good = |signed: &[u8]| key.sign(signed).as_ref().to_vec();
    let token = jwt("EdDSA", &claims("alice", 3_600), good);
    for via in Via::ALL {
        let peer = connect(&server, via, &token).await;
        let left = peer.welcome().credentials_expire_in.expect("it has an end");
        assert!((3_500..=3_600).contains(&left), "{left}");
    }
    let alice = claims("alice", 3_600);
    let mut changed = token.clone();
    let last = changed.last_mut().expect("it is long");
    *last = if *last == b'A' { b'B' } else { b'A' };
    for (what, forged) in [
        ("no signature", jwt("none", &alice, |_| Vec::new())),
        ("another name of none", jwt("None", &alice, |_| Vec::new())),
        ("the public key's bytes as a secret", jwt("HS256", &alice, |it| hs256(public, it))),
        ("its PEM as a secret", jwt("HS256", &alice, |it| hs256(pem.as_bytes(), it))),
        ("its DER as a secret", jwt("HS256", &alice, |it| hs256(&der, it))),
        ("the name of another algorithm", jwt("ES256", &alice, good)),
        ("a signature of another token", changed),
        ("expired", jwt("EdDSA", &claims("alice", -3_600), good)),
        ("no end", jwt("EdDSA", r#"{"sub":"alice"}"#, good)),
        ("not a token", b"..".to_vec()),
    ] {
        let (said, _) = super::refused(&server, Via::Tcp, &encoded(&hello(&forged))).await;
        assert_eq!(super::closing(&said).code.0, 4500, "{what}");
    }
    // A random number is no token either.
    let mut noise = [0; 4_096];
    aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut noise).expect("there are");
    assert_refused(&server, Via::Wss, &hello(&noise), 4500).await;
}

#[tokio::test]
async fn a_refused_client_learns_no_id_and_reaches_no_peer() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let mut alice = connect(&server, Via::Tcp, ALICE).await;
    let token = alice.token();
    for via in Via::ALL {
        // It even has a resume token, and sends messages at once.
        let stolen = Hello { resume_token: Some(&token), ..Hello::new(ALL) };
        let frames = [encoded(&stolen), message(alice.id, 1, b"let me in").repeat(10)].concat();
        let (said, _) = super::refused(&server, via, &frames).await;
        assert_eq!(super::closing(&said).code.0, 4500, "{via:?}");
    }
    assert_eq!(alice.sync().await.1.upto, 1);
    assert_eq!(server.metrics().frames_forwarded, 0);
    let own = Hello { resume_token: Some(&token), ..hello(ALICE) };
    let next = Extended::over(server.dial(Via::Tcp).await, Via::Tcp, &own).await;
    assert!(next.welcome().resumed, "the token was not used up");
}

#[tokio::test]
async fn squatters_count_as_connections_and_leave_room_for_none_of_their_own() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| {
        tokens.require(config);
        config.limits.max_connections_per_address = 8;
        config.timeouts.handshake = Duration::from_secs(2);
    });
    let mut squatters = Vec::new();
    for _ in 0..8 {
        squatters.push(server.connect("tcp").await);
    }
    until(|| server.metrics().connections_accepted == 8).await;
    let mut more = server.connect("tcp").await;
    let mut byte = [0];
    let read = crate::support::soon(tokio::io::AsyncReadExt::read(&mut more, &mut byte)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "it is refused");
    // They are cut, whatever they send.
    for squatter in &mut squatters {
        squatter.write_all(b"\x00").await.expect("it is connected");
    }
    until(|| server.metrics().handshakes_failed == 8).await;
    drop(squatters);
    let mut alice = loop {
        let stream = server.dial(Via::Tcp).await;
        let mut peer = Peer::ungreeted(stream, Via::Tcp, &encoded(&hello(ALICE))).await;
        // The last of them are still being closed.
        if let Ok(Some(greeting)) = peer.try_receive().await {
            peer.id = greeting.from;
            break peer;
        }
    };
    alice.receive().await;
    alice.echo().await;
}

#[tokio::test]
async fn a_lobby_answers_pings_and_reads_on() {
    let tokens = Tokens::new();
    let server = TestServer::start_with(|config| tokens.require(config));
    let mut stream = server.dial(Via::Ws).await;
    assert_eq!(ask(&mut stream, UPGRADE).await.status, 101);
    for _ in 0..100 {
        stream.write_all(&masked(FIN | PING, b"here")).await.expect("it is connected");
        stream.flush().await.expect("it is connected");
        assert_eq!(read_frame(&mut stream).await, (FIN | PONG, b"here".to_vec()));
    }
    // HELLO in three messages, with a ping between them.
    let hello = encoded(&hello(ALICE));
    let mut bytes = masked(FIN | crate::support::websocket::BINARY, &hello[..10]);
    bytes.extend(masked(crate::support::websocket::BINARY, &hello[10..11]));
    bytes.extend(masked(FIN | PING, b"still"));
    bytes.extend(masked(FIN, &hello[11..]));
    for byte in bytes.chunks(1) {
        stream.write_all(byte).await.expect("it is connected");
        stream.flush().await.expect("it is connected");
    }
    assert_eq!(read_frame(&mut stream).await, (FIN | PONG, b"still".to_vec()));
    let (_, greeting) = read_frame(&mut stream).await;
    assert_eq!(greeting[..2], [18, 0]);
}
