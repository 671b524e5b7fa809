//! ICE servers, and the question whether the server speaks the extension.

use std::time::Duration;

use tokio::time::sleep;
use waddell_client::{Capabilities, Client};

use crate::fake_server::FakeServer;

#[tokio::test(start_paused = true)]
async fn ice_servers_are_asked_for_again_after_half_of_their_time() {
    let fake = FakeServer::granting(Capabilities::ICE);
    let client = Client::connect(fake.config().ice(true).silence_timeout(None)).await.unwrap();
    let first = "[{\"urls\":\"stun:1.example\"}]";
    let (one, other) = tokio::join!(client.ice_servers(), client.ice_servers());
    assert_eq!((one.unwrap(), other.unwrap()), (first.to_owned(), first.to_owned()));
    sleep(Duration::from_secs(299)).await;
    assert_eq!(client.ice_servers().await.unwrap(), first);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.ice_servers().await.unwrap(), "[{\"urls\":\"stun:2.example\"}]");
    client.close().await.unwrap();
    client.ice_servers().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn server_without_ice_servers_has_an_empty_list() {
    for fake in [FakeServer::new(), FakeServer::extended()] {
        let client = Client::connect(fake.config().ice(true)).await.unwrap();
        for _again in 0..2 {
            assert_eq!(client.ice_servers().await.unwrap(), "[]");
        }
    }
    let fake = FakeServer::granting(Capabilities::ICE);
    let client = fake.client().await;
    assert_eq!(client.ice_servers().await.unwrap(), "[]", "they are not wanted");
}

#[tokio::test(start_paused = true)]
async fn extension_is_found_or_not() {
    for (fake, is_extended) in [(FakeServer::new(), false), (FakeServer::extended(), true)] {
        let client = fake.client().await;
        for _again in 0..2 {
            assert_eq!(client.find_extension().await.unwrap().is_some(), is_extended);
        }
        fake.cut();
        assert_eq!(client.find_extension().await.unwrap().is_some(), is_extended);
        client.close().await.unwrap();
        client.find_extension().await.unwrap_err();
    }
}
