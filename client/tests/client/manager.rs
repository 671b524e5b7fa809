//! One client that many users of an address share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use waddell_client::{ClientConfig, ClientManager, ConnectError, State};

use crate::fake_server::{FakeServer, TOPIC};

#[tokio::test(start_paused = true)]
async fn users_of_one_address_share_one_client() {
    let fake = FakeServer::new();
    let manager = manager(&fake);
    let clients = join_all((0..10).map(|_| manager.client("a"))).await;
    let ids: Vec<_> = clients.into_iter().map(|client| client.unwrap().id().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(manager.client("a").await.unwrap().id(), Some(ids[0]));
    assert_eq!(fake.dials(), 1);
    assert_ne!(manager.client("b").await.unwrap().id(), Some(ids[0]));
    assert_eq!(fake.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn ids_are_reported_with_their_address() {
    let fake = FakeServer::new();
    let (seen, mut ids) = mpsc::unbounded_channel();
    let manager = ClientManager::new(move |address| {
        let (seen, address) = (seen.clone(), address.to_owned());
        Ok(fake.config().on_id(move |id| seen.send((address.clone(), id)).unwrap()))
    });
    for address in ["a", "b"] {
        let id = manager.client(address).await.unwrap().id().unwrap();
        assert_eq!(ids.recv().await, Some((address.to_owned(), id)));
    }
}

#[tokio::test(start_paused = true)]
async fn failure_is_shared_by_waiting_callers_and_then_forgotten() {
    let fake = FakeServer::new();
    let (up, is_up) = watch::channel(false);
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dials);
    let manager = ClientManager::new(move |_address| {
        let (fake, is_up, dials) = (fake.clone(), is_up.clone(), Arc::clone(&counted));
        let config = ClientConfig::from_dialer(move || {
            dials.fetch_add(1, Ordering::Relaxed);
            let dialed: io::Result<DuplexStream> = match *is_up.borrow() {
                true => Ok(fake.dial()),
                false => Err(io::Error::other("down")),
            };
            async { dialed }
        });
        Ok(config.reconnect_attempts(0))
    });
    for result in join_all((0..5).map(|_| manager.client("a"))).await {
        assert!(result.unwrap_err().to_string().contains("down"));
    }
    assert_eq!(dials.load(Ordering::Relaxed), 1);
    up.send_replace(true);
    manager.client("a").await.unwrap();
    assert_eq!(dials.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn dial_continues_for_the_others_when_the_first_caller_gives_up() {
    let (fake, (go, gate)) = (FakeServer::new(), watch::channel(false));
    let manager = gated(&fake, gate);
    let second = tokio::spawn({
        let manager = manager.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            manager.client("a").await
        }
    });
    timeout(Duration::from_secs(2), manager.client("a")).await.unwrap_err();
    go.send_replace(true);
    second.await.unwrap().unwrap();
    assert_eq!(fake.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn dial_is_dropped_when_no_caller_waits_for_it() {
    let (fake, (go, gate)) = (FakeServer::new(), watch::channel(false));
    let manager = gated(&fake, gate);
    timeout(Duration::from_secs(2), manager.client("a")).await.unwrap_err();
    while go.receiver_count() > 1 {
        tokio::task::yield_now().await;
    }
    go.send_replace(true);
    manager.client("a").await.unwrap();
    assert_eq!(fake.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn closed_client_is_replaced() {
    let fake = FakeServer::new();
    let manager = manager(&fake);
    manager.client("a").await.unwrap().close().await.unwrap();
    let client = manager.client("a").await.unwrap();
    assert!(client.id().is_some());
    assert_eq!(fake.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn close_all_closes_connected_and_dialing_clients() {
    let (fake, (go, gate)) = (FakeServer::new(), watch::channel(true));
    let manager = gated(&fake, gate);
    let (a, b) = (manager.client("a").await.unwrap(), manager.client("b").await.unwrap());
    go.send_replace(false);
    let dialing = tokio::spawn({
        let manager = manager.clone();
        async move { manager.client("c").await }
    });
    tokio::task::yield_now().await;
    assert!(manager.close_all().await.is_empty());
    for client in [a, b] {
        assert!(matches!(client.state(), State::Closed { .. }));
        let error = client.topic(TOPIC).recv().await.unwrap_err();
        assert_eq!(error.to_string(), "the client is closed");
    }
    go.send_replace(true);
    let error = dialing.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "c: the client is closed");
    fake.wait_for_connections(0).await;
    assert!(manager.client("c").await.unwrap().id().is_some(), "the manager still works");
}

#[tokio::test]
async fn default_manager_connects_to_addresses() {
    let address = FakeServer::new().listen().await;
    let manager = ClientManager::default();
    assert!(manager.client(&format!("tcp://{address}")).await.unwrap().id().is_some());
    let error = manager.client("nowhere").await.unwrap_err();
    assert!(matches!(error, ConnectError::Url(_)), "{error:?}");
}

fn manager(fake: &FakeServer) -> ClientManager {
    let fake = fake.clone();
    ClientManager::new(move |_address| Ok(fake.config()))
}

/// Makes a manager whose dials wait until the gate is open.
fn gated(fake: &FakeServer, gate: watch::Receiver<bool>) -> ClientManager {
    let fake = fake.clone();
    ClientManager::new(move |_address| {
        let (fake, gate) = (fake.clone(), gate.clone());
        let config = ClientConfig::from_dialer(move || {
            let (fake, mut gate) = (fake.clone(), gate.clone());
            async move {
                drop(gate.wait_for(|open| *open).await);
                Ok(fake.dial())
            }
        });
        Ok(config.connect_timeout(None))
    })
}
