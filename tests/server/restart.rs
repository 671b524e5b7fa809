//! Clients that are told of a restart, and keep their ids over it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tempfile::NamedTempFile;
use tokio::task::JoinSet;
use waddell_core::{CloseCode, Dropped, Hello, Notice, PeerId};
use waddell_server::{ResumeKeys, raise_descriptor_limit};
use waddell_tests::transport::Via;

use crate::support::extended::{ALL, Extended};
use crate::support::peer::message;
use crate::support::server::TestServer;

#[tokio::test]
async fn each_client_is_told_of_the_restart_before_its_connection_ends() {
    let server = TestServer::start_with(|config| {
        config.extension.restart_wait = Duration::from_millis(1_234);
        config.extension.restart_spread = Duration::from_secs(7);
        config.extension.restart_elsewhere = true;
    });
    let mut clients = Vec::new();
    for via in Via::ALL {
        clients.push(Extended::connect(&server, via).await);
    }
    let drain = Duration::from_secs(10);
    let stopping = server.stop();
    for mut client in clients {
        let notices = client.last_notices().await;
        let notices: Vec<_> = notices.iter().map(|it| Notice::decode(it).unwrap()).collect();
        let [Notice::Restarting(restarting), Notice::Closing(closing)] = notices[..] else {
            panic!("{notices:?}")
        };
        assert!(Duration::from_millis(restarting.in_ms.into()) <= drain, "{restarting:?}");
        assert_eq!((restarting.wait_ms, restarting.spread_ms), (1_234, 7_000));
        assert!(restarting.elsewhere);
        assert_eq!(closing.code, CloseCode::RESTARTING);
    }
    let metrics = stopping.done().await.metrics();
    assert_eq!(metrics.restarts_told, Via::ALL.len() as u64);
}

/// A client in a ring, which writes to its neighbour until its connection ends.
struct Member {
    id: PeerId,
    token: Vec<u8>,
    /// Numbers of the messages that the server took from it: all up to `handled`, but for those
    /// that it says were dropped.
    handled: u64,
    dropped: Vec<Dropped>,
    /// Numbers of the messages that it got from its other neighbour.
    received: Vec<u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_a_server_with_5000_clients_loses_no_accepted_message_and_no_id() {
    const CLIENTS: usize = 5_000;
    raise_descriptor_limit();
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(limit > 2 * CLIENTS as u64 + 100, "too few descriptors: type `ulimit -Hn 20000`");
    let key = NamedTempFile::new().expect("there is room");
    fs::write(key.path(), ResumeKeys::generate_line()).expect("there is room");

    let server = start(key.path());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Extended::connect(&server, Via::Tcp).await);
    }
    let ids: Vec<PeerId> = clients.iter().map(|client| client.id).collect();
    let mut members = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let neighbour = ids[(index + 1) % CLIENTS];
        members.spawn(async move { (index, write_until_the_end(client, neighbour).await) });
    }
    // All of them are busy by then.
    while server.metrics().frames_forwarded < 2 * CLIENTS as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stopping = server.stop();
    let mut ended: Vec<_> = members.join_all().await;
    stopping.done().await;
    ended.sort_unstable_by_key(|(index, _)| *index);
    for (index, member) in &ended {
        let (_, neighbour) = &ended[(index + 1) % CLIENTS];
        let is_dropped = |number: &u64| {
            member.dropped.iter().any(|entry| (entry.first..=entry.last()).contains(number))
        };
        assert!(member.dropped.iter().all(Dropped::is_exact), "{:?}", member.dropped);
        let accepted: Vec<u64> = (1..=member.handled).filter(|it| !is_dropped(it)).collect();
        assert_eq!(neighbour.received, accepted, "client {index}");
    }

    let server = start(key.path());
    for (index, member) in ended {
        let hello = Hello { resume_token: Some(&member.token), ..Hello::new(ALL) };
        let client = Extended::over(server.dial(Via::Tcp).await, Via::Tcp, &hello).await;
        assert!(client.welcome().resumed, "client {index}");
        assert_eq!(client.id, member.id);
    }
}

fn start(key: &Path) -> TestServer {
    TestServer::start_with(|config| config.extension.resume_key = Some(key.to_owned()))
}

/// Writes numbered messages to a neighbour, a few at a time, and reads until the server ends the
/// connection.
async fn write_until_the_end(mut client: Extended, neighbour: PeerId) -> Member {
    let (id, token) = (client.id, client.token());
    let mut member = Member { id, token, handled: 0, dropped: Vec::new(), received: Vec::new() };
    let mut number = 0_u64;
    let mut send = async |client: &mut Extended| {
        number += 1;
        // Fails once the server has closed its side.
        let _ = client.try_send(&message(neighbour, 1, &number.to_le_bytes())).await;
    };
    send(&mut client).await;
    send(&mut client).await;
    while let Some(message) = client.try_receive().await.expect("it ends in order") {
        if message.from != PeerId::NIL {
            let number = message.body[..].try_into().expect("it is a number");
            member.received.push(u64::from_le_bytes(number));
            send(&mut client).await;
            continue;
        }
        match Notice::decode(&message.body).expect("it is a control frame") {
            Notice::Dropped(entries) => member.dropped.extend(entries.iter()),
            Notice::Closing(closing) => member.handled = closing.handled,
            Notice::Restarting(_) | Notice::Peers(_) => {}
            other => panic!("{other:?}"),
        }
    }
    member
}
