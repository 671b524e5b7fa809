//! ICE servers, and the question whether the server speaks the extension.

use super::extension::{extended_config, extended_in, requests, welcome};
use super::*;
use crate::control::Capabilities;
use crate::control::hello::{IceServers, Welcome};
use crate::control::notice::Notice;

const NOW: Instant = Instant::EPOCH;
const SERVERS: IceServers<'static> = IceServers { valid_for: 60, json: "[{}]" };

#[test]
fn ice_servers_come_with_welcome_and_when_asked_for() {
    let mut client = Client::new(ClientConfig { ice: true, ..extended_config() }, NOW);
    greet(&mut client, NOW);
    drain(&mut client);
    assert!(!client.request_ice_servers(), "it is not known yet");
    let welcome = Welcome::new(Capabilities::ICE, peer_id(1), 1000);
    receive(&mut client, Notice::Welcome(Welcome { ice: Some(SERVERS), ..welcome }));
    let told = "IceServers([{}] for 60s)";
    assert_eq!(drain(&mut client), ["Extended", told]);
    assert!(client.request_ice_servers());
    assert_eq!(requests(&mut client), ["Ice"]);
    receive(&mut client, Notice::Ice(SERVERS));
    let Some(Output::Event(event)) = client.poll_output() else { panic!("it is told") };
    assert!(!format!("{event:?}").contains("[{}]"), "the text has credentials: {event:?}");
}

#[test]
fn ice_servers_that_were_not_wanted_are_ignored() {
    let mut client = extended_in("ready");
    let welcome = Welcome::new(Capabilities::ICE, peer_id(1), 1000);
    receive(&mut client, Notice::Welcome(Welcome { ice: Some(SERVERS), ..welcome }));
    receive(&mut client, Notice::Ice(SERVERS));
    assert_eq!(drain(&mut client), ["Extended"]);
    assert!(!client.request_ice_servers());
}

#[test]
fn server_is_asked_whether_it_speaks_the_extension() {
    // It does not: the probe comes back first.
    let mut client = extended_in("ready");
    client.find_extension(NOW);
    let Some(Output::Transmit(probe)) = client.poll_output() else { panic!("it asks") };
    client.handle_bytes(&mut probe.to_vec(), NOW);
    assert_eq!(drain(&mut client), ["NotExtended"]);
    client.find_extension(NOW);
    assert_eq!(drain(&mut client), [""; 0], "it is known");
    // It does.
    let mut client = extended_in("ready");
    client.find_extension(NOW);
    drain(&mut client);
    client.handle_bytes(&mut welcome(Capabilities::VERDICTS), NOW);
    assert_eq!(drain(&mut client), ["Extended"]);
    assert_eq!(client.poll_timeout(), None);
    // The connection is lost before: the next one tells.
    let mut client = extended_in("ready");
    client.find_extension(NOW);
    client.handle_disconnected(NOW);
    client.retry_now(NOW);
    greet(&mut client, NOW);
    assert_eq!(client.poll_timeout(), None, "drained first");
    drain(&mut client);
    assert_eq!(client.poll_timeout(), Some(at(5.0)), "the probe is on its way");
}

fn receive(client: &mut Client, notice: Notice<'_>) {
    let mut bytes = vec![];
    notice.encode(&mut bytes);
    client.handle_bytes(&mut bytes, NOW);
}
