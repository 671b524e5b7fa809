//! The native client on a server with the extension, and on one without.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use tokio::io::{copy_bidirectional, duplex};
use tokio::net::TcpStream;
use waddell_client::{
    CheckedSendError, Client, ClientConfig, Delivery, DropReason, Notice, PeerId, PeerState,
    TopicId, Undelivered, WatchError,
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
    // In runs, of which the server tells exactly.
    let is_lost = |n: usize| (n / 100).is_multiple_of(3);
    let sending = (0..2_000).map(|n| {
        let topic = client.topic(TOPIC);
        async move { topic.send_checked(if is_lost(n) { STRANGER } else { me }, "x").await }
    });
    let outcomes = soon(futures_util::future::join_all(sending)).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(delivery) => assert_eq!((delivery, is_lost(n)), (Delivery::Forwarded, false)),
            Err(error) => {
                assert_eq!(error.drop_reason(), Some(DropReason::UnknownRecipient));
                assert!(is_lost(n));
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
async fn id_and_outcomes_outlive_a_lost_connection() {
    let server = TestServer::start();
    let cut = Arc::new(Mutex::new(None));
    let (address, cutting) = (server.address("tcp"), Arc::clone(&cut));
    let config = ClientConfig::from_dialer(move || {
        let cutting = Arc::clone(&cutting);
        async move {
            let (near, mut far) = duplex(1 << 16);
            let mut stream = TcpStream::connect(address).await?;
            let task = tokio::spawn(async move { copy_bidirectional(&mut far, &mut stream).await });
            *cutting.lock().unwrap() = Some(task.abort_handle());
            Ok(near)
        }
    });
    let client = soon(Client::connect(config.resume(true))).await.unwrap();
    let other = connect(&server, "ws").await;
    let mut extension = client.watch_extension();
    drop(soon(extension.wait_for(Option::is_some)).await.unwrap());
    let id = client.id().expect("it is connected");
    let topic = client.topic(TOPIC);
    for round in 0..3 {
        // A HANDLED on this connection, without which the next loss would not be told exactly.
        assert_eq!(soon(topic.send_checked(id, "x")).await.unwrap(), Delivery::Forwarded);
        let sending = (0..50).map(|_| topic.send_checked(other.id().unwrap(), "x"));
        let sending = futures_util::future::join_all(sending);
        let cutting = async {
            tokio::task::yield_now().await;
            cut.lock().unwrap().take().expect("it is connected").abort();
        };
        let (outcomes, ()) = soon(async { tokio::join!(sending, cutting) }).await;
        for outcome in outcomes {
            match outcome {
                Ok(delivery) => assert_eq!(delivery, Delivery::Forwarded),
                // The server says that it has never seen it.
                Err(CheckedSendError::Undelivered(Undelivered::NotHandled)) => {}
                Err(error) => panic!("round {round}: {error}, {:?}", client.extension()),
            }
        }
        let resumed = extension.wait_for(|it| it.is_some_and(|extension| extension.resumed));
        drop(soon(resumed).await.unwrap());
        assert_eq!(client.id(), Some(id), "{round}");
    }
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
