//! A server whose configuration is reloaded while it runs.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use waddell_server::ServerConfig;
use waddell_tests::transport::Via;

use crate::support::peer::Peer;
use crate::support::server::{LISTEN, TestServer};
use crate::support::soon;

/// Reloads a changed configuration; returns the options that need a restart.
fn reload(server: &TestServer, change: impl FnOnce(&mut ServerConfig)) -> Vec<&'static str> {
    let mut config = ServerConfig {
        listen: LISTEN.map(|url| url.parse().expect("it is valid")).to_vec(),
        workers: 2,
        identity: Some(server.identity.clone()),
        ..ServerConfig::default()
    };
    config.timeouts.write = Duration::from_secs(3600);
    change(&mut config);
    server.handle.reload(&config).expect("the certificate is as good as before")
}

#[tokio::test]
async fn connected_peers_keep_old_settings_and_later_ones_get_the_new() {
    let server = TestServer::start();
    let mut early = Peer::connect(&server, Via::Tcp).await;
    reload(&server, |config| config.timeouts.idle = Some(Duration::from_millis(50)));
    let mut idle = Peer::connect(&server, Via::Tcp).await;
    assert_eq!(idle.rest().await, [], "it is disconnected");
    reload(&server, |config| config.limits.max_frame_len = 100);
    let mut long = Peer::connect(&server, Via::Ws).await;
    long.send(long.id, 1, &[0; 83]).await;
    assert_eq!(long.rest().await, [], "one byte too many");
    early.send(early.id, 1, &[0; 60_000]).await;
    assert_eq!(early.receive().await.body.len(), 60_000);
}

#[tokio::test]
async fn times_hold_at_once() {
    let server = TestServer::start();
    reload(&server, |config| config.timeouts.handshake = Duration::from_millis(50));
    let mut silent = server.connect("wss").await;
    assert!(matches!(soon(silent.read(&mut [0; 1])).await, Ok(0) | Err(_)), "it is cut");
    reload(&server, |config| config.timeouts.auto_silence = Duration::from_millis(1));
    // A silent client is greeted.
    let mut quiet = server.connect("auto").await;
    soon(quiet.read_exact(&mut [0; 20])).await.expect("it is greeted");
}

/// The outbox of a peer that does not read becomes a mebibyte smaller.
#[tokio::test]
async fn a_new_outbox_size_applies_at_once() {
    let server = TestServer::start_with(|config| {
        config.limits.outbox_total_bytes = 0;
        config.limits.outbox_bytes = 1 << 30;
    });
    let stuck = Peer::connect(&server, Via::Tcp).await;
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    for _ in 0..400 {
        sender.send(stuck.id, 1, &[0; 60_000]).await;
    }
    sender.echo().await;
    assert_eq!(server.metrics().frames_dropped_full, 0);
    let restart = reload(&server, |config| config.limits.outbox_total_bytes = 0);
    assert_eq!(restart, [""; 0]);
    sender.send(stuck.id, 1, &[0; 60_000]).await;
    sender.echo().await;
    assert_eq!(server.metrics().frames_dropped_full, 1);
}

#[tokio::test]
async fn options_that_need_a_restart_are_named() {
    let server = TestServer::start();
    let restart = reload(&server, |config| {
        config.workers = 1;
        config.limits.outbox_bytes = 1 << 29;
        config.admin.address = Some(([127, 0, 0, 1], 1).into());
    });
    assert_eq!(restart, ["workers", "outbox", "admin"]);
}
