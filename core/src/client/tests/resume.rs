//! Resuming the id on the next connection, and new ids on the same one.

use super::extension::{closing, dropped, exact, extended_config, handled, requests};
use super::*;
use crate::client::outcome::{Delivery, Undelivered};
use crate::control::hello::{NotResumed, ResumeWindows, Welcome};
use crate::control::notice::{Closing, Notice};
use crate::control::request::Request;
use crate::control::{Capabilities, CloseCode, DropReason};

const NOW: Instant = Instant::EPOCH;
const GRANTED: Capabilities = Capabilities::VERDICTS
    .with(Capabilities::PEERS)
    .with(Capabilities::RESUME)
    .with(Capabilities::RENEW);

/// What comes to a client that awaits WELCOME, outputs in order, and the state after.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str)] = &[
    ("connected",    "",                                                      "awaiting"),
    ("resumed",      "Connected Extended",                                    "ready as 1"),
    ("not resumed",  "Connected Extended",                                    "ready as 2"),
    ("message",      "Connected Message",                                     "ready as 2"),
    ("dropped",      "",                                                      "awaiting"),
    ("handled",      "",                                                      "awaiting"),
    ("closing",      "Closing(4000 bye) HangUp \
                      Disconnected(ClosedByServer(CloseCode(4000)))",         "waiting"),
    ("short frame",  "HangUp Disconnected(ServerMisbehaved)",                 "waiting"),
    ("disconnected", "Disconnected(ConnectionLost)",                          "waiting"),
    ("early timeout","",                                                      "awaiting"),
    ("timeout",      "Connected",                                             "ready as 2"),
    ("send",         "error:NotConnected",                                    "awaiting"),
    ("retry now",    "",                                                      "awaiting"),
    ("close",        "HangUp Closed(ByApplication)",                          "closed"),
];

#[test]
fn client_that_awaits_welcome_answers_every_call_as_the_table_says() {
    for &(call, outputs, after) in TABLE {
        let mut client = awaiting_welcome();
        assert_eq!(client.poll_timeout(), Some(at(2.0)));
        let mut result = Ok(());
        match call {
            "connected" => client.handle_connected(NOW),
            "resumed" => receive(&mut client, welcome(1, true)),
            "not resumed" => receive(&mut client, welcome(2, false)),
            "message" => receive(&mut client, frame(5, b"hi")),
            "dropped" => receive(&mut client, dropped(&[exact(1, DropReason::RecipientFull)])),
            "handled" => receive(&mut client, handled(1, true)),
            "closing" => receive(&mut client, closing(0)),
            "short frame" => receive(&mut client, vec![0, 0]),
            "disconnected" => client.handle_disconnected(NOW),
            "early timeout" => client.handle_timeout(at(1.9)),
            "timeout" => client.handle_timeout(at(2.0)),
            "send" => result = client.send(&message(b"x")),
            "retry now" => client.retry_now(NOW),
            "close" => client.close(),
            _ => panic!("no call is called {call}"),
        }
        let mut seen = drain(&mut client);
        seen.extend(result.err().map(|error| format!("error:{error:?}")));
        assert_eq!(seen.join(" "), outputs, "{call}");
        let state = match client.state() {
            ClientState::Ready => format!("ready as {}", client.id().unwrap().as_bytes()[0]),
            ClientState::Connecting => "awaiting".into(),
            ClientState::Waiting => "waiting".into(),
            ClientState::Closed => "closed".into(),
        };
        assert_eq!(state, after, "{call}");
    }
}

#[test]
fn token_is_sent_with_the_numbers_and_what_was_seen() {
    let mut client = resumable_client();
    client.send_checked(&message(b"x"), NOW).unwrap();
    drain(&mut client);
    receive(&mut client, handled(2, true));
    drain(&mut client);
    client.handle_disconnected(NOW);
    client.retry_now(NOW);
    client.handle_connected(NOW);
    let hello = requests(&mut client).concat();
    for part in ["has_resume_token: true", "first_number: 3", "seen: 2"] {
        assert!(hello.contains(part), "{hello}");
    }
    assert!(!format!("{client:?}").contains("116, 111, 107"), "the token stays secret");
}

#[test]
fn bad_network_does_not_cost_the_id() {
    let mut client = resumable_client();
    for _connection in 0..5 {
        client.handle_disconnected(NOW);
        client.retry_now(NOW);
        client.handle_connected(NOW);
        assert!(requests(&mut client).concat().contains("has_resume_token: true"));
    }
    receive(&mut client, [frame(2, b""), welcome(1, true)].concat());
    assert_eq!(client.id(), Some(peer_id(1)));
}

#[test]
fn resume_is_not_asked_for_by_default() {
    let mut client = Client::new(extended_config(), NOW);
    greet(&mut client, NOW);
    receive(&mut client, welcome(1, false));
    drain(&mut client);
    client.handle_disconnected(NOW);
    client.retry_now(NOW);
    client.handle_connected(NOW);
    assert!(requests(&mut client).concat().contains("has_resume_token: false"));
}

/// Frames 1 to 4 are sent and the connection breaks. The server has handled 1 to 3, and dropped 2.
#[test]
fn outcomes_wait_for_the_server_that_resumes() {
    for (complete, first) in
        [(true, Ok(Delivery::Forwarded)), (false, Err(Undelivered::ConnectionLost))]
    {
        let mut client = resumable_client();
        let tickets: Vec<_> =
            (0..4).map(|_| client.send_checked(&message(b"x"), NOW).unwrap()).collect();
        drain(&mut client);
        reconnect(&mut client);
        assert_eq!(outcomes(&mut client), [], "nothing is known yet");
        receive(&mut client, welcome(1, true));
        let later = client.send_checked(&message(b"y"), NOW).unwrap();
        receive(&mut client, dropped(&[exact(2, DropReason::RecipientFull)]));
        receive(&mut client, handled(3, complete));
        let expected = [
            (tickets[1], Err(Undelivered::Dropped(DropReason::RecipientFull))),
            (tickets[0], first),
            (tickets[2], first),
            (tickets[3], Err(Undelivered::NotHandled)),
        ];
        assert_eq!(outcomes(&mut client), expected);
        receive(&mut client, handled(u64::MAX, true));
        assert_eq!(outcomes(&mut client), [(later, Ok(Delivery::Forwarded))]);
    }
}

#[test]
fn client_confirms_that_it_knows_of_a_loss() {
    for (upto, confirmed) in [(0, true), (1, false)] {
        let mut client = resumable_client();
        client.send(&message(b"x")).unwrap();
        drain(&mut client);
        reconnect(&mut client);
        receive(&mut client, welcome(1, true));
        drain(&mut client);
        receive(&mut client, handled(upto, true));
        assert_eq!(requests(&mut client).len(), usize::from(confirmed), "{upto}");
    }
}

#[test]
fn outcomes_are_unknown_if_the_id_is_not_resumed() {
    for end in ["not resumed", "no welcome", "no verdicts", "too late", "rotated", "closed"] {
        let mut client = resumable_client();
        let ticket = client.send_checked(&message(b"x"), NOW).unwrap();
        drain(&mut client);
        if end == "too late" {
            client.handle_disconnected(NOW);
            assert_eq!(outcomes(&mut client), []);
            // A dial fails after the resume window of 100 s.
            client.retry_now(at(101.0));
            client.handle_disconnected(at(101.0));
        } else {
            reconnect(&mut client);
            assert_eq!(outcomes(&mut client), []);
            match end {
                "not resumed" => receive(&mut client, welcome(2, false)),
                "no welcome" => client.handle_timeout(at(2.0)),
                "no verdicts" => receive(&mut client, welcome_with(1, true, Capabilities::RESUME)),
                "rotated" => client.rotate(NOW),
                _closed => client.close(),
            }
        }
        let expected = [(ticket, Err(Undelivered::ConnectionLost))];
        assert_eq!(outcomes(&mut client), expected, "{end}");
    }
}

#[test]
fn closing_decides_what_was_never_handled_even_if_the_client_resumes() {
    let mut client = resumable_client();
    let tickets = [(); 2].map(|()| client.send_checked(&message(b"x"), NOW).unwrap());
    drain(&mut client);
    receive(&mut client, closing(1));
    assert_eq!(outcomes(&mut client), [(tickets[1], Err(Undelivered::NotHandled))]);
    client.retry_now(NOW);
    greet_as(&mut client, 2);
    receive(&mut client, welcome(1, true));
    receive(&mut client, handled(1, true));
    assert_eq!(outcomes(&mut client), [(tickets[0], Ok(Delivery::Forwarded))]);
}

#[test]
fn token_is_renewed_and_forgotten() {
    let mut client = resumable_client();
    let mut bytes = vec![];
    Notice::Token(b"second").encode(&mut bytes);
    receive(&mut client, bytes);
    let second = client.session.begin(true).unwrap();
    assert!(second.windows(6).any(|window| window == b"second"));
    // Refused: the client does not try again.
    let mut client = awaiting_welcome();
    let mut refused = vec![];
    let not_resumed = Some(NotResumed::Stale);
    let refusal = Welcome { not_resumed, ..Welcome::new(GRANTED, peer_id(2), 1000) };
    Notice::Welcome(refusal).encode(&mut refused);
    receive(&mut client, refused);
    assert_eq!(client.extension().unwrap().not_resumed, not_resumed);
    reconnect(&mut client);
    assert_eq!(client.state(), ClientState::Ready, "there is no token to wait for");
    // Superseded: the id belongs to another connection.
    let mut client = resumable_client();
    let mut superseded = vec![];
    let (code, reason) = (CloseCode::SUPERSEDED, "another connection has the id");
    Notice::Closing(Closing { code, handled: 0, reason }).encode(&mut superseded);
    receive(&mut client, superseded);
    client.retry_now(NOW);
    greet(&mut client, NOW);
}

#[test]
fn welcome_before_the_greeting_brings_the_old_id_too() {
    let mut client = awaiting_welcome();
    client.handle_disconnected(NOW);
    client.retry_now(NOW);
    client.handle_connected(NOW);
    drain(&mut client);
    receive(&mut client, [welcome(1, true), frame(2, b"")].concat());
    assert_eq!(drain(&mut client), ["Connected", "Extended"]);
    assert_eq!(client.id(), Some(peer_id(1)));
}

#[test]
fn late_welcome_renames_the_client() {
    let mut client = awaiting_welcome();
    client.handle_timeout(at(2.0));
    drain(&mut client);
    receive(&mut client, welcome(1, true));
    assert_eq!(drain(&mut client), ["Renamed", "Extended"]);
    assert_eq!(client.id(), Some(peer_id(1)));
}

#[test]
fn application_that_closes_says_bye() {
    let mut client = resumable_client();
    client.close();
    assert_eq!(requests(&mut client), ["Bye"]);
}

#[test]
fn rotate_asks_for_a_new_id_on_the_same_connection() {
    let mut client = resumable_client();
    client.rotate(NOW);
    assert_eq!(requests(&mut client), ["Renew"]);
    let mut renewed = vec![];
    let notice = Notice::Renewed { id: peer_id(6), resume_token: Some(b"sixth") };
    notice.encode(&mut renewed);
    receive(&mut client, renewed);
    assert_eq!(drain(&mut client), ["Renamed"]);
    assert_eq!(client.id(), Some(peer_id(6)));
    let hello = client.session.begin(true).unwrap();
    assert!(hello.windows(5).any(|window| window == b"sixth"));
}

#[test]
fn rotate_dials_again_where_the_server_gives_no_new_id() {
    let mut client = Client::new(ClientConfig { resume: true, ..extended_config() }, NOW);
    greet(&mut client, NOW);
    receive(&mut client, welcome_with(1, false, Capabilities::RESUME));
    drain(&mut client);
    client.rotate(NOW);
    assert_eq!(drain(&mut client), ["HangUp", "Disconnected(Rotated)"]);
    assert_eq!(client.poll_timeout(), Some(NOW));
    client.handle_timeout(NOW);
    client.handle_connected(NOW);
    assert!(requests(&mut client).concat().contains("has_resume_token: false"));
}

#[test]
fn hello_goes_into_the_upgrade_where_the_server_reads_it() {
    let mut client = resumable_client();
    assert_eq!(client.upgrade_hello(), None, "there is no dial");
    dial_again(&mut client);
    assert_eq!(client.upgrade_hello(), None, "this server does not read it");

    let mut client = upgradable_client();
    dial_again(&mut client);
    let hello = client.upgrade_hello().unwrap();
    let Ok(Request::Hello(hello)) = Request::decode(&hello) else { panic!("{hello:?}") };
    assert_eq!(hello.resume_token, Some(&b"token"[..]));
    client.handle_upgraded(NOW);
    assert_eq!(drain(&mut client), [""; 0], "it went already");
    receive(&mut client, [frame(1, b""), welcome(1, true)].concat());
    assert_eq!(drain(&mut client), ["Connected", "Extended"]);
    assert_eq!(client.send_checked(&message(b"x"), NOW), Ok(Ticket(1)));
}

#[test]
fn upgrade_that_does_not_take_hello_is_not_tried_again() {
    // The server chose another subprotocol.
    let mut client = upgradable_client();
    dial_again(&mut client);
    client.upgrade_hello().unwrap();
    client.handle_connected(NOW);
    assert_eq!(requests(&mut client).len(), 1, "HELLO goes in band");
    dial_again(&mut client);
    assert_eq!(client.upgrade_hello(), None);
    // The dial failed.
    let mut client = upgradable_client();
    dial_again(&mut client);
    client.upgrade_hello().unwrap();
    dial_again(&mut client);
    assert_eq!(client.upgrade_hello(), None);
}

#[test]
fn peers_are_asked_about_anew_after_a_resume() {
    let mut client = resumable_client();
    client.send(&MessageOut::new(peer_id(5), TOPIC, "x")).unwrap();
    client.watch(peer_id(4), NOW).unwrap();
    reconnect(&mut client);
    receive(&mut client, welcome(1, true));
    assert_eq!(requests(&mut client), ["Watch([4, 5])", "Unwatch([5])"]);
    reconnect(&mut client);
    receive(&mut client, welcome(2, false));
    assert_eq!(requests(&mut client), ["Watch([4])"], "it has not written under its new id");
}

#[test]
fn peer_that_is_unwatched_meanwhile_is_unwatched_after_a_resume() {
    let mut client = resumable_client();
    client.watch(peer_id(4), NOW).unwrap();
    client.watch(peer_id(5), NOW).unwrap();
    drain(&mut client);
    client.handle_disconnected(NOW);
    client.unwatch(peer_id(4));
    client.retry_now(NOW);
    greet_as(&mut client, 2);
    receive(&mut client, welcome(1, true));
    assert_eq!(requests(&mut client), ["Unwatch([4])", "Watch([5])"]);
}

#[test]
fn rotating_during_a_dial_that_bears_the_token_dials_again() {
    let mut client = upgradable_client();
    dial_again(&mut client);
    client.upgrade_hello().unwrap();
    client.rotate(NOW);
    assert_eq!(drain(&mut client), ["HangUp", "Disconnected(Rotated)"]);
    client.handle_timeout(NOW);
    client.handle_connected(NOW);
    assert!(requests(&mut client).concat().contains("has_resume_token: false"));
}

#[test]
fn new_id_without_a_token_cannot_be_resumed() {
    for (n, is_kept) in [(6, false), (1, true)] {
        let mut client = resumable_client();
        client.rotate(NOW);
        let mut renewed = vec![];
        Notice::Renewed { id: peer_id(n), resume_token: None }.encode(&mut renewed);
        receive(&mut client, renewed);
        dial_again(&mut client);
        client.handle_connected(NOW);
        let token = format!("has_resume_token: {is_kept}");
        assert!(requests(&mut client).concat().contains(&token), "{n}");
    }
}

/// Returns a drained client that has the id of peer 1 and a token.
fn resumable_client() -> Client {
    let mut client = Client::new(ClientConfig { resume: true, ..extended_config() }, NOW);
    greet(&mut client, NOW);
    receive(&mut client, welcome(1, false));
    drain(&mut client);
    client
}

/// Returns a drained client whose server reads HELLO in the upgrade.
fn upgradable_client() -> Client {
    let mut client = Client::new(ClientConfig { resume: true, ..extended_config() }, NOW);
    greet(&mut client, NOW);
    let mut bytes = vec![];
    let resume_token = Some(&b"token"[..]);
    let welcome = Welcome { resume_token, ..Welcome::new(GRANTED, peer_id(1), 1000) };
    Notice::Welcome(Welcome { reads_hello_in_upgrade: true, ..welcome }).encode(&mut bytes);
    receive(&mut client, bytes);
    drain(&mut client);
    client
}

fn dial_again(client: &mut Client) {
    client.handle_disconnected(NOW);
    client.retry_now(NOW);
    drain(client);
}

/// Returns a drained client that is greeted as peer 2, and has sent a token of peer 1.
fn awaiting_welcome() -> Client {
    let mut client = resumable_client();
    reconnect(&mut client);
    drain(&mut client);
    assert_eq!(client.state(), ClientState::Connecting);
    client
}

/// Loses the connection and dials again, until the client is greeted as peer 2.
fn reconnect(client: &mut Client) {
    client.handle_disconnected(NOW);
    client.retry_now(NOW);
    greet_as(client, 2);
}

fn greet_as(client: &mut Client, n: u8) {
    drain_but_outcomes(client);
    client.handle_connected(NOW);
    drain_but_outcomes(client);
    receive(client, frame(n, b""));
    drain_but_outcomes(client);
}

fn drain_but_outcomes(client: &mut Client) {
    assert_eq!(outcomes(client), []);
}

fn welcome(n: u8, resumed: bool) -> Vec<u8> {
    welcome_with(n, resumed, GRANTED)
}

fn welcome_with(n: u8, resumed: bool, granted: Capabilities) -> Vec<u8> {
    let mut bytes = vec![];
    let windows = Some(ResumeWindows { resume: 100, away: 30 });
    let resume_token = Some(&b"token"[..]);
    let welcome = Welcome::new(granted, peer_id(n), u16::MAX);
    Notice::Welcome(Welcome { resumed, resume_token, windows, ..welcome }).encode(&mut bytes);
    bytes
}

fn receive(client: &mut Client, mut bytes: Vec<u8>) {
    client.handle_bytes(&mut bytes, NOW);
}

fn outcomes(client: &mut Client) -> Vec<(Ticket, Result<Delivery, Undelivered>)> {
    core::iter::from_fn(|| client.poll_output())
        .filter_map(|output| match output {
            Output::Event(ClientEvent::Checked { ticket, outcome }) => Some((ticket, outcome)),
            Output::Dial | Output::Transmit(_) | Output::HangUp | Output::Event(_) => None,
        })
        .collect()
}
