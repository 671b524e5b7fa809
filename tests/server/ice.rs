//! Clients that are told of STUN and TURN servers.

use std::fs;

use serde_json::Value;
use tempfile::NamedTempFile;
use waddell_core::{Capabilities, Hello, Notice, Request};
use waddell_server::{IceOptions, ServerConfig};
use waddell_tests::transport::Via;

use crate::support::extended::{ALL, Extended};
use crate::support::server::TestServer;

/// Returns a configuration with a TURN server, and the file with its secret.
fn turn() -> (IceOptions, NamedTempFile) {
    // Such a file has mode 600.
    let secret = NamedTempFile::new().expect("there is room for it");
    fs::write(secret.path(), "north").expect("it can be written");
    let options = IceOptions {
        stun: vec!["stun:stun.example.org".parse().expect("it is a URL")],
        turn: vec!["turn:turn.example.org".parse().expect("it is a URL")],
        turn_secret: Some(secret.path().to_owned()),
        ..IceOptions::default()
    };
    (options, secret)
}

/// Asks for ICE servers. Returns the answer's seconds and its text.
async fn ask(peer: &mut Extended) -> (u32, String) {
    peer.request(Request::Ice).await;
    let notice = peer.notice().await;
    match Notice::decode(&notice) {
        Ok(Notice::Ice(servers)) => (servers.valid_for, servers.json.to_owned()),
        other => panic!("{other:?} came instead of ICE"),
    }
}

#[tokio::test]
async fn clients_are_told_of_ice_servers_in_welcome_and_on_request() {
    let (ice, _secret) = turn();
    let server = TestServer::start_with(|config| config.ice = ice);
    for via in Via::ALL {
        let mut peer = Extended::connect(&server, via).await;
        let welcome = peer.welcome();
        assert!(welcome.granted.contains(Capabilities::ICE), "{via:?}");
        let servers = welcome.ice.expect("there are servers");
        assert_eq!(servers.valid_for, 3_600);
        let list: Value = serde_json::from_str(servers.json).expect("it is JSON");
        assert_eq!(list[0]["urls"][0], "stun:stun.example.org");
        assert_eq!(list[1]["urls"][0], "turn:turn.example.org");
        let label = |list: &Value| {
            let name = list[1]["username"].as_str().expect("there is a name").to_owned();
            name.split_once(':').expect("a time and a label").1.to_owned()
        };
        let expected = label(&list);
        assert!(!peer.id.to_string().contains(&expected), "it says nothing of the id");
        let (valid_for, json) = ask(&mut peer).await;
        assert_eq!(valid_for, 3_600);
        let list: Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(label(&list), expected);
    }
    assert_eq!(server.metrics().ice_issued, 2 * Via::ALL.len() as u64);
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_not_answered() {
    let (ice, _secret) = turn();
    let server = TestServer::start_with(|config| config.ice = ice);
    let mut peer = Extended::connect(&server, Via::Tcp).await;
    ask(&mut peer).await;
    let mut request = Vec::new();
    Request::Ice.encode(&mut request);
    // In one read, so the machine cannot be too slow.
    let before = server.metrics();
    peer.send_bytes(&request.repeat(3)).await;
    peer.sync().await;
    let after = server.metrics();
    let ignored = after.controls_ignored - before.controls_ignored;
    assert_eq!(after.ice_issued - before.ice_issued + ignored, 3);
    assert!(ignored >= 2, "{ignored}");
}

#[tokio::test]
async fn ice_is_granted_only_if_there_are_servers_and_the_client_wants_them() {
    let server = TestServer::start();
    let mut peer = Extended::connect(&server, Via::Tcp).await;
    assert!(!peer.welcome().granted.contains(Capabilities::ICE));
    assert_eq!(peer.welcome().ice, None);
    peer.request(Request::Ice).await;
    peer.sync().await;
    assert_eq!(server.metrics().controls_ignored, 1);

    let (ice, _secret) = turn();
    let server = TestServer::start_with(|config| config.ice = ice);
    let hello = Hello::new(Capabilities::VERDICTS);
    let stream = server.dial(Via::Tcp).await;
    let mut peer = Extended::over(stream, Via::Tcp, &hello).await;
    assert_eq!(peer.welcome().granted, Capabilities::VERDICTS);
    assert_eq!(peer.welcome().ice, None);
    peer.request(Request::Ice).await;
    peer.sync().await;
    assert_eq!(server.metrics().ice_issued, 0);
}

#[tokio::test]
async fn a_reload_changes_the_ice_servers() {
    let (ice, secret) = turn();
    let server = TestServer::start_with(|config| config.ice = ice.clone());
    let mut before = Extended::connect(&server, Via::Tcp).await;
    let config = |ice| ServerConfig {
        identity: Some(server.identity.clone()),
        ice,
        ..ServerConfig::default()
    };
    let stun = vec!["stun:other.example.org".parse().expect("it is a URL")];
    let other = IceOptions { stun, ..IceOptions::default() };
    server.handle.reload(&config(other)).expect("it can be used");
    let json = r#"[{"urls":["stun:other.example.org"]}]"#;
    assert_eq!(ask(&mut before).await.1, json);
    let peer = Extended::connect(&server, Via::Tcp).await;
    assert_eq!(peer.welcome().ice.expect("there are servers").json, json);

    // If the secret cannot be used, all stays as it is.
    fs::write(secret.path(), "").expect("it can be written");
    let error = server.handle.reload(&config(ice)).expect_err("the secret is empty").to_string();
    assert!(error.starts_with("--ice-turn-secret "), "{error}");
    let peer = Extended::connect(&server, Via::Tcp).await;
    assert_eq!(peer.welcome().ice.expect("there are servers").json, json);

    // A client that was granted ICE is told that there are none any more.
    let mut peer = Extended::over(server.dial(Via::Tcp).await, Via::Tcp, &Hello::new(ALL)).await;
    server.handle.reload(&config(IceOptions::default())).expect("it can be used");
    assert_eq!(ask(&mut peer).await, (60, "[]".to_owned()));
}
