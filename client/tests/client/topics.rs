//! Topics: sending and receiving messages.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use tokio::time::timeout;
use waddell_client::{Client, InboxConfig, MAX_BODY_LEN, MessageIn, SendError, Topic, TopicId};

use crate::fake_server::{FakeServer, TOPIC};

#[tokio::test(start_paused = true)]
async fn messages_of_every_size_arrive_whole_and_in_order() {
    let fake = FakeServer::new();
    let (alice, bob) = (fake.client().await, fake.client().await);
    let (to, from) = (bob.id().unwrap(), alice.id().unwrap());
    let mut arriving = bob.topic(TOPIC);
    let outgoing = alice.topic(TOPIC);
    for len in [0, 1, 2, 255, 256, 4096, 65_515, MAX_BODY_LEN] {
        let body: Vec<u8> = (0..len).map(|index| index as u8).collect();
        outgoing.send_to(to, body.clone()).await.unwrap();
        let message = arriving.recv().await.unwrap();
        assert_eq!(message, MessageIn { from, topic: TOPIC, body: body.into() });
    }
}

#[tokio::test(start_paused = true)]
async fn parts_arrive_as_one_body() {
    let client = FakeServer::new().client().await;
    let mut topic = client.topic(TOPIC);
    let me = client.id().unwrap();
    topic.send_parts(me, &[b"off", b"", b"er"]).await.unwrap();
    assert_eq!(body(&mut topic).await, "offer");
}

#[tokio::test(start_paused = true)]
async fn body_that_is_too_long_is_refused_and_the_client_keeps_working() {
    let client = FakeServer::new().client().await;
    let mut topic = client.topic(TOPIC);
    let me = client.id().unwrap();
    let long = Bytes::from(vec![0; MAX_BODY_LEN + 1]);
    let error = topic.send_to(me, long.clone()).await.unwrap_err();
    assert!(matches!(error, SendError::BodyTooLong(_)), "{error:?}");
    let error = topic.send((me, long)).await.unwrap_err();
    assert!(error.to_string().contains("65518 bytes"), "{error}");
    topic.send((me, "fits".into())).await.unwrap();
    assert_eq!(body(&mut topic).await, "fits");
}

#[tokio::test(start_paused = true)]
async fn message_is_kept_until_its_topic_is_opened() {
    let fake = FakeServer::new();
    let (alice, bob) = (fake.client().await, fake.client().await);
    let to = bob.id().unwrap();
    alice.topic(TopicId(1)).send_to(to, "early").await.unwrap();
    alice.topic(TopicId(2)).send_to(to, "later").await.unwrap();
    assert_eq!(body(&mut bob.topic(TopicId(2))).await, "later");
    assert_eq!(body(&mut bob.topic(TopicId(1))).await, "early");
}

#[tokio::test(start_paused = true)]
async fn unclaimed_messages_are_bounded_and_counted() {
    let inbox = InboxConfig { unclaimed_capacity: 200, ..InboxConfig::default() };
    let fake = FakeServer::new();
    let alice = fake.client().await;
    let bob = Client::connect(fake.config().inbox(inbox)).await.unwrap();
    let to = bob.id().unwrap();
    for text in ["1", "2", "3", "4"] {
        alice.topic(TopicId(1)).send_to(to, text).await.unwrap();
    }
    let mut last = bob.topic(TopicId(2));
    alice.topic(TopicId(2)).send_to(to, "end").await.unwrap();
    assert_eq!(body(&mut last).await, "end");
    assert_eq!(bob.unclaimed_lost(), 1);
    assert_eq!(body(&mut bob.topic(TopicId(1))).await, "2");
}

#[tokio::test(start_paused = true)]
async fn full_topic_counts_its_losses_and_does_not_stop_the_others() {
    let inbox = InboxConfig { topic_capacity: 200, ..InboxConfig::default() };
    let fake = FakeServer::new();
    let client = Client::connect(fake.config().inbox(inbox)).await.unwrap();
    let me = client.id().unwrap();
    let (mut full, mut other) = (client.topic(TopicId(1)), client.topic(TopicId(2)));
    for text in ["1", "2", "3", "4", "5", "6", "7"] {
        full.send_to(me, text).await.unwrap();
    }
    other.send_to(me, "end").await.unwrap();
    assert_eq!(body(&mut other).await, "end");
    assert_eq!((full.lost(), other.lost()), (4, 0));
    for text in ["1", "2", "3"] {
        assert_eq!(body(&mut full).await, text);
    }
    full.send_to(me, "8").await.unwrap();
    assert_eq!(body(&mut full).await, "8", "there is room again");
}

#[tokio::test(start_paused = true)]
async fn handles_of_one_topic_share_one_queue() {
    let client = FakeServer::new().client().await;
    let me = client.id().unwrap();
    let mut first = client.topic(TOPIC);
    let (mut second, mut third) = (client.topic(TOPIC), first.clone());
    for text in ["1", "2", "3"] {
        first.send_to(me, text).await.unwrap();
    }
    assert_eq!(body(&mut first).await, "1");
    assert_eq!(body(&mut second).await, "2");
    assert_eq!(body(&mut third).await, "3");
}

#[tokio::test(start_paused = true)]
async fn every_waiting_handle_of_a_topic_gets_its_message() {
    let client = FakeServer::new().client().await;
    let me = client.id().unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let mut topic = client.topic(TOPIC);
            tokio::spawn(async move { body(&mut topic).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let topic = client.topic(TOPIC);
    for text in ["x", "x", "x"] {
        topic.send_to(me, text).await.unwrap();
    }
    for task in waiting {
        assert_eq!(task.await.unwrap(), "x");
    }
}

#[tokio::test(start_paused = true)]
async fn topic_is_a_stream_and_a_sink() {
    let client = FakeServer::new().client().await;
    let me = client.id().unwrap();
    let (mut sink, stream) = client.topic(TOPIC).split();
    let bodies = ["a", "b", "c"].map(Bytes::from);
    let mut outgoing = stream::iter(bodies.clone().map(|body| Ok((me, body))));
    sink.send_all(&mut outgoing).await.unwrap();
    let arrived: Vec<_> = stream.take(3).map(|message| message.body).collect().await;
    assert_eq!(arrived, bodies);
}

#[tokio::test(start_paused = true)]
async fn sender_waits_while_the_server_does_not_read() {
    let fake = FakeServer::new();
    let config = fake.config().outgoing_capacity(0);
    let client = Client::connect(config).await.unwrap();
    let me = client.id().unwrap();
    let mut topic = client.topic(TOPIC);
    fake.stall(true);
    let body = Bytes::from(vec![7; 60_000]);
    let mut accepted = 0;
    while timeout(Duration::from_secs(1), topic.send((me, body.clone()))).await.is_ok() {
        accepted += 1;
    }
    // One is in the queue, the rest in the connection and its stream.
    assert!((2..=4).contains(&accepted), "{accepted}");
    let blocked = timeout(Duration::from_secs(1), topic.send_to(me, body.clone())).await;
    assert!(blocked.is_err(), "send_to finds no room either");

    fake.stall(false);
    for _ in 0..accepted {
        assert_eq!(topic.recv().await.unwrap().body, body);
    }
    topic.send((me, "again".into())).await.unwrap();
    assert_eq!(self::body(&mut topic).await, "again");
}

async fn body(topic: &mut Topic) -> String {
    let message = topic.recv().await.unwrap();
    String::from_utf8(message.body.to_vec()).unwrap()
}
