//! Checked messages, and the notices of a server that speaks the extension.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{sleep, timeout};
use waddell_client::{
    Capabilities, CheckedSendError, Client, CloseCode, CloseError, Closed, Delivery,
    DisconnectReason, DropReason, MAX_BODY_LEN, Notice, PeerId, Undelivered,
};
use waddell_core::{Closing, Dropped};

use crate::fake_server::{FakeServer, TOPIC, next_id};

#[tokio::test(start_paused = true)]
async fn sender_learns_what_became_of_its_message() {
    let fake = FakeServer::extended();
    let (alice, bob) = (extended_client(&fake).await, extended_client(&fake).await);
    let topic = alice.topic(TOPIC);
    let to = bob.id().unwrap();
    assert_eq!(topic.send_checked(to, "hi").await.unwrap(), Delivery::Forwarded);
    assert_eq!(bob.topic(TOPIC).recv().await.unwrap().body, "hi");
    let error = topic.send_checked(stranger(), "hi").await.unwrap_err();
    assert_eq!(error.drop_reason(), Some(DropReason::UnknownRecipient));
    assert!(error.to_string().starts_with("no peer has this id; ask the peer"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn server_without_the_extension_says_that_it_has_handled_the_message() {
    let fake = FakeServer::new();
    let client = fake.client().await;
    let topic = client.topic(TOPIC);
    for to in [client.id().unwrap(), stranger()] {
        assert_eq!(topic.send_checked(to, "hi").await.unwrap(), Delivery::Sent);
    }
    assert_eq!((client.extension(), fake.hellos()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn many_checked_messages_share_their_questions() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    let topic = client.topic(TOPIC);
    let recipients = [client.id().unwrap(), stranger()];
    let sending = (0..10_000).map(|n| topic.send_checked(recipients[n % 2], ""));
    for (n, outcome) in join_all(sending).await.into_iter().enumerate() {
        match outcome {
            Ok(delivery) => assert_eq!((n % 2, delivery), (0, Delivery::Forwarded)),
            Err(error) => {
                assert_eq!(error.drop_reason(), Some(DropReason::UnknownRecipient));
                assert_eq!(n % 2, 1);
            }
        }
    }
    assert!((1..2_000).contains(&fake.syncs()), "{}", fake.syncs());
}

#[tokio::test(start_paused = true)]
async fn body_that_is_too_long_is_an_error_and_sends_nothing() {
    let client = extended_client(&FakeServer::extended()).await;
    let topic = client.topic(TOPIC);
    let long = vec![0; MAX_BODY_LEN + 1];
    let error = topic.send_checked(client.id().unwrap(), long).await.unwrap_err();
    assert!(matches!(error, CheckedSendError::BodyTooLong(_)), "{error:?}");
    assert_eq!(error.drop_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_connection_and_with_the_client() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    let to = client.id().unwrap();
    stall(&fake, &client).await;
    let sending = send_in_a_task(&client, to).await;
    fake.cut();
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(undelivered(&error), Some(Undelivered::ConnectionLost), "{error}");

    let to = next_id(&client, to).await;
    let sending = send_in_a_task(&client, to).await;
    let closed = timeout(Duration::from_secs(60), client.close()).await;
    closed.expect("it ends, though the server reads nothing").unwrap_err();
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(undelivered(&error), Some(Undelivered::ConnectionLost), "{error}");
    let error = client.topic(TOPIC).send_checked(to, "x").await.unwrap_err();
    assert!(matches!(error, CheckedSendError::Closed(Closed::ByApplication)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn message_that_is_still_queued_when_its_sender_stops_waiting_is_not_sent() {
    let fake = FakeServer::extended();
    let (alice, bob) = (extended_client(&fake).await, extended_client(&fake).await);
    let topic = alice.topic(TOPIC);
    let to = bob.id().unwrap();
    // The client's task runs on this thread, so it takes nothing from the queue meanwhile.
    let outcome = topic.send_checked(to, "given up").now_or_never();
    assert!(outcome.is_none());
    assert_eq!(topic.send_checked(to, "wanted").await.unwrap(), Delivery::Forwarded);
    assert_eq!(bob.topic(TOPIC).recv().await.unwrap().body, "wanted");
}

#[tokio::test(start_paused = true)]
async fn closing_says_why_and_which_messages_were_never_handled() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    let id = client.id().unwrap();
    stall(&fake, &client).await;
    let sending = send_in_a_task(&client, id).await;
    let code = CloseCode(4004);
    let reason = "too many\u{1b}[2J connections";
    let closing = Closing { code, handled: 0, reason };
    fake.send_notice(id, &waddell_core::Notice::Closing(closing));
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(undelivered(&error), Some(Undelivered::NotHandled), "{error}");
    let CloseError::Lost(reason) = client.close().await.unwrap_err() else {
        panic!("the message was lost with the connection")
    };
    assert_eq!(reason.reason(), DisconnectReason::ClosedByServer(code));
    assert_eq!(reason.close_code(), Some(4004));
    assert_eq!(reason.close_reason(), Some("too many[2J connections"));
    let text = "the server closed the connection: too many[2J connections (code 4004)";
    assert_eq!(reason.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn notices_tell_of_messages_that_were_not_checked() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    let mut notices = client.notices();
    client.topic(TOPIC).send_to(stranger(), "x").await.unwrap();
    let (reason, topic, recipient) = (DropReason::UnknownRecipient, TOPIC, stranger());
    let dropped = Dropped { first: 1, span: 1, count: 1, reason, topic, recipient };
    assert_eq!(notices.next().await, Some(Notice::Undelivered(dropped)));
    client.close().await.unwrap();
    assert_eq!(notices.next().await, None);
    assert_eq!(client.notices().next().await, None);
}

#[tokio::test(start_paused = true)]
async fn notices_that_are_not_read_are_dropped_and_counted() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    let mut notices = client.notices();
    let topic = client.topic(TOPIC);
    for _message in 0..300 {
        topic.send_checked(stranger(), "x").await.unwrap_err();
    }
    assert_eq!(notices.next().await, Some(Notice::Missed(44)));
    let Some(Notice::Undelivered(next)) = notices.next().await else { panic!("the rest follows") };
    assert!(next.first > 44, "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn notices_do_not_keep_the_client_open() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    let mut notices = client.notices();
    drop(client);
    assert_eq!(notices.next().await, None);
    fake.wait_for_connections(0).await;
}

#[tokio::test(start_paused = true)]
async fn extension_is_known_while_connected() {
    let fake = FakeServer::extended();
    let client = extended_client(&fake).await;
    let extension = client.extension().unwrap();
    let granted = Capabilities::VERDICTS.with(Capabilities::PEERS);
    assert_eq!((extension.version, extension.granted), (2, granted));
    client.close().await.unwrap();
    assert_eq!(client.extension(), None);
}

#[tokio::test(start_paused = true)]
async fn without_the_extension_no_hello_is_said() {
    let fake = FakeServer::extended();
    let client = Client::connect(fake.config().extension(false)).await.unwrap();
    let to = client.id().unwrap();
    assert_eq!(client.topic(TOPIC).send_checked(to, "x").await.unwrap(), Delivery::Sent);
    assert_eq!((fake.hellos(), client.extension()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn server_that_hangs_up_on_hello_is_reached_without_it() {
    let fake = FakeServer::new();
    fake.refuse_hello();
    let client = Client::connect(fake.config()).await.unwrap();
    // Whatever the first two connections were good for, the third lasts.
    sleep(Duration::from_secs(10)).await;
    assert_eq!((fake.dials(), fake.hellos()), (3, 2));
    let to = client.id().unwrap();
    assert_eq!(client.topic(TOPIC).send_checked(to, "x").await.unwrap(), Delivery::Sent);
}

/// Connects a client, and waits until it knows that the server speaks the extension.
pub(crate) async fn extended_client(fake: &FakeServer) -> Client {
    let client = fake.client().await;
    let mut extension = client.watch_extension();
    drop(extension.wait_for(Option::is_some).await.unwrap());
    client
}

/// Stops the server's reading.
pub(crate) async fn stall(fake: &FakeServer, client: &Client) {
    fake.stall(true);
    // Each connection reads once more.
    client.send_keep_alive().unwrap();
    // Time is virtual: it passes when every task has done what it can.
    sleep(Duration::from_secs(1)).await;
}

/// Begins to send a message in a task. Returns when it is on its way.
pub(crate) async fn send_in_a_task(
    client: &Client,
    to: PeerId,
) -> tokio::task::JoinHandle<Result<Delivery, CheckedSendError>> {
    let topic = client.topic(TOPIC);
    let sending = tokio::spawn(async move { topic.send_checked(to, "x").await });
    sleep(Duration::from_secs(1)).await;
    sending
}

pub(crate) fn undelivered(error: &CheckedSendError) -> Option<Undelivered> {
    match error {
        CheckedSendError::Undelivered(undelivered) => Some(*undelivered),
        _other => None,
    }
}

pub(crate) fn stranger() -> PeerId {
    PeerId::from_random([9; 16])
}
