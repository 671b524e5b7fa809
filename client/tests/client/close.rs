//! How a client ends: by `close`, by dropping it, or with its runtime.

use std::future::pending;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use waddell_client::{Client, ClientConfig, CloseError, Closed, NotSent, PeerId, SendError, State};

use crate::fake_server::{FakeServer, TOPIC};

const GREETING: &[u8] = b"\x12\x00IIIIIIIIIIIIIIII\x00\x00";

#[tokio::test(start_paused = true)]
async fn sent_messages_go_out_before_the_connection_closes() {
    let fake = FakeServer::new();
    let (alice, bob) = (fake.client().await, fake.client().await);
    let to = bob.id().unwrap();
    let outgoing = alice.topic(TOPIC);
    for number in 0..10_u8 {
        outgoing.send_to(to, vec![number; 50_000]).await.unwrap();
    }
    alice.close().await.unwrap();
    let mut arriving = bob.topic(TOPIC);
    for number in 0..10_u8 {
        assert_eq!(arriving.recv().await.unwrap().body, vec![number; 50_000]);
    }
}

#[tokio::test(start_paused = true)]
async fn closing_takes_no_time_and_closes_the_connection() {
    let fake = FakeServer::new();
    let client = fake.client().await;
    fake.wait_for_connections(1).await;
    let start = Instant::now();
    client.close().await.unwrap();
    fake.wait_for_connections(0).await;
    client.close().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn every_call_on_a_closed_client_returns_closed() {
    let client = FakeServer::new().client().await;
    let me = client.id().unwrap();
    let (mut topic, mut waiting) = (client.topic(TOPIC), client.topic(TOPIC));
    let waiting = tokio::spawn(async move { waiting.recv().await });
    tokio::task::yield_now().await;
    client.close().await.unwrap();

    assert!(matches!(waiting.await.unwrap(), Err(Closed::ByApplication)));
    assert!(matches!(client.state(), State::Closed { reason: Closed::ByApplication }));
    assert_eq!(client.id(), None);
    let error = client.send_keep_alive().unwrap_err();
    assert!(matches!(error, NotSent::Closed(Closed::ByApplication)), "{error:?}");
    for mut topic in [topic.clone(), client.topic(TOPIC)] {
        let error = topic.send_to(me, "x").await.unwrap_err();
        assert!(matches!(error, SendError::Closed(Closed::ByApplication)), "{error:?}");
        let error = topic.send((me, Bytes::new())).await.unwrap_err();
        assert_eq!(error.to_string(), "the client is closed");
        assert!(matches!(topic.recv().await, Err(Closed::ByApplication)));
    }
    assert!(topic.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn received_messages_can_be_read_after_the_close() {
    let client = FakeServer::new().client().await;
    let me = client.id().unwrap();
    let (mut topic, mut other) = (client.topic(TOPIC), client.topic(waddell_client::TopicId(8)));
    topic.send_to(me, "kept").await.unwrap();
    other.send_to(me, "seen").await.unwrap();
    other.recv().await.unwrap();
    client.close().await.unwrap();
    assert_eq!(topic.next().await.unwrap().body, "kept");
    assert!(topic.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_send_that_waits_for_room() {
    let fake = FakeServer::new();
    let client = Client::connect(fake.config().outgoing_capacity(0)).await.unwrap();
    fake.stall(true);
    let me = client.id().unwrap();
    let topic = client.topic(TOPIC);
    let sending = tokio::spawn(async move {
        loop {
            if let Err(error) = topic.send_to(me, vec![0; 60_000]).await {
                return error;
            }
        }
    });
    timeout(Duration::from_secs(1), pending::<()>()).await.unwrap_err();
    let start = Instant::now();
    let error = client.close().await.unwrap_err();
    assert!(matches!(error, CloseError::TimedOut), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 5, "the client gives up on a server that does not read");
    let error = sending.await.unwrap();
    assert!(matches!(error, SendError::Closed(Closed::ByApplication)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn server_that_never_closes_delays_the_close_for_five_seconds() {
    let (give, mut take) = mpsc::unbounded_channel();
    let config = ClientConfig::from_dialer(move || {
        let (near, far) = duplex(4096);
        give.send(far).unwrap();
        async { Ok(near) }
    })
    .extension(false);
    let serving = tokio::spawn(async move {
        let mut server: DuplexStream = take.recv().await.unwrap();
        server.write_all(GREETING).await.unwrap();
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        // Keeps its end open.
        (server, received)
    });
    let client = Client::connect(config).await.unwrap();
    client.topic(TOPIC).send_to(client.id().unwrap(), "bye").await.unwrap();
    let start = Instant::now();
    for _again in 0..2 {
        let error = client.close().await.unwrap_err();
        assert!(matches!(error, CloseError::TimedOut), "{error:?}");
        assert_eq!(start.elapsed().as_secs(), 5);
    }
    let (_server, received) = serving.await.unwrap();
    assert_eq!(received, b"\x15\x00IIIIIIIIIIIIIIII\x07\x00bye");
}

/// A client whose first connection the test holds. Later dials never end.
async fn client_and_server() -> (Client, DuplexStream) {
    let (near, mut far) = duplex(4096);
    let stream = Mutex::new(Some(near));
    let config = ClientConfig::from_dialer(move || {
        let stream = stream.lock().unwrap().take();
        async move {
            match stream {
                Some(stream) => Ok(stream),
                None => pending::<io::Result<DuplexStream>>().await,
            }
        }
    });
    let connecting = Client::connect(config.connect_timeout(None).extension(false));
    let (client, written) = tokio::join!(connecting, far.write_all(GREETING));
    written.unwrap();
    (client.unwrap(), far)
}

#[tokio::test(start_paused = true)]
async fn close_reports_a_server_that_ends_the_connection_first() {
    let (client, mut server) = client_and_server().await;
    let topic = client.topic(TOPIC);
    for _message in 0..2 {
        topic.send_to(client.id().unwrap(), vec![0; 4000]).await.unwrap();
    }
    let closing = tokio::spawn(async move { client.close().await });
    // The second message does not fit into the stream before the first is read.
    server.read_exact(&mut [0; 1000]).await.unwrap();
    server.shutdown().await.unwrap();
    let error = closing.await.unwrap().unwrap_err();
    assert!(matches!(error, CloseError::Lost(_)), "{error:?}");
    let expected = "it is not known whether the server took the last messages: the connection was \
                    lost: the server closed the connection first";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn close_reports_that_the_connection_with_the_last_message_was_lost() {
    let (client, mut server) = client_and_server().await;
    client.topic(TOPIC).send_to(client.id().unwrap(), "x").await.unwrap();
    server.read_exact(&mut [0; 21]).await.unwrap();
    drop(server);
    let mut states = client.watch();
    drop(states.wait_for(|state| matches!(state, State::Connecting)).await.unwrap());
    let error = client.close().await.unwrap_err();
    assert!(matches!(error, CloseError::Lost(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn close_counts_the_messages_that_were_not_sent() {
    let (client, server) = client_and_server().await;
    drop(server);
    let (topic, mut states) = (client.topic(TOPIC), client.watch());
    drop(states.wait_for(|state| matches!(state, State::Connecting)).await.unwrap());
    for _message in 0..3 {
        topic.send_to(PeerId::NIL, "x").await.unwrap();
    }
    let error = client.close().await.unwrap_err();
    assert!(matches!(error, CloseError::NotSent { messages: 3 }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn closing_while_dialing_again_drops_the_dial() {
    let fake = FakeServer::new();
    let (alive, mut gone) = mpsc::channel::<()>(1);
    let mut streams = vec![fake.dial()];
    let streams = Mutex::new(std::mem::take(&mut streams));
    let config = ClientConfig::from_dialer(move || {
        let (stream, alive) = (streams.lock().unwrap().pop(), alive.clone());
        async move {
            let _alive = alive;
            match stream {
                Some(stream) => Ok(stream),
                None => pending::<io::Result<DuplexStream>>().await,
            }
        }
    });
    let client = Client::connect(config.connect_timeout(None)).await.unwrap();
    fake.cut();
    let mut states = client.watch();
    drop(states.wait_for(|state| matches!(state, State::Connecting)).await.unwrap());
    let start = Instant::now();
    client.close().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(gone.recv().await, None, "the dial and the dialer are dropped");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_sends_accepted_messages_and_leaks_no_task() {
    let fake = FakeServer::new();
    let bob = fake.client().await;
    fake.wait_for_connections(1).await;
    let tasks = Handle::current().metrics().num_alive_tasks();

    let alice = fake.client().await;
    let topic = alice.topic(TOPIC);
    drop(alice);
    topic.send_to(bob.id().unwrap(), "a topic keeps its client").await.unwrap();
    fake.wait_for_connections(2).await;
    drop(topic);
    fake.wait_for_connections(1).await;
    assert_eq!(bob.topic(TOPIC).recv().await.unwrap().body, "a topic keeps its client");
    while Handle::current().metrics().num_alive_tasks() > tasks {
        tokio::task::yield_now().await;
    }
}

#[test]
fn client_reports_that_its_runtime_is_gone() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(async { FakeServer::new().client().await });
    let mut topic = client.topic(TOPIC);
    drop(runtime);
    assert!(matches!(client.state(), State::Closed { reason: Closed::TaskGone }));
    let runtime = Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(topic.recv()).unwrap_err();
    assert!(matches!(error, Closed::TaskGone), "{error:?}");
    let error = runtime.block_on(client.close()).unwrap_err();
    assert!(matches!(error, CloseError::Closed(Closed::TaskGone)), "{error:?}");
}
