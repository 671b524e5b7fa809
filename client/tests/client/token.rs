//! Tokens for servers that ask for credentials.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::{Duration, sleep, timeout};
use waddell_client::{Capabilities, Client, ClientConfig, Closed, ConnectError};

use crate::fake_server::{FakeServer, next_id};

const GRANTS: Capabilities = Capabilities::VERDICTS.with(Capabilities::AUTH);

#[tokio::test(start_paused = true)]
async fn token_opens_the_door_on_every_connection() {
    let fake = demanding("sesame");
    let client = Client::connect(fake.config().token("sesame")).await.unwrap();
    let id = client.id().unwrap();
    fake.cut();
    next_id(&client, id).await;
}

#[tokio::test(start_paused = true)]
async fn wrong_token_is_an_error_at_once() {
    let fake = demanding("sesame");
    for config in [fake.config(), fake.config().token("wrong")] {
        let before = fake.dials();
        let error = Client::connect(config).await.unwrap_err();
        assert!(error.to_string().contains("wrong token (code 4500)"), "{error}");
        assert_eq!(fake.dials(), before + 1);
    }
    for unusable in [String::new(), "x".repeat(4_097)] {
        let error = Client::connect(fake.config().token(unusable)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Token(_)), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn provider_is_asked_once_more_if_its_token_is_refused() {
    for (tokens, is_served) in [(&["old", "sesame"][..], true), (&["old", "older"], false)] {
        let fake = demanding("sesame");
        let (config, asked) = providing(&fake, tokens);
        let connected = Client::connect(config).await;
        assert_eq!(connected.is_ok(), is_served, "{connected:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn provider_is_asked_for_a_new_token_before_the_present_one_expires() {
    let fake = demanding("sesame");
    let (config, asked) = providing(&fake, &["sesame"]);
    let client = Client::connect(config.silence_timeout(None)).await.unwrap();
    let id = client.id();
    sleep(Duration::from_secs(1_000)).await;
    // Every 80 s of the 100 s that a token is good for.
    assert_eq!((fake.auths(), asked.load(Ordering::Relaxed)), (12, 13));
    assert_eq!((client.id(), fake.dials()), (id, 1));
}

#[tokio::test(start_paused = true)]
async fn provider_that_fails_counts_as_a_failed_dial() {
    let fake = demanding("sesame");
    let config = fake.config().reconnect_attempts(2);
    let error = Client::connect(config.token_from(|| ready(Err("no vault")))).await.unwrap_err();
    assert!(error.to_string().contains("could not get a token: no vault"), "{error}");
    let config = fake.config().reconnect_attempts(0).connect_timeout(Duration::from_secs(1));
    let config = config.token_from(std::future::pending::<Result<String, String>>);
    let connecting = timeout(Duration::from_secs(2), Client::connect(config));
    connecting.await.expect("it gives up in time").unwrap_err();
    assert_eq!(fake.dials(), 0);
}

#[tokio::test(start_paused = true)]
async fn empty_token_of_a_provider_closes_the_client() {
    let fake = demanding("sesame");
    let (config, _) = providing(&fake, &[""]);
    let error = Client::connect(config).await.unwrap_err();
    let ConnectError::Failed { reason, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(reason, Closed::NoToken), "{reason:?}");
    assert!(error.to_string().contains("there is no token for it"), "{error}");
}

#[test]
fn token_stays_secret() {
    let config = ClientConfig::new("tls://host").unwrap().token("sesame");
    let text = format!("{config:?}");
    assert!(text.contains("token") && !text.contains("sesame"), "{text}");
}

fn demanding(token: &str) -> FakeServer {
    let fake = FakeServer::granting(GRANTS);
    fake.demand(token);
    fake
}

/// Configures a client whose provider gives these tokens, and the last of them again and again.
/// Returns also how often it was asked.
fn providing(
    fake: &FakeServer,
    tokens: &'static [&'static str],
) -> (ClientConfig, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let config = fake.config().token_from(move || {
        let index = count.fetch_add(1, Ordering::Relaxed).min(tokens.len() - 1);
        ready(Ok::<_, String>(tokens[index].to_owned()))
    });
    (config, asked)
}
