//! Ends of which the server says what to do next.

use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::time::Instant;
use waddell_client::{
    Capabilities, Client, ClientConfig, CloseCode, Closed, ConnectError, Notice, Restarting,
};
use waddell_core::Closing;

use crate::checked::extended_client;
use crate::fake_server::{FakeServer, TOPIC, next_id};

#[tokio::test(start_paused = true)]
async fn restart_is_told_and_waited_for() {
    let fake = FakeServer::granting(Capabilities::RESTART);
    let client = extended_client(&fake).await;
    let mut notices = client.notices();
    let id = client.id().unwrap();
    let restarting = Restarting { in_ms: 0, wait_ms: 60_000, spread_ms: 10_000, elsewhere: false };
    fake.send_notice(id, &waddell_core::Notice::Restarting(restarting));
    assert_eq!(notices.next().await, Some(Notice::Restarting(restarting)));
    let start = Instant::now();
    close(&fake, &client, CloseCode::RESTARTING);
    next_id(&client, id).await;
    assert!((60..=70).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn client_that_is_not_served_closes_for_good_and_says_why() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    close(&fake, &client, CloseCode::UNAUTHORIZED);
    let closed = client.topic(TOPIC).recv().await.unwrap_err();
    let Closed::ByServer(why) = &closed else { panic!("{closed:?}") };
    assert_eq!(why.close_code(), Some(4500));
    let text = "the client is closed: the server closed the connection: go away (code 4500)";
    assert_eq!(closed.to_string(), text);
    assert_eq!(fake.dials(), 1);
}

#[tokio::test]
async fn addresses_are_dialed_in_turns() {
    // The port is free again when the listener is dropped.
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = FakeServer::new().listen().await;
    let config = ClientConfig::new(&format!("tcp://{refusing}")).unwrap();
    let config = config.also(&format!("tcp://{server}")).unwrap();
    let client = Client::connect(config.clone()).await.unwrap();
    assert!(client.id().is_some());
    config.also("nonsense").unwrap_err();

    let config = ClientConfig::new(&format!("tcp://{refusing}")).unwrap();
    let config = config.also(&format!("tcp://{refusing}")).unwrap().reconnect_attempts(1);
    let error = Client::connect(config).await.unwrap_err();
    assert!(error.to_string().contains(&format!("{refusing}, tcp://{refusing}: ")), "{error}");
}

#[tokio::test]
async fn certificate_is_for_encrypted_addresses_only() {
    let pem = crate::transports::certificate(|_| {}).pem;
    let config = ClientConfig::new("tls://localhost").unwrap().server_cert(pem).unwrap();
    let error = Client::connect(config.also("tcp://localhost").unwrap()).await.unwrap_err();
    assert!(matches!(error, ConnectError::CertificateWithoutTls), "{error:?}");
}

fn close(fake: &FakeServer, client: &Client, code: CloseCode) {
    let closing = Closing { code, handled: 0, reason: "go away" };
    fake.send_notice(client.id().unwrap(), &waddell_core::Notice::Closing(closing));
}
