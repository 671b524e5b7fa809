//! Lost connections and keep-alives.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use waddell_client::{Client, ClientConfig, Closed, DisconnectReason, NotSent, State};

use crate::fake_server::{FakeServer, TOPIC, next_id};

#[tokio::test(start_paused = true)]
async fn lost_connection_is_dialed_again_at_once_and_gives_a_new_id() {
    let fake = FakeServer::new();
    let (seen, mut ids) = mpsc::unbounded_channel();
    let config = fake.config().on_id(move |id| seen.send(id).unwrap());
    let client = Client::connect(config).await.unwrap();
    let first = client.id().unwrap();
    let start = Instant::now();
    fake.cut();
    let second = next_id(&client, first).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!((ids.recv().await, ids.recv().await), (Some(first), Some(second)));

    let mut topic = client.topic(TOPIC);
    topic.send_to(second, "still here").await.unwrap();
    assert_eq!(topic.recv().await.unwrap().body, "still here");
}

#[tokio::test(start_paused = true)]
async fn topic_waits_through_a_reconnect() {
    let fake = FakeServer::new();
    let client = fake.client().await;
    let mut topic = client.topic(TOPIC);
    let waiting = tokio::spawn(async move { topic.recv().await });
    let first = client.id().unwrap();
    fake.cut();
    let id = next_id(&client, first).await;
    client.topic(TOPIC).send_to(id, "after the reconnect").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().body, "after the reconnect");
}

#[tokio::test(start_paused = true)]
async fn messages_sent_while_there_is_no_connection_go_out_on_the_next() {
    let fake = FakeServer::new();
    let bob = fake.client().await;
    let down = Arc::new(AtomicBool::new(false));
    let alice = Client::connect(switched(&fake, &down)).await.unwrap();

    down.store(true, Ordering::Relaxed);
    let (to, old) = (bob.id().unwrap(), alice.id().unwrap());
    fake.cut();
    let to = next_id(&bob, to).await;
    let mut states = alice.watch();
    drop(states.wait_for(|state| matches!(state, State::Waiting { .. })).await.unwrap());
    assert_eq!(alice.id(), None);
    assert!(matches!(alice.send_keep_alive(), Err(NotSent::NotConnected)));
    alice.topic(TOPIC).send_to(to, "while away").await.unwrap();

    down.store(false, Ordering::Relaxed);
    let new = next_id(&alice, old).await;
    let message = bob.topic(TOPIC).recv().await.unwrap();
    assert_eq!((message.from, &message.body[..]), (new, &b"while away"[..]));
}

#[tokio::test(start_paused = true)]
async fn server_that_stays_away_closes_the_client() {
    let fake = FakeServer::new();
    let down = Arc::new(AtomicBool::new(false));
    let config = switched(&fake, &down).reconnect_attempts(2);
    let client = Client::connect(config).await.unwrap();
    let mut topic = client.topic(TOPIC);
    down.store(true, Ordering::Relaxed);
    fake.cut();
    let closed = topic.recv().await.unwrap_err();
    assert!(matches!(closed, Closed::AttemptsExhausted { .. }), "{closed:?}");
    assert!(closed.to_string().contains("could not connect: the server is down"), "{closed}");
    let error = topic.send_to(fake.client().await.id().unwrap(), "x").await.unwrap_err();
    assert_eq!(error.to_string(), closed.to_string());
}

#[tokio::test(start_paused = true)]
async fn short_frame_is_answered_with_a_new_connection() {
    let fake = FakeServer::new();
    let client = fake.client().await;
    let first = client.id().unwrap();
    fake.send_raw(first, b"\x03\x00abc");
    let second = next_id(&client, first).await;
    assert_eq!(fake.dials(), 2);

    // The next dial after a second short-lived connection is not at once.
    let mut states = client.watch();
    fake.send_raw(second, b"\x00\x00");
    let waiting = states.wait_for(|state| matches!(state, State::Waiting { .. })).await;
    let State::Waiting { reason, .. } = waiting.unwrap().clone() else { unreachable!() };
    assert_eq!(reason.reason(), DisconnectReason::ServerMisbehaved);
    next_id(&client, second).await;
    assert_eq!(fake.dials(), 3);
}

#[tokio::test(start_paused = true)]
async fn silent_server_is_noticed_and_a_quiet_one_is_kept() {
    let fake = FakeServer::new();
    let client = fake.client().await;
    let mut states = client.watch();
    states.mark_unchanged();
    timeout(Duration::from_secs(3600), states.changed()).await.expect_err("it answers probes");
    fake.stall(true);
    let start = Instant::now();
    next_id(&client, client.id().unwrap()).await;
    assert!((30..=90).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    client.close().await.unwrap();

    let config = fake.config().silence_timeout(None);
    fake.stall(false);
    let client = Client::connect(config).await.unwrap();
    fake.stall(true);
    let mut states = client.watch();
    states.mark_unchanged();
    timeout(Duration::from_secs(3600), states.changed()).await.expect_err("no limit");
}

#[tokio::test(start_paused = true)]
async fn keep_alives_go_out_at_their_interval() {
    let fake = FakeServer::new();
    let config = fake.config().keep_alive_interval(Duration::from_secs(25));
    let client = Client::connect(config).await.unwrap();
    sleep(Duration::from_secs(101)).await;
    assert_eq!(fake.keep_alives(), 4);
    client.send_keep_alive().unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(fake.keep_alives(), 5);
}

#[tokio::test(start_paused = true)]
async fn keep_alives_are_skipped_while_the_queue_is_full() {
    let fake = FakeServer::new();
    let client = Client::connect(fake.config().outgoing_capacity(0)).await.unwrap();
    fake.stall(true);
    let topic = client.topic(TOPIC);
    let me = client.id().unwrap();
    while timeout(Duration::from_secs(1), topic.send_to(me, vec![0; 60_000])).await.is_ok() {}
    for _ in 0..10_000 {
        client.send_keep_alive().unwrap();
    }
    fake.stall(false);
    sleep(Duration::from_secs(1)).await;
    assert!(fake.keep_alives() < 100, "{}", fake.keep_alives());
}

/// Configures a client that dials the fake unless `down` is set.
fn switched(fake: &FakeServer, down: &Arc<AtomicBool>) -> ClientConfig {
    let (fake, down) = (fake.clone(), Arc::clone(down));
    ClientConfig::from_dialer(move || {
        let dialed: io::Result<DuplexStream> = match down.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the server is down")),
            false => Ok(fake.dial()),
        };
        async { dialed }
    })
}

#[tokio::test(start_paused = true)]
async fn greeting_in_single_bytes_is_understood() {
    let id = waddell_client::PeerId::from_random([7; 16]);
    let config = ClientConfig::from_dialer(move || async move {
        let (near, mut far) = tokio::io::duplex(64);
        tokio::spawn(async move {
            let mut greeting = vec![18, 0];
            greeting.extend_from_slice(id.as_bytes());
            greeting.extend_from_slice(&[0, 0]);
            for byte in greeting {
                far.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        });
        Ok(near)
    });
    assert_eq!(Client::connect(config).await.unwrap().id(), Some(id));
}
