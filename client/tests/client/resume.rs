//! Keeping the id over a reconnect, and getting a new one.

use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};
use waddell_client::{Capabilities, Client, Delivery, RotateError, Undelivered};

use crate::checked::{extended_client, send_in_a_task, stall, undelivered};
use crate::fake_server::{FakeServer, TOPIC, next_id};

const GRANTS: Capabilities =
    Capabilities::VERDICTS.with(Capabilities::RESUME).with(Capabilities::RENEW);

#[tokio::test(start_paused = true)]
async fn id_is_kept_and_queued_messages_go_out_under_it() {
    let fake = FakeServer::granting(GRANTS);
    let (alice, bob) = (resuming_client(&fake).await, resuming_client(&fake).await);
    let (id, to) = (alice.id().unwrap(), bob.id().unwrap());
    assert!(!alice.resumed());
    fake.cut();
    reconnected(&bob).await;
    alice.topic(TOPIC).send_to(to, "queued").await.unwrap();
    let message = bob.topic(TOPIC).recv().await.unwrap();
    assert_eq!((message.from, &message.body[..]), (id, &b"queued"[..]));
    assert_eq!((alice.id(), bob.id()), (Some(id), Some(to)));
    assert!(alice.resumed() && bob.resumed());
}

#[tokio::test(start_paused = true)]
async fn outcome_is_told_after_the_reconnect() {
    let fake = FakeServer::granting(GRANTS);
    let client = resuming_client(&fake).await;
    stall(&fake, &client).await;
    let sending = send_in_a_task(&client, client.id().unwrap()).await;
    fake.cut();
    sleep(Duration::from_secs(1)).await;
    fake.stall(false);
    // The server knows that it has never seen this message.
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(undelivered(&error), Some(Undelivered::NotHandled), "{error}");
    assert!(client.resumed());
}

#[tokio::test(start_paused = true)]
async fn id_that_is_not_resumed_is_replaced() {
    let fake = FakeServer::granting(GRANTS);
    let client = resuming_client(&fake).await;
    let old = client.id().unwrap();
    fake.forget();
    fake.cut();
    let new = next_id(&client, old).await;
    assert_ne!(new, old);
    sleep(Duration::from_secs(1)).await;
    assert!(!client.resumed());
    assert_eq!(client.topic(TOPIC).send_checked(new, "x").await.unwrap(), Delivery::Forwarded);
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_ask_for_it_gets_a_new_id() {
    let fake = FakeServer::granting(GRANTS);
    let client = extended_client(&fake).await;
    let old = client.id().unwrap();
    fake.cut();
    next_id(&client, old).await;
    client.close().await.unwrap();
    assert_eq!(fake.byes(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_says_bye() {
    let fake = FakeServer::granting(GRANTS);
    let client = resuming_client(&fake).await;
    client.close().await.unwrap();
    assert_eq!(fake.byes(), 1);
}

#[tokio::test(start_paused = true)]
async fn rotating_gives_a_new_id_with_or_without_the_server() {
    for (fake, dials) in [(FakeServer::granting(GRANTS), 1), (FakeServer::new(), 2)] {
        let (seen, mut ids) = mpsc::unbounded_channel();
        let config = fake.config().resume(true).on_id(move |id| seen.send(id).unwrap());
        let client = Client::connect(config).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let old = client.id().unwrap();
        let new = client.rotate().await.unwrap();
        assert_ne!(new, old);
        assert_eq!((client.id(), fake.dials()), (Some(new), dials));
        assert_eq!((ids.recv().await, ids.recv().await), (Some(old), Some(new)));
        let mut topic = client.topic(TOPIC);
        topic.send_to(new, "me").await.unwrap();
        assert_eq!(topic.recv().await.unwrap().from, new);
    }
}

#[tokio::test(start_paused = true)]
async fn server_may_refuse_a_new_id() {
    let fake = FakeServer::granting(GRANTS);
    let client = resuming_client(&fake).await;
    fake.forget();
    let old = client.id();
    let error = client.rotate().await.unwrap_err();
    assert!(matches!(error, RotateError::TooSoon), "{error:?}");
    assert_eq!(client.id(), old);
    client.close().await.unwrap();
    let error = client.rotate().await.unwrap_err();
    assert!(matches!(error, RotateError::Closed(_)), "{error:?}");
}

async fn resuming_client(fake: &FakeServer) -> Client {
    let client = Client::connect(fake.config().resume(true)).await.unwrap();
    let mut extension = client.watch_extension();
    drop(extension.wait_for(Option::is_some).await.unwrap());
    client
}

/// Waits until the client has lost its connection and has another.
async fn reconnected(client: &Client) {
    let mut extension = client.watch_extension();
    let resumed = extension.wait_for(|it| it.is_some_and(|extension| extension.resumed));
    drop(resumed.await.unwrap());
}
