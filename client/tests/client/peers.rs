//! The state of other peers.

use futures_util::{FutureExt, StreamExt};
use tokio::time::{Duration, sleep};
use waddell_client::{Capabilities, Closed, Notice, PeerId, PeerState, WatchError};

use crate::checked::{extended_client, stranger};
use crate::fake_server::{FakeServer, TOPIC, next_id};

#[tokio::test(start_paused = true)]
async fn state_of_a_peer_is_told_now_and_when_it_changes() {
    let fake = FakeServer::extended();
    let (alice, bob) = (extended_client(&fake).await, extended_client(&fake).await);
    let id = bob.id().unwrap();
    let mut notices = alice.notices();
    assert_eq!(alice.watch_peer(id).await.unwrap(), PeerState::Here);
    assert_eq!(alice.watch_peer(stranger()).await.unwrap(), PeerState::Gone);
    bob.close().await.unwrap();
    let states = [next_peer(&mut notices).await, next_peer(&mut notices).await];
    assert_eq!(states, [(id, PeerState::Here), (stranger(), PeerState::Gone)]);
    assert_eq!(next_peer(&mut notices).await, (id, PeerState::Gone));
}

#[tokio::test(start_paused = true)]
async fn watching_goes_on_after_a_reconnect_until_it_is_ended() {
    let fake = FakeServer::extended();
    let alice = extended_client(&fake).await;
    assert_eq!(alice.watch_peer(stranger()).await.unwrap(), PeerState::Gone);
    let mut notices = alice.notices();
    let old = alice.id().unwrap();
    fake.cut();
    next_id(&alice, old).await;
    assert_eq!(next_peer(&mut notices).await, (stranger(), PeerState::Gone));
    alice.unwatch_peer(stranger()).await.unwrap();
    let old = next_id(&alice, old).await;
    fake.cut();
    next_id(&alice, old).await;
    sleep(Duration::from_secs(1)).await;
    assert!(notices.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn peer_that_was_written_to_is_told_without_watching() {
    let fake = FakeServer::extended();
    let (alice, bob) = (extended_client(&fake).await, extended_client(&fake).await);
    let mut notices = alice.notices();
    let id = bob.id().unwrap();
    alice.topic(TOPIC).send_checked(id, "x").await.unwrap();
    bob.close().await.unwrap();
    assert_eq!(next_peer(&mut notices).await, (id, PeerState::Gone));
}

#[tokio::test(start_paused = true)]
async fn server_that_does_not_tell_of_peers_is_an_error_at_once() {
    for fake in [FakeServer::new(), FakeServer::granting(Capabilities::VERDICTS)] {
        let client = fake.client().await;
        for _again in 0..2 {
            let error = client.watch_peer(stranger()).await.unwrap_err();
            assert!(matches!(error, WatchError::NotSupported), "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_peers_and_a_closed_client_are_errors() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    for n in 0..64 {
        client.watch_peer(PeerId::from_random([n; 16])).await.unwrap();
    }
    let error = client.watch_peer(PeerId::from_random([64; 16])).await.unwrap_err();
    assert!(error.to_string().contains("unwatch one of them first"), "{error}");
    client.close().await.unwrap();
    let error = client.watch_peer(stranger()).await.unwrap_err();
    assert!(matches!(error, WatchError::Closed(Closed::ByApplication)), "{error:?}");
    client.unwatch_peer(stranger()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn watching_waits_for_a_connection() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    fake.cut();
    assert_eq!(client.watch_peer(stranger()).await.unwrap(), PeerState::Gone);
}

/// Returns the next notice about a peer.
async fn next_peer(notices: &mut waddell_client::Notices) -> (PeerId, PeerState) {
    loop {
        if let Notice::Peer(notice) = notices.next().await.expect("the client is open") {
            return (notice.id, notice.state);
        }
    }
}
