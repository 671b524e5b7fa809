//! Notices about peers, and messages that were accepted and lost.

use super::extension::{dropped, exact, extended_config, extended_in, handled, requests, welcome};
use super::*;
use crate::client::outcome::{Delivery, Undelivered};
use crate::control::peer::{PeerNotice, PeerState};
use crate::control::{Capabilities, DropReason};

const NOW: Instant = Instant::EPOCH;
const GRANTED: Capabilities = Capabilities::VERDICTS.with(Capabilities::PEERS);

#[test]
fn watching_asks_at_once_and_on_every_later_connection() {
    let mut client = watching_client();
    client.watch(peer_id(3), NOW).unwrap();
    assert_eq!(requests(&mut client), ["Watch([3])"]);
    client.watch(peer_id(4), NOW).unwrap();
    client.watch(peer_id(4), NOW).unwrap();
    assert_eq!(requests(&mut client).len(), 2, "asking again is answered again");
    client.handle_disconnected(NOW);
    client.retry_now(NOW);
    greet(&mut client, NOW);
    assert!(transmits_probe(&mut client), "the server may not speak the extension");
    receive(&mut client, welcome(GRANTED));
    assert_eq!(requests(&mut client), ["Watch([3, 4])"]);
    client.unwatch(peer_id(3));
    client.unwatch(peer_id(9));
    assert_eq!(requests(&mut client), ["Unwatch([3])"]);
}

#[test]
fn gap_asks_anew_about_watched_peers_and_those_written_to() {
    let mut client = watching_client();
    client.watch(peer_id(3), NOW).unwrap();
    for to in [4, 5, 4, 3] {
        client.send(&MessageOut::new(peer_id(to), TOPIC, "x")).unwrap();
    }
    drain(&mut client);
    // However many gaps come at once, one question is enough.
    receive(&mut client, [gap(), gap()].concat());
    // The server goes on telling about those that are unwatched: this client wrote to them.
    assert_eq!(requests(&mut client), ["Watch([3, 4, 5])", "Unwatch([4, 5])"]);
}

#[test]
fn no_more_is_watched_than_a_server_allows() {
    let mut client = watching_client();
    for n in 0..64 {
        client.watch(peer_id(n), NOW).unwrap();
        client.send(&MessageOut::new(peer_id(100 + n), TOPIC, "x")).unwrap();
    }
    assert_eq!(client.watch(peer_id(64), NOW), Err(TooManyWatched));
    client.watch(peer_id(63), NOW).unwrap();
    drain(&mut client);
    receive(&mut client, gap());
    let asked = requests(&mut client);
    assert_eq!(asked.len(), 1, "those written to find no room: {asked:?}");
    client.unwatch(peer_id(0));
    client.watch(peer_id(64), NOW).unwrap();
}

#[test]
fn client_that_watches_learns_that_the_server_is_a_plain_one() {
    let mut client = extended_in("ready");
    client.watch(peer_id(3), NOW).unwrap();
    let Some(Output::Transmit(probe)) = client.poll_output() else { panic!("it asks") };
    receive(&mut client, probe.to_vec());
    assert_eq!(drain(&mut client), ["NotExtended"]);
    client.watch(peer_id(3), NOW).unwrap();
    assert_eq!(drain(&mut client), [""; 0], "it knows");
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn peers_are_told_as_they_come() {
    let mut client = watching_client();
    receive(&mut client, peer(3, PeerState::Away, 0));
    receive(&mut client, peer(3, PeerState::Here, 0));
    assert_eq!(drain(&mut client), ["Peer(Away lost 0)", "Peer(Here lost 0)"]);
}

/// The last two messages that were accepted are lost: neither the dropped one, nor the one to
/// another peer.
#[test]
fn lost_messages_are_the_last_that_were_accepted() {
    let mut client = watching_client();
    let tickets: Vec<_> = [3, 3, 3, 4, 3]
        .map(|to| {
            let message = MessageOut::new(peer_id(to), TOPIC, "x");
            client.send_checked(&message, NOW).unwrap()
        })
        .into();
    drain(&mut client);
    receive(&mut client, peer(3, PeerState::Gone, 2));
    receive(&mut client, dropped(&[exact(5, DropReason::UnknownRecipient)]));
    receive(&mut client, handled(6, true));
    let lost = Err(Undelivered::Lost);
    let forwarded = Ok(Delivery::Forwarded);
    let expected = [
        (tickets[4], Err(Undelivered::Dropped(DropReason::UnknownRecipient))),
        (tickets[2], lost),
        (tickets[1], lost),
        (tickets[0], forwarded),
        (tickets[3], forwarded),
    ];
    assert_eq!(outcomes(&mut client), expected);
}

#[test]
fn losses_are_asked_about_and_a_hostile_count_ends() {
    let mut client = watching_client();
    client.send(&message(b"x")).unwrap();
    drain(&mut client);
    for _notice in 0..1_000 {
        receive(&mut client, peer(3, PeerState::Gone, u32::MAX));
    }
    assert_eq!(requests(&mut client), ["Sync { seen: 0 }"]);
    receive(&mut client, handled(2, true));
    assert_eq!(drain(&mut client), [""; 0], "there is nothing more to ask");
}

#[test]
fn without_verdicts_losses_are_not_asked_about() {
    let mut client = extended_in("ready");
    receive(&mut client, welcome(Capabilities::PEERS));
    drain(&mut client);
    receive(&mut client, peer(3, PeerState::Gone, 1));
    assert_eq!(drain(&mut client), ["Peer(Gone lost 1)"]);
}

#[test]
fn watching_without_the_extension_asks_with_a_probe_too() {
    let mut client = Client::new(ClientConfig { extension: false, ..extended_config() }, NOW);
    greet(&mut client, NOW);
    drain(&mut client);
    client.watch(peer_id(3), NOW).unwrap();
    assert!(transmits_probe(&mut client));
}

fn watching_client() -> Client {
    let mut client = extended_in("ready");
    receive(&mut client, welcome(GRANTED));
    drain(&mut client);
    client
}

fn receive(client: &mut Client, mut bytes: Vec<u8>) {
    client.handle_bytes(&mut bytes, NOW);
}

fn peer(n: u8, state: PeerState, lost: u32) -> Vec<u8> {
    let mut bytes = vec![];
    PeerNotice::encode_all(&[PeerNotice { id: peer_id(n), state, lost }], &mut bytes);
    bytes
}

fn gap() -> Vec<u8> {
    let mut bytes = vec![];
    PeerNotice::encode_gap(&mut bytes);
    bytes
}

/// Takes all outputs. Returns whether a message to the client itself is among them.
fn transmits_probe(client: &mut Client) -> bool {
    let outputs: Vec<_> = core::iter::from_fn(|| client.poll_output()).collect();
    outputs.iter().any(|output| match output {
        Output::Transmit(frame) => frame[2..18] == *peer_id(1).as_bytes(),
        Output::Dial | Output::HangUp | Output::Event(_) => false,
    })
}

fn outcomes(client: &mut Client) -> Vec<(Ticket, Result<Delivery, Undelivered>)> {
    core::iter::from_fn(|| client.poll_output())
        .filter_map(|output| match output {
            Output::Event(ClientEvent::Checked { ticket, outcome }) => Some((ticket, outcome)),
            Output::Dial | Output::Transmit(_) | Output::HangUp | Output::Event(_) => None,
        })
        .collect()
}
