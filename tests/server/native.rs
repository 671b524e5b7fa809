//! The native client on a server with the extension, and on one without.

use futures_util::StreamExt;
use waddell_client::{
    Client, Delivery, DropReason, Notice, PeerId, PeerState, TopicId, WatchError,
};
use waddell_tests::transport::Via;

use crate::support::peer::Peer;
use crate::support::server::TestServer;
use crate::support::soon;

const STRANGER: PeerId = PeerId::from_random([7; 16]);
const TOPIC: TopicId = TopicId(7);

#[tokio::test]
async fn checked_messages_have_the_outcome_that_the_server_tells() {
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = 70_000);
    let stuck = Peer::connect(&server, Via::Tcp).await;
    for scheme in ["tcp", "ws"] {
        let client = connect(&server, scheme).await;
        let topic = client.topic(TOPIC);
        let me = client.id().expect("it is connected");
        assert_eq!(soon(topic.send_checked(me, "x")).await.unwrap(), Delivery::Forwarded);
        let error = soon(topic.send_checked(STRANGER, "x")).await.unwrap_err();
        assert_eq!(error.drop_reason(), Some(DropReason::UnknownRecipient), "{scheme}");
        let full = loop {
            if let Err(error) = soon(topic.send_checked(stuck.id, vec![0; 60_000])).await {
                break error;
            }
        };
        assert_eq!(full.drop_reason(), Some(DropReason::RecipientFull), "{scheme}");
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn many_checked_messages_at_once_are_all_decided() {
    let server = TestServer::start();
    let client = connect(&server, "tcp").await;
    let me = client.id().expect("it is connected");
    let sending = (0..2_000).map(|n| {
        let topic = client.topic(TOPIC);
        async move { topic.send_checked(if n % 3 == 0 { STRANGER } else { me }, "x").await }
    });
    let outcomes = soon(futures_util::future::join_all(sending)).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(delivery) => assert_eq!((delivery, n % 3 == 0), (Delivery::Forwarded, false)),
            Err(error) => {
                assert_eq!(error.drop_reason(), Some(DropReason::UnknownRecipient));
                assert_eq!(n % 3, 0);
            }
        }
    }
}

#[tokio::test]
async fn state_of_peers_is_told() {
    let server = TestServer::start();
    let (alice, bob) = (connect(&server, "tcp").await, connect(&server, "ws").await);
    let id = bob.id().expect("it is connected");
    assert_eq!(soon(alice.watch_peer(STRANGER)).await.unwrap(), PeerState::Gone);
    assert_eq!(soon(alice.watch_peer(id)).await.unwrap(), PeerState::Here);
    let mut notices = alice.notices();
    bob.close().await.unwrap();
    let gone = async {
        while let Some(notice) = notices.next().await {
            if let Notice::Peer(told) = notice {
                return told;
            }
        }
        panic!("the client is open")
    };
    let told = soon(gone).await;
    assert_eq!((told.id, told.state, told.lost), (id, PeerState::Gone, 0));
}

#[tokio::test]
async fn server_without_the_extension_is_asked_with_probes() {
    let server = TestServer::start_with(|config| config.extension.enabled = false);
    let url = format!("tcp://{}", server.address("tcp"));
    let client = soon(Client::connect(&url)).await.unwrap();
    let topic = client.topic(TOPIC);
    assert_eq!(soon(topic.send_checked(STRANGER, "x")).await.unwrap(), Delivery::Sent);
    let error = soon(client.watch_peer(STRANGER)).await.unwrap_err();
    assert!(matches!(error, WatchError::NotSupported), "{error:?}");
    assert_eq!(client.extension(), None);
}

/// Connects a client, and waits until it knows what the server grants.
async fn connect(server: &TestServer, scheme: &str) -> Client {
    let url = format!("{scheme}://{}", server.address(scheme));
    let client = soon(Client::connect(&url)).await.unwrap();
    let mut extension = client.watch_extension();
    drop(soon(extension.wait_for(Option::is_some)).await.unwrap());
    client
}
