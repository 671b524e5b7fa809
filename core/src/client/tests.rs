//! Tests of the client without the extension, and what all of its tests use.

mod credentials;
mod ending;
mod extension;
mod ice;
mod outcomes;
mod peers;
mod resume;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::bad_credentials::BadCredentials;
use super::config::Credentials;
use super::life::{MAX_RETRY_DELAY, RETRY_STEP, STABLE_AFTER};
use super::outcome::Ticket;
use super::output::CloseReason;
use super::send_error::SendError;
use super::watch_error::TooManyWatched;
use super::*;
use crate::id::TopicId;
use crate::message::{BodyTooLong, MAX_BODY_LEN, MessageOut, PORTABLE_BODY_LEN};

/// State, call, outputs in order, and the state after. It lists every combination, including
/// those in which nothing happens.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("dialing",     "connected",    "",                                          "awaiting id"),
    ("dialing",     "frame",        "",                                          "dialing"),
    ("dialing",     "short frame",  "",                                          "dialing"),
    ("dialing",     "disconnected", "Disconnected(DialFailed)",                  "waiting"),
    ("dialing",     "early timeout","",                                          "dialing"),
    ("dialing",     "timeout",      "HangUp Disconnected(TimedOut)",             "waiting"),
    ("dialing",     "retry now",    "",                                          "dialing"),
    ("dialing",     "send",         "error:NotConnected",                        "dialing"),
    ("dialing",     "keep-alive",   "error:NotConnected",                        "dialing"),
    ("dialing",     "close",        "HangUp Closed(ByApplication)",              "closed"),

    ("awaiting id", "connected",    "",                                          "awaiting id"),
    ("awaiting id", "frame",        "Connected",                                 "ready"),
    ("awaiting id", "short frame",  "HangUp Disconnected(ServerMisbehaved)",     "waiting"),
    ("awaiting id", "disconnected", "Disconnected(ConnectionLost)",              "waiting"),
    ("awaiting id", "early timeout","",                                          "awaiting id"),
    ("awaiting id", "timeout",      "HangUp Disconnected(TimedOut)",             "waiting"),
    ("awaiting id", "retry now",    "",                                          "awaiting id"),
    ("awaiting id", "send",         "error:NotConnected",                        "awaiting id"),
    ("awaiting id", "keep-alive",   "error:NotConnected",                        "awaiting id"),
    ("awaiting id", "close",        "HangUp Closed(ByApplication)",              "closed"),

    ("ready",       "connected",    "",                                          "ready"),
    ("ready",       "frame",        "Message",                                   "ready"),
    ("ready",       "short frame",  "HangUp Disconnected(ServerMisbehaved)",     "waiting"),
    ("ready",       "disconnected", "Disconnected(ConnectionLost)",              "waiting"),
    ("ready",       "early timeout","",                                          "ready"),
    ("ready",       "timeout",      "Transmit[3]",                               "ready"),
    ("ready",       "retry now",    "",                                          "ready"),
    ("ready",       "send",         "Transmit[25]",                              "ready"),
    ("ready",       "keep-alive",   "Transmit[3]",                               "ready"),
    ("ready",       "close",        "HangUp Closed(ByApplication)",              "closed"),

    ("waiting",     "connected",    "",                                          "waiting"),
    ("waiting",     "frame",        "",                                          "waiting"),
    ("waiting",     "short frame",  "",                                          "waiting"),
    ("waiting",     "disconnected", "",                                          "waiting"),
    ("waiting",     "early timeout","",                                          "waiting"),
    ("waiting",     "timeout",      "Dial",                                      "dialing"),
    ("waiting",     "retry now",    "Dial",                                      "dialing"),
    ("waiting",     "send",         "error:NotConnected",                        "waiting"),
    ("waiting",     "keep-alive",   "error:NotConnected",                        "waiting"),
    ("waiting",     "close",        "Closed(ByApplication)",                     "closed"),

    ("closed",      "connected",    "",                                          "closed"),
    ("closed",      "frame",        "",                                          "closed"),
    ("closed",      "short frame",  "",                                          "closed"),
    ("closed",      "disconnected", "",                                          "closed"),
    ("closed",      "early timeout","",                                          "closed"),
    ("closed",      "timeout",      "",                                          "closed"),
    ("closed",      "retry now",    "",                                          "closed"),
    ("closed",      "send",         "error:Closed",                              "closed"),
    ("closed",      "keep-alive",   "error:Closed",                              "closed"),
    ("closed",      "close",        "",                                          "closed"),
];

#[test]
fn every_state_answers_every_call_as_the_table_says() {
    for &(state, call, outputs, after) in TABLE {
        let (mut client, now) = client_in(state);
        let due = client.poll_timeout();
        let mut result = Ok(());
        match call {
            "connected" => client.handle_connected(now),
            "frame" => client.handle_bytes(&mut frame(2, b"hi"), now),
            "short frame" => client.handle_bytes(&mut b"\x01\x00k".to_vec(), now),
            "disconnected" => client.handle_disconnected(now),
            "early timeout" => client.handle_timeout(now),
            "timeout" => client.handle_timeout(due.unwrap_or(now + HOUR)),
            "retry now" => client.retry_now(now),
            "send" => result = client.send(&message(b"hello")),
            "keep-alive" => result = client.send_keep_alive(),
            "close" => client.close(),
            _ => panic!("no call is called {call}"),
        }
        let mut seen = drain(&mut client);
        seen.extend(result.err().map(|error| format!("error:{error:?}")));
        assert_eq!(seen.join(" "), outputs, "{state}, {call}");
        assert_eq!(state_of(client, now), after, "{state}, {call}");
    }
}

#[test]
fn table_has_every_state_with_every_call() {
    for (row, entry) in TABLE.iter().enumerate() {
        assert_eq!(entry.0, TABLE[row - row % 10].0);
        assert_eq!(entry.1, TABLE[row % 10].1);
    }
    assert_eq!(TABLE.len(), 5 * 10);
}

#[test]
fn life_begins_with_a_dial() {
    let mut client = Client::new(config(), at(7.0));
    assert_eq!(client.state(), ClientState::Connecting);
    assert_eq!(client.id(), None);
    assert_eq!(drain(&mut client), ["Dial"]);
    assert_eq!(client.poll_timeout(), Some(at(17.0)));
}

#[test]
fn id_is_known_from_the_greeting_until_the_loss() {
    let (mut client, now) = client_in("awaiting id");
    client.handle_bytes(&mut frame(9, b""), now);
    assert_eq!(
        client.poll_output(),
        Some(Output::Event(ClientEvent::Connected { id: peer_id(9) }))
    );
    assert_eq!(client.id(), Some(peer_id(9)));
    client.handle_disconnected(now);
    assert_eq!(client.id(), None);
}

/// waddell reads only the sender of the first frame.
#[test]
fn greeting_with_a_topic_and_a_body_is_a_greeting() {
    let (mut client, now) = client_in("awaiting id");
    client.handle_bytes(&mut frame(9, b"welcome"), now);
    assert_eq!(drain(&mut client), ["Connected"]);
}

#[test]
fn outputs_of_one_input_come_in_the_order_of_its_frames() {
    let (mut client, now) = client_in("awaiting id");
    let mut input = [frame(1, b""), frame(2, b"a"), frame(3, b"b"), b"\x00\x00".to_vec()].concat();
    input.extend(frame(4, b"after the hang-up"));
    client.handle_bytes(&mut input, now);
    assert_eq!(
        drain(&mut client),
        ["Connected", "Message", "Message", "HangUp", "Disconnected(ServerMisbehaved)"]
    );
}

#[test]
fn messages_carry_what_the_frame_says() {
    let (mut client, now) = client_in("ready");
    client.handle_bytes(&mut frame(5, b"body"), now);
    let expected = MessageIn { from: peer_id(5), topic: TOPIC, body: Bytes::from_static(b"body") };
    assert_eq!(client.poll_output(), Some(Output::Event(ClientEvent::Message(expected))));
}

#[test]
fn bytes_of_a_lost_connection_do_not_reach_into_the_next() {
    let (mut client, now) = client_in("ready");
    client.handle_bytes(&mut frame(5, b"never finished")[..20], now);
    client.handle_disconnected(now);
    client.handle_timeout(now);
    client.handle_connected(now);
    drain(&mut client);
    client.handle_bytes(&mut frame(6, b""), now);
    assert_eq!(client.id(), Some(peer_id(6)));
}

#[test]
fn sent_frames_are_whole_transmits_in_order() {
    let (mut client, _) = client_in("ready");
    client.send(&message(b"a")).unwrap();
    client.send_keep_alive().unwrap();
    client.send(&message(b"b")).unwrap();
    let mut expected = vec![frame(3, b"a"), KEEP_ALIVE_FRAME.to_vec(), frame(3, b"b")];
    expected.reverse();
    while let Some(Output::Transmit(bytes)) = client.poll_output() {
        assert_eq!(bytes, expected.pop().unwrap());
    }
    assert!(expected.is_empty());
}

#[test]
fn body_that_no_frame_carries_is_an_error_and_sends_nothing() {
    let (mut client, _) = client_in("ready");
    for len in [PORTABLE_BODY_LEN, MAX_BODY_LEN] {
        client.send(&message(&vec![1; len])).unwrap();
        assert_eq!(drain(&mut client), [format!("Transmit[{}]", len + 20)]);
    }
    let len = MAX_BODY_LEN + 1;
    let error = client.send(&message(&vec![1; len]));
    assert_eq!(error, Err(SendError::BodyTooLong(BodyTooLong { len })));
    assert_eq!(drain(&mut client), [""; 0]);
}

#[test]
fn what_was_sent_before_the_close_goes_out_before_the_hang_up() {
    let (mut client, _) = client_in("ready");
    client.send(&message(b"bye")).unwrap();
    client.close();
    assert_eq!(drain(&mut client), ["Transmit[23]", "HangUp", "Closed(ByApplication)"]);
}

#[test]
fn waits_grow_by_a_step_up_to_five_seconds_with_at_most_half_in_jitter() {
    let mut client =
        Client::new(ClientConfig { reconnect_attempts: u32::MAX, ..config() }, at(0.0));
    let mut now = at(0.0);
    for attempt in 1..200_u32 {
        drain(&mut client);
        client.handle_disconnected(now);
        let delay = (RETRY_STEP * attempt).min(MAX_RETRY_DELAY);
        let retry_at = client.poll_timeout().unwrap();
        assert!(retry_at >= now + delay, "{attempt}");
        assert!(retry_at < now + delay + delay / 2, "{attempt}");
        let reason = DisconnectReason::DialFailed;
        let event = ClientEvent::Disconnected { reason, retry_at };
        assert_eq!(client.poll_output(), Some(Output::Event(event)));
        now = retry_at;
        client.handle_timeout(now);
        assert_eq!(drain(&mut client), ["Dial"], "{attempt}");
    }
}

#[test]
fn jitter_spreads_over_its_range_and_differs_between_seeds() {
    let waits: Vec<Duration> = (0..1000)
        .map(|jitter_seed| {
            let mut client = Client::new(ClientConfig { jitter_seed, ..config() }, at(0.0));
            client.handle_disconnected(at(0.0));
            client.poll_timeout().unwrap() - at(0.0)
        })
        .collect();
    for tenth in 0..10 {
        let range =
            RETRY_STEP + RETRY_STEP * tenth / 20..RETRY_STEP + RETRY_STEP * (tenth + 1) / 20;
        let hits = waits.iter().filter(|wait| range.contains(wait)).count();
        assert!((60..140).contains(&hits), "{hits} of 1000 waits in {range:?}");
    }
}

#[test]
fn client_gives_up_after_one_dial_more_than_its_attempts() {
    for attempts in [0, 1, 3] {
        let config = ClientConfig { reconnect_attempts: attempts, ..config() };
        let mut client = Client::new(config, at(0.0));
        let mut seen = drain(&mut client);
        for _ in 0..10 {
            client.handle_disconnected(at(0.0));
            if let Some(due) = client.poll_timeout() {
                client.handle_timeout(due);
            }
            seen.extend(drain(&mut client));
        }
        let mut expected = vec!["Dial"];
        for _ in 0..attempts {
            expected.extend(["Disconnected(DialFailed)", "Dial"]);
        }
        expected.push("Closed(AttemptsExhausted { last: DialFailed })");
        assert_eq!(seen, expected);
        assert_eq!(client.state(), ClientState::Closed);
    }
}

#[test]
fn attempts_that_reach_the_server_but_get_no_greeting_count_as_failed() {
    let mut client = Client::new(ClientConfig { reconnect_attempts: 1, ..config() }, at(0.0));
    client.handle_connected(at(1.0));
    client.handle_timeout(at(10.0));
    client.retry_now(at(11.0));
    client.handle_connected(at(12.0));
    client.handle_timeout(at(21.0));
    assert_eq!(
        drain(&mut client),
        [
            "Dial",
            "HangUp",
            "Disconnected(TimedOut)",
            "Dial",
            "HangUp",
            "Closed(AttemptsExhausted { last: TimedOut })"
        ]
    );
}

#[test]
fn greeting_starts_the_count_of_attempts_again() {
    let config = ClientConfig { reconnect_attempts: 1, ..config() };
    let mut client = Client::new(config, at(0.0));
    let mut now = at(0.0);
    for _ in 0..20 {
        client.handle_disconnected(now);
        now = client.poll_timeout().unwrap();
        client.handle_timeout(now);
        client.handle_connected(now);
        client.handle_bytes(&mut frame(1, b""), now);
        assert_eq!(client.state(), ClientState::Ready);
        now = now + STABLE_AFTER;
        client.handle_disconnected(now);
        now = client.poll_timeout().unwrap();
        client.handle_timeout(now);
    }
}

#[test]
fn stable_connection_that_is_lost_is_dialed_again_at_once_even_without_attempts() {
    let mut client = Client::new(ClientConfig { reconnect_attempts: 0, ..config() }, at(0.0));
    greet(&mut client, at(0.0));
    let now = at(0.0) + STABLE_AFTER;
    client.handle_disconnected(now);
    drain(&mut client);
    assert_eq!(client.poll_timeout(), Some(now));
    client.handle_timeout(now);
    assert_eq!(drain(&mut client), ["Dial"]);
}

fn silent_client() -> Client {
    let silence_timeout = Some(Duration::from_secs(60));
    let config = ClientConfig { silence_timeout, keep_alive_interval: None, ..config() };
    let mut client = Client::new(config, at(0.0));
    greet(&mut client, at(0.0));
    drain(&mut client);
    client
}

#[test]
fn silent_server_is_probed_and_then_counts_as_lost() {
    let mut client = silent_client();
    client.handle_timeout(at(29.0));
    assert_eq!(drain(&mut client), [""; 0]);
    assert_eq!(client.poll_timeout(), Some(at(30.0)));
    client.handle_timeout(at(30.0));
    assert_eq!(drain(&mut client), ["Transmit[20]"]);
    assert_eq!(client.poll_timeout(), Some(at(60.0)));
    client.handle_timeout(at(60.0));
    assert_eq!(drain(&mut client), ["HangUp", "Disconnected(Silent)"]);
}

#[test]
fn any_byte_ends_the_silence_and_the_answer_to_a_probe_stays_here() {
    let mut client = silent_client();
    client.handle_timeout(at(30.0));
    let Some(Output::Transmit(probe)) = client.poll_output() else { panic!("there is a probe") };
    // The server returns a frame to oneself as it came.
    client.handle_bytes(&mut probe.to_vec(), at(31.0));
    assert_eq!(drain(&mut client), [""; 0]);
    assert_eq!(client.poll_timeout(), Some(at(61.0)));
    client.handle_timeout(at(61.0));
    assert_eq!(drain(&mut client), ["Transmit[20]"]);
    client.handle_bytes(&mut frame(9, b"never whole")[..1], at(80.0));
    assert_eq!(client.poll_timeout(), Some(at(110.0)));
    assert_eq!(client.state(), ClientState::Ready);
}

#[test]
fn probe_of_another_peer_is_a_message() {
    let mut client = silent_client();
    client.handle_timeout(at(30.0));
    let Some(Output::Transmit(probe)) = client.poll_output() else { panic!("there is a probe") };
    let mut forged = probe.to_vec();
    forged[2] ^= 1;
    client.handle_bytes(&mut forged, at(31.0));
    assert_eq!(drain(&mut client), ["Message"]);
}

#[test]
fn client_that_stood_still_itself_asks_again() {
    let mut client = silent_client();
    for now in [30.0, 3600.0, 7200.0] {
        client.handle_timeout(at(now));
        assert_eq!(drain(&mut client), ["Transmit[20]"]);
        assert_eq!(client.poll_timeout(), Some(at(now + 30.0)));
    }
    client.handle_timeout(at(7231.0));
    assert_eq!(drain(&mut client), ["HangUp", "Disconnected(Silent)"]);
}

#[test]
fn keep_alives_do_not_wait_for_probes_nor_probes_for_keep_alives() {
    let config = ClientConfig {
        silence_timeout: Some(Duration::from_secs(60)),
        keep_alive_interval: Some(Duration::from_secs(20)),
        ..config()
    };
    let mut client = Client::new(config, at(0.0));
    greet(&mut client, at(0.0));
    drain(&mut client);
    for (now, outputs) in [
        (20.0, &["Transmit[3]"][..]),
        (30.0, &["Transmit[20]"]),
        (40.0, &["Transmit[3]"]),
        (60.0, &["Transmit[3]", "HangUp", "Disconnected(Silent)"]),
    ] {
        assert_eq!(client.poll_timeout(), Some(at(now)));
        client.handle_timeout(at(now));
        assert_eq!(drain(&mut client), outputs);
    }
}

#[test]
fn server_that_greets_and_hangs_up_is_dialed_ever_more_slowly() {
    let mut client = Client::new(config(), at(0.0));
    let mut now = at(0.0);
    for lost in 0..100_u32 {
        greet(&mut client, now);
        client.handle_disconnected(now);
        let delay = (RETRY_STEP * lost).min(MAX_RETRY_DELAY);
        let due = client.poll_timeout().unwrap();
        assert!(due >= now + delay && due <= now + delay + delay / 2, "{lost}");
        now = due;
        client.handle_timeout(now);
    }
    // One connection that lasts resets the count.
    greet(&mut client, now);
    now = now + STABLE_AFTER;
    for wait in [Duration::ZERO, Duration::ZERO, RETRY_STEP] {
        client.handle_disconnected(now);
        let due = client.poll_timeout().unwrap();
        assert!(due >= now + wait && due <= now + wait + wait / 2);
        now = due;
        client.handle_timeout(now);
        greet(&mut client, now);
    }
}

#[test]
fn dials_that_fail_after_short_lived_connections_wait_for_both() {
    let mut client = Client::new(config(), at(0.0));
    for _ in 0..5 {
        greet(&mut client, at(0.0));
        client.handle_disconnected(at(0.0));
        client.retry_now(at(0.0));
    }
    client.handle_disconnected(at(0.0));
    let wait = client.poll_timeout().unwrap() - at(0.0);
    assert!(wait >= RETRY_STEP * 6 && wait < RETRY_STEP * 9, "{wait:?}");
}

#[test]
fn retrying_by_hand_does_not_forget_the_failures_so_far() {
    let mut client = Client::new(ClientConfig { reconnect_attempts: 2, ..config() }, at(0.0));
    for _ in 0..3 {
        client.handle_disconnected(at(0.0));
        client.retry_now(at(0.0));
    }
    assert_eq!(client.state(), ClientState::Closed);
}

#[test]
fn connect_timeout_runs_from_the_dial_to_the_greeting() {
    let (mut client, _) = client_in("dialing");
    client.handle_connected(at(9.0));
    assert_eq!(client.poll_timeout(), Some(at(10.0)));
    client.handle_bytes(&mut frame(1, b"")[..10], at(9.5));
    assert_eq!(client.poll_timeout(), Some(at(10.0)));
    client.handle_timeout(at(10.0));
    assert_eq!(drain(&mut client), ["HangUp", "Disconnected(TimedOut)"]);
}

#[test]
fn without_a_connect_timeout_a_dial_may_take_for_ever() {
    let mut client = Client::new(ClientConfig { connect_timeout: None, ..config() }, at(0.0));
    assert_eq!(client.poll_timeout(), None);
    client.handle_timeout(at(1e9));
    client.handle_connected(at(1e9));
    assert_eq!(client.poll_timeout(), None);
    client.handle_bytes(&mut frame(1, b""), at(2e9));
    assert_eq!(client.state(), ClientState::Ready);
}

#[test]
fn keep_alives_go_out_at_their_interval_while_ready() {
    let mut client = Client::new(config(), at(0.0));
    greet(&mut client, at(100.0));
    drain(&mut client);
    for n in 1..50 {
        let due = at(100.0 + 25.0 * f64::from(n));
        assert_eq!(client.poll_timeout(), Some(due));
        client.handle_timeout(due);
        let keep_alive = Output::Transmit(Bytes::from_static(KEEP_ALIVE_FRAME));
        assert_eq!(client.poll_output(), Some(keep_alive));
        assert_eq!(client.poll_output(), None);
    }
}

#[test]
fn late_timeout_sends_one_keep_alive_and_not_all_that_were_missed() {
    let mut client = Client::new(config(), at(0.0));
    greet(&mut client, at(0.0));
    drain(&mut client);
    client.handle_timeout(at(1000.0));
    assert_eq!(drain(&mut client), ["Transmit[3]"]);
    assert_eq!(client.poll_timeout(), Some(at(1025.0)));
}

/// Regression: an interval of zero was due again at once, without end.
#[test]
fn keep_alive_interval_of_none_or_zero_means_by_hand() {
    for keep_alive_interval in [None, Some(Duration::ZERO)] {
        let mut client = Client::new(ClientConfig { keep_alive_interval, ..config() }, at(0.0));
        greet(&mut client, at(0.0));
        assert_eq!(client.poll_timeout(), None);
    }
}

#[test]
fn waiting_holds_no_memory_of_the_lost_connection() {
    let (mut client, now) = client_in("ready");
    client.handle_bytes(&mut frame(1, &[0; 1000])[..900], now);
    assert_eq!(client.decoder.buffered(), 900);
    client.handle_disconnected(now);
    assert_eq!(client.decoder.buffered(), 0);
}

#[test]
fn times_too_far_to_tell_are_never_due() {
    let config = ClientConfig {
        connect_timeout: Some(Duration::MAX),
        keep_alive_interval: Some(Duration::MAX),
        ..config()
    };
    let mut client = Client::new(config, at(1.0));
    assert_eq!(client.poll_timeout(), None);
    greet(&mut client, at(2.0));
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn errors_and_reasons_say_what_is_wrong() {
    let too_long = SendError::BodyTooLong(BodyTooLong { len: 70_000 });
    for (text, expected) in [
        (format!("{}", SendError::NotConnected), "not connected"),
        (format!("{}", SendError::Closed), "the client is closed"),
        (
            format!("{too_long}"),
            "body of 70000 bytes is longer than 65517, the most that fits in a frame",
        ),
        (format!("{}", CloseReason::ByApplication), "the client was closed"),
        (
            format!("{}", CloseReason::AttemptsExhausted { last: DisconnectReason::TimedOut }),
            "no reconnect attempt is left: the server did not greet in time",
        ),
    ] {
        assert_eq!(text, expected);
    }
}

const TOPIC: TopicId = TopicId(0x0102);
const HOUR: Duration = Duration::from_secs(3600);

/// All options on, so that every state except `Closed` has a timeout.
fn config() -> ClientConfig {
    ClientConfig {
        keep_alive_interval: Some(Duration::from_secs(25)),
        extension: false,
        ..ClientConfig::default()
    }
}

fn at(seconds: f64) -> Instant {
    Instant::since_epoch(Duration::from_secs_f64(seconds))
}

fn peer_id(n: u8) -> PeerId {
    PeerId::from_random([n; 16])
}

/// Returns a frame with the id of peer `n`.
fn frame(n: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    let message = MessageOut::new(peer_id(n), TOPIC, body.to_vec());
    message.encode(&mut bytes).unwrap();
    bytes
}

fn message(body: &[u8]) -> MessageOut {
    MessageOut::new(peer_id(3), TOPIC, body.to_vec())
}

fn greet(client: &mut Client, now: Instant) {
    client.handle_connected(now);
    client.handle_bytes(&mut frame(1, b""), now);
    assert_eq!(client.state(), ClientState::Ready);
}

/// Returns a drained client in the state of that name, and the time.
fn client_in(state: &str) -> (Client, Instant) {
    let mut client = Client::new(config(), at(0.0));
    match state {
        "dialing" => {}
        "awaiting id" => client.handle_connected(at(0.0)),
        "ready" => greet(&mut client, at(0.0)),
        "waiting" => client.handle_disconnected(at(0.0)),
        "closed" => client.close(),
        _ => panic!("no state is called {state}"),
    }
    drain(&mut client);
    (client, at(0.0))
}

/// Returns the name of a client's state. It uses the client up to tell two states apart.
fn state_of(mut client: Client, now: Instant) -> &'static str {
    match client.state() {
        ClientState::Connecting => {
            client.handle_bytes(&mut frame(1, b""), now);
            if client.state() == ClientState::Ready { "awaiting id" } else { "dialing" }
        }
        ClientState::Ready => "ready",
        ClientState::Waiting => "waiting",
        ClientState::Closed => "closed",
    }
}

/// Takes all outputs and returns short names of them.
fn drain(client: &mut Client) -> Vec<String> {
    core::iter::from_fn(|| client.poll_output())
        .map(|output| match output {
            Output::Dial => "Dial".into(),
            Output::Transmit(bytes) => format!("Transmit[{}]", bytes.len()),
            Output::HangUp => "HangUp".into(),
            Output::Event(ClientEvent::Connected { .. }) => "Connected".into(),
            Output::Event(ClientEvent::Extended(_)) => "Extended".into(),
            Output::Event(ClientEvent::Message(_)) => "Message".into(),
            Output::Event(ClientEvent::Checked { ticket, outcome }) => {
                format!("Checked({} {outcome:?})", ticket.0)
            }
            Output::Event(ClientEvent::Undelivered(entry)) => {
                format!("Undelivered({}+{})", entry.first, entry.span)
            }
            Output::Event(ClientEvent::Peer(notice)) => {
                format!("Peer({:?} lost {})", notice.state, notice.lost)
            }
            Output::Event(ClientEvent::IceServers(servers)) => {
                format!("IceServers({} for {:?})", servers.json, servers.valid_for)
            }
            Output::Event(ClientEvent::CredentialsDue) => "CredentialsDue".into(),
            Output::Event(ClientEvent::Restarting(_)) => "Restarting".into(),
            Output::Event(ClientEvent::Renamed { .. }) => "Renamed".into(),
            Output::Event(ClientEvent::NotExtended) => "NotExtended".into(),
            Output::Event(ClientEvent::Closing { code, reason }) => {
                format!("Closing({} {reason})", code.0)
            }
            Output::Event(ClientEvent::Disconnected { reason, .. }) => {
                format!("Disconnected({reason:?})")
            }
            Output::Event(ClientEvent::Closed { reason }) => format!("Closed({reason:?})"),
        })
        .collect()
}
