//! HELLO, WELCOME, and the control frames of the server in every state.

use super::*;
use crate::control::dropped::Dropped;
use crate::control::hello::{Welcome, WelcomeRate};
use crate::control::notice::{Closing, Handled, Notice};
use crate::control::peer::PeerIds;
use crate::control::request::Request;
use crate::control::{Capabilities, CloseCode, DropReason, control_body};
use crate::id::PeerId;

/// State, control frame, outputs in order, and the state after.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("dialing",     "welcome",   "",                                             "dialing"),
    ("dialing",     "dropped",   "",                                             "dialing"),
    ("dialing",     "handled",   "",                                             "dialing"),
    ("dialing",     "closing",   "",                                             "dialing"),
    ("dialing",     "unknown",   "",                                             "dialing"),
    ("dialing",     "malformed", "",                                             "dialing"),

    ("awaiting id", "welcome",   "",                                             "awaiting id"),
    ("awaiting id", "dropped",   "",                                             "awaiting id"),
    ("awaiting id", "handled",   "",                                             "awaiting id"),
    ("awaiting id", "closing",   "Closing(4000 bye) HangUp \
                                  Disconnected(ClosedByServer(CloseCode(4000)))", "waiting"),
    ("awaiting id", "unknown",   "",                                             "awaiting id"),
    ("awaiting id", "malformed", "",                                             "awaiting id"),

    ("ready",       "welcome",   "Extended",                                     "ready"),
    ("ready",       "dropped",   "",                                             "ready"),
    ("ready",       "handled",   "",                                             "ready"),
    ("ready",       "closing",   "Closing(4000 bye) HangUp \
                                  Disconnected(ClosedByServer(CloseCode(4000)))", "waiting"),
    ("ready",       "unknown",   "",                                             "ready"),
    ("ready",       "malformed", "",                                             "ready"),

    ("extended",    "welcome",   "",                                             "ready"),
    ("extended",    "dropped",   "Undelivered(1+1)",                             "ready"),
    ("extended",    "handled",   "",                                             "ready"),
    ("extended",    "closing",   "Closing(4000 bye) HangUp \
                                  Disconnected(ClosedByServer(CloseCode(4000)))", "waiting"),
    ("extended",    "unknown",   "",                                             "ready"),
    ("extended",    "malformed", "",                                             "ready"),

    ("waiting",     "welcome",   "",                                             "waiting"),
    ("waiting",     "dropped",   "",                                             "waiting"),
    ("waiting",     "handled",   "",                                             "waiting"),
    ("waiting",     "closing",   "",                                             "waiting"),
    ("waiting",     "unknown",   "",                                             "waiting"),
    ("waiting",     "malformed", "",                                             "waiting"),

    ("closed",      "welcome",   "",                                             "closed"),
    ("closed",      "dropped",   "",                                             "closed"),
    ("closed",      "handled",   "",                                             "closed"),
    ("closed",      "closing",   "",                                             "closed"),
    ("closed",      "unknown",   "",                                             "closed"),
    ("closed",      "malformed", "",                                             "closed"),
];

#[test]
fn every_state_answers_every_control_frame_as_the_table_says() {
    for &(state, kind, outputs, after) in TABLE {
        let mut client = extended_in(state);
        let mut bytes = match kind {
            "welcome" => welcome(Capabilities::VERDICTS),
            "dropped" => dropped(&[exact(1, DropReason::UnknownRecipient)]),
            "handled" => handled(1, true),
            "closing" => closing(0),
            "unknown" => control(b"\xfe what is that"),
            "malformed" => control(b"\x82 too short"),
            _ => panic!("no control frame is called {kind}"),
        };
        client.handle_bytes(&mut bytes, at(0.0));
        assert_eq!(drain(&mut client).join(" "), outputs, "{state}, {kind}");
        assert_eq!(state_of(client, at(0.0)), after, "{state}, {kind}");
    }
}

#[test]
fn hello_is_the_first_frame_and_goes_out_at_once() {
    let mut client = Client::new(extended_config(), at(0.0));
    assert_eq!(client.poll_output(), Some(Output::Dial));
    client.handle_connected(at(0.0));
    let Some(Output::Transmit(hello)) = client.poll_output() else { panic!("HELLO comes first") };
    let expected = b"\x1c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\x01wad2\x02\x2b\0\0\0";
    assert_eq!(&hello[..], expected);
    assert_eq!(client.poll_output(), None);
}

#[test]
fn connected_does_not_wait_for_welcome() {
    let mut client = extended_in("awaiting id");
    client.handle_bytes(&mut frame(1, b""), at(0.0));
    assert_eq!(drain(&mut client), ["Connected"]);
    assert_eq!(client.extension(), None);
}

#[test]
fn welcome_says_what_is_granted_and_is_forgotten_with_its_connection() {
    let mut client = extended_in("ready");
    let rate = Some(WelcomeRate { frames: 100, bytes: 0 });
    // The server may not grant what was not wanted.
    let all = Capabilities::from_bits(u32::MAX);
    let mut bytes = vec![];
    Notice::Welcome(Welcome { rate, ..Welcome::new(all, peer_id(1), 1000) }).encode(&mut bytes);
    client.handle_bytes(&mut bytes, at(0.0));
    let granted = Capabilities::from_bits(0x2b);
    let extension = Extension {
        version: 2,
        granted,
        resumed: false,
        not_resumed: None,
        windows: None,
        max_payload: 1000,
        rate,
    };
    let event = Output::Event(ClientEvent::Extended(extension));
    assert_eq!(client.poll_output(), Some(event));
    assert_eq!(client.extension(), Some(extension));
    client.handle_disconnected(at(0.0));
    assert_eq!(client.extension(), None);
    client.retry_now(at(0.0));
    greet(&mut client, at(0.0));
    assert_eq!(client.extension(), None);
}

#[test]
fn welcome_before_the_greeting_is_told_after_it() {
    let mut client = extended_in("awaiting id");
    let mut input = [welcome(Capabilities::VERDICTS), frame(1, b"")].concat();
    client.handle_bytes(&mut input, at(0.0));
    assert_eq!(drain(&mut client), ["Connected", "Extended"]);
}

/// Such a client is one of 2015, to which a control frame is a message.
#[test]
fn without_the_extension_nothing_is_asked_and_control_frames_are_messages() {
    let (mut client, now) = client_in("dialing");
    client.handle_connected(now);
    assert_eq!(drain(&mut client), [""; 0]);
    client.handle_bytes(&mut [frame(1, b""), closing(0)].concat(), now);
    assert_eq!(drain(&mut client), ["Connected", "Message"]);
}

#[test]
fn numbers_go_on_over_connections_and_hello_says_with_which_they_begin() {
    let mut client = extended_in("extended");
    // A message, a keep-alive, a checked message and SYNC: frames 1 to 4.
    client.send(&message(b"x")).unwrap();
    client.send_keep_alive().unwrap();
    assert_eq!(client.send_checked(&message(b"x"), at(0.0)), Ok(Ticket(3)));
    assert_eq!(requests(&mut client), ["Sync { seen: 0 }"]);
    client.handle_disconnected(at(0.0));
    client.retry_now(at(0.0));
    client.handle_connected(at(0.0));
    let hello = requests(&mut client).concat();
    assert!(hello.contains("first_number: 5"), "{hello}");
    greet(&mut client, at(0.0));
    assert_eq!(client.send_checked(&message(b"x"), at(0.0)), Ok(Ticket(5)));
}

#[test]
fn server_that_hangs_up_on_hello_is_dialed_without_it_in_turns() {
    for greeted in [false, true] {
        let mut client = Client::new(
            ClientConfig { reconnect_attempts: u32::MAX, ..extended_config() },
            at(0.0),
        );
        let mut said = vec![];
        let mut now = at(0.0);
        for _connection in 0..7 {
            drain(&mut client);
            client.handle_connected(now);
            said.push(!requests(&mut client).is_empty());
            if greeted {
                client.handle_bytes(&mut frame(1, b""), now);
            }
            client.handle_disconnected(now);
            now = client.poll_timeout().unwrap();
            client.handle_timeout(now);
        }
        assert_eq!(said, [true, true, false, true, false, true, false], "{greeted}");
    }
}

#[test]
fn one_connection_that_lasts_or_welcomes_is_answer_enough_to_hello() {
    for lasts in [false, true] {
        let mut client = extended_in("dialing");
        let mut now = at(0.0);
        for connection in 0..9 {
            drain(&mut client);
            client.handle_connected(now);
            assert!(!requests(&mut client).is_empty(), "{connection}");
            client.handle_bytes(&mut frame(1, b""), now);
            if connection % 2 == 1 && !lasts {
                client.handle_bytes(&mut welcome(Capabilities::NONE), now);
            }
            if connection % 2 == 1 && lasts {
                now = now + STABLE_AFTER;
            }
            client.handle_disconnected(now);
            client.retry_now(now);
        }
    }
}

#[test]
fn failed_dials_say_nothing_about_hello() {
    let mut client = extended_in("dialing");
    for _dial in 0..5 {
        client.handle_disconnected(at(0.0));
        client.retry_now(at(0.0));
    }
    drain(&mut client);
    client.handle_connected(at(0.0));
    assert_eq!(requests(&mut client).len(), 1);
}

#[test]
fn closing_ends_the_connection_whatever_comes_after_it() {
    let mut client = extended_in("extended");
    let mut input = [closing(0), frame(2, b"late"), welcome(Capabilities::NONE)].concat();
    client.handle_bytes(&mut input, at(0.0));
    let lost = "Disconnected(ClosedByServer(CloseCode(4000)))";
    assert_eq!(drain(&mut client), ["Closing(4000 bye)", "HangUp", lost]);
}

#[test]
fn hostile_control_frames_do_no_harm() {
    let mut client = extended_in("extended");
    client.send_checked(&message(b"x"), at(0.0)).unwrap();
    assert_eq!(requests(&mut client), ["Sync { seen: 0 }"]);
    let entry = |first, span, count| Dropped { first, span, count, ..summary(1, 1) };
    let mut input = [
        handled(0, true),
        dropped(&[entry(u64::MAX, u32::MAX, u32::MAX), entry(u64::MAX, 1, 1)]),
        dropped(&[entry(0, 0, 0), entry(1, 0, 1), entry(1, 1, 0), entry(0, 1, 1)]),
        dropped(&[entry(2, u32::MAX, u32::MAX)]),
        welcome(Capabilities::NONE),
        control(b"\x83"),
        control(b"\x82"),
        control(b""),
        control(b"\x01wad2\x02\0\0\0\0"),
    ]
    .concat();
    client.handle_bytes(&mut input, at(0.0));
    let told: Vec<_> =
        drain(&mut client).into_iter().filter(|it| !it.starts_with("Undelivered(")).collect();
    assert_eq!(told, [""; 0], "message 1 is still undecided");
    // The number of a frame that was never sent, and then a step back.
    client.handle_bytes(&mut [handled(u64::MAX, true), handled(1, false)].concat(), at(0.0));
    assert_eq!(drain(&mut client), ["Checked(1 Ok(Forwarded))"]);
    client.send_checked(&message(b"x"), at(0.0)).unwrap();
    assert_eq!(requests(&mut client), ["Sync { seen: 2 }"], "no more than was sent");
}

pub(super) fn extended_config() -> ClientConfig {
    ClientConfig { extension: true, keep_alive_interval: None, ..config() }
}

/// Returns a drained client with the extension in the state of that name.
pub(super) fn extended_in(state: &str) -> Client {
    let mut client = Client::new(extended_config(), at(0.0));
    match state {
        "dialing" => {}
        "awaiting id" => client.handle_connected(at(0.0)),
        "ready" => greet(&mut client, at(0.0)),
        "extended" => {
            greet(&mut client, at(0.0));
            client.handle_bytes(&mut welcome(Capabilities::VERDICTS), at(0.0));
            assert_eq!(client.extension().unwrap().granted, Capabilities::VERDICTS);
        }
        "waiting" => client.handle_disconnected(at(0.0)),
        "closed" => client.close(),
        _ => panic!("no state is called {state}"),
    }
    drain(&mut client);
    client
}

/// Takes all outputs. Returns the control frames among them, in words.
pub(super) fn requests(client: &mut Client) -> Vec<String> {
    core::iter::from_fn(|| client.poll_output())
        .filter_map(|output| match output {
            Output::Transmit(frame) => {
                control_body(&frame[2..]).map(|body| words(Request::decode(body).unwrap()))
            }
            Output::Dial | Output::HangUp | Output::Event(_) => None,
        })
        .collect()
}

fn words(request: Request<'_>) -> String {
    let first_bytes = |ids: PeerIds<'_>| ids.iter().map(|id| id.as_bytes()[0]).collect::<Vec<_>>();
    match request {
        Request::Watch(ids) => format!("Watch({:?})", first_bytes(ids)),
        Request::Unwatch(ids) => format!("Unwatch({:?})", first_bytes(ids)),
        other => format!("{other:?}"),
    }
}

pub(super) fn welcome(granted: Capabilities) -> Vec<u8> {
    encode(Notice::Welcome(Welcome::new(granted, peer_id(1), u16::MAX)))
}

pub(super) fn handled(upto: u64, complete: bool) -> Vec<u8> {
    encode(Notice::Handled(Handled { upto, complete }))
}

pub(super) fn closing(handled: u64) -> Vec<u8> {
    encode(Notice::Closing(Closing { code: CloseCode::RESTARTING, handled, reason: "bye" }))
}

pub(super) fn dropped(entries: &[Dropped]) -> Vec<u8> {
    let mut bytes = vec![];
    Dropped::encode_all(entries, &mut bytes);
    bytes
}

/// Returns an entry for one frame.
pub(super) fn exact(first: u64, reason: DropReason) -> Dropped {
    Dropped { first, span: 1, count: 1, reason, topic: TOPIC, recipient: peer_id(3) }
}

/// Returns an entry for one of so many frames.
pub(super) fn summary(first: u64, span: u32) -> Dropped {
    let (reason, topic, recipient) = (DropReason::Various, TopicId(0), PeerId::NIL);
    Dropped { first, span, count: 1, reason, topic, recipient }
}

fn control(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    let message = MessageOut::new(PeerId::NIL, TopicId::CONTROL, body.to_vec());
    message.encode(&mut bytes).unwrap();
    bytes
}

fn encode(notice: Notice<'_>) -> Vec<u8> {
    let mut bytes = vec![];
    notice.encode(&mut bytes);
    bytes
}
