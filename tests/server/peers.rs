//! Clients that are told what becomes of other peers.

use waddell_core::{
    Capabilities, DropReason, Hello, Notice, PeerId, PeerIds, PeerNotice, PeerState, Request,
};
use waddell_tests::transport::Via;

use crate::support::extended::Extended;
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::until;

/// No resume tokens: a peer whose connection ends is gone.
const WANTS: Capabilities = Capabilities::VERDICTS.with(Capabilities::PEERS);

const UNKNOWN: PeerId = PeerId::from_random([7; 16]);

#[tokio::test]
async fn who_wrote_to_a_peer_is_told_when_it_is_gone() {
    let server = TestServer::start();
    for via in Via::ALL {
        let mut sender = connect(&server, via).await;
        let mut legacy = Peer::connect(&server, via).await;
        let mut extended = connect(&server, Via::Wss).await;
        for id in [legacy.id, extended.id] {
            sender.send(id, 1, b"hello").await;
        }
        legacy.receive().await;
        extended.message().await;
        let ids = [legacy.id, extended.id];
        drop(legacy);
        assert_eq!(sender.peer_notices().await, [gone(ids[0])], "{via:?}");
        drop(extended);
        assert_eq!(sender.peer_notices().await, [gone(ids[1])], "{via:?}");
    }
}

#[tokio::test]
async fn who_only_received_from_a_peer_is_not_told() {
    let server = TestServer::start();
    let mut receiver = connect(&server, Via::Tcp).await;
    let mut sender = connect(&server, Via::Tcp).await;
    let to = receiver.id;
    sender.send(to, 1, b"hello").await;
    receiver.message().await;
    drop(sender);
    until(|| server.handle.peers() == 1).await;
    receiver.echo().await;
}

#[tokio::test]
async fn clients_of_2015_and_clients_that_do_not_want_notices_get_none() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    let mut legacy = Peer::connect(&server, Via::Tcp).await;
    let hello = Hello::new(Capabilities::VERDICTS);
    let mut other = Extended::over(server.dial(Via::Tcp).await, Via::Tcp, &hello).await;
    legacy.send(recipient.id, 1, b"hello").await;
    other.send(recipient.id, 1, b"hello").await;
    recipient.receive().await;
    recipient.receive().await;
    drop(recipient);
    until(|| server.handle.peers() == 2).await;
    legacy.echo().await;
    other.echo().await;
    assert_eq!(server.metrics().notices_sent, 0);
}

#[tokio::test]
async fn watch_tells_the_state_at_once_and_whenever_it_changes() {
    let server = TestServer::start();
    let mut watcher = connect(&server, Via::Ws).await;
    let peer = Peer::connect(&server, Via::Tcp).await;
    let id = peer.id;
    let both = [*id.as_bytes(), *UNKNOWN.as_bytes()].concat();
    watcher.request(Request::Watch(PeerIds::from_bytes(&both))).await;
    let here = PeerNotice { id, state: PeerState::Here, lost: 0 };
    assert_eq!(watcher.peer_notices().await, [here, gone(UNKNOWN)]);
    drop(peer);
    assert_eq!(watcher.peer_notices().await, [gone(id)]);
    watcher.request(Request::Watch(PeerIds::from(&id))).await;
    assert_eq!(watcher.peer_notices().await, [gone(id)]);
}

#[tokio::test]
async fn one_connection_watches_at_most_64_peers_until_it_unwatches_some() {
    let server = TestServer::start();
    let mut watcher = connect(&server, Via::Tcp).await;
    let ids: Vec<u8> = (0..64_u128).flat_map(|id| (id + 1).to_be_bytes()).collect();
    watcher.request(Request::Watch(PeerIds::from_bytes(&ids))).await;
    assert_eq!(watcher.peer_notices().await.len(), 64);
    watcher.request(Request::Watch(PeerIds::from(&UNKNOWN))).await;
    let (entries, _) = watcher.sync().await;
    assert_eq!(entries[0].reason, DropReason::ReservedRecipient);
    watcher.request(Request::Unwatch(PeerIds::from_bytes(&ids[..16]))).await;
    watcher.request(Request::Watch(PeerIds::from(&UNKNOWN))).await;
    assert_eq!(watcher.peer_notices().await, [gone(UNKNOWN)]);
}

#[tokio::test]
async fn watchers_that_leave_make_room_for_others() {
    let server = TestServer::start();
    let peer = Peer::connect(&server, Via::Tcp).await;
    let id = peer.id;
    // More than may ask at a time.
    for _ in 0..150 {
        let mut watcher = connect(&server, Via::Tcp).await;
        watcher.request(Request::Watch(PeerIds::from(&id))).await;
        watcher.peer_notices().await;
    }
    until(|| server.handle.peers() == 1).await;
    let mut last = connect(&server, Via::Tcp).await;
    last.request(Request::Watch(PeerIds::from(&id))).await;
    last.peer_notices().await;
    // They cannot push out one that asked.
    let mut writers = Vec::new();
    for _ in 0..260 {
        let mut writer = connect(&server, Via::Tcp).await;
        writer.send(id, 1, b"").await;
        writer.sync().await;
        writers.push(writer);
    }
    drop(peer);
    assert_eq!(last.peer_notices().await, [gone(id)]);
}

#[tokio::test]
async fn a_client_whose_outbox_has_no_room_is_told_that_it_missed_notices() {
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = 70_000);
    let stream = Box::new(server.connect_narrow("tcp").await);
    let mut stuck = Extended::over(stream, Via::Tcp, &Hello::new(WANTS)).await;
    let peer = Peer::connect(&server, Via::Tcp).await;
    stuck.send(peer.id, 1, b"hello").await;
    until(|| server.metrics().frames_forwarded == 1).await;
    let mut filler = Peer::connect(&server, Via::Tcp).await;
    while server.metrics().frames_dropped_full == 0 {
        filler.send_bytes(&message(stuck.id, 1, &[0; 10_000])).await;
    }
    drop(peer);
    until(|| server.metrics().notices_dropped == 1).await;
    let notice = stuck.notice().await;
    let Ok(Notice::Peers(entries)) = Notice::decode(&notice) else { panic!() };
    assert!(entries.has_gap());
    assert_eq!(entries.iter().count(), 0);
}

#[tokio::test]
async fn watchers_that_have_left_push_no_other_out() {
    let server = TestServer::start();
    let peer = Peer::connect(&server, Via::Tcp).await;
    let id = peer.id;
    let mut writer = connect(&server, Via::Tcp).await;
    writer.send(id, 1, b"hello").await;
    writer.sync().await;
    for _ in 0..260 {
        let mut watcher = connect(&server, Via::Tcp).await;
        watcher.request(Request::Watch(PeerIds::from(&id))).await;
        watcher.peer_notices().await;
        watcher.sync().await;
    }
    until(|| server.handle.peers() == 2).await;
    drop(peer);
    assert_eq!(writer.peer_notices().await, [gone(id)]);
}

async fn connect(server: &TestServer, via: Via) -> Extended {
    Extended::over(server.dial(via).await, via, &Hello::new(WANTS)).await
}

fn gone(id: PeerId) -> PeerNotice {
    PeerNotice { id, state: PeerState::Gone, lost: 0 }
}
